"""durable accepts per second over HTTP: one event per request at 1, 16 and 64 connections, 64 at 1 and 16"""
import statistics

from suite import paths
from suite.daemon import IDLE_MB, Daemon
from suite.table import Table

# Connections, events of a request (0: Invoke, one event each).
LOADS = ((1, 0), (16, 0), (64, 0), (1, 64), (16, 64))


def name(connections, batch):
    return "bided, %d connection%s%s" % (connections, "s" if connections > 1 else "", ", %d a request" % batch if batch else "")


def run():
    rows, floors = {load: [] for load in LOADS}, []
    with Daemon() as d:
        d.deploy_native("never", IDLE_MB)  # its events stay queued: accepting alone is measured
        for _ in range(paths.RUNS):
            for c, batch in LOADS:
                rows[c, batch].append(d.load("never", c, seconds=paths.SECONDS, batch=batch))
            floors.append(d.floors())
        e = d.events()
        # The loader does not wait for the last answer of each connection.
        if e["accepted"] != e["queued"] or e["accepted"] < sum(r["n"] for rs in rows.values() for r in rs):
            raise SystemExit("bench/run: events got lost: %s" % e)
    t = Table("Durable accept: signed `Invoke` of type `Event`, %d bytes, answered once the event is on disk; and many such events a request "
              "(`POST /bide/v1/functions/NAME/events`), where latencies are the request's. Median of %d interleaved "
              "runs of %d s (lowest-highest)." % (paths.PAYLOAD, paths.RUNS, paths.SECONDS), "accept", "per second", "mean or p50 µs", "p99 µs")
    for load, rs in rows.items():
        t.add(name(*load), [r["per_second"] for r in rs], [r["p50_us"] for r in rs], [r["p99_us"] for r in rs])
    t.add_floors(floors, *floors[0])
    one = statistics.median(f["LMDB commit of 1"]["per_second"] for f in floors)
    t.note("Accepts for each commit that a sync per event would make: " + ", ".join(
        "%.2f at %d" % (statistics.median(r["per_second"] for r in rs) / one, c) for (c, batch), rs in rows.items() if not batch) + ".")
    return [t]
