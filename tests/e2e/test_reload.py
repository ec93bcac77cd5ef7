"""SIGHUP: the settings file is read again; what is wrong in it changes nothing."""
import os
import signal
import tempfile
import threading

from lib import Bided, body, engine_pid, expect, until

FAILS = "def handler(e, c):\n    raise ValueError('always')\n"
CONNECTS = """
import socket
def handler(e, c):
    s = socket.socket()
    s.settimeout(5)
    r = s.connect_ex(('127.0.0.1', e['port']))
    s.close()
    return r
"""


def write(path, text):
    with open(path + ".new", "w") as f:
        f.write(text)
    os.rename(path + ".new", path)


def hangup(b, word, n=1):
    os.kill(b.proc.pid, signal.SIGHUP)
    until(lambda: b.log().count(word) >= n, what=lambda: "%r %d times in %s" % (word, n, b.log()[-600:]))


def test_settings_are_reloaded():
    with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
        conf = d + "/bide.conf"
        write(conf, "clock = virtual\nasync.retry_first_wait = 60s\n")
        with Bided(config=conf) as b:
            c = b.make("fails", FAILS)
            look = b.make("look", CONNECTS)
            port = b'{"port": %d}' % int(b.endpoint.rsplit(":", 1)[1])
            expect(body(look.invoke(FunctionName="look", Payload=port)) != 0, "network without a role")

            write(conf, "clock = virtual\nasync.retry_first_wait = soon\n")
            hangup(b, "SIGHUP: nothing is changed: %s:2: async.retry_first_wait" % conf)
            write(conf, "role web { network = outbound }\n")
            hangup(b, "network = outbound cannot be given")
            os.unlink(conf)
            hangup(b, "No such file")

            write(conf, "clock = virtual\nasync.retry_first_wait = 5s\nregion = eu-west-1\nworker.idle = 0s\n"
                        "role default { network = host }\n")
            hangup(b, "settings reloaded changed=2")
            expect("setting async.retry_first_wait is now 5s" in b.log(), b.log()[-600:])
            expect("setting region: eu-west-1 takes effect at the next start" in b.log(), b.log()[-600:])

            # The wait is the new one, and so is the network of the next worker.
            c.invoke(FunctionName="fails", InvocationType="Event", Payload=b"{}")
            b.drained(lambda e: e["waiting"] == 1)
            b.bide("clock", "advance", "6s")
            b.drained(lambda e: e["running"] == 0 and e["queued"] == 0 and e["waiting"] == 1)
            event = [e for e in b.bide("events", "ls", "--json").stdout.splitlines() if "fails" in e]
            expect(len(event) == 1 and '"attempt_count":2' in event[0], event)
            until(lambda: body(look.invoke(FunctionName="look", Payload=port)) == 0, what="the host's network")

    with Bided() as b:
        hangup(b, "SIGHUP: nothing is changed: no settings file was named")
        expect(b.bide("status").returncode == 0)


def test_hangup_while_starting():
    with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
        write(d + "/bide.conf", "log.level = info\n")
        b = Bided(config=d + "/bide.conf")
        over = threading.Event()

        def hang_up():
            """From the first file it makes until it is ready."""
            while not (b.proc and os.path.exists(b.data + "/lock")) and not over.is_set():
                pass
            while not over.is_set() and b.proc.poll() is None:
                os.kill(b.proc.pid, signal.SIGHUP)

        t = threading.Thread(target=hang_up)
        t.start()
        try:
            with b:
                over.set()
                t.join()
                os.kill(b.proc.pid, signal.SIGHUP)  # one that is sure to come after the start
                until(lambda: "settings reloaded changed=0" in b.log(), what=lambda: b.log()[-600:])
        finally:
            over.set()
            t.join()


def test_an_engine_that_does_not_take_them():
    """Settings that cannot be handed over change nothing, roles included."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
        conf = d + "/bide.conf"
        write(conf, "worker.idle = 0s\nrole default { network = host }\n")
        with Bided(config=conf) as b:
            port = b'{"port": %d}' % int(b.endpoint.rsplit(":", 1)[1])
            c = b.make("look", CONNECTS)
            expect(body(c.invoke(FunctionName="look", Payload=port)) == 0, "the host's network")
            engine = engine_pid(b)
            os.kill(engine, signal.SIGSTOP)
            try:
                full = "SIGHUP: nothing is changed: the engine has not taken the last ones yet"

                def refused(n):
                    os.kill(b.proc.pid, signal.SIGHUP)
                    return b.log().count(full) >= n

                until(lambda: refused(1), what=lambda: b.log()[-600:], step=0.001)
                n = b.log().count(full) + 2  # the second of them is sure to have read the new file
                write(conf, "worker.idle = 0s\n")
                until(lambda: refused(n), what=lambda: b.log()[-600:])
            finally:
                os.kill(engine, signal.SIGCONT)
            until(lambda: "settings reloaded" in b.log(), what=lambda: b.log()[-600:])
            expect(body(c.invoke(FunctionName="look", Payload=port)) == 0, "the role's network is still that of the old file")
