"""kill -9 at random moments, and what reserved concurrency and fairness promise, as seen from outside."""
import concurrent.futures
import fcntl
import json
import os
import random
import socket
import threading
import time

from lib import Bided, balanced, body, expect, until

ROUNDS = int(os.environ.get("BIDE_KILL_ROUNDS", "4"))
EVENTS = int(os.environ.get("BIDE_KILL_EVENTS", "1000"))


def test_kill_the_daemon():
    seed = int(os.environ.get("BIDE_SEED", random.randrange(1 << 30)))
    print("     seed", seed)
    rng = random.Random(seed)
    b = Bided("worker.starts=2", "async.max_disruptions=1000")
    with b:
        c = b.make("work", "import time\ndef handler(e, c):\n    time.sleep(0.02)\n    return e\n")
        c.put_function_concurrency(FunctionName="work", ReservedConcurrentExecutions=8)
        with concurrent.futures.ThreadPoolExecutor(16) as ex:
            ids = list(ex.map(lambda n: c.invoke(FunctionName="work", InvocationType="Event", Payload=json.dumps({"n": n}))
                              ["ResponseMetadata"]["RequestId"], range(EVENTS)))
        ready = []
        for n in range(ROUNDS):
            until(lambda: b.events()["running"] > 0 or b.events()["queued"] == 0, 30)
            time.sleep(rng.uniform(0, 0.4))
            b.kill9(child=n % 2 == 1)
            b.start()
            ready.append(b.ready_s)
        e = b.drained(lambda e: e["queued"] + e["running"] + e["waiting"] == 0, 300)
        expect(e["done"] == EVENTS and balanced(e), e)
        for i in rng.sample(ids, 20):
            ev = b.show(i)
            expect(ev["state"] == "done" and len(ev["attempts"]) == 1, "an attempt was charged for a crash:", ev)
        print("     ready after each kill: %s ms" % " ".join("%.0f" % (r * 1000) for r in ready))


def test_verify_while_it_dies():
    """A killed daemon holds its lock, and breaks off whoever asks, until its last process is gone: then the files are read."""
    b = Bided()
    with b:
        b.make("f", "def handler(e, c):\n    return e\n").invoke(FunctionName="f", InvocationType="Event")
        b.drained(lambda e: e["done"] == 1)
        b.kill9()
        lock = open(b.data + "/lock")
        until(lambda: not held(lock), what="the lock is free")
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.unlink(b.data + "/bide.sock")
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(b.data + "/bide.sock")
            s.listen()

            def die():
                s.accept()[0].close()
                fcntl.flock(lock, fcntl.LOCK_UN)

            dying = threading.Thread(target=die)
            dying.start()
            r = b.bide("verify", check=False)
            expect(r.returncode == 0 and r.stdout == "verify: holds\n", r)
            dying.join()
            told = json.loads(b.bide("verify", "--json").stdout)
            expect(told == {"ok": True, "n_findings": 0, "findings": []}, told)
        lock.close()
        b.start()


def held(lock):
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(lock, fcntl.LOCK_UN)
    return False


def test_reserved_concurrency_holds():
    with Bided() as b:
        code = "import time\ndef handler(e, c):\n    a = time.time()\n    time.sleep(0.01)\n    return [a, time.time()]\n"
        c = b.make("three", code)
        c.put_function_concurrency(FunctionName="three", ReservedConcurrentExecutions=3)
        spans, throttled, lock = [], [], threading.Lock()

        def sync(_):
            try:
                r = body(c.invoke(FunctionName="three"))
                with lock:
                    spans.append(r)
            except c.exceptions.TooManyRequestsException as x:
                with lock:
                    throttled.append(x.response)

        with concurrent.futures.ThreadPoolExecutor(16) as ex:
            for n in range(300):
                ex.submit(c.invoke, FunctionName="three", InvocationType="Event")
                ex.submit(sync, n)
        e = b.drained(lambda e: e["done"] == 300, 120)
        marks = sorted([(a, 1) for a, _ in spans] + [(z, -1) for _, z in spans])
        now = high = 0
        for _, step in marks:
            now += step
            high = max(high, now)
        expect(high <= 3 and balanced(e), "as many as", high, "at once")
        expect(throttled and throttled[0]["Error"]["Message"] == "Rate Exceeded."
               and throttled[0]["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded", throttled[:1])


def test_one_flood_does_not_delay_another():
    with Bided() as b:
        c = b.make("flood", "import time\ndef handler(e, c):\n    time.sleep(0.05)\n")
        c.put_function_concurrency(FunctionName="flood", ReservedConcurrentExecutions=8)
        b.make("quick", "def handler(e, c):\n    return 1\n")
        body(c.invoke(FunctionName="quick"))
        with concurrent.futures.ThreadPoolExecutor(16) as ex:
            list(ex.map(lambda n: c.invoke(FunctionName="flood", InvocationType="Event"), range(2000)))
        waits = []
        for _ in range(10):
            i = c.invoke(FunctionName="quick", InvocationType="Event")["ResponseMetadata"]["RequestId"]
            ev = until(lambda: (lambda x: x if x["state"] == "done" else None)(b.show(i)))
            waits.append(ev["attempts"][0]["started_at_ms"] - ev["accepted_at_ms"])
        left = b.events()["queued"]
        print("     waits behind the flood: %s ms, %d still queued" % (waits, left))
        expect(left > 0, "the flood was over before the others had their turn: this showed nothing")
        b.drained(lambda e: e["queued"] + e["running"] == 0, 180)
