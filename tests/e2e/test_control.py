"""The operator's hand: pause, resume, purge, events cancel and retry, with the real command line."""
import json
import os
import tempfile

from lib import Bided, balanced, body, expect, until

CODE = """
import time
def handler(event, context):
    if event.get("fail"):
        raise ValueError("as asked")
    if event.get("hang"):
        time.sleep(600)
    return event
"""


def send(b, name, payload="{}"):
    return b.bide("invoke", name, "--event", "--payload", payload).stdout.strip()


def functions(b):
    return {f["FunctionName"]: f for f in map(json.loads, b.bide("functions", "--json").stdout.splitlines())}


def state(b, event):
    return b.show(event)["state"]


def test_pause_holds_events_and_not_calls():
    with Bided() as b:
        c = b.make("f", CODE, Timeout=300)
        c.invoke(FunctionName="f", Payload=b"{}")
        expect(b.bide("pause", "f").stdout == "f paused\n")
        expect(b.bide("pause", "f").returncode == 0)  # what is paused can be paused
        for _ in range(100):
            expect(c.invoke(FunctionName="f", InvocationType="Event", Payload=b"{}")["StatusCode"] == 202)
        expect(body(c.invoke(FunctionName="f", Payload=b'{"a": 1}')) == {"a": 1}, "a synchronous call runs")
        expect(b.events()["queued"] == 100, b.events())
        expect(functions(b)["f"]["Paused"] is True and functions(b)["f"]["Events"]["queued"] == 100, functions(b))
        expect(json.loads(b.bide("status", "--json").stdout)["paused"] == ["f"])
        expect("paused  f" in b.bide("status").stdout and b.bide("functions").stdout.rstrip().endswith("paused"))
        b.stop()
        b.start()
        expect(b.events()["queued"] == 100 and functions(b)["f"]["Paused"] is True, "it survives a restart")
        expect(b.bide("resume", "f", "--json").stdout == '{"function":"f","paused":false}\n')
        e = b.drained(lambda e: e["done"] == 100)
        expect(balanced(e), e)
        expect(json.loads(b.bide("status", "--json").stdout)["paused"] == [])


def test_age_goes_on_while_paused():
    with Bided("clock=virtual") as b:
        c = b.make("f", CODE, Timeout=300)
        c.put_function_event_invoke_config(FunctionName="f", MaximumEventAgeInSeconds=300)
        failed = send(b, "f", '{"fail": true}')
        until(lambda: state(b, failed) == "waiting", what="waiting")
        b.bide("pause", "f")
        young = send(b, "f")
        b.bide("clock", "advance", "61s")
        until(lambda: state(b, failed) == "queued", what="due, and held by the pause")
        expect(state(b, young) == "queued")
        b.bide("clock", "advance", "240s")
        until(lambda: state(b, failed) == "dead" and state(b, young) == "dead", what="both too old")
        expect(b.show(young)["condition"] == "EventAgeExceeded", b.show(young))
        b.bide("resume", "f")


def test_purge():
    with Bided("clock=virtual") as b:
        c = b.make("f", CODE, Timeout=300)
        b.make("g", CODE)
        hanging = send(b, "f", '{"hang": true}')
        until(lambda: state(b, hanging) == "running", what="running")
        waiting = send(b, "f", '{"fail": true}')
        until(lambda: state(b, waiting) == "waiting", what="waiting")
        b.bide("pause", "f")
        b.bide("pause", "g")
        b.bide("invoke", "f", "--event", "--count", "2500")
        kept = send(b, "g")
        expect(b.bide("purge", "f").stdout == "f: 2501 cancelled\n")
        e = b.events()
        expect(e["cancelled"] == 2501 and e["running"] == 1 and e["queued"] == 1 and balanced(e), e)
        expect(state(b, waiting) == "cancelled" and state(b, hanging) == "running" and state(b, kept) == "queued")
        expect(b.bide("purge", "f").stdout == "f: 0 cancelled\n")
        b.bide("resume", "f")
        b.bide("resume", "g")
        until(lambda: state(b, kept) == "done", what="the other function's event")
        expect(body(c.invoke(FunctionName="f", Payload=b"{}")) == {})
        expect(b.bide("verify").returncode == 0)
        b.bide("events", "cancel", hanging)
        b.drained(lambda e: e["running"] == 0)


