#!/usr/bin/env python3
"""bench_peer counts what happened, and fails where a figure would lie: against small servers that speak as much of each protocol as it
uses, and misbehave on request. test_peer.py BENCH_PEER"""
import collections
import json
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import unittest

PROGRAM = sys.argv.pop(1)
PAYLOAD = 64


class Queue(socketserver.ThreadingTCPServer):
    """Jobs that wait, and how many were added and are done."""
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, talk, fault=None):
        self.jobs, self.there = collections.deque(), threading.Condition()
        self.added = self.done = 0
        self.fault = fault
        super().__init__(("127.0.0.1", 0), type("Handler", (socketserver.StreamRequestHandler,), {
            "disable_nagle_algorithm": True, "wbufsize": 0, "handle": lambda h: self.until_closed(talk, h)}))
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def until_closed(self, talk, handler):
        try:
            talk(self, handler)
        except (ConnectionError, EOFError):
            pass

    def add(self, job):
        with self.there:
            self.added += 1
            self.jobs.append(job)
            self.there.notify()

    def take(self):
        with self.there:
            while not self.jobs:
                self.there.wait()
            return self.jobs.popleft()

    def finish(self):
        with self.there:
            self.done += 1


def read(h, n):
    got = h.rfile.read(n)
    if len(got) < n:
        raise EOFError
    return got


def line(h):
    got = h.rfile.readline()
    if not got:
        raise EOFError
    return got.rstrip(b"\r\n")


def redis(q, h):
    while True:
        words = []
        for _ in range(int(line(h)[1:])):
            words.append(read(h, int(line(h)[1:])))
            read(h, 2)
        verb = words[0].upper()
        if verb == b"LPUSH":
            if q.fault == "error":
                h.wfile.write(b"-OOM no room\r\n")
                continue
            for job in words[2:]:
                q.add(job)
            h.wfile.write(b":%d\r\n" % len(q.jobs))
        elif verb == b"BLMOVE":
            job = q.take()
            h.wfile.write(b"$%d\r\n%s" % (len(job), job[:7]))  # in pieces
            h.wfile.write(job[7:] + b"\r\n")
        elif verb == b"LREM":
            q.finish()
            h.wfile.write(b":1\r\n")
        elif verb == b"LLEN":
            h.wfile.write(b":%d\r\n" % (0 if q.fault == "forgets" else len(q.jobs)))
        else:
            h.wfile.write(b":0\r\n")


def beanstalkd(q, h):
    while True:
        words = line(h).split()
        if words[0] == b"put":
            q.add(read(h, int(words[4])))
            read(h, 2)
            h.wfile.write(b"INSERTED %d\r\n" % q.added)
        elif words[0] == b"reserve":
            job = q.take()
            h.wfile.write(b"RESERVED 7 %d\r\n" % len(job))
            h.wfile.write(job + b"\r\n")
        elif words[0] == b"delete":
            q.finish()
            h.wfile.write(b"DELETED\r\n")
        else:
            text = b"---\nname: default\ncurrent-jobs-ready: %d\n" % len(q.jobs)
            h.wfile.write(b"OK %d\r\n%s\r\n" % (len(text), text))


# --- AMQP

def frame(kind, body):
    return struct.pack(">BHI", kind, 1, len(body)) + body + b"\xce"


def method(cls, n, rest=b""):
    return frame(1, struct.pack(">HH", cls, n) + rest)


def confirms(q, tags):
    """Each alone; or, when there are four, in another order and some of them together."""
    if q.fault == "order" and len(tags) == 4:
        return b"".join(method(60, 80, struct.pack(">QB", tags[i], many)) for i, many in ((2, 0), (1, 1), (3, 1)))
    return b"".join(method(60, 80, struct.pack(">QB", t, 0)) for t in tags)


def deliver(q, h):
    for tag in range(1, 1 << 30):
        job = q.take()
        h.wfile.write(method(60, 60, b"\3tag" + struct.pack(">QB", tag, 0) + b"\0\0"))
        h.wfile.write(frame(2, b"\0\x3c\0\0" + struct.pack(">QH", len(job), 0)) + frame(3, job))


