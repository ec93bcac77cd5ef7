"""Data directories of every released version (tests/upgrade/) under this one."""
import glob
import hashlib
import json
import os
import shutil
import tarfile
import tempfile

from lib import Bided, balanced, body, expect

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "upgrade")


def opened(path):
    data = tempfile.mkdtemp(prefix="bide-e2e-", dir="/var/tmp")
    with tarfile.open(path) as tar:
        tar.extractall(data)
    with open(data + "/expected.json") as f:
        expected = json.load(f)
    os.unlink(data + "/expected.json")
    return data, expected


def one(path):
    data, want = opened(path)
    b = Bided("clock=virtual", data=data)
    try:
        r = b.bide("verify", check=False)
        expect(r.returncode == 0 and r.stdout == "verify: holds\n", want["version"], r.stdout, r.stderr)
        shutil.rmtree(data + "/queue/lock.mdb", ignore_errors=True)
        with b:
            e = b.events()
            expect(e["accepted"] == want["events"]["accepted"] and balanced(e), e, want["events"])
            for k in ("dead", "replayed"):
                expect(e[k] == want["events"][k], k, e, want["events"])
            c = b.client()
            expect(body(c.invoke(FunctionName="echo", Payload=b'{"here": 1}')) == {"here": 1}, "the code does not run")
            # every event is there with its own bytes, in its state; the one that was running was disrupted, and runs again
            for i, was in want["ids"].items():
                ev = b.show(i)
                expect(ev["function"] == was["function"], ev)
                if ev["payload"] is not None:
                    got = hashlib.sha256(json.dumps(ev["payload"]).encode()).hexdigest()
                    expect(got == was["sha256"], i, "has another payload")
                else:
                    expect(ev["state"] in ("done", "replayed"), ev)
                if was["state"] in ("dead", "replayed", "waiting") or (was["state"] == "done" and was["function"] == "echo"):
                    expect(ev["state"] == was["state"], ev["state"], was)
                expect(ev["disruptions"] == (1 if was["state"] == "running" else 0), ev)
            e = b.drained(lambda e: e["running"] == 0 and e["queued"] == 3)
            expect(e["done"] == want["events"]["done"] + 3, e)
            # what was decided then still holds: a pause, concurrency, settings
            expect(json.loads(b.bide("status", "--json").stdout)["now_ms"] == want["clock_ms"], "the clock has moved")
            expect(c.get_function_concurrency(FunctionName="slow")["ReservedConcurrentExecutions"] == 1, "concurrency")
            expect(c.get_function_event_invoke_config(FunctionName="dies")["MaximumEventAgeInSeconds"] == 3600, "settings")
            expect(c.get_function_configuration(FunctionName="echo")["Environment"]["Variables"] == {"KEPT": "1"}, "environment")
            b.bide("resume", "paused")
            b.drained(lambda e: e["queued"] + e["running"] == 0)
            # waits end, dead letters are replayed, with their payloads
            b.bide("clock", "advance", "61s")
            b.drained(lambda e: e["queued"] + e["running"] == 0)
            again = [i for i in want["ids"] if want["ids"][i]["state"] == "waiting"]
            expect(all(len(b.show(i)["attempts"]) == 2 for i in again) and again, "the second attempts")
            b.bide("dlq", "replay", "--function", "dies")
            e = b.drained(lambda e: e["queued"] + e["running"] == 0 and e["replayed"] == want["events"]["replayed"] + want["events"]["dead"])
            expect(e["dead"] == want["events"]["dead"] and balanced(e), e)
            expect(b.bide("verify").stdout.endswith("verify: holds\n"), "it does not hold afterwards")
    finally:
        shutil.rmtree(data, ignore_errors=True)


def test_data_directories_of_earlier_versions():
    found = sorted(glob.glob(FIXTURES + "/*.tar.xz"))
    expect(found, "no data directory in tests/upgrade")
    for path in found:
        one(path)