def test_cancel():
    with Bided("clock=virtual") as b:
        c = b.make("f", CODE, Timeout=300)
        waiting = send(b, "f", '{"fail": true}')
        until(lambda: state(b, waiting) == "waiting", what="waiting")
        running = send(b, "f", '{"hang": true}')
        until(lambda: state(b, running) == "running", what="running")
        b.bide("pause", "f")
        queued = send(b, "f")
        expect(b.bide("events", "cancel", queued, waiting).stdout == "%s cancelled\n%s cancelled\n" % (queued, waiting))
        expect("is being stopped" in b.bide("events", "cancel", running).stdout)
        until(lambda: state(b, running) == "cancelled", what="the worker is stopped long before its time is over")
        expect(b.bide("events", "cancel", running, queued).returncode == 0, "twice is fine")
        expect(b.show(running)["attempts"] == [] and b.show(running)["disruptions"] == 0, b.show(running))
        b.bide("resume", "f")
        done = send(b, "f")
        until(lambda: state(b, done) == "done", what="done")
        call = c.invoke(FunctionName="f", Payload=b"{}")["ResponseMetadata"]["RequestId"]
        for event, text in ((done, "is done already"), (call, "synchronous calls are not events")):
            r = b.bide("events", "cancel", event, check=False)
            expect(r.returncode == 1 and text in r.stderr and r.stdout == "", event, r.stderr)
        many = [send(b, "f", p) for p in ('{"hang": true}', '{"fail": true}')]
        until(lambda: [state(b, m) for m in many] == ["running", "waiting"], what="one of each")
        expect(b.bide("events", "cancel", "--function", "f", "--state", "waiting").stdout.startswith("f: 1 cancelled, 0 "))
        expect(b.bide("events", "cancel", "--function", "f").stdout.startswith("f: 0 cancelled, 1 running"))
        b.drained(lambda e: e["cancelled"] == 5 and e["running"] == 0)


def test_a_cancelled_run_survives_kill9():
    with Bided() as b:
        b.make("f", CODE, Timeout=300)
        running = [send(b, "f", '{"hang": true}') for _ in range(3)]
        until(lambda: all(state(b, r) == "running" for r in running), what="running")
        b.bide("events", "cancel", *running[:2])
        b.kill9()
        b.start()
        expect([state(b, r) for r in running[:2]] == ["cancelled", "cancelled"], "ends as cancelled")
        until(lambda: state(b, running[2]) == "running", what="the other one runs again")
        expect(balanced(b.events()) and b.events()["cancelled"] == 2, b.events())
        b.bide("events", "cancel", running[2])
        b.drained(lambda e: e["cancelled"] == 3)


def test_retry():
    with Bided("clock=virtual") as b:
        c = b.make("f", CODE, Timeout=300)
        first, second, third = (send(b, "f", '{"fail": true}') for _ in range(3))
        until(lambda: b.events()["waiting"] == 3, what="waiting")
        expect(b.bide("events", "retry", first).stdout == first + " queued\n")
        until(lambda: len(b.show(first)["attempts"]) == 2, what="the second attempt")
        expect(len(b.show(second)["attempts"]) == 1)
        until(lambda: b.events()["waiting"] == 3, what="waiting again")
        expect(b.bide("events", "retry", "--function", "f").stdout == "f: 3 queued\n")
        until(lambda: state(b, first) == "dead", what="its last attempt")
        for event, text in ((first, "bide dlq replay"),):
            r = b.bide("events", "retry", event, check=False)
            expect(r.returncode == 1 and text in r.stderr, r.stderr)
        b.bide("pause", "f")
        queued = send(b, "f")
        expect("is queued already" in b.bide("events", "retry", queued, check=False).stderr)
        until(lambda: b.events()["waiting"] == 2, what="waiting")
        expect(b.bide("events", "retry", second).returncode == 0)
        expect(state(b, second) == "queued", "retried, and held by the pause")
        b.bide("resume", "f")
        until(lambda: state(b, second) == "dead" and state(b, queued) == "done", what="both run")
        expect("is done" in b.bide("events", "retry", queued, check=False).stderr)
        expect(c.get_function(FunctionName="f")["Configuration"]["FunctionName"] == "f")
        b.bide("purge", "f")


