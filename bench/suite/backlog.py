"""ten million events queued: memory, accept and drain beside an empty store, restart"""
import statistics

from suite import full, paths, restart
from suite.daemon import IDLE_MB, Daemon
from suite.table import Table


def own_mib(d):
    """Of both processes together."""
    return sum(p["RssAnon"] for p in d.memory().values()) / 1024


def run():
    with Daemon() as big, Daemon() as empty:
        for d in (big, empty):
            d.deploy_native("work", IDLE_MB)
        memory = [("with nothing queued", own_mib(big))]
        big.fill("work", paths.BACKLOG)
        queued = big.events()["queued"]
        memory.append(("with {:,} queued".format(queued), own_mib(big)))
        pairs = full.pairs(big, empty)
        memory.append(("after the drains", own_mib(big)))
        used = big.status()["store"]["map_used_bytes"]
        starts = restart.starts(big)
        memory.append(("after the restarts", own_mib(big)))
    t = Table("{:,} events of {:,} bytes queued in one function ({:,} bytes of store each); an empty store beside it, in pairs of {:,} events, "
              "one store after the other and first in turns; restarts after SIGKILL. Medians (lowest-highest).".format(
                  queued, paths.PAYLOAD, used // queued, paths.SLICE), "what", "measured", "wanted")
    for moment, mib in memory:
        t.add("memory of both processes (RssAnon) %s, MiB" % moment, mib, "under 64")
    for what, got in pairs.items():
        t.add("%s, full to empty, median of pairs" % what, statistics.median(f / e for f, e in got), "0.85 at least")
        t.add("%s a second, full" % what, [f for f, _ in got], "")
        t.add("%s a second, empty" % what, [e for _, e in got], "")
    t.add("restart until ready, ms", [r for r, _ in starts], "")
    t.add("restart until the first dispatch, ms", [f for _, f in starts], "under 2,000")
    return [t]
