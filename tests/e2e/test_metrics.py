"""/metrics: a known workload, and every counter as it must be."""
import json
import os
import signal
import socket
import threading
import urllib.error
import urllib.request

from botocore.exceptions import ClientError
from lib import Bided, balanced, body, expect, until
from promtext import Scrape

# What the event says is what happens.
CODE = """
import os, time
if os.environ.get("BROKEN"):
    raise RuntimeError("no init")
def handler(e, c):
    what = e.get("do")
    if what == "fail":
        raise ValueError("as asked")
    if what == "hang":
        time.sleep(60)
    if what == "exit":
        os._exit(3)
    return what
"""


def scrape(b, headers=None):
    with urllib.request.urlopen(urllib.request.Request(b.endpoint + "/metrics", headers=headers or {}), timeout=30) as r:
        expect(r.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8", r.headers)
        return Scrape(r.read().decode())


def over_socket(b):
    s = socket.socket(socket.AF_UNIX)
    s.connect(b.data + "/bide.sock")
    s.sendall(b"GET /metrics HTTP/1.1\r\nHost: bide\r\nConnection: close\r\n\r\n")
    got = b""
    while True:
        piece = s.recv(65536)
        if not piece:
            break
        got += piece
    s.close()
    return got.split(b"\r\n\r\n", 1)[1].decode()


def send(c, name, n, do=None):
    for _ in range(n):
        c.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"do": "%s"}' % (do or "").encode())


def agrees(b, m):
    """With bide status, from the same books."""
    e = b.events()
    for state in ("queued", "running", "waiting", "done", "dead", "cancelled", "replayed"):
        expect(m.value("bide_events", state=state) == e[state], state, e)
        if state in ("queued", "running", "waiting", "dead"):
            expect(m.total("bide_function_events", state=state) == e[state], state, "by function")
    expect(m.value("bide_events_accepted_total") == e["accepted"] and m.value("bide_events_removed_total") == e["removed"], e)
    expect(balanced(e), e)
    st = json.loads(b.bide("status", "--json").stdout)
    expect(st["dlq"]["held"] == m.total("bide_function_held_events") == 0, st["dlq"])
    ages = [v for state in ("queued", "running", "waiting") for v in m.all("bide_function_oldest_event_age_seconds", state=state).values()]
    expect((st["oldest"]["age_ms"] if st["oldest"] else 0) == 1000 * max(ages), st["oldest"], ages)


def boxes(b):
    """The executor process's children but for the first, which is the engine."""
    return [int(p) for p in open("/proc/%d/task/%d/children" % (b.proc.pid, b.proc.pid)).read().split()[1:]]


