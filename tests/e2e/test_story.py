"""The main story: accepted, retried on Lambda's schedule, dead, looked at, mended, replayed; and the books in between."""
import json

from lib import Bided, balanced, expect, until, zipped

FAILS = """
import logging
def handler(e, c):
    if e.get('bad'):
        logging.getLogger().error('about to fail')
        raise ValueError('doomed %s' % e['n'])
    return e['n']
"""


def test_retry_death_replay():
    with Bided("clock=virtual") as b:
        c = b.make("job", FAILS)
        ids = [c.invoke(FunctionName="job", InvocationType="Event", Payload=json.dumps({"n": n, "bad": n == 3}))
               ["ResponseMetadata"]["RequestId"] for n in range(5)]
        b.drained(lambda e: e["done"] == 4 and e["waiting"] == 1)
        b.bide("clock", "advance", "59s")
        expect(b.events()["waiting"] == 1, "retried before its time")
        b.bide("clock", "advance", "1s")
        until(lambda: len(b.show(ids[3])["attempts"]) == 2)
        b.bide("clock", "advance", "120s")
        b.drained(lambda e: e["dead"] == 1)
        dead = [json.loads(x) for x in b.bide("dlq", "ls", "--json").stdout.splitlines()]
        expect(len(dead) == 1 and dead[0]["id"] == ids[3] and dead[0]["condition"] == "RetriesExhausted"
               and dead[0]["attempt_count"] == 3 and dead[0]["error_type"] == "ValueError"
               and dead[0]["error_message"] == "doomed 3", dead)
        ev = b.show(ids[3])
        a = ev["attempts"]
        expect([x["outcome"] for x in a] == ["function_error"] * 3, a)
        expect(a[1]["started_at_ms"] - a[0]["ended_at_ms"] == 60000 and a[2]["started_at_ms"] - a[1]["ended_at_ms"] == 120000, a)
        expect(ev["payload"] == {"n": 3, "bad": True}, ev)
        human = b.bide("dlq", "show", ids[3]).stdout
        expect("doomed 3" in human and "about to fail" in human and "app.py" in human, human)
        c.update_function_code(FunctionName="job", ZipFile=zipped({"app.py": "def handler(e, c):\n    return e\n"}))
        c.get_waiter("function_updated_v2").wait(FunctionName="job")
        b.bide("dlq", "replay", "--function", "job")
        e = b.drained(lambda e: e["done"] == 5)
        expect(balanced(e) and e["replayed"] == 1 and e["dead"] == 0, e)
        again = b.bide("dlq", "replay", ids[3], check=False)
        expect(again.returncode == 1 and again.stderr.strip(), "a second replay was not refused:", again.stdout, again.stderr)
        b.bide("dlq", "replay", ids[3], "--again")
        b.drained(lambda e: e["done"] == 6)
        expect(b.bide("dlq", "ls", "--json").stdout == "")
        b.bide("dlq", "rm", ids[3])
        expect(balanced(b.events()) and b.events()["removed"] == 1)


def test_age_and_attempts():
    with Bided("clock=virtual") as b:
        c = b.make("job", FAILS)
        c.put_function_event_invoke_config(FunctionName="job", MaximumRetryAttempts=0)
        c.invoke(FunctionName="job", InvocationType="Event", Payload=b'{"n": 1, "bad": true}')
        b.drained(lambda e: e["dead"] == 1)
        c.put_function_event_invoke_config(FunctionName="job", MaximumEventAgeInSeconds=60)
        c.invoke(FunctionName="job", InvocationType="Event", Payload=b'{"n": 2, "bad": true}')
        b.drained(lambda e: e["dead"] == 2)
        dead = [json.loads(x) for x in b.bide("dlq", "ls", "--json").stdout.splitlines()]
        expect([(d["condition"], d["attempt_count"]) for d in dead] == [("RetriesExhausted", 1), ("EventAgeExceeded", 1)], dead)


def test_reserved_zero_and_deletion():
    with Bided() as b:
        c = b.make("job", FAILS)
        c.put_function_concurrency(FunctionName="job", ReservedConcurrentExecutions=0)
        c.invoke(FunctionName="job", InvocationType="Event", Payload=b'{"n": 1}')
        b.drained(lambda e: e["dead"] == 1)
        c.delete_function_concurrency(FunctionName="job")
        b.make("slow", "import time\ndef handler(e, c):\n    time.sleep(1)\n")
        c.put_function_concurrency(FunctionName="slow", ReservedConcurrentExecutions=1)
        for _ in range(20):
            c.invoke(FunctionName="slow", InvocationType="Event")
        until(lambda: b.events()["running"] == 1)
        c.delete_function(FunctionName="slow")
        e = b.drained(lambda e: e["queued"] == e["running"] == 0)
        dead = [json.loads(x) for x in b.bide("dlq", "ls", "--json").stdout.splitlines()]
        conditions = sorted({d["condition"] for d in dead})
        expect(conditions == ["FunctionDeleted", "ZeroReservedConcurrency"] and balanced(e), conditions, e)
        b.make("slow", FAILS)
        expect(b.events()["queued"] == 0, "a new function of the same name saw the old events")


def test_restart_keeps_waits():
    b = Bided("async.retry_first_wait=2s", "async.retry_multiplier=1")
    with b:
        c = b.make("job", FAILS)
        c.invoke(FunctionName="job", InvocationType="Event", Payload=b'{"n": 1, "bad": true}')
        b.drained(lambda e: e["waiting"] == 1)
        b.stop()
        b.start()
        e = b.drained(lambda e: e["dead"] == 1)
        expect(balanced(e), e)
