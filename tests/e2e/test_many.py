"""bide invoke --count and --file: many events in one go, and what is said of each."""
import json
import os
import signal
import subprocess
import tempfile

from lib import PREFIX, Bided, expect, until

GOOD = "def handler(e, c):\n    return e\n"


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_count_and_file():
    with Bided() as b, tempfile.TemporaryDirectory() as d:
        b.make("f", GOOD)
        r = b.bide("invoke", "f", "--count", "200", "--payload", '{"a": 1}')
        expect(len(set(r.stdout.split())) == 200 and "accepted 200, refused 0" in r.stderr, r.stderr)
        with open(d + "/e.jsonl", "w") as f:
            f.write('{"n": 1}\n\n  \t\r\n{"n": 2}\r\n"three"')
        r = b.bide("invoke", "f", "--file", d + "/e.jsonl", "--json")
        got = lines(r.stdout)
        expect(sorted(x["line"] for x in got[:-1]) == [1, 4, 5] and got[-1]["accepted"] == 3 and got[-1]["refused"] == 0, got)
        expect(b.show([x for x in got if x.get("line") == 5][0]["id"])["function"] == "f")
        r = b.bide("invoke", "f", "--file", "-", stdin="1\n2\n")
        expect(len(r.stdout.split()) == 2, r.stdout)
        expect(b.bide("invoke", "f", "--file", "-", stdin="").returncode == 0)
        # Signed, over TCP: the bytes of each body are in its signature.
        env = json.loads(b.bide("env", "--json").stdout)
        r = subprocess.run([PREFIX + "/bin/bide", "--endpoint", b.endpoint, "invoke", "f", "--file", d + "/e.jsonl"], text=True,
                           capture_output=True, timeout=60, env={**os.environ, **env})
        expect(r.returncode == 0 and len(r.stdout.split()) == 3, r.stderr)
        b.bide("wait")
        expect(b.events()["done"] == 208, b.events())


def test_bad_input_is_named():
    with Bided() as b, tempfile.TemporaryDirectory() as d:
        b.make("f", GOOD)
        with open(d + "/bad.jsonl", "w") as f:
            f.write("1\n{oops\n3\n'x'\n")
        r = b.bide("invoke", "f", "--file", d + "/bad.jsonl", check=False)
        expect(r.returncode == 1 and "line 2" in r.stderr and "line 4" in r.stderr and "nothing was sent" in r.stderr and r.stdout == "", r.stderr)
        expect(b.events()["accepted"] == 0)
        r = b.bide("invoke", "f", "--file", "-", stdin=open(d + "/bad.jsonl").read(), check=False)
        expect(r.returncode == 1 and "stopped after line 2" in r.stderr and len(r.stdout.split()) == 1, r.stderr)
        big = '"%s"' % ("x" * 2000000)
        r = b.bide("invoke", "f", "--file", "-", "--json", stdin="1\n%s\n3\n" % big, check=False)
        got = lines(r.stdout)
        expect(r.returncode == 1 and got[-1]["accepted"] == 2 and [x["line"] for x in got[:-1] if "refused" in x] == [2], got)
        r = b.bide("invoke", "nosuch", "--count", "50", check=False)
        expect(r.returncode == 1 and "accepted 0, refused 1" in r.stderr, r.stderr)
        for words, status in ((["--file", "/nonexistent"], 1), (["--file", d], 1), (["--count", "x"], 2), (["--count", "-1"], 2),
                              (["--file", "-", "--count", "2"], 2), (["--file", "-", "--payload", "1"], 2), (["--count", "2", "--log"], 2)):
            r = b.bide("invoke", "f", *words, check=False)
            expect(r.returncode == status and r.stdout == "", words, r.returncode, r.stderr)


def test_waits_for_room():
    """A full store refuses for now: the events are sent again until it has room, none is lost and none doubled."""
    with Bided("queue.max_bytes=8MiB", "queue.reserve_bytes=2MiB", "history.retention=0") as b:
        c = b.make("f", "import time\ndef handler(e, c):\n    time.sleep(0.02)\n")
        c.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=1)
        payload = json.dumps({"x": "y" * 60000})
        r = b.bide("invoke", "f", "--count", "200", "--payload", "-", "--json", stdin=payload)
        got = lines(r.stdout)
        expect(got[-1]["accepted"] == 200 and sorted(x["n"] for x in got[:-1]) == list(range(1, 201)), got[-1])
        expect(json.loads(b.bide("status", "--json").stdout)["store"]["ops_failed"] > 0, "it was never full")
        expect(b.events()["accepted"] == 200)
        b.bide("wait")


def test_stops_on_a_signal():
    with Bided() as b:
        b.make("f", GOOD)
        p = subprocess.Popen([PREFIX + "/bin/bide", "--data", b.data, "invoke", "f", "--file", "-"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        p.stdin.write("1\n2\n3\n")
        p.stdin.flush()
        until(lambda: b.events()["accepted"] == 3, what="three accepted while the pipe is open")
        p.send_signal(signal.SIGINT)
        p.wait(60)
        out, err = p.communicate()
        expect(p.returncode == 1 and len(out.split()) == 3 and "accepted 3, refused 0" in err, p.returncode, err)


def test_daemon_dies_between():
    """What was not answered is neither called refused nor sent twice."""
    with Bided() as b:
        b.make("f", GOOD)
        p = subprocess.Popen([PREFIX + "/bin/bide", "--data", b.data, "invoke", "f", "--count", "1000000", "--json"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        until(lambda: b.events()["accepted"] > 500, what="some accepted")
        b.kill9()
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=90)
        got = lines(out)
        last = got[-1]
        ids = [x["id"] for x in got if "id" in x]
        expect(p.returncode == 1 and last["accepted"] == len(ids) == len(set(ids)), last, err)
        b.start()
        accepted = b.events()["accepted"]
        expect(last["accepted"] <= accepted <= last["accepted"] + last["unknown"], accepted, last)
        b.bide("wait")
