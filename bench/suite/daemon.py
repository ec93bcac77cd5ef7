"""A private bided: started on a new data directory, spoken to, killed, measured."""
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from suite import paths

IDLE_MB = 10240   # MemorySize with which a function cannot start: its events stay queued
WORKER_MB = 1769  # a whole vCPU; a worker of 128 MB has 7 % of one, and then that is what is measured
WORKERS = 4


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("bide")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def memory_kb(pid):
    """RssAnon, RssFile and proportional share of one process."""
    out = {}
    for line in open("/proc/%d/status" % pid):
        key, _, value = line.partition(":")
        if key in ("RssAnon", "RssFile"):
            out[key] = int(value.split()[0])
    with contextlib.suppress(OSError):
        for line in open("/proc/%d/smaps_rollup" % pid):
            if line.startswith("Pss:"):
                out["Pss"] = int(line.split()[1])
    return out


class Daemon:
    """worker.memory is WORKERS times WORKER_MB, so that a function of IDLE_MB only queues."""

    def __init__(self, *sets):
        self.sets = ("worker.memory=%dMiB" % (WORKERS * WORKER_MB), *sets)
        self.data = tempfile.mkdtemp(prefix="bide-bench-", dir=paths.SCRATCH)
        self.proc = None
        self.conn = None
        self.start()

    def start(self):
        """The seconds until the endpoint file stood there."""
        endpoint = self.data + "/endpoint"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(endpoint)
        args = [paths.program("bided"), "--data", self.data, "--listen", "127.0.0.1:0"]
        for s in self.sets:
            args += ["--set", s]
        began = time.monotonic()
        with open(self.data + ".log", "ab") as log:
            self.proc = subprocess.Popen(args, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        while not os.path.exists(endpoint):
            if self.proc.poll() is not None or time.monotonic() > began + 60:
                raise SystemExit("bench/run: bided does not start: " + open(self.data + ".log").read()[-2000:])
            time.sleep(0.001)
        took = time.monotonic() - began
        self.host, self.port = open(endpoint).read().strip()[len("http://"):].rsplit(":", 1)
        keys = dict(line.split(" = ") for line in open(self.data + "/credentials").read().splitlines() if " = " in line)
        self.key, self.secret = keys["aws_access_key_id"], keys["aws_secret_access_key"]
        self.conn = UnixConnection(self.data + "/bide.sock")
        return took

    def pids(self):
        """Executor process, engine. (The boxes are the executor process's children too; the engine is the first.)"""
        pid = self.proc.pid
        for child in open("/proc/%d/task/%d/children" % (pid, pid)).read().split():
            if open("/proc/%s/comm" % child).read().strip() == "bided":
                return pid, int(child)
        raise SystemExit("bench/run: bided has no engine process")

    def memory(self):
        executor, engine = self.pids()
        return {"executor": memory_kb(executor), "engine": memory_kb(engine)}

    def kill(self):
        self.conn.close()
        self.proc.kill()
        self.proc.wait()

    def stop(self):
        self.conn.close()
        self.proc.terminate()
        if self.proc.wait(60) != 0:
            raise SystemExit("bench/run: bided ended badly: " + open(self.data + ".log").read()[-2000:])
        shutil.rmtree(self.data)
        os.unlink(self.data + ".log")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.stop()
            return
        with contextlib.suppress(OSError):
            print(open(self.data + ".log").read()[-2000:])
        if self.proc.poll() is None:
            self.kill()
        shutil.rmtree(self.data, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.data + ".log")

    # --- asking

    def ask(self, method, path, body=None, headers=None):
        try:
            self.conn.request(method, path, body=body, headers=headers or {})
            answer = self.conn.getresponse()
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            self.conn.close()  # it was idle for too long: once more, on a new one
            self.conn.request(method, path, body=body, headers=headers or {})
            answer = self.conn.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit("bench/run: %s %s: %d %s" % (method, path, answer.status, text[:300]))
        return text

    def status(self):
        return json.loads(self.ask("GET", "/bide/v1/status"))

    def events(self):
        return self.status()["events"]

    def wait(self, done, limit=120, step=0.002):
        """Poll the books until done(events); the last of them."""
        end = time.monotonic() + limit
        while True:
            e = self.events()
            if done(e):
                return e
            if time.monotonic() > end:
                raise SystemExit("bench/run: what was waited for did not come; the books: %s" % e)
            time.sleep(step)

    # --- functions

    def deploy(self, name, files, runtime, handler, memory_mb=WORKER_MB):
        """files: name in the package -> path of a file, or bytes."""
        with tempfile.TemporaryDirectory(dir=paths.SCRATCH) as folder:
            for leaf, what in files.items():
                to = os.path.join(folder, leaf)
                if isinstance(what, bytes):
                    with open(to, "wb") as f:
                        f.write(what)
                else:
                    shutil.copy(what, to)
                os.chmod(to, 0o755)
            subprocess.run([paths.program("bide"), "--data", self.data, "deploy", folder, "--name", name, "--runtime", runtime,
                            "--handler", handler, "--memory", str(memory_mb), "--timeout", "60"],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def deploy_native(self, name, memory_mb=WORKER_MB):
        self.deploy(name, {"bootstrap": paths.program("bench_noop")}, "provided.al2023", "noop", memory_mb)

    def set_memory(self, name, mb):
        """IDLE_MB: its events stay queued from now on. WORKER_MB: they run."""
        self.ask("PUT", "/2015-03-31/functions/%s/configuration" % name, json.dumps({"MemorySize": mb}))

    def reserve(self, name, n):
        self.ask("PUT", "/2017-10-31/functions/%s/concurrency" % name, json.dumps({"ReservedConcurrentExecutions": n}))

    def invoke(self, name, payload):
        return self.ask("POST", "/2015-03-31/functions/%s/invocations" % name, payload)

    # --- load

    def load(self, name, connections, seconds=0, count=0, batch=0):
        """bench_load's answer: {"seconds", "per_second", "p50_us", "p99_us", "n"}. batch: so many events in each request, one by one
        without it."""
        path = "/bide/v1/functions/%s/events" if batch else "/2015-03-31/functions/%s/invocations"
        out = subprocess.run(
            [paths.program("bench_load"), self.host, self.port, str(connections), str(seconds or 240), str(count),
             path % name, self.key, self.secret, "us-east-1", str(paths.PAYLOAD), str(batch or 1)],
            check=True, capture_output=True, text=True).stdout
        return json.loads(out)

    def fill(self, name, count):
        """Queue count events; more than one run of the loader when a signature would grow old."""
        before = self.events()["accepted"]
        while (left := count - self.events()["accepted"] + before) > 0:
            batch = min(left, 64)
            requests = min(left // batch, 100_000)
            self.load(name, min(requests, 16), count=requests, batch=batch)

    def floors(self):
        out = subprocess.run([paths.program("bench_floors"), self.data, str(300 * paths.SECONDS)], check=True,
                             capture_output=True, text=True).stdout
        return {r["floor"]: r for r in map(json.loads, out.splitlines())}


# --- signing, for single requests over TCP ------------------------------------------------------------------------

def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signed_event(d, name, payload):
    """The bytes of one signed asynchronous invocation."""
    path = "/2015-03-31/functions/%s/invocations" % name
    now = time.gmtime()
    stamp, date = time.strftime("%Y%m%dT%H%M%SZ", now), time.strftime("%Y%m%d", now)
    host = "%s:%s" % (d.host, d.port)
    names = "host;x-amz-date;x-amz-invocation-type"
    canonical = "POST\n%s\n\nhost:%s\nx-amz-date:%s\nx-amz-invocation-type:Event\n\n%s\n%s" % (
        path, host, stamp, names, hashlib.sha256(payload).hexdigest())
    scope = "%s/us-east-1/lambda/aws4_request" % date
    key = ("AWS4" + d.secret).encode()
    for part in (date, "us-east-1", "lambda", "aws4_request"):
        key = _hmac(key, part)
    signature = _hmac(key, "AWS4-HMAC-SHA256\n%s\n%s\n%s" % (
        stamp, scope, hashlib.sha256(canonical.encode()).hexdigest())).hex()
    head = ("POST %s HTTP/1.1\r\nHost: %s\r\nX-Amz-Date: %s\r\nX-Amz-Invocation-Type: Event\r\n"
            "Authorization: AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s\r\nContent-Length: %d\r\n\r\n") % (
                path, host, stamp, d.key, scope, names, signature, len(payload))
    return head.encode() + payload
