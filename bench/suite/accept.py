"""durable accepts per second over HTTP, one event per request, at 1, 16 and 64 connections"""
import statistics

from suite import paths
from suite.daemon import IDLE_MB, Daemon
from suite.table import Table

CONNECTIONS = (1, 16, 64)


def run():
    rows, floors = {c: [] for c in CONNECTIONS}, []
    with Daemon() as d:
        d.deploy_native("never", IDLE_MB)  # its events stay queued: accepting alone is measured
        for _ in range(paths.RUNS):
            for c in CONNECTIONS:
                rows[c].append(d.load("never", c, seconds=paths.SECONDS))
            floors.append(d.floors())
        e = d.events()
        # The loader does not wait for the last answer of each connection.
        if e["accepted"] != e["queued"] or e["accepted"] < sum(r["n"] for rs in rows.values() for r in rs):
            raise SystemExit("bench/run: events got lost: %s" % e)
    t = Table("Durable accept: signed `Invoke` of type `Event`, %d bytes, answered once the event is on disk. Median of %d interleaved "
              "runs of %d s (lowest-highest)." % (paths.PAYLOAD, paths.RUNS, paths.SECONDS), "accept", "per second", "mean or p50 µs", "p99 µs")
    for c, rs in rows.items():
        t.add("bided, %d connection%s" % (c, "s" if c > 1 else ""), [r["per_second"] for r in rs], [r["p50_us"] for r in rs],
              [r["p99_us"] for r in rs])
    t.add_floors(floors, *floors[0])
    one = statistics.median(f["LMDB commit of 1"]["per_second"] for f in floors)
    t.note("Accepts for each commit that a sync per event would make: " + ", ".join(
        "%.2f at %d" % (statistics.median(r["per_second"] for r in rs) / one, c) for c, rs in rows.items()) + ".")
    return [t]
