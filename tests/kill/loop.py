"""One batch of the kill loop: a new data directory, clients and functions at work, and bided killed again and again."""
import contextlib
import http.client
import math
import mmap
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

from history import US, History, Judge, Policy, numbers, read_client_log, read_effects
from rig import PROGRAMS, Failed, Killed, mono_us, until

# Waits of some milliseconds, so that retries come and are due again while bided is killed.
FIRST_WAIT_MS = 30
SETS = ("async.retry_first_wait=%dms" % FIRST_WAIT_MS, "async.retry_max_wait=200ms", "worker.starts=2", "shutdown.grace=100ms",
        "log.level=warn")
FUNCTIONS = {  # name: timeout, retries, reserved
    "plain": (5, 2, None), "two": (5, 2, 2), "fails": (5, 1, None), "coin": (5, 2, 3), "exits": (5, 2, None), "hangs": (1, 0, 2),
    "victim": (5, 2, 1),
}
PLAN = """\
40 plain ok 2
12 plain coin 1
20 two ok 5
6 two coin 5
4 fails err 1
10 coin coin 3
2 exits exit 1
1 hangs hang 0
5 victim ok 20
"""
KILLS = (("main", 30), ("engine", 20), ("box", 14), ("stopped", 10), ("twice", 14), ("term", 6), ("compact", 6))
MOMENTS = (("recovery", 30), ("later", 45), ("at_202", 25))
DRAIN_S = 120


def choose(rng, weighted):
    return rng.choices([w[0] for w in weighted], [w[1] for w in weighted])[0]


class Clients:
    def __init__(self, data, folder, seed, connections=6, pause_ms=6, drop=0):
        self.log, self.effects, counters = (os.path.join(folder, n) for n in ("clients", "effects", "counters"))
        plan = os.path.join(folder, "plan")
        with open(plan, "w") as f:
            f.write(PLAN)
        self.sink = socket.socket()
        self.sink.bind(("127.0.0.1", 0))
        self.sink.listen(256)
        self.address = "127.0.0.1:%d" % self.sink.getsockname()[1]
        self.args = [PROGRAMS + "/kill_client", str(self.sink.fileno()), data, plan, str(connections), str(pause_ms), str(seed), "e%d" % seed,
                     self.log, self.effects, counters] + (["--drop", str(drop)] if drop else [])
        self.counters = counters
        self.proc = None

    def start(self):
        self.proc = subprocess.Popen(self.args, pass_fds=[self.sink.fileno()])
        until(lambda: os.path.exists(self.counters) and os.path.getsize(self.counters) >= 16, 30, "clients", 0.001)
        with open(self.counters, "rb") as f:
            self.map = mmap.mmap(f.fileno(), 4096, prot=mmap.PROT_READ)

    def acknowledged(self):
        return struct.unpack_from("Q", self.map, 8)[0]

    def quiet(self):
        self.proc.send_signal(signal.SIGUSR1)

    def stop(self):
        if self.proc:
            self.proc.terminate()
            if self.proc.wait(30) != 0:
                raise Failed("the clients ended badly")
        self.sink.close()


