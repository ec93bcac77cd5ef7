#!/usr/bin/env python3
"""The whole daemon under the shim: calls refused while it serves. It must answer with errors, or end with its reason, lose nothing that it
acknowledged, and go on by itself when the cause is gone.

usage: daemon.py [--build DIR] [--seed N] [CASE...]        (default: build/release, the time, all cases)
"""
import base64
import contextlib
import errno
import http.client
import io
import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATIENCE_S = 60
EVER = 1 << 62

# As in shim.h.
CALLS = ("write pwrite writev pwritev lseek fdatasync fsync syncfs msync ftruncate fallocate mmap open mkdir rename unlink fork clone thread"
         " accept socket malloc calloc realloc").split()
REFUSE, LATE, SHORT, DROP, KILL, KILL_AFTER = range(6)
MAGIC = 0x6269646566617531
FIELDS = ["magic", "armed", "calls", "pid", "from", "count", "chance", "seed", "how", "error", "slow_us", "record", "seen", "fired"]
COUNTS, DIR, WHAT, SIZE = 8 * 14, 8 * 50, 8 * 50 + 256, 8 * 50 + 512


class Failed(Exception):
    pass


def expect(condition, *what):
    if not condition:
        raise Failed(" ".join(str(w) for w in what))


def until(condition, what):
    end = time.monotonic() + PATIENCE_S
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed("did not come within %d s: %s" % (PATIENCE_S, what() if callable(what) else what))
        time.sleep(0.01)


class Region:
    """The shared memory through which the shim in a running process is told what to do."""

    def __init__(self, path, folder):
        with open(path, "wb") as f:
            f.truncate(SIZE + 4096)
        self.file = open(path, "r+b")
        self.map = mmap.mmap(self.file.fileno(), SIZE + 4096)
        self.map[DIR:DIR + len(folder)] = folder.encode()
        self["magic"] = MAGIC

    def __getitem__(self, name):
        return struct.unpack_from("=Q", self.map, 8 * FIELDS.index(name))[0]

    def __setitem__(self, name, value):
        struct.pack_into("=Q", self.map, 8 * FIELDS.index(name), value)

    def count(self, call):
        return struct.unpack_from("=Q", self.map, COUNTS + 8 * CALLS.index(call))[0]

    def what(self):
        return self.map[WHAT:WHAT + 256].split(b"\0")[0].decode()

    def arm(self, calls, error, at=1, count=EVER, how=REFUSE, pid=0, chance=0.0, seed=0):
        self["armed"] = 0
        self["calls"] = sum(1 << CALLS.index(c) for c in calls.split())
        for name, value in (("error", error), ("from", at), ("count", count), ("how", how), ("pid", pid), ("chance", int(chance * 2 ** 32)),
                            ("seed", seed), ("seen", 0), ("fired", 0)):
            self[name] = value
        self.map[WHAT:WHAT + 1] = b"\0"
        self["armed"] = 1

    def disarm(self):
        self["armed"] = 0


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=PATIENCE_S):
        super().__init__("bide")
        self.path, self.limit = path, timeout

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.limit)
        self.sock.connect(self.path)


