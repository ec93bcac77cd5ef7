"""A private bided for one test: started on a temporary directory and port 0, stopped and checked at the end."""
import configparser
import contextlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import zipfile

import boto3
from botocore.config import Config

PREFIX = os.environ["BIDE_PREFIX"]
ROLE = "arn:aws:iam::000000000000:role/default"


class Failed(Exception):
    pass


def expect(condition, *what):
    if not condition:
        raise Failed(" ".join(str(w) for w in what))


def engine_pid(b):
    return int(open("/proc/%d/task/%d/children" % (b.proc.pid, b.proc.pid)).read().split()[0])


def until(condition, limit=60, what="condition", step=0.02):
    """Wait for a condition with a deadline; its last value."""
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed("not within %ss: %s" % (limit, what() if callable(what) else what))
        time.sleep(step)


def zipped(files, mode=0o755):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, text in files.items():
            info = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            info.external_attr = (0o100000 | mode) << 16
            z.writestr(info, text)
    return out.getvalue()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("bide", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Bided:
    prefix = PREFIX

    def __init__(self, *sets, data=None, config=None, env=None, before=None):
        """env: more environment for it. before: called in its process, before it is there."""
        self.sets = sets
        self.config = config
        self.env = {**os.environ, **env} if env else None
        self.before = before
        self.data = data or tempfile.mkdtemp(prefix="bide-e2e-", dir="/var/tmp")
        self.log_path = self.data + ".log"
        self.proc = None

    def start(self, limit=30):
        endpoint = os.path.join(self.data, "endpoint")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(endpoint)
        args = [self.prefix + "/bin/bided", "--data", self.data, "--listen", "127.0.0.1:0"]
        if self.config:
            args += ["--config", self.config]
        for s in self.sets:
            args += ["--set", s]
        began = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.proc = subprocess.Popen(args, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.env, preexec_fn=self.before)

        def ready():
            if self.proc.poll() is not None:
                raise Failed("bided exited %s: %s" % (self.proc.returncode, self.log()[-800:]))
            return os.path.exists(endpoint)

        until(ready, limit, "bided ready", 0.002)
        self.ready_s = time.monotonic() - began
        self.endpoint = open(endpoint).read().strip()
        c = configparser.ConfigParser()
        c.read(os.path.join(self.data, "credentials"))
        self.key, self.secret = c["default"]["aws_access_key_id"], c["default"]["aws_secret_access_key"]
        return self

    def log(self):
        return open(self.log_path, errors="replace").read()

    def client(self, key=None, secret=None, retries=1, read_timeout=120):
        return boto3.client(
            "lambda", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id=key or self.key,
            aws_secret_access_key=secret or self.secret,
            config=Config(retries={"total_max_attempts": retries}, max_pool_connections=64, read_timeout=read_timeout))

    def ask(self, method, path, body=None, headers=None, timeout=30):
        """One request over the Unix socket: status, headers, body."""
        c = UnixConnection(os.path.join(self.data, "bide.sock"), timeout)
        try:
            c.request(method, path, body=body, headers=headers or {})
            answer = c.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            c.close()

    def bide(self, *args, check=True, data=None, stdin=None):
        r = subprocess.run([self.prefix + "/bin/bide", "--data", data or self.data, *args], text=True, capture_output=True,
                           timeout=120, input=stdin)
        if check and r.returncode:
            raise Failed("bide %s: exit %d: %s" % (" ".join(args), r.returncode, r.stderr or r.stdout))
        return r

    def events(self):
        return json.loads(self.bide("status", "--json").stdout)["events"]

    def show(self, event):
        return json.loads(self.bide("events", "show", event, "--json").stdout)

    def make(self, name, code, handler="app.handler", runtime="python3.12", **kw):
        c = self.client()
        files = code if isinstance(code, dict) else {"app.py": code}
        c.create_function(FunctionName=name, Runtime=runtime, Role=ROLE, Handler=handler, Code={"ZipFile": zipped(files)}, **kw)
        until(lambda: c.get_function_configuration(FunctionName=name)["State"] == "Active", what=name + " Active")
        return c

    def drained(self, want, limit=120):
        return until(lambda: (lambda e: e if want(e) else None)(self.events()), limit, lambda: self.events())

    def kill9(self, child=False):
        pid = self.proc.pid
        if child:
            kids = open("/proc/%d/task/%d/children" % (pid, pid)).read().split()
            pid = int(kids[0])
        os.kill(pid, signal.SIGKILL)
        self.proc.wait(30)

    def stop(self):
        if self.proc and self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(60)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
                raise Failed("bided did not stop within 60 s of SIGTERM")
        return self.proc.returncode if self.proc else None

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, tb):
        try:
            status = self.stop()
            if kind is None:
                expect(status == 0, "bided ended with", status, self.log()[-800:])
                v = self.bide("verify", check=False)
                expect(v.returncode == 0, "verify after the stop:", v.stdout[-400:], v.stderr[-400:])
            else:
                print("--- bided's log:\n" + self.log()[-1500:])
        finally:
            if self.proc and self.proc.poll() is None:
                self.proc.kill()
            shutil.rmtree(self.data, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.log_path)


def balanced(e):
    return e["accepted"] == sum(e[k] for k in ("queued", "running", "waiting", "done", "dead", "cancelled", "removed", "replayed"))


def body(answer):
    return json.loads(answer["Payload"].read())
