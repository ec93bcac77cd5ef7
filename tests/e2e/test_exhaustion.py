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
import sys
import tempfile
import threading
import time

from lib import Bided, balanced, engine_pid, expect, until, zipped

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(TOP + "/tests/kill")

from faults import Faults  # noqa: E402

BUILD = os.environ.get("BIDE_BUILD") or os.path.join(TOP, "build", "release")
ECHO = "def handler(e, c):\n    return e\n"
FLOOD_S = int(os.environ.get("BIDE_FLOOD_S", "5"))        # minutes, by hand
STORM = int(os.environ.get("BIDE_STORM", "60"))          # functions; 1000 by hand
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
    """So many are done; without room, history goes first, so that some may be removed already."""
    until(lambda: (lambda e: e["done"] + e["removed"])(events(b)) >= done, limit, lambda: "%d done: %s" % (done, events(b)))
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


def test_not_a_block_left():
    """Nothing at all is free: not even an outcome finds room. It is neither lost nor counted twice, nothing more starts, and all goes on
    when there is room again."""
    with small_disk(96) as disk:
        b = Bided(*DISK, data=disk + "/data")
        b.log_path = disk + ".log"
        with b:
            b.make("f", "def handler(e, c):\n    if e:\n        raise ValueError('x' * 15000)\n")  # an outcome that is long
            paused(b, "f", True)
            ids = [accept(b, "f", b'{"n": %d}' % n) for n in range(300)]
            filler = os.open(disk + "/filler", os.O_CREAT | os.O_WRONLY)
            with contextlib.suppress(OSError):
                os.posix_fallocate(filler, 0, shutil.disk_usage(disk).free)
            with contextlib.suppress(OSError):
                while True:
                    os.write(filler, b"x" * 4096)
            until(lambda: invoke(b, "f")[0] == 500, 30, "a refusal")
            until(lambda: b.ask("POST", "/bide/v1/functions/f/resume")[0] == 200, 30, "resumed")
            until(lambda: "no room is left to store what became of events" in b.log(), 30, lambda: "out of room: %s" % events(b))
            e = until(lambda: (lambda x, y: y if x == y else None)(events(b), events(b)), 30, "a standstill")
            expect(b.ask("GET", "/health")[0] == 200 and b.proc.poll() is None and balanced(e), e)
            spent = cpu_s(b.proc.pid, engine_pid(b))
            threading.Event().wait(1)
            spent = cpu_s(b.proc.pid, engine_pid(b)) - spent
            print("     %d settled, %d queued, %d running when nothing went any more; CPU %.2f s in a second" % (
                e["waiting"], e["queued"], e["running"], spent))
            expect(e["waiting"] < 300 and spent < 0.3, e, spent)
            expect(b.ask("POST", "/2015-03-31/functions/f/invocations", b"{}")[0] == 200, "a call needs no room")
            os.ftruncate(filler, 0)
            os.close(filler)
            until(lambda: events(b)["waiting"] == 300, 60, lambda: "300 wait: %s" % events(b))
            expect(balanced(events(b)), events(b))
            for i in ids[::10]:
                ev = b.show(i)
                expect(len(ev["attempts"]) == 1 and ev["disruptions"] == 0, ev)
            accept(b, "f")
            settled(b, 1)


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
            c = b.make("f", FAILS_ONCE)
            c.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=1)  # one worker: what it remembers is in its /tmp
            c.put_function_event_invoke_config(FunctionName="f", MaximumEventAgeInSeconds=60)
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


# --- a slow disk

