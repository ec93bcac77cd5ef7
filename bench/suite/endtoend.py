"""events per second from accept to settled, no-op workers: native, Python, Node.js"""
import time

from suite import paths, workers
from suite.daemon import IDLE_MB, WORKER_MB, WORKERS, Daemon
from suite.table import Table

CONNECTIONS = (1, 16, 64)


def settled(e):
    """Done, also those that history has let go of since."""
    return e["done"] + e["removed"]


def through(d, name, connections, count):
    """Events per second: from the first request until the last event is done."""
    before = settled(d.events())
    began = time.monotonic()
    n = d.load(name, connections, count=count)["n"]
    d.wait(lambda e: settled(e) >= before + n, step=0.02)
    return n / (time.monotonic() - began)


def drained(d, name, count):
    """Events per second of a backlog, from the first seen done to the last."""
    d.set_memory(name, IDLE_MB)
    d.fill(name, count)
    before = settled(d.events())
    d.set_memory(name, WORKER_MB)
    return drain_rate(d, before, count)


def drain_rate(d, before, count):
    """Per second, between the first poll that saw events done and the one that saw `count` of them done."""
    first = settled(d.wait(lambda e: settled(e) > before))
    began = time.monotonic()
    last = settled(d.wait(lambda e: settled(e) >= before + count, step=0.02))
    return max(1, last - first) / (time.monotonic() - began)


def run():
    rates, floors = {}, []
    with Daemon("history.max_bytes=16MiB") as d:
        names = workers.deploy_all(d, IDLE_MB)
        for _ in range(paths.RUNS):
            for name in names:
                d.set_memory(name, WORKER_MB)
                through(d, name, 16, WORKERS * 25)  # there are workers
                size = paths.SLICE if name == "native" else paths.SLICE // 2
                for c in CONNECTIONS:
                    rates.setdefault((name, c), []).append(through(d, name, c, size // 10 if c == 1 else size // 2))
                rates.setdefault((name, "backlog"), []).append(drained(d, name, size))
                d.set_memory(name, IDLE_MB)  # its workers go
            floors.append(d.floors())
    t = Table("End to end, events per second from accept to settled on disk, %d bytes, up to %d workers that do nothing. Closed loop at so many "
              "connections, and a backlog that is drained. Median of %d interleaved runs (lowest-highest)." % (paths.PAYLOAD, WORKERS, paths.RUNS),
              "worker", *("%d connection%s" % (c, "s" if c > 1 else "") for c in CONNECTIONS), "backlog")
    for name in names:
        t.add(name, *(rates[name, c] for c in CONNECTIONS), rates[name, "backlog"])
    t.add("floor: loopback round trips", *([f["loopback round trip, %d connection%s" % (c, "s" if c > 1 else "")]["per_second"] for f in floors]
                                          for c in CONNECTIONS), "")
    t.add("floor: LMDB, commits of as many records", *([f["LMDB commit of %d" % c]["per_second"] for f in floors] for c in CONNECTIONS), "")
    t.note("A worker has %d MB and so a whole vCPU, as on Lambda: of 128 MB, four workers have 0.29 of a vCPU together, and no more events than "
           "that runs." % WORKER_MB)
    t.note("An event is two HTTP exchanges of its worker with the engine beside the one that brought it, and three commits it has a part in.")
    return [t]
