"""Something runs out, or there is too much of something: new events are refused or wait, what was accepted is finished, the others keep
their pace, and when it is over all goes on by itself. The table in docs/reliability.md has a row for each test."""
import concurrent.futures
import contextlib
import json
import os
import re
import resource
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time

from lib import Bided, balanced, engine_pid, expect, until, zipped

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BIDE_BUILD") or os.path.join(TOP, "build", "release")
ECHO = "def handler(e, c):\n    return e\n"
FLOOD_S = int(os.environ.get("BIDE_FLOOD_S", "8"))        # minutes, by hand
STORM = int(os.environ.get("BIDE_STORM", "150"))          # functions; 1000 by hand
IDLE = int(os.environ.get("BIDE_IDLE", "10000"))          # connections


# --- what a test looks at

def invoke(b, name, payload=b"{}"):
    """(status, headers) of an event over the Unix socket, which is not signed: what runs out may be the clock."""
    status, headers, _ = b.ask("POST", "/2015-03-31/functions/%s/invocations" % name, payload, {"X-Amz-Invocation-Type": "Event"})
    return status, headers


def accept(b, name, payload=b"{}"):
    status, headers = invoke(b, name, payload)
    expect(status == 202, "refused:", status)
    return headers["x-amzn-RequestId"]


def status(b):
    return json.loads(b.ask("GET", "/bide/v1/status")[2])


def events(b):
    return status(b)["events"]


def settled(b, done, limit=90):
    until(lambda: events(b)["done"] >= done, limit, lambda: "%d done: %s" % (done, events(b)))
    e = events(b)
    expect(balanced(e), e)
    return e


def anon_kb(pid):
    return int(re.search(r"RssAnon:\s+(\d+)", open("/proc/%d/status" % pid).read()).group(1))


