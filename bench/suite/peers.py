"""beside other queues at full durability (beanstalkd, Redis, PostgreSQL, RabbitMQ), loaded in turn: accept, batches, end to end"""
import contextlib
import statistics

from suite import endtoend, paths, workers
from suite.daemon import IDLE_MB, WORKER_MB, WORKERS, Daemon
from suite.servers import PEERS, Failed, PostgreSQL, Server
from suite.table import Table

CONNECTIONS = (1, 16, 64)
JOBS, BATCH_CONNECTIONS = 64, 16  # of a batch
THROUGH = (16, 64)
CELLS = [("accept", c, 1) for c in CONNECTIONS] + [("batch", BATCH_CONNECTIONS, JOBS)] + [("through", c, 1) for c in THROUGH]
if paths.TINY:
    CELLS = [cell for cell in CELLS if cell[1] == 16]
NATIVE, PYTHON = "bided, native worker", "bided, Python worker"
REQUEST, INSERT = "bided, 64 events a request", "PostgreSQL, INSERT of 64 rows"


class Bided(Server):
    """bided as one of them: each figure on a data directory of its own."""
    name = "bided"
    batch_rows = ("%d events a request" % JOBS,)

    def accept(self, connections, batch=0):
        with Daemon() as d:
            d.deploy_native("never", IDLE_MB)  # its events stay queued
            got = d.load("never", connections, seconds=paths.SECONDS, batch=batch)
            e = d.events()
            if e["queued"] < got["n"]:
                raise SystemExit("bench/run: events got lost: %s" % e)
            return got

    def batch(self, way, connections, jobs):
        return self.accept(connections, jobs)

    def rows(self, what, connections, jobs):
        if what != "through":
            return super().rows(what, connections, jobs)
        return [(NATIVE, lambda: self.work(connections, "native", paths.SLICE)),
                (PYTHON, lambda: self.work(connections, "python", paths.SLICE // 2))]

    def work(self, connections, worker, count):
        with Daemon("history.max_bytes=16MiB") as d:
            if worker == "native":
                d.deploy_native(worker)
            else:
                d.deploy(worker, {"app.py": workers.PYTHON}, "python3.12", "app.handler")
            endtoend.through(d, worker, 16, WORKERS * 25)  # there are workers
            return {"per_second": endtoend.through(d, worker, connections, count)}


class Figures:
    """What was measured: a figure a turn of each row, and the floors of the turn."""

    def __init__(self):
        self.got, self.floors = {}, []  # (what, row, connections) -> turn -> figure
        self.missing, self.gaps = {}, []  # servers that there is none of, and why; figures that one turn lacks

    def add(self, what, row, connections, figure):
        self.got.setdefault((what, row, connections), {})[len(self.floors)] = figure

    def by_turn(self, what, row, connections, key="per_second"):
        return {turn: f[key] for turn, f in self.got.get((what, row, connections), {}).items() if key in f}

    def each(self, *args):
        return list(self.by_turn(*args).values())

    def rows(self, what):
        return list(dict.fromkeys(row for w, row, _ in self.got if w == what))

    def ratios(self, what, ours, theirs, connections):
        base = self.by_turn(what, theirs, connections)
        return [rate / base[turn] for turn, rate in self.by_turn(what, ours, connections).items() if turn in base]


def measure(figures, servers):
    """One turn: each figure, of one server after the other."""
    for what, connections, jobs in CELLS:
        for s in list(servers):
            why = "it ended"
            s.resume()
            for row, figure in s.rows(what, connections, jobs):
                try:
                    s.fresh()
                    figures.add(what, row, connections, figure())
                except Failed as e:
                    why = str(e)
                    figures.gaps.append("%s, %d connections: %s" % (row, connections, why))
            if not s.runs():
                figures.missing[s.name] = why
                servers.remove(s)
                s.close()
            s.pause()
    with Daemon() as d:
        figures.floors.append(d.floors())


def start(stack, figures):
    """The servers there are, bided first, and what is said about the settings of the others."""
    servers, said = [Bided()], []
    for peer in PEERS:
        try:
            s = stack.enter_context(peer())
            s.resume()
            said.append("%s %s: %s." % (s.name, s.version(), s.settings))
            s.pause()
            servers.append(s)
        except Failed as e:
            figures.missing[peer.name] = str(e)
    return servers, said


def add_missing(t, figures):
    for name, why in figures.missing.items():
        t.add(name, "not measured: " + why.replace("|", "/").replace("\n", " "), *[""] * (len(t.columns) - 2))


def of_connections(n):
    return "%d connection%s" % (n, "s" if n > 1 else "")


def accept_table(figures):
    t = Table("Durable accept: one job of %d bytes a request, answered once it is on disk. Closed loop; every server is empty before each run, "
              "and the others stand still. Median of %d runs of %d s (lowest-highest) in turns with each other."
              % (paths.PAYLOAD, paths.RUNS, paths.SECONDS), "accept", "per second", "mean or p50 µs", "p99 µs")
    for c in CONNECTIONS:
        for row in figures.rows("accept"):
            t.add("%s, %s" % (of_connections(c), row), *(figures.each("accept", row, c, k) for k in ("per_second", "p50_us", "p99_us")))
        t.add_floors(figures.floors, "LMDB commit of %d" % c, "loopback round trip, " + of_connections(c))
    t.add_floors(figures.floors, "fdatasync 4 KiB, file growing", "fdatasync 4 KiB, file laid out")
    add_missing(t, figures)
    return t


def batch_table(figures):
    t = Table("Durable accept of batches: %d jobs in each request, statement or write, %d connections; p50 and p99 are those of a whole batch."
              % (JOBS, BATCH_CONNECTIONS), "batch", "jobs per second", "mean or p50 µs", "p99 µs")
    for row in figures.rows("batch"):
        t.add(row, *(figures.each("batch", row, BATCH_CONNECTIONS, k) for k in ("per_second", "p50_us", "p99_us")))
    t.add_floors(figures.floors, "LMDB commit of %d" % JOBS)
    add_missing(t, figures)
    return t


def through_table(figures):
    t = Table("End to end, jobs per second from the first request until the last job is durably done: bided with up to %d workers of %d "
              "MB, processes of their own; of the others so many producers and as many consumers, which do nothing inside the load program."
              % (WORKERS, WORKER_MB), "end to end", *("%d" % c for c in THROUGH))
    for row in figures.rows("through"):
        t.add(row, *(figures.each("through", row, c) for c in THROUGH))
    add_missing(t, figures)
    return t


def ratio_table(figures):
    t = Table("bided divided by each, pair by pair of the same turn (above 1: bided is faster).", "bided /",
              *("accept, %d" % c for c in CONNECTIONS), "batch of %d" % JOBS, *("%s, %d" % (w, c) for w in ("native", "Python") for c in THROUGH))
    best = {}  # of a peer's ways to send a batch
    for row in figures.rows("batch"):
        name, rate = row.split(",")[0], statistics.median(figures.each("batch", row, BATCH_CONNECTIONS))
        if name not in best or rate > best[name][0]:
            best[name] = rate, row
    for name in [n for n in figures.rows("accept") if n != Bided.name]:
        t.add(name, *(figures.ratios("accept", Bided.name, name, c) for c in CONNECTIONS),
              figures.ratios("batch", REQUEST, best[name][1], BATCH_CONNECTIONS) if name in best else [],
              *(figures.ratios("through", w, name, c) for w in (NATIVE, PYTHON) for c in THROUGH))
    t.note("Batch: the faster of a peer's ways.")
    return t


def goals(figures):
    """Goal, what is wanted, what was reached."""
    for name in ("LMDB commit of 1", "fdatasync 4 KiB, file laid out"):
        floors = [f[name]["mean_us"] + f["loopback round trip, 1 connection"]["mean_us"] for f in figures.floors]
        yield ("accept, 1 connection: p50 / (%s + loopback round trip)" % name, "at most", 1.2,
               [p50 / floors[turn] for turn, p50 in figures.by_turn("accept", Bided.name, 1, "p50_us").items()])
    for name, wanted in (("PostgreSQL", 2), ("RabbitMQ", 2), ("beanstalkd", 5), ("Redis", 1)):
        yield "accept, 64 connections: bided / " + name, "at least", wanted, figures.ratios("accept", Bided.name, name, 64)
    yield "batch of 64, 16 connections: bided / PostgreSQL (aim: 2)", "at least", 1, figures.ratios("batch", REQUEST, INSERT, BATCH_CONNECTIONS)
    for name, wanted in (("PostgreSQL", 3), (PostgreSQL.ONE_STATEMENT, 3), ("RabbitMQ", 1.5), ("beanstalkd", 4)):
        yield "end to end, 16: native worker / " + name, "at least", wanted, figures.ratios("through", NATIVE, name, 16)
    for c in THROUGH:
        yield "end to end, %d: Python worker, per second" % c, "at least", 5000, figures.each("through", PYTHON, c)


def goal_table(figures):
    t = Table("What is wanted, and what this run reached (median of its turns).", "goal", "wanted", "reached", "")
    for goal, how, wanted, got in goals(figures):
        middle = statistics.median(got) if got else None
        met = "not measured" if middle is None else "yes" if (middle <= wanted if how == "at most" else middle >= wanted) else "no"
        t.add(goal, "%s %s" % (how, "{:,}".format(wanted)), got, met)
    return t


def run():
    figures = Figures()
    with contextlib.ExitStack() as stack:
        servers, said = start(stack, figures)
        for _ in range(paths.RUNS):
            measure(figures, servers)
    tables = [make(figures) for make in (accept_table, batch_table, through_table, ratio_table, goal_table)]
    tables[0].notes += said
    tables[2].notes += ["Without a figure in one turn: %s." % gap for gap in figures.gaps]
    return tables