def test_slow_disk():
    """Every sync takes 200 ms: clients share them, and what needs none does not wait."""
    with tempfile.TemporaryDirectory(prefix="bide-slow-", dir="/var/tmp") as d:
        os.chmod(d, 0o711)
        f = Faults(BUILD + "/tests/faults/libfaultshim.so", d + "/faults", d)
        with Bided(data=d + "/data", env=f.env) as b:
            b.make("f", ECHO)
            b.ask("POST", "/2015-03-31/functions/f/invocations", b"{}")
            f.slow_syncs(200)
            began = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(64) as ex:
                took = list(ex.map(lambda n: timed(lambda: accept(b, "f")), range(256)))
            rate = 256 / (time.monotonic() - began)
            calls = [timed(lambda: expect(b.ask("POST", "/2015-03-31/functions/f/invocations", b"{}")[0] == 200)) for _ in range(10)]
            reads = [timed(lambda: status(b)) for _ in range(10)]
            print("     %.0f accepted a second, each within %.0f to %.0f ms; a call %.0f ms, status %.0f ms at most" % (
                rate, 1000 * min(took), 1000 * max(took), 1000 * max(calls), 1000 * max(reads)))
            expect(min(took) > 0.15, "the syncs are not slow:", min(took))
            expect(rate > 20 and max(calls) < 2 and max(reads) < 2, rate, calls, reads)
            f.slow_syncs(0)
            settled(b, 256)


# --- too many of something

def test_child_storm():
    """Many functions whose program ends at once: each backs off or fails by itself; no zombie, no descriptor, no box is left."""
    with Bided("async.retry_first_wait=200ms", "logs=off") as b:
        code = zipped({"bootstrap": "#!/bin/sh\nexit 1\n"})
        c = b.client()

        def make(n):
            c.create_function(FunctionName="storm%d" % n, Runtime="provided.al2023", Role="arn:aws:iam::000000000000:role/default",
                              Handler="none", Code={"ZipFile": code})
            c.put_function_event_invoke_config(FunctionName="storm%d" % n, MaximumRetryAttempts=1)

        with concurrent.futures.ThreadPoolExecutor(8) as ex:
            list(ex.map(make, range(STORM)))
        b.make("quiet", ECHO)
        b.bide("invoke", "quiet")
        engine, began, cpu = engine_pid(b), time.monotonic(), cpu_s(b.proc.pid, engine_pid(b))
        before = fds(engine), fds(b.proc.pid)
        for n in range(STORM):
            accept(b, "storm%d" % n)
        waits = [timed(lambda: b.bide("invoke", "quiet")) for _ in range(10)]
        until(lambda: events(b)["dead"] == STORM, 120, lambda: "all dead: %s" % events(b))
        took, cpu = time.monotonic() - began, cpu_s(b.proc.pid, engine) - cpu
        until(lambda: len(open("/proc/%d/task/%d/children" % (b.proc.pid, b.proc.pid)).read().split()) <= 2, 30, "the boxes are gone")
        until(lambda: fds(engine) <= before[0] + 4 and fds(b.proc.pid) <= before[1] + 4, 30,
              lambda: "descriptors: %d and %d, were %s" % (fds(engine), fds(b.proc.pid), before))
        print("     %d functions, %d runs in %.1f s, CPU %.1f s; another's call: at most %.0f ms" % (
            STORM, 2 * STORM, took, cpu, 1000 * max(waits)))
        expect(max(waits) < 5, waits)


def test_idle_connections():
    """Ten thousand connections that send nothing: those over the ceiling make room, memory stays where it is, others are served."""
    with descriptors(IDLE + 500), Bided() as b:
        c = b.make("f", ECHO)
        c.invoke(FunctionName="f")
        engine = engine_pid(b)
        before, held = anon_kb(engine), []
        try:
            for _ in range(IDLE):
                held.append(socket.create_connection(address(b)))
            until(lambda: status(b)["now_ms"], 30, "an answer")
            grown = anon_kb(engine) - before
            waits = [timed(lambda: expect(b.client().invoke(FunctionName="f", InvocationType="Event")["StatusCode"] == 202))
                     for _ in range(10)]
            print("     %d connections: %d KiB more, %d descriptors; an event by a new client within %.0f ms" % (
                IDLE, grown, fds(engine), 1000 * max(waits)))
            expect(grown < 8 * 1024 and fds(engine) < 1200, grown, fds(engine))
            expect(max(waits) < 5, waits)
        finally:
            for s in held:
                s.close()
        settled(b, 10)


