"""bide invoke --count and --file: many events in one go, and what is said of each."""
import contextlib
import http.client
import json
import os
import signal
import socket
import socketserver
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler

from lib import PREFIX, Bided, expect, until

GOOD = "def handler(e, c):\n    return e\n"


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_count_and_file():
    with Bided("history.payload=on") as b, tempfile.TemporaryDirectory() as d:
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
        # A payload of several lines, and none at all.
        r = b.bide("invoke", "f", "--count", "2", "--payload", '{\n "a":\r\n [1]\n}\n')
        expect(b.show(r.stdout.split()[1])["payload"] == {"a": [1]}, r.stderr)
        b.bide("invoke", "f", "--count", "1", "--payload", "")
        b.bide("wait")
        expect(b.events()["done"] == 211, b.events())


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
        r = b.bide("invoke", "f", "--count", "2", "--payload", "{oops", check=False)
        expect(r.returncode == 1 and "--payload is no JSON" in r.stderr, r.stderr)
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


class ToSocket(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("bide")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def lost(b, ids):
    """Those that the daemon does not know."""
    conn, out = ToSocket(b.data + "/bide.sock"), []
    for i in ids:
        conn.request("GET", "/bide/v1/events/" + i)
        answer = conn.getresponse()
        answer.read()
        if answer.status != 200:
            out.append(i)
    return out


def test_daemon_dies_between():
    """What was acknowledged is there; what was not answered is neither called refused nor sent twice."""
    with Bided() as b:
        c = b.make("f", GOOD)
        c.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=1)
        for round in range(3):
            before = b.events()["accepted"]
            p = subprocess.Popen([PREFIX + "/bin/bide", "--data", b.data, "invoke", "f", "--count", "1000000", "--json"], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
            reader = {}
            t = threading.Thread(target=lambda: reader.update(zip(("out", "err"), p.communicate(timeout=90))))
            t.start()
            until(lambda: b.events()["accepted"] > before + 500, what="some accepted")
            b.kill9()
            p.send_signal(signal.SIGINT)
            t.join()
            got = lines(reader["out"])
            last = got[-1]
            ids = [x["id"] for x in got if "id" in x]
            expect(p.returncode == 1 and last["accepted"] == len(ids) == len(set(ids)) > 0, last, reader["err"])
            b.start()
            accepted = b.events()["accepted"] - before
            expect(last["accepted"] <= accepted <= last["accepted"] + last["unknown"], accepted, last)
            # A request is in as a whole or not at all: whatever was accepted beyond the answers are whole loads of 200.
            expect((accepted - last["accepted"]) % 200 == 0, accepted, last)
            expect(lost(b, ids) == [], "acknowledged, and lost")
        expect("holds" in b.bide("verify").stdout)


@contextlib.contextmanager
def scripted(*answers):
    """A daemon's socket in a folder, where the n-th request gets the n-th answer: (status, headers, body) or None, a broken connection.
    The folder and the bodies of the requests, one after the other."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            what = answers[len(bodies) - 1] if len(bodies) <= len(answers) else None
            if what is None:
                self.close_connection = True
                return
            status, headers, body = what(bodies[-1]) if callable(what) else what
            text = json.dumps(body).encode()
            self.send_response(status)
            for k, v in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(k, v)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *args):
            pass

        def address_string(self):
            return "unix"

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    with tempfile.TemporaryDirectory() as d, Server(d + "/bide.sock", Handler) as server:
        t = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        t.start()
        try:
            yield d, bodies
        finally:
            server.shutdown()
            t.join()


def fine(body):
    return 202, {}, {"ids": ["id-" + line for line in body.split("\n")]}


def send(folder, text):
    r = subprocess.run([PREFIX + "/bin/bide", "--data", folder, "invoke", "f", "--file", "-", "--json"], text=True, input=text,
                       capture_output=True, timeout=120)
    return r, lines(r.stdout)


def test_refused_lines_are_left_out():
    bad = {"message": "Nothing was accepted.", "Errors": [{"Line": 2, "Message": "too odd"}, {"Line": 4, "Message": "too even"}]}
    with scripted(fine, (400, {}, bad), fine) as (d, bodies):
        r, got = send(d, "1\n2\n\n3\n4\n5\n6\n")
        expect(bodies == ["1", "2\n3\n4\n5\n6", "2\n4\n6"], bodies)
        expect({x["line"]: x["refused"] for x in got if "refused" in x and "line" in x} == {4: "too odd", 6: "too even"}, got)
        expect({x["line"]: x["id"] for x in got if "id" in x} == {1: "id-1", 2: "id-2", 5: "id-4", 7: "id-6"}, got)
        expect(r.returncode == 1 and got[-1]["accepted"] == 4 and "line 4: refused: too odd" in r.stderr, r.stderr)


def test_no_answer_and_never_again():
    with scripted(fine, None) as (d, bodies):
        r, got = send(d, "1\n2\n3\n")
        expect(bodies == ["1", "2\n3"], bodies)
        expect(sorted(x["line"] for x in got if "unknown" in x and "line" in x) == [2, 3] and got[-1]["unknown"] == 2, got)
        expect(r.returncode == 1 and "without an answer 2" in r.stderr, r.stderr)
    # An answer that cannot be read is no better.
    with scripted((202, {}, {"ids": []})) as (d, bodies):
        r, got = send(d, "1\n")
        expect(r.returncode == 1 and bodies == ["1"] and got[-1]["unknown"] == 1, got)


def test_later_is_later():
    full = (500, {"Retry-After": "10"}, {"message": "full"})
    with scripted((429, {}, {"message": "busy"}), fine, full, (503, {}, {"message": "busy"}), fine) as (d, bodies):
        r, got = send(d, "1\n2\n3\n")
        expect(bodies == ["1", "1", "2\n3", "2\n3", "2\n3"], bodies)
        expect(r.returncode == 0 and got[-1]["accepted"] == 3, got)
