"""What a backup costs the daemon it copies: the longest silence between two acknowledgements and between two outcomes, with
and without a backup being taken, in turns. Used by bench/run, or alone: bench/backup.py BUILD_FOLDER.

  BENCH_EVENTS  events in the store (200000)    BENCH_RUNS  pairs of turns (5)    BENCH_SECONDS  of a turn (8)
"""
import configparser
import datetime
import hashlib
import hmac
import io
import json
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile

EVENTS = int(os.environ.get("BENCH_EVENTS", "200000"))
RUNS = int(os.environ.get("BENCH_RUNS", "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "8"))
CONNECTIONS = 4
PACKAGES, PACKAGE_BYTES = 10, 2500000


class Daemon:
    def __init__(self, build):
        self.build = build
        self.data = tempfile.mkdtemp(prefix="bide-bench-", dir="/var/tmp")
        # One worker of 128 MB fits, one of 256 MB never does: events of a function that asks for that stay queued.
        self.log = open(self.data + ".log", "wb")
        self.proc = subprocess.Popen([build + "/bin/bided", "--data", self.data, "--listen", "127.0.0.1:0", "--set",
                                      "worker.memory=128MiB"], stdout=self.log, stderr=self.log)
        end = time.monotonic() + 30
        while not os.path.exists(self.data + "/endpoint"):
            if self.proc.poll() is not None or time.monotonic() > end:
                raise SystemExit("bided does not start: " + open(self.data + ".log").read())
            time.sleep(0.01)
        self.host, self.port = open(self.data + "/endpoint").read().strip()[len("http://"):].rsplit(":", 1)
        c = configparser.ConfigParser()
        c.read(self.data + "/credentials")
        self.key, self.secret = c["default"]["aws_access_key_id"], c["default"]["aws_secret_access_key"]

    def bide(self, *args):
        return subprocess.run([self.build + "/bin/bide", "--data", self.data, *args], check=True, capture_output=True,
                              text=True).stdout

    def deploy(self, name, memory, ballast=0):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as z:
            z.writestr("app.py", "import time\ndef handler(e, c):\n    time.sleep(0.001)\n")
            z.writestr("ballast", os.urandom(ballast))
        path = self.data + ".zip"
        with open(path, "wb") as f:
            f.write(out.getvalue())
        self.bide("deploy", path, "--name", name, "--runtime", "python3.12", "--handler", "app.handler", "--memory", str(memory))
        os.unlink(path)

    def stop(self):
        self.proc.terminate()
        self.proc.wait(60)
        shutil.rmtree(self.data)
        os.unlink(self.data + ".log")


def request(d, function):
    """One signed request, sent again and again as it is."""
    now = datetime.datetime.utcnow()
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    payload = json.dumps({"pad": "x" * 240})
    path, host = "/2015-03-31/functions/%s/invocations" % function, "%s:%s" % (d.host, d.port)
    names = "host;x-amz-date;x-amz-invocation-type"
    canon = "POST\n%s\n\nhost:%s\nx-amz-date:%s\nx-amz-invocation-type:Event\n\n%s\n%s" % (
        path, host, stamp, names, hashlib.sha256(payload.encode()).hexdigest())
    scope = day + "/us-east-1/lambda/aws4_request"
    k = ("AWS4" + d.secret).encode()
    for part in scope.split("/"):
        k = hmac.new(k, part.encode(), hashlib.sha256).digest()
    text = "AWS4-HMAC-SHA256\n%s\n%s\n%s" % (stamp, scope, hashlib.sha256(canon.encode()).hexdigest())
    signature = hmac.new(k, text.encode(), hashlib.sha256).hexdigest()
    return ("POST %s HTTP/1.1\r\nHost: %s\r\nX-Amz-Date: %s\r\nX-Amz-Invocation-Type: Event\r\nAuthorization: AWS4-HMAC-SHA256 "
            "Credential=%s/%s, SignedHeaders=%s, Signature=%s\r\nContent-Length: %d\r\n\r\n%s" % (
                path, host, stamp, d.key, scope, names, signature, len(payload), payload)).encode()


def send(d, seconds):
    """Closed loop on CONNECTIONS connections; when each acknowledgement came, and how long it took."""
    message = request(d, "work")
    sel = selectors.DefaultSelector()
    for _ in range(CONNECTIONS):
        s = socket.create_connection((d.host, int(d.port)))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sel.register(s, selectors.EVENT_READ, [time.monotonic()])
        s.sendall(message)
    acks, took = [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for key, _ in sel.select(1):
            answer = key.fileobj.recv(4096)
            if not answer.startswith(b"HTTP/1.1 202"):
                raise SystemExit("refused: %r" % answer)
            now = time.monotonic()
            acks.append(now)
            took.append(now - key.data[0])
            key.data[0] = now
            key.fileobj.sendall(message)
    for key in list(sel.get_map().values()):
        key.fileobj.close()
    return acks, took


def turn(d, out):
    """The numbers of one turn; out: take a backup into it meanwhile."""
    from_ms = time.time() * 1000
    backup, began = None, time.monotonic()
    if out:
        backup = subprocess.Popen(["sh", "-c", "sleep 1; exec \"$@\"", "sh", d.build + "/bin/bide", "--data", d.data, "backup",
                                   out, "--json"], stdout=subprocess.PIPE, text=True)
    acks, took = send(d, SECONDS)
    said = None
    if backup:
        late = backup.poll() is None
        said = json.loads(backup.communicate(timeout=600)[0])
        if late:
            print("  (the backup went on after its turn: raise BENCH_SECONDS)")
        shutil.rmtree(out)
    ended = []
    cursor = ""
    while True:
        page = json.loads(subprocess.run(
            ["curl", "-sS", "--unix-socket", d.data + "/bide.sock",
             "http://bide/bide/v1/events?function=work&state=done&limit=1000" + cursor], check=True, capture_output=True).stdout)
        rows = [e["ended_at_ms"] for e in page["items"]]
        ended += [t for t in rows if t >= from_ms]
        if not page["cursor"] or (rows and max(rows) < from_ms):
            break
        cursor = "&cursor=" + page["cursor"]
    took.sort()
    ended = sorted(t for t in ended if t <= from_ms + (acks[-1] - began) * 1000)
    return {"acks": len(acks), "per_second": len(acks) / SECONDS,
            "ack_p999_ms": took[int(len(took) * 0.999)] * 1000, "ack_max_ms": took[-1] * 1000,
            "ack_gap_ms": max(b - a for a, b in zip(acks, acks[1:])) * 1000,
            "outcomes": len(ended), "outcome_gap_ms": max(b - a for a, b in zip(ended, ended[1:])),
            "backup": said}


def main(build):
    d = Daemon(build)
    try:
        d.deploy("work", 128)
        d.deploy("never", 256)
        for n in range(PACKAGES):
            d.deploy("code%d" % n, 256, PACKAGE_BYTES)
        while json.loads(d.bide("status", "--json"))["events"]["accepted"] < EVENTS:
            subprocess.run([build + "/bench/bench_load", d.host, d.port, "64", "2", "/2015-03-31/functions/never/invocations",
                            d.key, d.secret, "us-east-1", "256"], check=True, stdout=subprocess.DEVNULL)
        print("%d events queued, %d packages of %.1f MB" % (json.loads(d.bide("status", "--json"))["events"]["queued"], PACKAGES,
                                                          PACKAGE_BYTES / 1e6))
        turn(d, None)
        print("%-8s %7s %12s %12s %12s %10s %15s  %s" % ("", "acks/s", "ack p99.9 ms", "ack max ms", "ack gap ms", "outcomes",
                                                   "outcome gap ms", "backup"))
        worst = {}
        for _ in range(RUNS):
            for name, out in (("without", None), ("with", d.data + "-copy")):
                r = turn(d, out)
                print("%-8s %7.0f %12.1f %12.1f %12.1f %10d %15.0f  %s" % (
                    name, r["per_second"], r["ack_p999_ms"], r["ack_max_ms"], r["ack_gap_ms"], r["outcomes"],
                    r["outcome_gap_ms"], "%.0f MB in %.1f s" % (r["backup"]["bytes"] / 1e6, r["backup"]["took_ms"] / 1000)
                    if r["backup"] else ""), flush=True)
                w = worst.setdefault(name, {"ack": [], "outcome": []})
                w["ack"].append(r["ack_gap_ms"])
                w["outcome"].append(r["outcome_gap_ms"])
        for name, w in worst.items():
            print("%s a backup: longest silence between acknowledgements %.0f ms (median of turns %.0f), between outcomes %.0f ms (%.0f)" % (
                name, max(w["ack"]), sorted(w["ack"])[len(w["ack"]) // 2], max(w["outcome"]),
                sorted(w["outcome"])[len(w["outcome"]) // 2]))
    finally:
        d.stop()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: bench/backup.py BUILD_FOLDER")
    main(os.path.abspath(sys.argv[1]))
