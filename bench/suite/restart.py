"""from exec to ready and to the first dispatch, after a kill, with nothing, 10,000 and a million events queued"""
import subprocess
import time

from suite import paths
from suite.daemon import IDLE_MB, WORKER_MB, Daemon, signed_event
from suite.start import Sender
from suite.table import Table


def process_floor():
    began = time.monotonic()
    subprocess.run([paths.program("bided"), "--version"], check=True, stdout=subprocess.DEVNULL)
    return (time.monotonic() - began) * 1000


def one_restart(d, backlog):
    """Milliseconds to ready and to the first dispatch."""
    done = d.events()["done"]
    d.kill()
    began = time.monotonic()
    d.start()
    ready = time.monotonic() - began
    if not backlog:
        Sender(d).send(signed_event(d, "work", b"{}"))
    d.wait(lambda e: e["running"] > 0 or e["done"] > done, step=0.001)
    return ready * 1000, (time.monotonic() - began) * 1000


def starts(d):
    """The same of a backlog of "work", which may run now."""
    d.set_memory("work", WORKER_MB)
    return [one_restart(d, True) for _ in range(paths.RUNS)]


def run():
    rows, floors = [], []
    for count in (0, min(10_000, paths.EVENTS), paths.EVENTS):
        with Daemon() as d:
            d.deploy_native("work", IDLE_MB)
            d.fill("work", count)
            d.set_memory("work", WORKER_MB)
            got = []
            for _ in range(paths.RUNS):
                got.append(one_restart(d, count > 0))
                floors.append(process_floor())
            rows.append((count, got))
            # What was queued is of no more use: a clean stop would drain nothing, it only takes the time of one.
    t = Table("Restart after SIGKILL of both processes, milliseconds from exec until the endpoint is written and until the first event is handed "
              "to a worker (a cold start included; with nothing queued, of an event sent then). Median of %d (lowest-highest)." % paths.RUNS,
              "queued", "ready ms", "first dispatch ms")
    for count, got in rows:
        t.add("{:,}".format(count), [r for r, _ in got], [f for _, f in got])
    t.add("floor: exec of bided --version", floors, "")
    return [t]