class Daemon:
    """bided with the shim, on a directory of its own; what it acknowledged is remembered across its starts."""

    def __init__(self, build, *sets):
        self.build = build
        self.top = tempfile.mkdtemp(prefix="bide-faults-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.data = self.top + "/data"
        os.chmod(self.top, 0o755)
        self.region = Region(self.top + "/region", self.top + "/data")
        self.sets = ("worker.memory=1GiB", "async.requeue_first_wait=100ms", "async.requeue_max_wait=200ms") + sets
        self.acknowledged, self.proc = [], None

    def spawn(self):
        shim = os.path.join(self.build, "tests", "faults", "libfaultshim.so")
        args = [os.path.join(self.build, "bin", "bided"), "--data", self.data, "--listen", "127.0.0.1:0"]
        for s in self.sets:
            args += ["--set", s]
        self.log_at = os.path.getsize(self.top + "/log") if os.path.exists(self.top + "/log") else 0
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.data + "/endpoint")
        with open(self.top + "/log", "ab") as log:
            self.proc = subprocess.Popen(args, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                         env=dict(os.environ, LD_PRELOAD=shim, BIDE_FAULTS=self.top + "/region"))

    def log(self):
        """Of the last start."""
        with open(self.top + "/log", errors="replace") as f:
            f.seek(self.log_at)
            return f.read()

    def start(self):
        """True when it serves, False when it has ended."""
        self.spawn()
        return until(lambda: os.path.exists(self.data + "/endpoint") or self.proc.poll() is not None, "a start") and self.proc.poll() is None

    def serve(self):
        expect(self.start(), "it does not start:", self.log()[-1000:])
        return self

    def engine(self):
        children = open("/proc/%d/task/%d/children" % (self.proc.pid, self.proc.pid)).read().split()
        return int(children[0])

    def connection(self, timeout=PATIENCE_S):
        return UnixConnection(self.data + "/bide.sock", timeout)

    def ask(self, method, path, body=None, headers=None, conn=None):
        """Status, headers and body; status 0: no answer."""
        c = conn or self.connection()
        try:
            c.request(method, path, body=body, headers=headers or {})
            r = c.getresponse()
            return r.status, r.headers, r.read()
        except (OSError, http.client.HTTPException):
            c.close()
            return 0, {}, b""
        finally:
            if conn is None:
                c.close()

    def get(self, path):
        status, _, body = self.ask("GET", path)
        expect(status == 200, "GET", path, status, body[:300])
        return json.loads(body)

    def send(self, name="f", conn=None):
        """One event; its answer's status."""
        status, headers, _ = self.ask("POST", "/2015-03-31/functions/%s/invocations" % name, b'{"n": %d}' % len(self.acknowledged),
                                      {"X-Amz-Invocation-Type": "Event"}, conn)
        if status == 202:
            self.acknowledged.append(headers["x-amzn-RequestId"])
        return status

    def deploy(self, name="f", script="#!/bin/sh\ncat\n"):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as z:
            info = zipfile.ZipInfo("run.sh", (2024, 1, 1, 0, 0, 0))
            info.external_attr = 0o100755 << 16
            z.writestr(info, script)
        body = {"FunctionName": name, "Runtime": "exec", "Handler": "run.sh", "Role": "arn:aws:iam::000000000000:role/default",
                "Code": {"ZipFile": base64.b64encode(out.getvalue()).decode()}}
        return self.ask("POST", "/2015-03-31/functions", json.dumps(body))[0]

    def deployed(self, name="f"):
        expect(self.deploy(name) == 201, "the function is not made:", self.log()[-500:])
        until(lambda: self.get("/2015-03-31/functions/%s/configuration" % name)["State"] == "Active", "an active function")
        return self

    def settled(self):
        e = self.get("/bide/v1/status")["events"]
        return e["queued"] + e["running"] == 0 and e

    def hold(self, waiting=0):
        """Everything acknowledged has been run to success, and what is stored is sound."""
        until(self.settled, lambda: "an end of all events: %s\n%s" % (self.get("/bide/v1/status")["events"], self.log()[-800:]))
        for event in self.acknowledged:
            status, _, body = self.ask("GET", "/bide/v1/events/" + event)
            expect(status == 200, "LOST:", event, "was acknowledged and is not known")
            expect(json.loads(body)["state"] in ("done", "waiting"), "LOST:", event, "is", json.loads(body)["state"])
        expect(self.get("/bide/v1/status")["events"]["waiting"] == waiting, "events wait")
        v = self.get("/bide/v1/verify")
        expect(v["ok"], "verify:", v["findings"][:3])

    def ended(self):
        """Its exit status, when it has ended by itself."""
        until(lambda: self.proc.poll() is not None, "its end")
        return self.proc.returncode

    def stop(self):
        self.proc.send_signal(signal.SIGTERM)
        expect(self.proc.wait(PATIENCE_S) == 0, "it does not stop well:", self.log()[-800:])

    def done(self):
        if self.proc is not None and self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        subprocess.run(["rm", "-rf", self.top], check=True)


def says(d, *words):
    text = d.log()
    expect(any(w in text for w in words), "its log does not say why it ended:", text[-600:] or "(nothing)")


# --- while it starts ---------------------------------------------------------------------------------------------------------------------

def start_refused(d, calls, error, *words, limit=40):
    """The n-th such call of a start is refused, for each n: it ends with exit status 1 and says why, or it starts. How many there were."""
    for n in range(1, limit):
        d.region.arm(calls, error, at=n, count=1)
        if d.start():
            fired = d.region["fired"]
            d.region.disarm()
            d.proc.send_signal(signal.SIGTERM)
            if d.proc.wait(PATIENCE_S) == 0:
                if not fired:
                    return n - 1
                continue
        # The executor process may find out when the engine serves already.
        expect(d.ended() == 1, "exit status", d.ended(), "with", d.region.what(), "refused:", d.log()[-500:])
        says(d, *words)
        d.region.disarm()
    raise Failed("more than %d calls of %s in a start" % (limit, calls))