def test_known_workload():
    with Bided("clock=virtual", "account.concurrency=200") as b:
        c = b.make("good", CODE)
        b.make("bad", CODE)
        b.make("slow", CODE, Timeout=1)
        b.make("broken", CODE, Environment={"Variables": {"BROKEN": "1"}})
        b.make("closed", CODE)
        b.make("idle", CODE)
        c.put_function_concurrency(FunctionName="closed", ReservedConcurrentExecutions=0)
        send(c, "good", 20)
        send(c, "bad", 3, "fail")
        send(c, "bad", 1, "exit")
        send(c, "slow", 1, "hang")
        send(c, "broken", 1)
        send(c, "closed", 2)
        for _ in range(4):
            expect(body(c.invoke(FunctionName="good", Payload=b'{"do": "x"}')) == "x")
        expect(c.invoke(FunctionName="bad", Payload=b'{"do": "fail"}')["FunctionError"] == "Unhandled")
        for _ in range(3):
            try:
                c.invoke(FunctionName="closed", Payload=b"{}")
                expect(False, "was not throttled")
            except ClientError as e:
                expect(e.response["Error"]["Code"] == "TooManyRequestsException", e)
        b.drained(lambda e: e["done"] == 20 and e["waiting"] == 6 and e["dead"] == 2)
        b.bide("clock", "advance", "30s")
        m = scrape(b)
        agrees(b, m)
        expect(m.value("bide_function_oldest_event_age_seconds", function="bad", state="waiting") == 30)
        expect(m.value("bide_function_oldest_event_age_seconds", function="good", state="waiting") == 0)
        expect("oldest  bad: waiting, accepted 30 s ago, given up after 6 h" in b.bide("status").stdout, b.bide("status").stdout)
        # Both retries: after one minute and two more.
        b.bide("clock", "advance", "30s")
        b.drained(lambda e: e["waiting"] == 6 and e["queued"] + e["running"] == 0)
        b.bide("clock", "advance", "2m")
        b.drained(lambda e: e["dead"] == 8)
        m = scrape(b)
        agrees(b, m)
        runs = lambda f, kind="event": m.value("bide_invocations_total", function=f, type=kind)  # noqa: E731
        expect((runs("good"), runs("bad"), runs("slow"), runs("broken"), runs("closed"), runs("idle")) == (20, 12, 3, 3, 0, 0))
        expect((runs("good", "sync"), runs("bad", "sync"), runs("closed", "sync")) == (4, 1, 0))
        errors = lambda f: {dict(k)["outcome"]: v for k, v in m.all("bide_errors_total", function=f).items() if v}  # noqa: E731
        expect(errors("good") == {} and errors("bad") == {"function_error": 10, "exited": 3}, errors("bad"))
        expect(errors("slow") == {"timeout": 3} and errors("broken") == {"init_error": 3}, errors("slow"), errors("broken"))
        expect(m.value("bide_throttles_total", function="closed", reason="reserved") == 3 and m.total("bide_throttles_total") == 3)
        expect(m.value("bide_http_refusals_total", reason="throttled") == 3)
        dropped = lambda f: {dict(k)["condition"]: v for k, v in m.all("bide_async_events_dropped_total", function=f).items() if v}  # noqa: E731
        expect(dropped("bad") == {"RetriesExhausted": 4} and dropped("slow") == dropped("broken") == {"RetriesExhausted": 1})
        expect(dropped("closed") == {"ZeroReservedConcurrency": 2} and dropped("good") == {}, dropped("closed"))
        for f, n in (("good", 20), ("bad", 4), ("slow", 1), ("broken", 1), ("closed", 2), ("idle", 0)):
            expect(m.value("bide_async_events_received_total", function=f) == n, f)
        for f, n in (("good", 24), ("bad", 13), ("slow", 3), ("broken", 0)):
            expect(m.value("bide_duration_seconds_count", function=f) == n, f, "durations")
        for f, n in (("good", 20), ("bad", 12), ("slow", 3), ("broken", 3), ("closed", 0)):
            expect(m.value("bide_async_event_age_seconds_count", function=f) == n, f, "ages")
        # Starts at 0 s, 60 s and 180 s of virtual time.
        expect(m.value("bide_async_event_age_seconds_sum", function="bad") == 4 * 240)
        expect(m.value("bide_async_event_age_seconds_bucket", function="bad", le="10") == 4)
        expect(m.value("bide_async_event_age_seconds_bucket", function="bad", le="60") == 8)
        expect(m.value("bide_duration_seconds_bucket", function="slow", le="0.5") == 0)
        expect(m.value("bide_queue_wait_seconds_count") == 20 + 12 + 3 + 3 and m.value("bide_queue_wait_seconds_sum") == 0)
        expect(m.value("bide_accept_seconds_count") == 28)
        expect(m.total("bide_disruptions_total") == m.total("bide_worker_start_failures_total") == 0)
        expect(m.value("bide_worker_init_failures_total", function="broken") >= 3)
        expect(m.value("bide_function_reserved_concurrency", function="closed") == 0)
        expect(len(m.all("bide_function_reserved_concurrency")) == 1 and m.value("bide_functions") == 6)
        expect(m.value("bide_unreserved_concurrent_executions") == m.total("bide_concurrent_executions") == 0)
        expect(m.value("bide_account_concurrency") == 200 and m.value("bide_dlq_letters", replayed="no") == 8)
        expect(m.value("bide_store_commit_ops_count") == m.value("bide_store_commit_seconds_count") > 0)
        # Runs write START, END and REPORT lines of their own.
        m = until(lambda: (lambda s: s if s.value("bide_log_written_bytes_total") > 0 else None)(scrape(b)), what="logs")
        expect(m.value("bide_log_stopped") == m.value("bide_log_lost_bytes_total") == m.value("bide_log_dropped_bytes_total") == 0)
        # A replay is a new event; the old one stays readable.
        b.bide("dlq", "replay", "--function", "closed")
        b.drained(lambda e: e["replayed"] == 2 and e["dead"] == 8)
        m = scrape(b)
        agrees(b, m)
        expect(m.value("bide_async_events_received_total", function="closed") == 4 and dropped("closed") == {"ZeroReservedConcurrency": 4})
        expect(m.value("bide_dlq_letters", replayed="yes") == 2)
        # With the function its series go; the books keep its letters.
        c.delete_function(FunctionName="bad")
        m = until(lambda: (lambda s: None if s.all("bide_invocations_total", function="bad") else s)(scrape(b)), what="series gone")
        expect(not [k for k in m.samples if ("function", "bad") in k[1]] and m.value("bide_events", state="dead") == 8)


