"""The work of a soak: functions that behave, functions that do not, and clients of every kind."""
import json
import random
import threading
import time

from lib import Failed, balanced, expect, until, zipped
from sample import descendants

HANDLERS = {
    "fast": "def handler(e, c):\n    return e\n",
    "slow": "import time\ndef handler(e, c):\n    time.sleep(0.2)\n    return 'slept'\n",
    "failing": "def handler(e, c):\n    raise ValueError('always ' + 'x' * 200)\n",
    "sometimes": "import random\ndef handler(e, c):\n    if random.random() < 0.5:\n        raise KeyError('heads')\n    return 'tails'\n",
    "timing": "import time\ndef handler(e, c):\n    time.sleep(30)\n",
    "exiting": "import os\ndef handler(e, c):\n    os._exit(3)\n",
    "hungry": "def handler(e, c):\n    x = []\n    while True:\n        x.append(bytearray(b'x' * 2**22))\n",
    "initfail": "raise RuntimeError('no such thing')\ndef handler(e, c):\n    pass\n",
    "talking": "def handler(e, c):\n    for i in range(200):\n        print('line', i, 'x' * 100)\n",
    "big": "def handler(e, c):\n    return len(e['data'])\n",
}
# What one step sends, in shares of its events.
MIX = ("fast",) * 12 + ("sometimes",) * 4 + ("slow", "slow", "failing", "talking", "big", "exiting")
RARE = ("timing", "hungry", "initfail")


class Work:
    def __init__(self, b, seed=1):
        self.b = b
        self.rng = random.Random(seed)
        self.sent = 0
        self.errors = []
        self.serial = 0
        self.verbs = {v: b.bide(v, "--help", check=False).returncode == 0 for v in ("pause", "resume", "purge", "backup", "logs")}
        cancel = b.bide("events", "cancel", "--help", check=False)
        self.verbs["cancel"] = cancel.returncode == 0

    def deploy(self):
        for name, code in HANDLERS.items():
            c = self.b.make(name, code, Timeout=1 if name == "timing" else 10, MemorySize=128)
            c.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1, MaximumEventAgeInSeconds=600)
            c.close()

    def payload(self, name):
        if name == "big":
            return json.dumps({"data": "x" * self.rng.choice((2000, 30_000, 200_000))})
        return json.dumps({"n": self.sent, "pad": "x" * self.rng.randrange(0, 1000)})

    # --- single things a client does

    def event(self, c, name):
        c.invoke(FunctionName=name, InvocationType="Event", Payload=self.payload(name))
        self.sent += 1

    def events(self, c, n):
        for _ in range(n):
            self.event(c, self.rng.choice(RARE) if self.rng.random() < 0.02 else self.rng.choice(MIX))

    def call(self, c, name):
        try:
            c.invoke(FunctionName=name, Payload=self.payload(name), LogType="Tail")["Payload"].read()
        except c.exceptions.TooManyRequestsException:
            pass  # no room for one more worker, or an event that runs alone: as Lambda does when it is short of either

    def sync(self, c):
        self.call(c, self.rng.choice(("fast", "failing", "slow", "talking")))

    def look(self, c):
        b = self.b
        c.list_functions()
        c.get_function(FunctionName="fast")
        b.bide("events", "ls", "--json")
        b.bide("dlq", "ls", "--json")
        b.bide("functions")
        e = b.events()
        expect(balanced(e), "the books do not balance", e)

    def churn(self, c):
        """A function that lives for a moment: made, used, changed, used, deleted while it may still run."""
        self.serial += 1
        name = "moment%d" % self.serial
        c.create_function(FunctionName=name, Runtime="python3.12", Role="arn:aws:iam::000000000000:role/default", Handler="app.handler",
                          Code={"ZipFile": zipped({"app.py": "def handler(e, c):\n    return %d\n" % self.serial})})
        until(lambda: c.get_function_configuration(FunctionName=name)["State"] == "Active", what=name)
        for _ in range(3):
            self.event(c, name)
        self.call(c, name)
        c.update_function_code(FunctionName=name, ZipFile=zipped({"app.py": "def handler(e, c):\n    return -%d\n" % self.serial}))
        self.event(c, name)
        c.delete_function(FunctionName=name)

    def letters(self, _):
        b = self.b
        b.bide("dlq", "replay", "--function", "sometimes")
        ids = [json.loads(x)["id"] for x in b.bide("dlq", "ls", "--function", "exiting", "--json").stdout.splitlines()[:3]]
        for i in ids:
            b.bide("dlq", "rm", i, check=False)  # it may be past its retention by now

    def control(self, c):
        b = self.b
        if self.verbs["pause"] and self.verbs["resume"]:
            b.bide("pause", "fast")
            for _ in range(5):
                self.event(c, "fast")
            if self.verbs["cancel"]:
                rows = [json.loads(x) for x in b.bide("events", "ls", "--function", "fast", "--state", "queued", "--json").stdout.splitlines()]
                for r in rows[:2]:
                    b.bide("events", "cancel", r["id"], check=False)
            if self.verbs["purge"]:
                b.bide("purge", "fast", "--yes", check=False)
            b.bide("resume", "fast")
        if self.verbs["logs"]:
            b.bide("logs", "talking", check=False)
        if self.verbs["backup"]:
            self.backup()

    def backup(self):
        import shutil
        import tempfile
        folder = tempfile.mkdtemp(prefix="bide-soak-", dir="/var/tmp")
        try:
            self.b.bide("backup", folder + "/copy")
        finally:
            shutil.rmtree(folder)

    # --- a stretch of all of it at once

    def _loop(self, end, pause_s, act):
        c = self.b.client(retries=1)
        try:
            while time.monotonic() < end and not self.errors:
                act(c)
                time.sleep(pause_s)
        except Exception as e:  # noqa: BLE001 - told at the end of the stretch
            self.errors.append("%s: %r" % (act.__name__, e))
        finally:
            c.close()

    def stretch(self, seconds):
        """Every client at work for so long."""
        end = time.monotonic() + seconds
        acts = [(0.02, lambda c: self.events(c, 2)), (0.05, self.sync), (0.5, self.look), (1.0, self.churn), (1.5, self.letters),
                (2.0, self.control)]
        threads = [threading.Thread(target=self._loop, args=(end, pause, act)) for pause, act in acts]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        if self.errors:
            raise Failed("; ".join(self.errors))

    def step(self):
        """The same once, one thing after the other: for a clock that stands still meanwhile."""
        c = self.b.client(retries=1)
        try:
            self.events(c, 30)
            for act in (self.sync, self.look, self.churn, self.letters, self.control):
                act(c)
        finally:
            c.close()

    # --- quiet

    def settled(self):
        e = self.b.events()
        return e if e["queued"] + e["running"] == 0 else None

    def quiet(self, advance=None, limit=120):
        """Nothing queued, running or waiting, no worker left. advance: moves a virtual clock past what waits."""
        def at_rest():
            e = self.settled()
            if e and e["waiting"] > 0 and advance:
                advance()
                return None
            if not e or e["waiting"] > 0:
                return None
            s = json.loads(self.b.bide("status", "--json").stdout)
            # The executor process's only child is the engine again.
            return e if s["workers"] == 0 and len(descendants(self.b.proc.pid)) == 1 else None
        return until(at_rest, limit, lambda: "quiet: %s, %s" % (self.b.events(), descendants(self.b.proc.pid)), step=0.1)