def test_wrong_words():
    with Bided() as b:
        for words, status, text in (
                (["pause"], 2, "NAME"), (["pause", ""], 2, "empty"), (["pause", "nobody"], 1, "not found"),
                (["resume", "nobody"], 1, "not found"), (["purge", "nobody"], 1, "not found"), (["purge", "a/b"], 1, "constraint"),
                (["purge", "f", "g"], 2, "too many"), (["events", "cancel"], 2, "which ones"), (["events", "retry"], 2, "which ones"),
                (["events", "cancel", "x"], 1, "not an event id"), (["events", "retry", "x", "--function", "f"], 2, "one of them"),
                (["events", "cancel", "--function", "nobody"], 1, "not found"),
                (["events", "cancel", "x", "--state", "queued"], 2, "--function"),
                (["events", "retry", "01a208bd-3cbb-7600-93fa-4d284ce187b7"], 1, "not found")):
            r = b.bide(*words, check=False)
            expect(r.returncode == status and text in r.stderr and r.stdout == "", words, r.returncode, r.stdout, r.stderr)


def test_export_import_replay():
    odd = ['{"fail": true, "n": 1.50e1, "big": 12345678901234567890123}', '{\n "fail": true\r\n}', ' {"fail":true, "text":"\u20ac\\u0000"}']
    with Bided("clock=virtual") as a, Bided("clock=virtual") as b, tempfile.TemporaryDirectory() as d:
        a.make("f", CODE, Timeout=300)
        a.client().put_function_event_invoke_config(FunctionName="f", MaximumRetryAttempts=0)
        ids = [a.client().invoke(FunctionName="f", InvocationType="Event", Payload=p)["ResponseMetadata"]["RequestId"] for p in odd]
        a.drained(lambda e: e["dead"] == 3)
        path = d + "/letters"
        r = a.bide("dlq", "export", path)
        expect(r.stdout == "" and r.stderr == "3 exported\n" and not os.path.exists(path + ".part"), r.stderr)
        text = open(path, newline="").read()
        expect(len(text.splitlines()) == 3 and odd[0] in text, "raw where it can be", text)
        expect(a.bide("dlq", "export").stdout == text and a.bide("dlq", "export", "--function", "g").stdout == "")
        expect(a.bide("dlq", "export", "--condition", "Disrupted", "--json").stdout == "")
        # Elsewhere, where the function is not there yet.
        expect(b.bide("dlq", "import", path).stdout == "3 imported, 0 known already, 0 faulty\n")
        expect(b.bide("dlq", "import", "-", stdin=text).stdout == "0 imported, 3 known already, 0 faulty\n", "twice does no harm")
        e = b.events()
        expect(e["accepted"] == 3 and e["dead"] == 3 and balanced(e), e)
        for event in ids:
            x, y = (json.loads(i.bide("dlq", "show", event, "--json").stdout) for i in (a, b))
            for member in ("attempts", "condition", "accepted_at_ms", "dead_at_ms", "payload", "error_type", "error_message"):
                expect(x[member] == y[member], member, x[member], y[member])
        r = b.bide("dlq", "replay", ids[0], check=False)
        expect(r.returncode == 1 and "function is gone" in r.stderr, r.stderr)
        c = b.make("f", "def handler(e, c):\n    return e\n")
        expect(b.bide("dlq", "replay", "--all").returncode == 0)
        b.drained(lambda e: e["done"] == 3)
        expect(c.invoke(FunctionName="f", Payload=b"{}")["StatusCode"] == 200)
        expect(b.bide("dlq", "export").stdout == "" and len(b.bide("dlq", "export", "--replayed").stdout.splitlines()) == 3)
        expect(b.bide("verify").returncode == 0)


