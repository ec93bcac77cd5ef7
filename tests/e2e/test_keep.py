"""Keeping the data: a backup of a busy daemon and its restore, interrupted backups."""
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading

from lib import PREFIX, Bided, Failed, balanced, body, engine_pid, expect, until, zipped


@contextlib.contextmanager
def folder(b, name):
    path = "%s-%s" % (b.data, name)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(path + ".partial", ignore_errors=True)


def load(b, function, stop, ids):
    """A sender of its own connection: events until stop, their ids as they are acknowledged."""
    c = b.client()
    n = 0
    while not stop.is_set():
        r = c.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps({"n": n, "pad": "x" * (n % 7 * 900)}))
        ids.append(r["ResponseMetadata"]["RequestId"])
        n += 1


def running(b, *args):
    return subprocess.Popen([PREFIX + "/bin/bide", "--data", b.data, *args], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def test_backup_of_a_busy_daemon():
    with Bided() as b, folder(b, "copy") as copy:
        c = b.make("work", "import time\ndef handler(e, c):\n    time.sleep(0.005)\n    return e\n")
        b.make("broken", "def handler(e, c):\n    raise ValueError('no')\n")
        c.put_function_concurrency(FunctionName="work", ReservedConcurrentExecutions=2)
        c.put_function_event_invoke_config(FunctionName="broken", MaximumRetryAttempts=0)
        c.invoke(FunctionName="broken", InvocationType="Event")
        b.drained(lambda e: e["dead"] == 1)
        stop, ids = threading.Event(), []
        senders = [threading.Thread(target=load, args=(b, "work", stop, ids)) for _ in range(4)]
        for t in senders:
            t.start()
        try:
            until(lambda: len(ids) > 300 and b.events()["queued"] > 50, what="a backlog")
            before = list(ids)
            said = json.loads(b.bide("backup", copy, "--json").stdout)
        finally:
            stop.set()
            for t in senders:
                t.join()
        expect(said["verified"] and said["functions"] == 2 and said["packages"] == 2, said)
        expect(said["events"] > len(before) and said["directory"] == copy, said, len(before))
        expect(sorted(os.listdir(copy)) == ["code", "credentials", "queue"], os.listdir(copy))
        expect(os.stat(copy).st_mode & 0o777 == 0o700 and os.stat(copy + "/credentials").st_mode & 0o777 == 0o600, "modes")
        expect(b.bide("verify", data=copy).stdout == "verify: holds\n", "the copy does not hold")
        os.unlink(copy + "/queue/lock.mdb")
        with Bided(data=copy) as r:
            e = r.events()
            expect(e["accepted"] == said["events"] and balanced(e), e, said)
            expect(r.key == b.key and r.secret == b.secret, "the keys are others")
            rc = r.client()
            # what was acknowledged before the backup is in it, and what was queued in it runs here
            e = r.drained(lambda e: e["queued"] + e["running"] + e["waiting"] == 0, 180)
            expect(e["done"] == e["accepted"] - 1 and e["dead"] == 1 and balanced(e), e)
            for i in before[:: max(1, len(before) // 20)] + before[-1:]:
                expect(r.show(i)["state"] == "done", i)
            # only now: while events have both of its slots, a call is throttled
            expect(body(rc.invoke(FunctionName="work", Payload=b'{"here": 1}')) == {"here": 1}, "the code does not run")
            expect(rc.get_function_concurrency(FunctionName="work")["ReservedConcurrentExecutions"] == 2, "concurrency")
        b.drained(lambda e: e["queued"] + e["running"] == 0, 180)


def test_backup_refuses_and_leaves_nothing_half_done():
    with Bided() as b, folder(b, "copy") as copy:
        b.make("f", "def handler(e, c):\n    return 1\n")
        os.mkdir(copy)
        open(copy + "/x", "w").close()
        r = b.bide("backup", copy, check=False)
        expect(r.returncode == 1 and "is not empty" in r.stderr and os.listdir(copy) == ["x"], r)
        os.unlink(copy + "/x")
        r = b.bide("backup", copy + "/no/such", check=False)
        expect(r.returncode == 1 and "No such file" in r.stderr, r)
        r = b.bide("backup", check=False)
        expect(r.returncode == 2, r)
        r = b.bide("backup", copy, data="/var/tmp/nothing-here", check=False)
        expect(r.returncode == 1 and "no daemon" in r.stderr and not os.path.exists(copy + ".partial"), r)
        os.rmdir(copy)
        # the daemon does not answer: interrupted by hand, then killed under it
        pid = engine_pid(b)
        os.kill(pid, signal.SIGSTOP)  # for good: it is killed below
        p = running(b, "backup", copy)
        until(lambda: os.path.exists(copy + ".partial/incomplete"), what="a beginning")
        bad = subprocess.run([PREFIX + "/bin/bided", "--data", copy + ".partial", "--listen", "127.0.0.1:0"],
                             capture_output=True, text=True, timeout=60)
        expect(bad.returncode == 1 and "interrupted `bide backup`" in bad.stderr, bad)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        expect(p.returncode == 1 and "interrupted" in err, p.returncode, out, err)
        expect(not os.path.exists(copy) and not os.path.exists(copy + ".partial"), "something is left")
        p = running(b, "backup", copy)
        until(lambda: os.path.exists(copy + ".partial/incomplete"), what="a beginning")
        os.kill(pid, signal.SIGKILL)
        out, err = p.communicate(timeout=60)
        expect(p.returncode == 1 and err.startswith("bide: backup: "), p.returncode, out, err)
        expect(not os.path.exists(copy) and not os.path.exists(copy + ".partial"), "something is left")
        b.proc.wait(30)
        b.start()
        # one killed outright leaves what the next one clears away
        os.mkdir(copy + ".partial")
        open(copy + ".partial/incomplete", "w").close()
        open(copy + ".partial/rest", "w").close()
        b.bide("backup", copy)
        expect(sorted(os.listdir(copy)) == ["code", "credentials", "queue"], os.listdir(copy))


def test_a_stalled_backup_hinders_nobody():
    with Bided("history.payload=on") as b, folder(b, "copy") as copy:
        c = b.make("f", "def handler(e, c):\n    return 1\n")
        c.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=1)
        for n in range(40):  # more than sockets and pipes hold
            c.invoke(FunctionName="f", InvocationType="Event", Payload=json.dumps("x" * 500000))
        b.drained(lambda e: e["done"] == 40)
        s = socket.socket(socket.AF_UNIX)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(b.data + "/bide.sock")
        s.sendall(b"GET /bide/v1/backup HTTP/1.1\r\nHost: b\r\n\r\n")
        expect(s.recv(100).startswith(b"HTTP/1.1 200"), "no beginning")
        r = b.bide("backup", copy, check=False)
        expect(r.returncode == 1 and "running already" in r.stderr and not os.path.exists(copy), r)
        expect(body(c.invoke(FunctionName="f")) == 1, "the daemon is held up")
        s.close()

        def again():
            r = b.bide("backup", copy, check=False)
            if r.returncode and "running already" not in r.stderr:
                raise Failed(r.stderr)
            return r.returncode == 0

        until(again, what="the end of a backup whose reader has gone")
        # and one that stalls does not hold up the end of the daemon
        s = socket.socket(socket.AF_UNIX)
        s.connect(b.data + "/bide.sock")
        s.sendall(b"GET /bide/v1/backup HTTP/1.1\r\nHost: b\r\n\r\n")
        expect(s.recv(100).startswith(b"HTTP/1.1 200"), "no beginning")
        expect(b.stop() == 0, "the stop")
        s.close()
        b.start()


def test_compact():
    b = Bided()
    with b:
        c = b.make("f", "def handler(e, c):\n    return len(e)\n")
        for n in range(30):
            c.invoke(FunctionName="f", InvocationType="Event", Payload=json.dumps("x" * 200000))
        b.drained(lambda e: e["done"] == 30)
        r = b.bide("compact", check=False)
        expect(r.returncode == 1 and "stop it first" in r.stderr, r)
        expect(b.stop() == 0, "the stop")
        store = b.data + "/queue/data.mdb"
        was = os.stat(store)
        said = json.loads(b.bide("compact", "--json").stdout)
        now = os.stat(store)
        expect(said["before_bytes"] == was.st_size and said["after_bytes"] == now.st_size < was.st_size / 2, said)
        expect((now.st_uid, now.st_gid, now.st_mode) == (was.st_uid, was.st_gid, was.st_mode), now)
        expect(said["events"] == 30, said)
        b.start()
        e = b.events()
        expect(e["done"] == 30 and balanced(e), e)
        expect(body(b.client().invoke(FunctionName="f", Payload=b'"abc"')) == 3, "it does not run")
    r = b.bide("compact", check=False)
    expect(r.returncode == 1 and b.data in r.stderr, r)


def checked(*args):
    return subprocess.run([PREFIX + "/bin/bided", "--check", *args], text=True, capture_output=True, timeout=120)


def test_check_beside_a_running_daemon():
    with Bided() as b, folder(b, "new") as new:
        c = b.make("f", "import time\ndef handler(e, c):\n    time.sleep(0.3)\n    return e\n")
        c.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=2)
        for n in range(20):
            c.invoke(FunctionName="f", InvocationType="Event")
        until(lambda: b.events()["running"] > 0, what="a running event")
        files = {n: os.stat(os.path.join(b.data, n)).st_mtime_ns for n in ("endpoint", "credentials", "lock", "bide.sock")}
        address = b.endpoint[len("http://"):]
        r = checked("--data", b.data, "--listen", address)
        expect(r.returncode == 0 and r.stderr == "", r)
        expect("(pid %d)" % b.proc.pid in r.stdout and address + " is held by the bided that runs" in r.stdout, r.stdout)
        expect(b.events()["running"] + b.events()["queued"] > 0, "it was over before: this showed nothing")
        # a settings file that is wrong is named by line, and nobody else's port is taken for our own
        os.mkdir(new)
        with open(new + "/bide.conf", "w") as f:
            f.write("region = eu-west-1\nworker.idel = 5m\n")
        r = checked("--data", b.data, "--listen", address, "--config", new + "/bide.conf")
        expect(r.returncode == 1 and "FAIL  settings" in r.stdout and "bide.conf:2" in r.stdout, r.stdout)
        r = checked("--data", new + "/not-there", "--listen", address)
        expect(r.returncode == 1 and "FAIL  listen" in r.stdout and "in use" in r.stdout, r.stdout)
        expect(os.listdir(new) == ["bide.conf"], "it made something")
        for n, t in files.items():
            expect(os.stat(os.path.join(b.data, n)).st_mtime_ns == t, n, "was touched")
        e = b.drained(lambda e: e["queued"] + e["running"] == 0)
        expect(e["done"] == 20, e)
        items = [json.loads(line) for line in b.bide("events", "ls", "--json").stdout.splitlines()]
        expect(all(i["disruptions"] == 0 for i in items) and len(items) == 20, "workers were disturbed")


LATE = """
import time
def handler(e, c):
    end = time.time() + e.get("for", 0)
    while time.time() < end:
        time.sleep(0.02)
    return open("/var/task/late.txt").read()
"""


def test_code_that_nothing_names_goes():
    with Bided() as b:
        def packages():
            return sorted(n for n in os.listdir(b.data + "/code") if not n.startswith("."))

        c = b.make("f", {"app.py": LATE, "late.txt": "old"})
        old = packages()
        expect(len(old) == 2, old)
        # The event runs on the old code while the new one takes its place: what it reads late is still there.
        i = c.invoke(FunctionName="f", InvocationType="Event", Payload=b'{"for": 2}')["ResponseMetadata"]["RequestId"]
        until(lambda: b.show(i)["state"] == "running", what="a running event")
        c.update_function_code(FunctionName="f", ZipFile=zipped({"app.py": LATE, "late.txt": "new"}))
        until(lambda: c.get_function_configuration(FunctionName="f")["LastUpdateStatus"] == "Successful", what="the update")
        expect(body(c.invoke(FunctionName="f", Payload=b"{}")) == "new", "the new code does not run")
        expect(b.show(i)["state"] != "running" or set(old) < set(packages()), "the code of a running event was removed")
        ev = until(lambda: (lambda x: x if x["state"] == "done" else None)(b.show(i)), what="the event")
        expect(len(ev["attempts"]) == 1, ev)
        until(lambda: len(packages()) == 2 and packages() != old, what="the end of the old package")
        expect(body(c.invoke(FunctionName="f", Payload=b"{}")) == "new", "the new code does not run any more")
        c.delete_function(FunctionName="f")
        until(lambda: not packages(), what="the end of the last package")