def fds(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def cpu_s(*pids):
    """User and system time so far."""
    ticks = 0
    for pid in pids:
        ticks += sum(int(x) for x in open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def timed(act):
    began = time.monotonic()
    act()
    return time.monotonic() - began


def address(b):
    host, port = b.endpoint[len("http://"):].rsplit(":", 1)
    return host, int(port)


def paused(b, name, on):
    expect(b.ask("POST", "/bide/v1/functions/%s/%s" % (name, "pause" if on else "resume"))[0] == 200)


@contextlib.contextmanager
def descriptors(n):
    """So many for this process, for a while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < n:
        resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(n, soft), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def small_disk(mib):
    """A folder on an ext4 of its own."""
    d = tempfile.mkdtemp(prefix="bide-disk-", dir="/var/tmp")
    image, at = d + "/image", d + "/at"
    os.chmod(d, 0o711)
    try:
        with open(image, "wb") as f:
            f.truncate(mib << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
        os.mkdir(at)
        subprocess.run(["mount", "-o", "loop", image, at], check=True)
        try:
            yield at
        finally:
            subprocess.run(["umount", "-l", at], check=True)
    finally:
        shutil.rmtree(d)


# --- the disk

DISK = ("queue.max_bytes=1GiB", "queue.reserve_bytes=16MiB", "logs=off")


def test_disk_nearly_full():
    """Less than the reserve is free: refused, with when to come again, and finished all the same; then there is room again."""
    with small_disk(96) as disk:
        b = Bided(*DISK, data=disk + "/data")
        b.log_path = disk + ".log"  # elsewhere
        with b:
            b.make("f", ECHO)
            paused(b, "f", True)
            for n in range(100):
                accept(b, "f", b'{"n": %d}' % n)
            filler = os.open(disk + "/filler", os.O_CREAT | os.O_WRONLY)
            os.posix_fallocate(filler, 0, shutil.disk_usage(disk).free - (12 << 20))
            code, headers = until(lambda: (lambda r: r if r[0] != 202 else None)(invoke(b, "f")), 30, "a refusal")
            expect(code == 500 and int(headers["Retry-After"]) > 0, code, dict(headers))
            paused(b, "f", False)
            accepted = events(b)["accepted"]
            settled(b, accepted)
            os.ftruncate(filler, 0)
            os.close(filler)
            until(lambda: invoke(b, "f")[0] == 202, 30, "room again")
            settled(b, accepted + 1)


# --- descriptors, processes

def test_no_descriptors():
    """Connections that cannot be sent away take every descriptor: what was accepted waits, and is not counted as tried."""
    with Bided("async.requeue_first_wait=100ms", "async.requeue_max_wait=200ms",
               before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160))) as b:
        b.make("f", ECHO)
        paused(b, "f", True)
        ids = [accept(b, "f") for _ in range(20)]
        engine = engine_pid(b)
        held = []
        try:
            while fds(engine) < 158 and len(held) < 200:
                s = socket.create_connection(address(b))
                s.sendall(b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\n")  # and no more: not idle
                held.append(s)
            until(lambda: fds(engine) >= 155, 20, lambda: "descriptors taken: %d" % fds(engine))
            spent = cpu_s(b.proc.pid, engine)
            pause = threading.Event()
            pause.wait(1)
            spent = cpu_s(b.proc.pid, engine) - spent
            expect(spent < 0.3, "it spins: %.2f s of CPU in a second" % spent)
            expect(b.proc.poll() is None)
        finally:
            for s in held:
                s.close()
        until(lambda: b.ask("POST", "/bide/v1/functions/f/resume")[0] == 200, 30, "it answers again")
        settled(b, 20)
        for i in ids:
            expect(len(b.show(i)["attempts"]) == 1, b.show(i))


@contextlib.contextmanager
def process_group(most):
    """A pids cgroup with room for so many processes; (how to enter it, its limit's file)."""
    for top in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup"):
        if os.path.exists(top + "/cgroup.procs") and (top.endswith("pids") or "pids" in open(top + "/cgroup.subtree_control").read()):
            break
    else:
        yield None
        return
    group = "%s/bide-test-%d" % (top, os.getpid())
    os.mkdir(group)
    try:
        with open(group + "/pids.max", "w") as f:
            f.write(str(most))
        yield group
    finally:
        until(lambda: removed(group), 20, "the cgroup is empty")


def removed(group):
    for child in os.listdir(group):
        if os.path.isdir(group + "/" + child) and not removed(group + "/" + child):
            return False
    with contextlib.suppress(OSError):
        os.rmdir(group)
    return not os.path.exists(group)


def test_no_processes():
    """fork is refused: no worker starts, events keep their places, nothing spins; then there is room, and they run."""
    with process_group("max") as group:
        if group is None:
            print("     no pids cgroup here: not tried")
            return

        def enter():
            with open(group + "/cgroup.procs", "w") as f:
                f.write(str(os.getpid()))

        with Bided("async.requeue_first_wait=100ms", "async.requeue_max_wait=500ms", before=enter) as b:
            b.make("f", ECHO)
            until(lambda: status(b)["workers"] == 0, 60, "no worker")
            now = int(open(group + "/pids.current").read())
            with open(group + "/pids.max", "w") as f:
                f.write(str(now))
            ids = [accept(b, "f") for _ in range(20)]
            until(lambda: status(b)["faults"], 30, "a fault that is named")
            spent = cpu_s(b.proc.pid, engine_pid(b))
            threading.Event().wait(1)
            spent = cpu_s(b.proc.pid, engine_pid(b)) - spent
            e = events(b)
            expect(e["queued"] == 20 and spent < 0.3, e, "CPU %.2f s in a second" % spent)
            print("     refused: %s; CPU %.2f s in a second" % (status(b)["faults"][0]["why"], spent))
            with open(group + "/pids.max", "w") as f:
                f.write("max")
            settled(b, 20)
            for i in ids:
                expect(len(b.show(i)["attempts"]) == 1, b.show(i))


# --- the clock

class Clock:
    """The wall clock of a bided, set from here."""

    def __init__(self):
        self.path = tempfile.mktemp(prefix="bide-clock-", dir="/var/tmp")
        self.set(0)
        self.env = {"LD_PRELOAD": BUILD + "/tests/kill/libclockshim.so", "BIDE_CLOCK": self.path}

    def set(self, ms):
        fd = os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o644)
        os.pwrite(fd, struct.pack("q", int(ms)), 0)
        os.close(fd)


YEAR_MS = 366 * 86400 * 1000
FAILS_ONCE = ("import os\ndef handler(e, c):\n    p = '/tmp/' + c.aws_request_id\n    if os.path.exists(p):\n        return 1\n"
              "    open(p, 'w').close()\n    raise ValueError('once')\n")


def test_clock_jumps():
    """A year forward: nothing is given up for its age at once. A year back: what waits does not wait a year. Order and ids hold."""
    clock = Clock()
    try:
        with Bided("async.retry_first_wait=1500ms", env=clock.env) as b:
            b.make("f", FAILS_ONCE).put_function_event_invoke_config(FunctionName="f", MaximumEventAgeInSeconds=60)
            paused(b, "f", True)
            first = accept(b, "f")
            clock.set(YEAR_MS)
            second = accept(b, "f")
            paused(b, "f", False)
            until(lambda: events(b)["waiting"] == 2, 30, lambda: "both wait: %s" % events(b))
            expect("the clock was set forward" in b.log(), b.log()[-500:])
            clock.set(0)
            third = accept(b, "f")
            settled(b, 3, 30)
            clock.set(-YEAR_MS)
            fourth = accept(b, "f")
            settled(b, 4, 30)
            expect(first < second < third < fourth, first, second, third, fourth)
            for i in (first, second, third, fourth):
                expect([a["outcome"] for a in b.show(i)["attempts"]] == ["function_error", "success"], b.show(i))
    finally:
        os.unlink(clock.path)