class Batch:
    def __init__(self, seed, cycles, control=None, disruptions=1000):
        self.rng = random.Random(seed)
        self.seed, self.cycles, self.control = seed, cycles, control
        self.folder = tempfile.mkdtemp(prefix="bide-kill-", dir="/var/tmp")
        os.chmod(self.folder, 0o711)
        config = self.folder + "/conf"
        with open(config, "w") as f:
            f.write('role "default" {\n    network = host\n}\n')
        self.b = Killed(*SETS, "async.max_disruptions=%d" % disruptions, data=self.folder + "/data", config=config)
        self.clients = Clients(self.b.data, self.folder, seed, drop=100 if control == "drop" else 0)
        self.kills, self.boxes, self.recovery, self.counts = [], 0, [], {}
        self.beside = None
        self.measured = 0  # the pid whose start was waited for
        self.down = False  # it was killed, and has not served since

    # --- what goes on beside the kills

    def _letters(self):
        for letter in self.b.ask("GET", "/bide/v1/dlq?limit=3")["items"]:
            self.b.ask("POST", "/bide/v1/dlq/replay", {"id": letter["id"]})

    def _cancel(self):
        for e in self.b.ask("GET", "/bide/v1/events?function=victim&limit=5")["items"]:
            with contextlib.suppress(Failed):  # it is over
                self.b.ask("POST", "/bide/v1/events/cancel", {"id": e["id"]})

    def _purge(self):
        self.b.ask("POST", "/bide/v1/functions/victim/purge")

    def _backup(self):
        with tempfile.TemporaryDirectory(dir=self.folder) as d:
            subprocess.run([self.b.prefix + "/bin/bide", "--data", self.b.data, "backup", d + "/copy"], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, check=False)

    def start_beside(self):
        if self.beside and self.beside.is_alive() or self.rng.random() < 0.5:
            return
        act = self.rng.choice((self._letters, self._cancel, self._purge, self._backup))

        def attempt():
            # The daemon dies under it, that is the point; what it did not get is another's turn.
            with contextlib.suppress(OSError, Failed, ValueError, EOFError, http.client.HTTPException):
                act()

        self.beside = threading.Thread(target=attempt)
        self.beside.start()

    # --- one cycle

    def ready(self):
        if self.b.proc.pid != self.measured:
            self.recovery.append(self.b.ready())
            self.measured = self.b.proc.pid
            self.over()

    def wait_for_moment(self, moment):
        if moment == "recovery":
            time.sleep(self.rng.uniform(0, 0.025) if self.rng.random() < 0.5 else self.rng.uniform(0, 0.005))
            return
        self.ready()
        self.start_beside()
        if moment == "later":
            time.sleep(math.exp(self.rng.uniform(math.log(0.005), math.log(0.3))))
            return
        seen, end = self.clients.acknowledged(), time.monotonic() + 5
        while self.clients.acknowledged() == seen and time.monotonic() < end:
            time.sleep(0.00005)
        time.sleep(self.rng.choice((0, 0, 0.0003, 0.001)))

    def died(self, interval):
        self.over()
        self.kills.append(list(interval))
        self.down = True

    def over(self):
        """A box may live for some milliseconds longer than the processes whose end ends it, but never beside the next bided that
        serves: until then the kill is not over."""
        if self.down:
            self.kills[-1][1] = mono_us()
        self.down = False

    def kill_box(self):
        """A box's init or a process in it, while bided lives on; it is not started anew."""
        workers = self.b.workers()
        if not workers:
            return
        pid = self.rng.choice(self.rng.choice(workers))
        began = mono_us()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.kills.append([began, mono_us()])
        self.boxes += 1

    def stopped(self):
        began = mono_us()
        pids = [p for p in (self.b.proc.pid, self.b.engine()) if p]
        for p in self.rng.choice((pids, pids[1:])):
            with contextlib.suppress(ProcessLookupError):
                os.kill(p, signal.SIGSTOP)
        time.sleep(self.rng.uniform(0, 0.05))
        for signal_, some in ((signal.SIGKILL, [self.rng.choice(pids)]), (signal.SIGCONT, pids)):
            for p in some:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(p, signal_)
        self.b.proc.wait(30)
        self.died((began, mono_us()))

    def term(self):
        """Asked to stop, and killed while it does; or not, then it must end well."""
        began = mono_us()
        self.b.proc.terminate()
        if self.rng.random() < 0.7:
            time.sleep(self.rng.uniform(0, 0.05))
            self.b.kill()
        elif self.b.proc.wait(30) not in (0, -signal.SIGTERM):
            raise Failed("after SIGTERM: exit %d: %s" % (self.b.proc.returncode, self.b.log()[-500:]))
        self.died((began, mono_us()))

    def compact(self):
        """Killed in the middle of it, or let through."""
        self.died(self.b.kill())
        p = subprocess.Popen([self.b.prefix + "/bin/bide", "--data", self.b.data, "compact"], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        if self.rng.random() < 0.7:
            time.sleep(self.rng.uniform(0, 0.03))
            p.kill()
        p.wait(60)

    def cycle(self):
        how, moment = choose(self.rng, KILLS), choose(self.rng, MOMENTS)
        self.counts[how] = self.counts.get(how, 0) + 1
        self.counts[moment] = self.counts.get(moment, 0) + 1
        if how == "twice":
            for _ in range(2):
                self.wait_for_moment("recovery")
                self.died(self.b.kill(self.rng.choice((None, self.b.engine()))))
                self.b.spawn()
        self.wait_for_moment(moment)
        if how == "box":
            self.kill_box()
            time.sleep(self.rng.uniform(0, 0.02))
            self.kill_box()
            return
        if how in ("main", "twice"):
            self.died(self.b.kill())
        elif how == "engine":
            self.died(self.b.kill(self.b.engine()))
        else:
            {"stopped": self.stopped, "term": self.term, "compact": self.compact}[how]()
        self.b.spawn()

    # --- the whole

    def control_rollback(self, n):
        """The store forgets what it has synced: a copy of it is put back later."""
        copy = self.folder + "/older"
        if n == self.cycles // 3 or n == self.cycles * 2 // 3:
            self.b.ready()
            self.died(self.b.kill())
            self.b.wait_locks()
            if n == self.cycles // 3:
                shutil.copy(self.b.data + "/queue/data.mdb", copy)
            else:
                shutil.copy(copy, self.b.data + "/queue/data.mdb")
            self.b.spawn()

    def run(self):
        """(History, findings, numbers)"""
        os.mkdir(self.b.data, 0o711)
        self.b.start()
        self.measured = self.b.proc.pid
        for name, (timeout, retries, reserved) in FUNCTIONS.items():
            self.b.deploy(name, PROGRAMS + "/kill_worker", {"EFFECTS": self.clients.address}, timeout, retries, reserved)
        self.clients.start()
        for n in range(self.cycles):
            if self.control == "rollback":
                self.control_rollback(n)
            self.cycle()
        self.ready()
        if self.beside:
            self.beside.join()
        self.clients.quiet()
        self.drain()
        h = self.collect()
        judge = Judge(h)
        return h, judge.judge(), numbers(h, judge)

    def drain(self):
        end = time.monotonic() + DRAIN_S
        while time.monotonic() < end:
            e = self.b.books()
            if e["queued"] + e["running"] + e["waiting"] == 0:
                return
            time.sleep(0.02)

    def collect(self):
        h = History({name: Policy(retries + 1, reserved or 0, FIRST_WAIT_MS * 1000, timeout * US, name == "victim")
                     for name, (timeout, retries, reserved) in FUNCTIONS.items()}, kills=self.kills, boxes=self.boxes)
        h.events = {e["id"]: e for e in self.b.pages("/bide/v1/events")}
        h.books = self.b.books()
        verdict = self.b.ask("GET", "/bide/v1/verify", timeout=120)
        if not verdict["ok"]:
            raise Failed("bide verify: %s" % verdict["findings"][:5])
        status = self.b.stop()
        if status != 0:
            raise Failed("bided ended with %s" % status)
        with open(self.folder + "/kills", "w") as f:
            f.writelines("%d %d\n" % tuple(k) for k in self.kills)
        self.clients.stop()
        read_client_log(h, open(self.clients.log).read().splitlines())
        read_effects(h, open(self.clients.effects).read().splitlines())
        return h

    def end(self, keep):
        """Nothing of it stays but, if asked, its folder."""
        if self.b.proc and self.b.proc.poll() is None:
            self.b.proc.kill()
            self.b.proc.wait()
        if self.clients.proc and self.clients.proc.poll() is None:
            self.clients.proc.kill()
            self.clients.proc.wait()
        self.b.log_file.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
