"""A bided that is killed: started without waiting, asked over its Unix socket, filled with the functions of the loop."""
import base64
import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(here))
sys.path.insert(0, os.path.join(TOP, "tests", "e2e"))

from lib import ROLE, Bided, Failed, expect, until, zipped  # noqa: E402,F401

PROGRAMS = os.environ.get("BIDE_KILL_PROGRAMS") or os.path.join(TOP, "build", "release", "tests", "kill")


def mono_us():
    return time.monotonic_ns() // 1000


def children(pid):
    with contextlib.suppress(OSError):
        return [int(p) for p in open("/proc/%d/task/%d/children" % (pid, pid)).read().split()]
    return []


def about(pid, what):
    with contextlib.suppress(OSError):
        return open("/proc/%d/%s" % (pid, what)).read()
    return ""


class Killed(Bided):
    def __init__(self, *sets, **kw):
        super().__init__(*sets, **kw)
        self.log_file = open(self.log_path, "ab")

    def spawn(self):
        """Started, and no more is known of it."""
        self.path = os.path.join(self.data, "endpoint")
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        args = [self.prefix + "/bin/bided", "--data", self.data, "--listen", "127.0.0.1:0"]
        if self.config:
            args += ["--config", self.config]
        for s in self.sets:
            args += ["--set", s]
        self.began = time.monotonic()
        self.proc = subprocess.Popen(args, stdout=self.log_file, stderr=self.log_file, stdin=subprocess.DEVNULL, env=self.env)

    def ready(self, limit=30):
        """Seconds from its start until it serves."""
        while not os.path.exists(self.path):
            if self.proc.poll() is not None:
                raise Failed("bided exited %s: %s" % (self.proc.returncode, self.log()[-800:]))
            if time.monotonic() - self.began > limit:
                raise Failed("bided is not ready: " + self.log()[-800:])
            time.sleep(0.0005)
        return time.monotonic() - self.began

    def start(self, limit=30):
        self.spawn()
        self.ready_s = self.ready(limit)
        return self

    def engine(self):
        """The child in this pid namespace (boxes have their own); None while there is none yet."""
        return next((p for p in children(self.proc.pid) if re.search("^NSpid:\t[0-9]+$", about(p, "status"), re.M)), None)

    def workers(self):
        """(init, runtime) of each box that runs one. The box that tries the fences at the start is none: without it bided
        rightly does not start."""
        return [(p, kids[0]) for p in children(self.proc.pid) for kids in [children(p)] if kids and about(kids[0], "comm") == "bootstrap\n"]

    def kill(self, pid=None):
        """The interval in which it died."""
        began = mono_us()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid or self.proc.pid, signal.SIGKILL)
        self.proc.wait(30)
        return began, mono_us()

    def ask(self, method, path, body=None, timeout=30):
        """What it answered, if it is well."""
        status, _, text = super().ask(method, path, None if body is None else json.dumps(body), timeout=timeout)
        if status >= 300:
            raise Failed("%s %s: %d %s" % (method, path, status, text[:300]))
        return json.loads(text) if text else None

    def ask_raw(self, method, path, body, headers):
        """Status, headers, body."""
        return super().ask(method, path, body, headers)

    def wait_locks(self):
        """Until its last process is gone."""
        with open(self.data + "/lock") as f:
            fcntl.flock(f, fcntl.LOCK_EX)

    def books(self):
        return self.ask("GET", "/bide/v1/status")["events"]

    def deploy(self, name, program, env, timeout=5, retries=2, reserved=None):
        code = base64.b64encode(zipped({"bootstrap": open(program, "rb").read()})).decode()
        self.ask("POST", "/2015-03-31/functions", {
            "FunctionName": name, "Runtime": "provided.al2023", "Role": ROLE, "Handler": "none", "Timeout": timeout,
            "Code": {"ZipFile": code}, "Environment": {"Variables": env}})
        self.ask("PUT", "/2019-09-25/functions/%s/event-invoke-config" % name, {"MaximumRetryAttempts": retries})
        if reserved:
            self.ask("PUT", "/2017-10-31/functions/%s/concurrency" % name, {"ReservedConcurrentExecutions": reserved})
        until(lambda: self.ask("GET", "/2015-03-31/functions/%s/configuration" % name)["State"] == "Active", 60, name)

    def pages(self, path):
        """Every item of a listing."""
        cursor = ""
        while cursor is not None:
            page = self.ask("GET", "%s?limit=1000%s" % (path, "&cursor=" + cursor if cursor else ""))
            yield from page["items"]
            cursor = page["cursor"]
