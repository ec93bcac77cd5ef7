"""from sending an event to the first statement of its handler: warm, frozen and cold"""
import json
import socket
import time

from suite import paths, workers
from suite.daemon import WORKER_MB, Daemon, signed_event
from suite.table import Table

GAP_S = {"warm": 0.004, "frozen": 0.06}  # a worker is frozen after 20 ms without work


class Sender:
    """One keep-alive connection; send gives the microseconds of sending and of the whole answer."""

    def __init__(self, d):
        self.sock = socket.create_connection((d.host, int(d.port)))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request):
        before = time.monotonic_ns()
        self.sock.sendall(request)
        got = b""
        while b"\r\n\r\n" not in got:
            piece = self.sock.recv(4096)
            if not piece:
                raise SystemExit("bench/run: bided closed a connection")
            got += piece
        after = time.monotonic_ns()
        if not got.startswith(b"HTTP/1.1 202"):
            raise SystemExit("bench/run: refused: %r" % got[:300])
        return before // 1000, after // 1000


def event(d, name, n):
    text = json.dumps({"n": n, "pad": ""}, separators=(",", ":"))
    return signed_event(d, name, text.replace('"pad":"', '"pad":"' + "x" * (paths.PAYLOAD - len(text))).encode())


def sample(d, sender, name, count, gap_s):
    """Send count events, one at a time; lists of microseconds until the handler, and until the 202."""
    sent = {}
    done = d.events()["done"]
    for n in range(count):
        time.sleep(gap_s)
        sent[n] = sender.send(event(d, name, n))
    d.wait(lambda e: e["done"] >= done + count)
    stamps = workers.report(d, name)
    return [stamps[n] - sent[n][0] for n in sent], [sent[n][1] - sent[n][0] for n in sent]


def cold(d, sender, name, count, round_):
    starts, answers = [], []
    for i in range(count):
        had = d.status()["workers"]  # of this function one, of the others one each
        d.set_memory(name, WORKER_MB + 1 + (round_ * count + i) % 2)  # a change of the function: its worker goes
        d.wait(lambda e: d.status()["workers"] < had)
        s, a = sample(d, sender, name, 1, 0)
        starts += s
        answers += a
    return starts, answers


def share(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * q))]


def run():
    found, floors = {}, []
    with Daemon() as d:
        names = workers.deploy_all(d)
        for name in names:
            d.reserve(name, 1)
        sender = Sender(d)
        for round_ in range(paths.RUNS):
            for name in names:
                sample(d, sender, name, 2, 0.004)  # there is a worker
                for how, gap in GAP_S.items():
                    got = sample(d, sender, name, paths.SAMPLES if how == "warm" else max(5, paths.SAMPLES // 4), gap)
                    for kept, new in zip(found.setdefault((name, how), ([], [])), got):
                        kept += new
            for name in names:
                got = cold(d, sender, name, max(2, paths.SAMPLES // 40), round_)
                for kept, new in zip(found.setdefault((name, "cold"), ([], [])), got):
                    kept += new
            floors.append(d.floors())
    t = Table("Accept to start: from the first byte of a signed `Invoke` of type `Event` on a kept-alive connection to the first statement of the "
              "handler, one event at a time; in between, the event is on disk. Warm: %d ms after the last one. Frozen: %d ms after. Cold: no worker "
              "yet. All samples of %d interleaved rounds." % (GAP_S["warm"] * 1000, GAP_S["frozen"] * 1000, paths.RUNS),
              "start", "p50 µs", "p99 µs", "202 after, p50 µs", "samples")
    for name in names:
        for how in ("warm", "frozen", "cold"):
            starts, answers = found[name, how]
            t.add("%s, %s" % (name, how), share(starts, 0.5), share(starts, 0.99), share(answers, 0.5), len(starts))
    for floor in ("loopback round trip, 1 connection", "LMDB commit of 1", "fdatasync 4 KiB, file growing"):
        t.add("floor: " + floor + ", mean µs", [f[floor]["mean_us"] for f in floors], "", "", "")
    return [t]