def test_slow_heads():
    """Clients that send a head byte by byte, more of them than there are places: the slowest make room, others go on."""
    with descriptors(3000), Bided() as b:
        c = b.make("f", ECHO)
        engine, slow = engine_pid(b), []
        before = anon_kb(engine)
        try:
            for n in range(1500):
                s = socket.create_connection(address(b))
                s.sendall(b"GET /health HTTP/1.1\r\n")
                slow.append(s)
            waits = []
            for n in range(20):
                for s in slow[n::20]:
                    with contextlib.suppress(OSError):
                        s.sendall(b"A: b\r\n")
                waits.append(timed(lambda: accept(b, "f")))
                waits.append(timed(lambda: c.invoke(FunctionName="f", InvocationType="Event")))
            print("     1500 slow heads: %d KiB more, %d descriptors, an event within %.0f ms" % (
                anon_kb(engine) - before, fds(engine), 1000 * max(waits)))
            expect(anon_kb(engine) - before < 16 * 1024 and fds(engine) < 1200 and max(waits) < 2, fds(engine), waits)
        finally:
            for s in slow:
                s.close()
        settled(b, 40)


def test_huge_heads():
    """431 or 414, at 16 KiB, however much is sent."""
    with Bided() as b:
        engine = engine_pid(b)
        before = anon_kb(engine)
        for head in (b"GET /health HTTP/1.1\r\nA: " + b"x" * (4 << 20), b"GET /" + b"x" * (4 << 20),
                     b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * 100000):
            for _ in range(20):
                with socket.create_connection(address(b)) as s:
                    with contextlib.suppress(ConnectionError):
                        s.sendall(head)
                    answer = b""
                    with contextlib.suppress(ConnectionError):
                        answer = s.recv(4096)
                    expect(answer == b"" or answer.split()[1] in (b"431", b"414"), answer[:200])
        expect(anon_kb(engine) - before < 4 * 1024, anon_kb(engine) - before)
        expect(b.ask("GET", "/health")[0] == 200)


def test_flood():
    """One function is sent events faster than it runs them: memory stays bounded, another's events and calls keep their pace, and the
    books have all that was accepted."""
    with Bided("history.max_bytes=64MiB", "log.level=warn") as b:
        c = b.make("flood", "import time\ndef handler(e, c):\n    time.sleep(0.01)\n")
        c.put_function_concurrency(FunctionName="flood", ReservedConcurrentExecutions=4)
        b.make("other", ECHO)
        c.invoke(FunctionName="other")
        engine, host = engine_pid(b), address(b)
        before = anon_kb(engine)
        load = subprocess.Popen([BUILD + "/bench/bench_load", host[0], str(host[1]), "16", str(FLOOD_S), "0",
                                 "/2015-03-31/functions/flood/invocations", b.key, b.secret, "us-east-1", "256"], stdout=subprocess.PIPE,
                                text=True)
        starts, calls, most = [], [], 0
        while load.poll() is None:
            i = accept(b, "other")
            ev = until(lambda: (lambda x: x if x["state"] == "done" else None)(json.loads(b.ask("GET", "/bide/v1/events/" + i)[2])))
            starts.append(ev["attempts"][0]["started_at_ms"] - ev["accepted_at_ms"])
            calls.append(timed(lambda: b.ask("POST", "/2015-03-31/functions/other/invocations", b"{}")))
            most = max(most, anon_kb(engine))
        sent = json.loads(load.stdout.read())
        expect(load.returncode == 0, "something was refused")
        left = events(b)["queued"]
        expect(left > 100, "it was no flood: %d are queued" % left)
        print("     %d accepted in %.0f s, %d still queued; %d KiB more; another's event starts after %d ms (median) to %d ms, its call takes "
              "%.0f to %.0f ms" % (sent["n"], sent["seconds"], left, most - before, sorted(starts)[len(starts) // 2], max(starts),
                                   1000 * sorted(calls)[len(calls) // 2], 1000 * max(calls)))
        expect(most - before < 64 * 1024, "the engine grew by %d KiB" % (most - before))
        expect(sorted(starts)[len(starts) // 2] < 250, starts)
        e = events(b)
        # The load ends with up to one answer of each connection unread.
        expect(0 <= e["accepted"] - sent["n"] - len(starts) <= 16 and balanced(e), e, sent)
        b.ask("POST", "/bide/v1/functions/flood/purge", timeout=120)
        until(lambda: events(b)["queued"] + events(b)["running"] == 0, 60, "nothing left")