def test_busy_worker_and_restart():
    with Bided("shutdown.grace=0") as b:
        c = b.make("f", CODE, Timeout=60)
        m = scrape(b)
        start = m.value("process_start_time_seconds", process="engine")
        expect(m.value("bide_recovered_events") == 0 and m.total("bide_workers") == 0)
        send(c, "f", 1, "hang")
        m = until(lambda: (lambda s: s if s.value("bide_concurrent_executions", function="f") else None)(scrape(b)), what="running")
        expect(m.value("bide_workers", state="busy") == 1 and m.value("bide_unreserved_concurrent_executions") == 1)
        expect(m.value("bide_worker_memory_bytes") == 128 * 2**20 and m.value("bide_worker_start_seconds_count") == 1)
        b.drained(lambda e: e["running"] == 1)
        b.kill9()
        b.start()
        m = scrape(b)
        expect(m.value("bide_recovered_events") == 1, m.value("bide_recovered_events"))
        expect(m.value("process_start_time_seconds", process="engine") > start)
        # Counted since the start, but for the books.
        expect(m.value("bide_events_accepted_total") == 1 and m.value("bide_accept_seconds_count") == 0)
        expect(m.value("bide_async_events_received_total", function="f") == 0)


def test_what_keeps_work_from_being_done():
    """Paused, too big for the host, no room to die in, and a worker that was killed: each is told as what it is."""
    with Bided("clock=virtual", "worker.memory=256MiB", "dlq.max_bytes=0") as b:
        c = b.make("paused", CODE)
        b.make("big", CODE, MemorySize=512)
        b.make("bad", CODE)
        b.make("hit", CODE, Timeout=60)
        b.bide("pause", "paused")
        send(c, "paused", 2)
        send(c, "big", 1)
        b.drained(lambda e: e["queued"] == 3)
        m = scrape(b)
        flags = lambda name: {dict(k)["function"]: v for k, v in m.all(name).items()}  # noqa: E731
        expect(flags("bide_function_paused") == {"paused": 1, "big": 0, "bad": 0, "hit": 0})
        expect(flags("bide_function_fault") == {"paused": 0, "big": 1, "bad": 0, "hit": 0})
        expect(m.value("bide_worker_memory_limit_bytes") == 256 * 2**20)
        c.put_function_event_invoke_config(FunctionName="bad", MaximumRetryAttempts=0)
        send(c, "bad", 1, "fail")
        b.drained(lambda e: e["waiting"] == 1)
        m = scrape(b)
        expect(flags("bide_function_held_events") == {"paused": 0, "big": 0, "bad": 1, "hit": 0})
        expect(m.value("bide_dlq_full") == 1 and m.total("bide_async_events_dropped_total") == 0)
        status = b.bide("status")
        expect(json.loads(b.bide("status", "--json").stdout)["dlq"]["held"] == 1 and "1 event" in status.stdout, status.stdout)
        # The runtime is killed from outside: no fault of the function's.
        send(c, "hit", 1, "hang")
        b.drained(lambda e: e["running"] == 1)
        for pid in boxes(b):
            os.kill(pid, signal.SIGKILL)
        m = until(lambda: (lambda s: s if s.value("bide_disruptions_total", function="hit") else None)(scrape(b)), what="a disruption")
        expect(m.value("bide_disruptions_total", function="hit") == 1 and m.total("bide_errors_total", function="hit") == 0)
        expect(m.value("bide_invocations_total", function="hit", type="event") == 0)
        for name in ("big", "hit", "bad", "paused"):
            c.delete_function(FunctionName=name)


def test_access():
    with Bided() as b:
        over = Scrape(over_socket(b))
        expect(set(over.families) == set(scrape(b).families) and len(over.families) > 50, len(over.families))
        try:
            scrape(b, {"X-Forwarded-For": "192.0.2.1"})
            expect(False, "a proxied request was served without a signature")
        except urllib.error.HTTPError as e:
            expect(e.code == 403, e)
        r = scrape(b)
        expect(r.value("bide_http_refusals_total", reason="signature") == 1)


def test_many_functions_and_readers():
    """The ceiling on functions with series, and readers at the same time: served or told to come again."""
    with Bided() as b:
        b.make("a", CODE)
        codes, lock = [], threading.Lock()

        def read():
            for _ in range(10):
                try:
                    scrape(b)
                    code = 200
                except urllib.error.HTTPError as e:
                    code = e.code
                with lock:
                    codes.append(code)

        threads = [threading.Thread(target=read) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        expect(len(codes) == 80 and set(codes) <= {200, 429} and 200 in codes, codes)
        scrape(b)
