#!/usr/bin/env python3
"""Make the data directory that later versions must be able to open: tests/upgrade/VERSION.tar.xz. Run once per release, with the
release installed in BIDE_PREFIX (CONTRIBUTING.md, "Releases"):

  BIDE_PREFIX=$PWD/build/prefix /path/to/venv/bin/python tests/upgrade/make.py

In it: events in every state, payloads inside the record and in chunks, a dead letter that was replayed, a function that is paused, one with
reserved concurrency and asynchronous settings, and an event that was running when the daemon was killed. The clock is virtual
and stands twenty years ahead, so that nothing has grown too old whenever the test is run. expected.json says what is there.
"""
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
sys.dont_write_bytecode = True

from lib import PREFIX, Bided, expect, until  # noqa: E402

ECHO = "def handler(e, c):\n    return e\n"
FAIL = "def handler(e, c):\n    raise ValueError('as it was written')\n"
SIZES = (10, 3000, 200000)
SLOW = "import time\ndef handler(e, c):\n    time.sleep(2)\n    return e\n"


def payload(n, size):
    return json.dumps({"n": n, "pad": "".join(chr(97 + (n + i) % 26) for i in range(size))})


def fill(b):
    """Events in every state, then the daemon killed in the middle of one. What there is to be found."""
    b.bide("clock", "advance", "3650d")
    b.bide("clock", "advance", "3650d")
    c = b.make("echo", ECHO, Environment={"Variables": {"KEPT": "1"}}, Description="gives back what it gets")
    b.make("fail", FAIL)
    b.make("dies", FAIL)
    b.make("slow", SLOW, Timeout=30)
    b.make("paused", ECHO)
    c.put_function_event_invoke_config(FunctionName="dies", MaximumRetryAttempts=0, MaximumEventAgeInSeconds=3600)
    c.put_function_concurrency(FunctionName="slow", ReservedConcurrentExecutions=1)
    b.bide("pause", "paused")
    sent = {}

    def send(function, size):
        text = payload(len(sent), size)
        i = c.invoke(FunctionName=function, InvocationType="Event", Payload=text)["ResponseMetadata"]["RequestId"]
        sent[i] = {"function": function, "sha256": hashlib.sha256(text.encode()).hexdigest()}

    for size in SIZES:
        for function in ("echo", "fail", "dies", "paused"):
            send(function, size)
    b.drained(lambda e: e["done"] == 3 and e["waiting"] == 3 and e["dead"] == 3)
    b.bide("dlq", "replay", next(i for i in sent if sent[i]["function"] == "dies"))
    b.drained(lambda e: e["replayed"] == 1 and e["dead"] == 3)
    for size in SIZES:
        send("slow", size)
    until(lambda: b.events()["running"] == 1, what="a running event")
    events = b.events()
    ids = {i: dict(e, state=b.show(i)["state"]) for i, e in sent.items()}
    clock_ms = json.loads(b.bide("status", "--json").stdout)["now_ms"]
    b.kill9()
    expect(sum(1 for e in ids.values() if e["state"] == "running") == 1, ids)
    return {"events": events, "clock_ms": clock_ms, "ids": ids}


def pack(path, data, expected):
    with tarfile.open(path, "w:xz") as tar:
        def add(name, text):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text), 0o600
            tar.addfile(info, io.BytesIO(text))

        add("expected.json", json.dumps(expected, indent=1, sort_keys=True).encode())
        for name in ["queue/data.mdb"] + sorted("code/" + n for n in os.listdir(data + "/code") if n.endswith(".zip")):
            with open(os.path.join(data, name), "rb") as f:
                add(name, f.read())
    print("%s: %d bytes; %s" % (path, os.path.getsize(path), expected["events"]))


def main():
    version = subprocess.run([PREFIX + "/bin/bided", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    b = Bided("clock=virtual", "history.payload=on")
    try:
        b.start()
        expected = dict(fill(b), version=version)
        pack(os.path.join(HERE, version + ".tar.xz"), b.data, expected)
    finally:
        if b.proc.poll() is None:
            b.stop()
        shutil.rmtree(b.data)
        os.unlink(b.log_path)


if __name__ == "__main__":
    main()