def case_fork(d, seed):
    """fork and clone3 refused in a start"""
    expect(start_refused(d, "fork clone", errno.EAGAIN, "Resource temporarily unavailable", "out of memory") > 0, "BLIND: no fork was seen")
    d.serve().deployed().send()
    d.hold()


def case_thread(d, seed):
    """pthread_create refused in a start"""
    expect(start_refused(d, "thread", errno.EAGAIN, "Resource temporarily unavailable", "out of memory") > 3, "BLIND: no thread was seen")


def case_socket(d, seed):
    """socket refused in a start"""
    expect(start_refused(d, "socket", errno.EMFILE, "Too many open files") > 1, "BLIND: no socket was seen")


def case_start_memory(d, seed):
    """malloc, calloc, realloc refused in a start, some at random"""
    d.region.arm("malloc calloc realloc", errno.ENOMEM, at=EVER)
    d.serve()
    total = d.region["seen"]
    d.region.disarm()
    d.stop()
    for i in range(12):
        n = (seed * 7919 + i * (total // 12)) % total + 1
        d.region.arm("malloc calloc realloc", errno.ENOMEM, at=n, count=1)
        d.spawn()
        until(lambda: "libseccomp" in d.region.what() or os.path.exists(d.data + "/endpoint") or d.proc.poll() is not None, "a start")
        if "libseccomp" in d.region.what():  # 2.5 does not bear it: it may crash or hang, before anything is opened
            d.proc.kill()
            d.proc.wait()
        elif d.proc.poll() is None:
            d.proc.send_signal(signal.SIGTERM)
            d.proc.wait(PATIENCE_S)
        # The executor process may find out when the engine serves already.
        if d.ended() != 0 and "libseccomp" not in d.region.what():
            expect(d.ended() in (1, 3, 5), "exit status", d.ended(), "with allocation", n, "refused:", d.log()[-500:])
            says(d, "memory", "ERR_NOMEM", "Resource temporarily unavailable")
            expect("bug:" not in d.log() and "killed by signal" not in d.log(), "allocation", n, ":", d.log()[-500:])
        d.region.disarm()


# --- while it serves ---------------------------------------------------------------------------------------------------------------------

def case_clone(d, seed):
    """clone3 refused: no worker can be made. Events keep their places, and nothing is counted"""
    d.serve().deployed()
    d.region.arm("clone", errno.EAGAIN)
    for _ in range(20):
        expect(d.send() == 202, "an event is not accepted")
    fault = until(lambda: d.get("/bide/v1/status")["faults"], "status names the function")[0]
    expect(fault["function"] == "f" and "clone3" in fault["why"], fault)
    until(lambda: d.region["fired"] >= 3, "it tries again")
    e = d.get("/bide/v1/status")["events"]
    expect(e["queued"] == 20 and e["dead"] + e["waiting"] == 0, e)
    d.region.disarm()
    d.hold()
    for event in d.acknowledged:
        b = d.get("/bide/v1/events/" + event)
        expect(b["attempt_count"] == 1 and b["disruptions"] == 0, b)


def case_accept(d, seed):
    """accept4: EMFILE, ENFILE, ENOMEM. It does not spin, and goes on afterwards"""
    d.serve().deployed()
    for error in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        d.region.arm("accept", error)
        outside = d.connection()
        outside.connect()  # the kernel takes it; bided cannot
        until(lambda: d.region["fired"] >= 3, "accept is tried again")
        before, began = d.region["fired"], time.monotonic()
        until(lambda: d.region["fired"] >= before + 20, "accept is tried again")
        expect(time.monotonic() - began > 0.2, "it spins: twenty calls in %.3f s" % (time.monotonic() - began))
        d.region.disarm()
        until(lambda: d.send() == 202, "who comes is served after %s" % errno.errorcode[error])
        outside.close()
    d.hold()


def case_open(d, seed):
    """open refused at random, EMFILE, while functions are deployed"""
    d.serve().deployed()
    refused = 0
    for i in range(12):
        d.region.arm("open", errno.EMFILE, chance=0.2, seed=seed + i)
        status = d.deploy("g%d" % i, "#!/bin/sh\ncat # %d\n" % i)
        refused += d.region["fired"] > 0
        d.region.disarm()
        expect(status in (201, 500), "status", status)
        if status != 201:
            expect(d.deploy("g%d" % i, "#!/bin/sh\ncat # %d\n" % i) == 201, "a function that was refused once is refused again")
        until(lambda: d.send("g%d" % i) == 202, "an event for it is accepted")
    expect(refused > 0, "BLIND: no open was refused")
    d.hold()


def case_no_room(d, seed):
    """no room on the disk: new events are refused, and all goes on when there is some"""
    d.serve().deployed()
    for error in (errno.ENOSPC, errno.EDQUOT):
        for _ in range(10):
            expect(d.send() == 202, "an event is not accepted")
        d.region.arm("write pwrite writev", error, how=REFUSE)
        for _ in range(5):
            expect(d.send() == 500, "an event is accepted without room")
        expect(d.region["fired"] > 0, "BLIND: no write was refused")
        expect(d.proc.poll() is None, "it ended:", d.log()[-500:])
        d.region.disarm()
        until(lambda: d.send() == 202, "events are accepted again")
        d.hold()


def case_sync_error(d, seed):
    """a sync fails once: it ends with exit status 4 and its reason, and never tries that sync again"""
    d.serve().deployed()
    for how in (REFUSE, LATE):
        for _ in range(10):
            status = d.send()
            expect(status == 202, "an event is not accepted:", status, d.log()[-600:])
        d.region.arm("fdatasync", errno.EIO, count=1, how=how)
        status = d.send()
        expect(status in (0, 202, 500), "status", status)  # 202: the sync that failed was another's
        while d.proc.poll() is None and d.region["fired"] == 0:
            d.send()
        expect(d.ended() == 4, "exit status", d.ended())
        says(d, "Input/output error")
        d.region.disarm()
        d.serve()
        d.hold()


def case_slow(d, seed):
    """every sync takes 20 ms: who comes meanwhile shares the next commit"""
    d.serve().deployed()
    d.region["slow_us"] = 20000
    before, threads, events = d.region.count("fdatasync"), 32, 4

    def client():
        conn = d.connection()
        for _ in range(events):
            d.send(conn=conn)
        conn.close()

    clients = [threading.Thread(target=client) for _ in range(threads)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    syncs = d.region.count("fdatasync") - before
    expect(len(d.acknowledged) == threads * events, len(d.acknowledged), "acknowledged")
    expect(0 < syncs < threads * events, "%d syncs for %d events of %d clients" % (syncs, threads * events, threads))
    d.region["slow_us"] = 0
    d.hold()


def case_memory(d, seed):
    """malloc, calloc, realloc refused at random in the engine under load: errors, or an end that says why; nothing is lost"""
    d.serve().deployed()
    ends = 0
    for i, chance in enumerate((1 / 30000, 1 / 3000, 1 / 300)):
        d.region.arm("malloc calloc realloc", errno.ENOMEM, pid=d.engine(), chance=chance, seed=seed * 100 + i)
        conn = d.connection()
        for _ in range(150):
            if d.send(conn=conn) == 0 and d.proc.poll() is not None:
                break
        conn.close()
        d.region.disarm()
        if d.proc.poll() is not None or d.send() == 0:
            ends += 1
            expect(d.ended() in (3, 5), "exit status", d.ended(), "after", d.region.what(), d.log()[-800:])
            says(d, "out of memory")
            expect("bug:" not in d.log() and "killed by signal" not in d.log(), d.log()[-800:])
            d.serve()
        d.hold()
    print("    %d acknowledged, %d ends" % (len(d.acknowledged), ends))


CASES = {name[5:].replace("_", "-"): case for name, case in list(globals().items()) if name.startswith("case_")}


def main(args):
    build, seed, names = os.path.join(TOP, "build", "release"), int(time.time()) % 100000, []
    while args:
        a = args.pop(0)
        if a == "--help":
            print(__doc__.strip() + "\n")
            for name, case in CASES.items():
                print("  %-13s %s" % (name, case.__doc__))
            return 0
        if a == "--build":
            build = args.pop(0)
        elif a == "--seed":
            seed = int(args.pop(0))
        elif a in CASES:
            names.append(a)
        else:
            print("daemon.py: there is no case %s; --help lists them" % a, file=sys.stderr)
            return 2
    print("daemon: seed %d" % seed)
    bad = 0
    for name in names or CASES:
        d, began = Daemon(build), time.monotonic()
        try:
            CASES[name](d, seed)
            if d.proc.poll() is None:
                d.stop()
            print("daemon: %-13s holds, %.1f s" % (name, time.monotonic() - began), flush=True)
        except Failed as e:
            bad += 1
            print("daemon: %-13s FAILED: %s" % (name, e), flush=True)
        finally:
            d.done()
    print("daemon: seed %d: %d cases, %d findings" % (seed, len(names or CASES), bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