def amqp(q, h):
    assert read(h, 8) == b"AMQP\0\0\x09\x01"
    h.wfile.write(method(10, 10, b"\0\x09\0\0\0\0\0\0\0\0\0\0\0\0"))
    answers = {(10, 11): method(10, 30, struct.pack(">HIH", 2047, 131072, 60)), (10, 31): b"", (10, 40): method(10, 41, b"\0"),
               (20, 10): method(20, 11, b"\0\0\0\0"), (50, 40): method(50, 41, b"\0\0\0\0"), (85, 10): method(85, 11), (60, 10): method(60, 11),
               (60, 40): b""}
    tags, last = [], 0
    while True:
        kind, _, size = struct.unpack(">BHI", read(h, 7))
        body = read(h, size)
        assert read(h, 1) == b"\xce"
        if kind == 3:
            q.add(body)
            last += 1
            tags.append(last)
            if len(tags) == (4 if q.fault == "order" else 1):
                h.wfile.write(confirms(q, tags))
                tags = []
        elif kind == 1:
            what = struct.unpack(">HH", body[:4])
            if what == (50, 10):
                h.wfile.write(method(50, 11, b"\4jobs" + struct.pack(">II", len(q.jobs), 0)))
            elif what == (60, 20):
                h.wfile.write(method(60, 21, b"\3tag"))
                threading.Thread(target=lambda: q.until_closed(deliver, h), daemon=True).start()
            elif what == (60, 80):
                q.finish()
            elif what == (60, 40) and q.fault == "closes":
                h.wfile.write(method(20, 40, b"\1\x93\x09NOT_FOUND\0\0\0\0"))
            else:
                h.wfile.write(answers[what])


class Counted(unittest.TestCase):
    def load(self, protocol, talk, producers=2, consumers=0, batch=1, fault=None):
        with Queue(talk, fault) as q:
            got = subprocess.run([PROGRAM, protocol, "127.0.0.1", str(q.server_address[1]), str(producers), str(consumers), "0.2",
                                  str(PAYLOAD), str(batch)], capture_output=True, text=True, timeout=60)
            q.shutdown()
        return q, got

    def accepted(self, *args, **more):
        q, got = self.load(*args, **more)
        self.assertEqual(got.returncode, 0, got.stderr)
        n, in_flight = json.loads(got.stdout)["n"], more.get("producers", 2) * more.get("batch", 1)
        self.assertGreater(n, 0)
        self.assertLessEqual(n, q.added)
        self.assertLessEqual(q.added, n + in_flight)
        self.assertEqual({len(job) for job in q.jobs}, {PAYLOAD})
        self.assertIn("data", json.loads(q.jobs[0]))

    def through(self, *args):
        q, got = self.load(*args, producers=3, consumers=2)
        self.assertEqual(got.returncode, 0, got.stderr)
        n = json.loads(got.stdout)["n"]
        self.assertGreater(n, 0)
        self.assertEqual((n, len(q.jobs)), (q.added, 0))

    def refused(self, text, *args, **more):
        _, got = self.load(*args, **more)
        self.assertEqual((got.returncode, got.stdout), (1, ""))
        self.assertIn(text, got.stderr)

    def test_accepts(self):
        self.accepted("redis", redis)
        self.accepted("beanstalkd", beanstalkd)
        self.accepted("amqp", amqp)

    def test_batches(self):
        self.accepted("redis", redis, batch=64)
        self.accepted("redis-values", redis, batch=64)
        self.accepted("beanstalkd", beanstalkd, batch=64)
        self.accepted("amqp", amqp, batch=64)

    def test_more_than_a_socket_takes(self):
        self.accepted("redis", redis, producers=1, batch=10000)

    def test_confirms_in_any_order_and_together(self):
        self.accepted("amqp", amqp, batch=4, fault="order")

    def test_end_to_end(self):
        self.through("redis", redis)
        self.through("beanstalkd", beanstalkd)
        self.through("amqp", amqp)

    def test_a_refusal_ends_it(self):
        self.refused("OOM no room", "redis", redis, fault="error")
        self.refused("NOT_FOUND", "amqp", amqp, fault="closes")

    def test_what_was_answered_for_must_be_there(self):
        self.refused("0 are there", "redis", redis, fault="forgets")

    def test_no_server(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        got = subprocess.run([PROGRAM, "redis", "127.0.0.1", str(port), "1", "0", "1", "64", "1"], capture_output=True, text=True)
        self.assertEqual(got.returncode, 1)
        self.assertIn("connect", got.stderr)

    def test_usage(self):
        for args in ([], ["nothing", "127.0.0.1", "1", "1", "0", "1", "64", "1"], ["redis", "127.0.0.1", "1", "0", "0", "1", "64", "1"]):
            self.assertEqual(subprocess.run([PROGRAM, *args], capture_output=True).returncode, 2, args)


if __name__ == "__main__":
    unittest.main()