def test_import_names_what_is_wrong():
    with Bided() as b, tempfile.TemporaryDirectory() as d:
        good = {"bide_dead_letter": 1, "id": "01a208bd-3cbb-7600-93fa-4d284ce187b7", "function": "f", "condition": "Disrupted",
                "accepted_at_ms": 1, "dead_at_ms": 2, "payload": {"a": 1}}
        lines = [json.dumps(good), "", json.dumps(dict(good, id="x")), "{", json.dumps(dict(good, bide_dead_letter=2)),
                 json.dumps(dict(good, payload="x" * 10000000)), json.dumps(dict(good, id=good["id"][:-1] + "8"))]
        open(d + "/mixed", "w").write("\n".join(lines))
        r = b.bide("dlq", "import", d + "/mixed", check=False)
        expect(r.returncode == 1 and r.stdout == "2 imported, 0 known already, 4 faulty\n", r.stdout, r.stderr)
        for text in ("line 3: id is not an event id", "line 4 is no JSON", "line 5: written by a newer bide", "line 6: payload is longer than"):
            expect(text in r.stderr, text, r.stderr)
        expect(b.bide("dlq", "import", d + "/mixed", check=False).stdout == "0 imported, 2 known already, 4 faulty\n")
        open(d + "/long", "w").write(json.dumps(dict(good, payload="x" * 13000000)) + "\n")
        r = b.bide("dlq", "import", d + "/long", check=False)
        expect(r.returncode == 1 and "line 1: longer than" in r.stderr, r.stderr)
        for words, status, text in ((["import", d + "/none"], 1, "No such file"), (["import", d], 1, "folder"), (["import", "a", "b"], 2, "too many"),
                                    (["export", d + "/no/where"], 1, "No such file"), (["export", "--condition", "Bored"], 1, "not a condition")):
            r = b.bide("dlq", *words, check=False)
            expect(r.returncode == status and text in r.stderr, words, r.returncode, r.stderr)
        expect(b.events()["dead"] == 2 and balanced(b.events()))


def test_import_stops_when_there_is_no_room():
    with Bided("dlq.max_bytes=1MiB") as b, tempfile.TemporaryDirectory() as d:
        with open(d + "/many", "w") as f:
            for i in range(3000):
                f.write(json.dumps({"bide_dead_letter": 1, "id": "01a208bd-3cbb-7600-93fa-%012d" % i, "function": "f",
                                    "condition": "Disrupted", "accepted_at_ms": 1, "dead_at_ms": 2, "payload": "x" * 500}) + "\n")
        r = b.bide("dlq", "import", d + "/many", check=False)
        got = b.events()["dead"]
        expect(r.returncode == 1 and "line %d: no room" % (got + 1) in r.stderr and 500 < got < 3000, got, r.stderr)
        b.bide("dlq", "rm", "--all")
        expect(b.bide("dlq", "import", d + "/many", check=False).stdout.startswith("%d imported, 0 known" % got))
        expect(len(b.bide("dlq", "export").stdout.splitlines()) == got, "in several pages")


def test_listings_filter():
    with Bided("clock=virtual") as b:
        c = b.make("f", CODE)
        b.make("g", "def handler(e, c):\n    raise KeyError(1)\n")
        for name in "fg":
            c.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
        start = json.loads(b.bide("status", "--json").stdout)["now_ms"]
        first = send(b, "f", '{"fail": true}')
        until(lambda: state(b, first) == "dead", what="dead")
        b.bide("clock", "advance", "2h")
        second, third = send(b, "f"), send(b, "g")
        until(lambda: state(b, second) == "done" and state(b, third) == "dead", what="both over")

        def ls(*words):
            return [json.loads(x)["id"] for x in b.bide(*words, "--json").stdout.splitlines()]

        expect(ls("events", "ls") == [third, second, first])
        expect(ls("events", "ls", "--since", "1h") == [third, second] and ls("events", "ls", "--until", "1h") == [first])
        expect(ls("events", "ls", "--since", str(start), "--until", str(start + 1)) == [first])
        expect(ls("events", "ls", "--since", "2199-01-01") == [] and ls("events", "ls", "--since", "2020-01-01T00:00:00Z", "--limit", "1") == [third])
        expect(ls("events", "ls", "--error-type", "KeyError") == [third] and ls("events", "ls", "--error-type", "Key") == [])
        expect(ls("events", "ls", "--state", "dead", "--function", "f") == [first])
        expect(ls("dlq", "ls", "--since", "1h") == [third] and ls("dlq", "ls", "--until", "1h") == [first])
        expect(ls("dlq", "ls", "--error-type", "ValueError") == [first] and ls("dlq", "ls", "--function", "g") == [third])
        expect([json.loads(x)["id"] for x in b.bide("dlq", "export", "--since", "1h").stdout.splitlines()] == [third])
        for words in (("events", "ls", "--since", "soon"), ("dlq", "ls", "--until", "2026-13-01"), ("dlq", "export", "--since", "x")):
            r = b.bide(*words, check=False)
            expect(r.returncode == 2 and "takes a duration" in r.stderr and r.stdout == "", words, r.stderr)
        expect(len(b.bide("functions", "--limit", "1", "--json").stdout.splitlines()) == 1)
