"""accept and drain on a full store against an empty one, in interleaved pairs"""
import statistics

from suite import paths
from suite.daemon import IDLE_MB, WORKER_MB, Daemon
from suite.endtoend import drain_rate, settled
from suite.table import Table


def accept(d):
    return d.load("work", 64, count=paths.SLICE)["per_second"]


def drain(d):
    """The oldest SLICE events of the backlog."""
    before = settled(d.events())
    d.set_memory("work", WORKER_MB)
    rate = drain_rate(d, before, paths.SLICE)
    d.set_memory("work", IDLE_MB)
    d.wait(lambda e: e["running"] == 0)
    return rate


def pairs(full, empty):
    """What each does with a slice of events, in turns."""
    got = {"accept": [], "drain": []}
    for i in range(2 * paths.RUNS):
        order = [full, empty] if i % 2 == 0 else [empty, full]
        # What the empty one accepted, it has drained by the end of the pair.
        for what, measure in (("accept", accept), ("drain", drain)):
            rate = {d: measure(d) for d in order}
            got[what].append((rate[full], rate[empty]))
    return got


def run():
    with Daemon() as full, Daemon() as empty:
        for d in (full, empty):
            d.deploy_native("work", IDLE_MB)
        full.fill("work", paths.EVENTS)
        measured = pairs(full, empty)
        queued = full.events()["queued"]
    t = Table("A full store against an empty one: {:,} events queued in the same function, and none. Pairs of {:,} events, one store after the other "
              "and first in turns; rates per second, median (lowest-highest).".format(queued, paths.SLICE),
              "what", "full", "empty", "ratio of each pair")
    for what, got in measured.items():
        t.add({"accept": "accept, 64 connections", "drain": "drain, native workers"}[what], [f for f, _ in got], [e for _, e in got],
              [f / e for f, e in got])
    t.note("Median ratio: " + ", ".join("%s %.2f" % (what, statistics.median(f / e for f, e in got)) for what, got in measured.items()) +
           " (wanted: at least 0.85).")
    return [t]
