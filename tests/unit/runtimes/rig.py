"""A tiny Runtime API for the tests of the runtimes, and what they have in common: one handler, one event, what came back."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import textwrap
import time
import unittest

ID = "11111111-1111-7111-8111-111111111111"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:f:live"
DEADLINE_S = 30


class Api:
    """A listening socket that plays the engine, one request at a time, in the order the test wants."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(DEADLINE_S)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.conn = None
        self.accepted = 0

    def close(self):
        self.drop()
        self.listener.close()

    def drop(self):
        if self.conn is not None:
            self.file.close()  # or it keeps the connection open
            self.conn.close()
            self.conn = None

    def request(self):
        """Method, path, headers, body of the next request, on the kept connection or a new one."""
        while True:
            if self.conn is None:
                self.conn = self.listener.accept()[0]
                self.conn.settimeout(DEADLINE_S)
                self.file = self.conn.makefile("rb")
                self.accepted += 1
            line = self.file.readline().decode()
            if line:
                break
            self.drop()
        method, path, _ = line.split(" ", 2)
        headers = {}
        while True:
            name, _, value = self.file.readline().decode().partition(":")
            if not value:
                break
            headers[name.lower()] = value.strip()
        return method, path, headers, self.file.read(int(headers.get("content-length", "0")))

    def reply(self, status, body=b"", headers=()):
        head = "HTTP/1.1 %d X\r\nContent-Length: %d\r\n" % (status, len(body))
        head += "".join("%s: %s\r\n" % h for h in headers)
        self.conn.sendall(head.encode() + b"\r\n" + body)

    def expect_next(self, test):
        method, path, _, _ = self.request()
        test.assertEqual((method, path), ("GET", "/2018-06-01/runtime/invocation/next"))

    def deliver(self, event=b"{}", request_id=ID, more=()):
        self.reply(
            200,
            event,
            [
                ("Content-Type", "application/json"),
                ("Lambda-Runtime-Aws-Request-Id", request_id),
                ("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 60000)),
                ("Lambda-Runtime-Invoked-Function-Arn", ARN),
            ]
            + list(more),
        )


class RuntimeCase(unittest.TestCase):
    """A subclass says how to start it: command(), runtime."""

    runtime = ""

    def command(self):
        raise NotImplementedError

    def setUp(self):
        self.task = tempfile.mkdtemp(prefix="bide-test-runtime.")
        self.addCleanup(shutil.rmtree, self.task)
        self.api = Api()
        self.addCleanup(self.api.close)
        self.process = None

    def tearDown(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def write(self, path, text, mode=0o644):
        path = os.path.join(self.task, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(textwrap.dedent(text))
        os.chmod(path, mode)

    def start(self, handler="app.handler", runtime=None, env=None):
        self.again()
        full = {
            "_HANDLER": handler,
            "AWS_LAMBDA_RUNTIME_API": self.api.address,
            "LAMBDA_TASK_ROOT": self.task,
            "AWS_EXECUTION_ENV": "AWS_Lambda_" + (runtime or self.runtime),
            "AWS_LAMBDA_FUNCTION_NAME": "f",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/02/[$LATEST]0",
            "LANG": "en_US.UTF-8",
            "PATH": os.environ["PATH"],
            **(env or {}),
        }
        self.out = tempfile.TemporaryFile()
        self.addCleanup(self.out.close)
        self.process = subprocess.Popen(self.command(), env=full, cwd=self.task, stdout=self.out, stderr=self.out)

    def again(self):
        """End the process of before, so that another can be started."""
        self.tearDown()
        self.process = None
        self.api.drop()

    def log(self):
        """What was written so far; the position of the file is the child's as well, so it is not moved."""
        return os.pread(self.out.fileno(), 1 << 20, 0).decode("utf-8")

    def posted(self):
        """What the process posted: (path without its common beginning, headers, body)."""
        method, path, headers, body = self.api.request()
        self.assertEqual(method, "POST")
        self.api.reply(202, b'{"status":"OK"}')
        return path.replace("/2018-06-01/runtime/", ""), headers, body

    def give(self, event=b"{}", more=(), request_id=ID):
        """One event to the running process; what it posted."""
        self.api.expect_next(self)
        self.api.deliver(event, more=more, request_id=request_id)
        return self.posted()

    def result(self, event=b"{}", more=()):
        """One event that must succeed; the result."""
        path, headers, body = self.give(event, more)
        self.assertEqual(path, "invocation/%s/response" % ID, body[:1000])
        self.assertEqual(headers["content-type"], "application/json")
        return json.loads(body)

    def error(self, event=b"{}", kind=None):
        """One event that must fail; the error object."""
        path, headers, body = self.give(event)
        self.assertEqual(path, "invocation/%s/error" % ID, body[:1000])
        error = json.loads(body)
        self.assertEqual(headers["lambda-runtime-function-error-type"], error["errorType"])
        if kind is not None:
            self.assertEqual(error["errorType"], kind)
        return error
