"""memory of both processes with nothing queued, with a big backlog, and after it was drained"""
from suite import paths
from suite.daemon import IDLE_MB, WORKER_MB, Daemon
from suite.table import Table


def run():
    t = Table("Memory in MiB and disk with a backlog of %s events of %d bytes. RssAnon is what the processes own; PSS counts the pages of the "
              "store that are mapped as well, which the kernel takes back when it needs them." % ("{:,}".format(paths.EVENTS), paths.PAYLOAD),
              "moment", "engine RssAnon", "executor RssAnon", "engine PSS", "executor PSS", "store used MiB")
    peak = []

    def look(d, moment):
        m, used = d.memory(), d.status()["store"]["map_used_bytes"]
        mib = [m["engine"]["RssAnon"] / 1024, m["executor"]["RssAnon"] / 1024, m["engine"].get("Pss", 0) / 1024,
               m["executor"].get("Pss", 0) / 1024, used / 2**20]
        peak.append(mib[0] + mib[1])
        t.add(moment, *mib)
        return used

    with Daemon() as d:
        d.deploy_native("work", IDLE_MB)
        empty = look(d, "0 queued")
        d.fill("work", paths.EVENTS)
        queued = d.events()["queued"]
        full = look(d, "{:,} queued".format(queued))
        d.set_memory("work", WORKER_MB)
        d.wait(lambda e: e["done"] >= queued // 2, step=0.05, limit=3600)
        look(d, "half drained, 4 workers busy")
        d.wait(lambda e: e["done"] >= queued, step=0.05, limit=3600)
        look(d, "drained, history kept")
        t.note("Store for each queued event: %.0f bytes." % ((full - empty) / queued))
    t.note("RssAnon of both processes together, highest seen: %.1f MiB." % max(peak))
    return [t]
