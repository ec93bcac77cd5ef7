"""What a supervisor hears: ready, state in words, signs of life from the engine, stopping."""
import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import tempfile

from lib import PREFIX, Bided, expect, until


class Supervisor:
    """Listens where systemd would, and puts into the environment what it would."""

    def __init__(self, folder, watchdog_ms=None, pid=None):
        self.path = folder + "/notify"
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.sock.settimeout(30)
        os.chmod(self.path, 0o777)
        os.environ["NOTIFY_SOCKET"] = self.path
        if watchdog_ms:
            os.environ["WATCHDOG_USEC"] = str(watchdog_ms * 1000)
        if pid:
            os.environ["WATCHDOG_PID"] = str(pid)

    def close(self):
        self.sock.close()
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
            os.environ.pop(name, None)

    def hear(self):
        return self.sock.recv(4096).decode().split("\n")

    def until(self, line):
        """All that was heard up to a message with this line."""
        heard = []
        while line not in heard:
            heard += self.hear()
        return heard


def test_life():
    with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
        os.chmod(d, 0o711)
        s = Supervisor(d, watchdog_ms=200)
        try:
            with Bided() as b:
                heard = s.until("READY=1")
                expect("STATUS=Serving " + b.endpoint in heard, heard)
                for _ in range(3):
                    s.until("WATCHDOG=1")
                b.proc.terminate()
                heard = s.until("STOPPING=1")
                expect(any(h.startswith("STATUS=Stopping") for h in heard), heard)
                until(lambda: b.proc.poll() is not None, what="the end")
        finally:
            s.close()


def test_a_stopped_engine_is_silent():
    """Beats are the engine's, not the process's that was started: when the engine stands still they end."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
        os.chmod(d, 0o711)
        s = Supervisor(d, watchdog_ms=200)
        try:
            with Bided() as b:
                s.until("WATCHDOG=1")
                pid = b.proc.pid
                engine = int(open("/proc/%d/task/%d/children" % (pid, pid)).read().split()[0])
                os.kill(engine, signal.SIGSTOP)
                until(lambda: open("/proc/%d/stat" % engine).read().rsplit(")", 1)[1].split()[0] == "T", what="stopped")
                s.sock.settimeout(0)
                try:
                    while True:
                        s.hear()  # what was on its way
                except BlockingIOError:
                    pass
                s.sock.settimeout(1)  # five intervals
                try:
                    expect(False, "a stopped engine told", s.hear())
                except TimeoutError:
                    pass
                os.kill(engine, signal.SIGCONT)
                s.sock.settimeout(30)
                s.until("WATCHDOG=1")
        finally:
            s.close()


def test_no_watchdog_no_beats():
    """Nobody asked for beats, or they were asked of another process: none comes between ready and stopping."""
    for pid in (None, 1):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
            os.chmod(d, 0o711)
            s = Supervisor(d, watchdog_ms=40 if pid else None, pid=pid)
            try:
                with Bided() as b:
                    s.until("READY=1")
                    b.bide("status")
                    b.proc.terminate()
                    heard = s.until("STOPPING=1")
                    expect("WATCHDOG=1" not in heard, heard)
                    until(lambda: b.proc.poll() is not None, what="the end")
            finally:
                s.close()


def test_a_stop_for_the_whole_group():
    """Ctrl-C and a shell's kill %1 reach both processes, and the first hands it on: one stop, of which no warning is written."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
        os.chmod(d, 0o711)
        with open(d + "/log", "wb") as log:
            p = subprocess.Popen([PREFIX + "/bin/bided", "--data", d + "/data", "--listen", "127.0.0.1:0"], stdout=log, stderr=log,
                                 stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            until(lambda: os.path.exists(d + "/data/endpoint"), what="ready")
            os.killpg(p.pid, signal.SIGTERM)
            expect(p.wait(60) == 0, p.returncode)
        finally:
            if p.poll() is None:
                p.kill()
                p.wait()
        told = [line for line in open(d + "/log").read().splitlines() if "signal=" in line]
        expect(len(told) == 1 and "stopping signal=15" in told[0], told)


def engine_of(pid):
    """The child in this pid namespace: boxes have their own."""
    for kid in open("/proc/%d/task/%d/children" % (pid, pid)).read().split():
        with contextlib.suppress(OSError):  # it is gone
            if re.search("^NSpid:\t[0-9]+$", open("/proc/%s/status" % kid).read(), re.M):
                return int(kid)
    return None


def test_a_stop_during_the_start():
    """The engine exists and does not look for signals yet: it is told when it does, and all of it ends well."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
        os.chmod(d, 0o711)

        def early():
            with open(d + "/log", "wb") as log:
                p = subprocess.Popen([PREFIX + "/bin/bided", "--data", d + "/data", "--listen", "127.0.0.1:0"], stdout=log, stderr=log,
                                     stdin=subprocess.DEVNULL)
            engine = until(lambda: engine_of(p.pid), what="the engine", step=0)
            os.kill(engine, signal.SIGSTOP)
            if not os.path.exists(d + "/data/endpoint"):
                return p, engine
            p.kill()
            p.wait()
            return None

        p, engine = until(early, what="the engine before it is ready", step=0)
        p.terminate()
        os.kill(engine, signal.SIGCONT)
        expect(p.wait(60) == 0, p.returncode, open(d + "/log").read())
        expect("error" not in open(d + "/log").read(), open(d + "/log").read())


def test_too_few_descriptors():
    with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
        for more in ([], ["--check"]):
            r = subprocess.run([PREFIX + "/bin/bided", "--data", d + "/data", "--listen", "127.0.0.1:0", *more], text=True,
                               capture_output=True, timeout=60,
                               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
            expect(r.returncode == 1 and "at most 64 files may be open (ulimit -n): 128 are needed" in r.stderr, r)
            expect(not os.path.exists(d + "/data"), "it made something")
