"""what a backup costs the daemon it copies: the longest silence between two acknowledgements and between two starts"""
import json
import os
import selectors
import shutil
import socket
import subprocess
import time

from suite import paths, workers
from suite.daemon import IDLE_MB, Daemon, signed_event
from suite.table import Table

EVENTS = min(paths.EVENTS, 200_000)
PACKAGES, PACKAGE_BYTES = 10, 2_500_000 if EVENTS >= 200_000 else 20_000
CONNECTIONS = 4
TURN = 2.5 * paths.SECONDS  # seconds, at least


def send(d, message, goes_on):
    """A closed loop on CONNECTIONS connections: when each acknowledgement came, and how long it took, in milliseconds."""
    with selectors.DefaultSelector() as sel:
        for _ in range(CONNECTIONS):
            s = socket.create_connection((d.host, int(d.port)))
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sel.register(s, selectors.EVENT_READ, [time.monotonic()])
            s.sendall(message)
        acks, took = [], []
        while goes_on():
            for key, _ in sel.select(1):
                answer = key.fileobj.recv(4096)
                if not answer.startswith(b"HTTP/1.1 202"):
                    raise SystemExit("bench/run: refused: %r" % answer)
                now = time.monotonic()
                acks.append(now * 1000)
                took.append((now - key.data[0]) * 1000)
                key.data[0] = now
                key.fileobj.sendall(message)
        for key in list(sel.get_map().values()):
            key.fileobj.close()
    return acks, took


def gaps(times):
    return sorted(b - a for a, b in zip(times, times[1:])) or [0]


def turn(d, out):
    """The numbers of one turn. out: a backup is taken into it meanwhile, and the turn lasts until it is there."""
    d.invoke("python", '{"report":1}')
    message = signed_event(d, "python", json.dumps({"n": 1, "pad": "x" * (paths.PAYLOAD - 20)}).encode())
    began, copying = time.monotonic(), []

    def goes_on():
        now = time.monotonic() - began
        if out and not copying and now > TURN / 5:
            copying.append(subprocess.Popen([paths.program("bide"), "--data", d.data, "backup", out, "--json"],
                                            stdout=subprocess.PIPE, text=True))
        return now < TURN or (copying and copying[0].poll() is None)

    acks, took = send(d, message, goes_on)
    d.wait(lambda e: e["queued"] <= EVENTS and e["running"] == 0)  # its only worker is free to report
    starts = sorted(us / 1000 for _, us in json.loads(d.invoke("python", '{"report":1}')))
    starts = [t for t in starts if acks[0] <= t <= acks[-1]]
    took.sort()
    said = json.loads(copying[0].communicate()[0]) if copying else None
    shutil.rmtree(out or "", ignore_errors=True)
    return {"acks": len(acks) * 1000 / (acks[-1] - acks[0]), "took": took[len(took) * 999 // 1000], "ack_gap": gaps(acks)[-1],
            "start_gap": gaps(starts)[-1], "starts": len(starts) * 1000 / (acks[-1] - acks[0]), "copy": said}


def run():
    rows, copies = {"without": [], "with": []}, []
    with Daemon() as d:
        d.deploy("python", {"app.py": workers.PYTHON}, "python3.12", "app.handler")
        d.reserve("python", 1)  # one worker, which keeps the moments of all its starts
        d.deploy_native("idle", IDLE_MB)
        for n in range(PACKAGES):
            d.deploy("code%d" % n, {"bootstrap": os.urandom(PACKAGE_BYTES)}, "provided.al2023", "noop", IDLE_MB)
        d.fill("idle", EVENTS)
        turn(d, None)
        for _ in range(paths.RUNS):
            for name, out in (("without", None), ("with", d.data + "-copy")):
                rows[name].append(turn(d, out))
        copies = [r["copy"] for r in rows["with"]]
    t = Table("Backup of a busy daemon: %d events queued and %.0f MB of code, %d senders in a closed loop, one Python worker; milliseconds. "
              "Median of %d interleaved turns (lowest-highest)." % (EVENTS, PACKAGES * PACKAGE_BYTES / 1e6, CONNECTIONS, paths.RUNS),
              "", "acks/s", "99.9% of acks within", "longest without an ack", "starts/s", "longest without a start")
    for name, r in rows.items():
        t.add(name + " a backup", *([x[k] for x in r] for k in ("acks", "took", "ack_gap", "starts", "start_gap")))
    t.note("A backup was %.0f MB and took %.1f to %.1f s, its recount included." % (
        max(c["bytes"] for c in copies) / 1e6, min(c["took_ms"] for c in copies) / 1000, max(c["took_ms"] for c in copies) / 1000))
    return [t]
