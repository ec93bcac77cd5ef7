"""Drives runtimes/python3/bootstrap.py against a tiny Runtime API: one handler file, one event, what came back."""

import json
import os
import sys
import unittest

from rig import ARN, DEADLINE_S, ID, RuntimeCase

BOOTSTRAP = os.path.abspath(sys.argv.pop(1))


class PythonRuntime(RuntimeCase):
    runtime = "python3.11"

    def command(self):
        return [sys.executable, "-S", "-s", "-B", BOOTSTRAP]

    def run_one(self, code, event=b"{}", python="python3.11", more=(), handler="app.handler"):
        """The post that one event led to: (path after the id, headers, body)."""
        if code is not None:
            self.write("app.py", code)
        self.start(handler, python)
        self.api.expect_next(self)
        self.api.deliver(event, more=more)
        return self.posted()

    def fails_init(self, kind, message, handler="app.handler"):
        self.start(handler)
        path, headers, body = self.posted()
        self.assertEqual(path, "init/error")
        error = json.loads(body)
        self.assertEqual(error["errorType"], kind)
        self.assertEqual(headers["lambda-runtime-function-error-type"], kind)
        if message is not None:
            self.assertEqual(error["errorMessage"], message)
        self.assertEqual(error["requestId"], "")
        self.assertEqual(self.process.wait(DEADLINE_S), 1)
        self.assertIn("[ERROR] %s: " % kind, self.log())
        return error

    # --- answers

    def test_result(self):
        path, headers, body = self.run_one(
            "def handler(event, context):\n    return {'got': event, 'n': None}\n", b'{"a": [1, 2.5, true]}'
        )
        self.assertEqual(path, "invocation/%s/response" % ID)
        self.assertEqual(headers["content-type"], "application/json")
        self.assertEqual(body, b'{"got": {"a": [1, 2.5, true]}, "n": null}')

    def test_nothing_is_null(self):
        self.assertEqual(self.run_one("def handler(event, context):\n    pass\n")[2], b"null")

    def test_unicode(self):
        code = "def handler(event, context):\n    print(event)\n    return event + '\\u00e9\\ud800'\n"
        body = self.run_one("def handler(event, context):\n    print(event)\n    return event\n", '"é☃"'.encode())[2]
        self.assertEqual(body, b'"\\u00e9\\u2603"')
        self.assertEqual(self.log(), "é☃\n")
        self.process.kill()
        self.process.wait()
        self.api.drop()
        self.assertEqual(
            self.run_one("def handler(event, context):\n    return event\n", '"é☃"'.encode(), "python3.12")[2],
            '"é☃"'.encode(),
        )
        self.process.kill()
        self.process.wait()
        self.api.drop()
        path, _, body = self.run_one(code, b'"x"', "python3.12")  # a lone surrogate cannot be written
        self.assertEqual(path, "invocation/%s/error" % ID)
        self.assertEqual(json.loads(body)["errorType"], "Runtime.MarshalError")

    def test_large(self):
        big = json.dumps("x" * (5 << 20)).encode()
        self.assertEqual(self.run_one("def handler(event, context):\n    return event\n", big)[2], big)

    def test_one_connection_and_state_kept(self):
        self.write("app.py", "n = 0\ndef handler(event, context):\n    global n\n    n += 1\n    return n\n")
        self.start()
        for i in range(1, 6):
            self.api.expect_next(self)
            self.api.deliver()
            self.assertEqual(self.posted()[2], b"%d" % i)
        self.assertEqual(self.api.accepted, 1)

    def test_a_dropped_connection_is_made_anew(self):
        self.write("app.py", "def handler(event, context):\n    return event\n")
        self.start()
        self.api.expect_next(self)
        self.api.deliver(b"1")
        self.posted()
        self.api.expect_next(self)
        self.api.drop()
        self.api.expect_next(self)
        self.api.deliver(b"2")
        self.assertEqual(self.posted()[2], b"2")
        self.assertEqual(self.api.accepted, 2)

    def test_a_refused_response_is_survived(self):
        self.write("app.py", "def handler(event, context):\n    return 'x' * (8 << 20) if event else 'small'\n")
        self.start()
        self.api.expect_next(self)
        self.api.deliver(b"1")
        line = self.api.file.readline()
        self.assertTrue(line.startswith(b"POST "))
        self.api.reply(413, b"{}", [("Connection", "close")])
        self.api.drop()
        while True:  # it may try the answer once more on a new connection
            method, path, _, _ = self.api.request()
            if method == "GET":
                break
            self.api.reply(403, b"{}")
        self.assertEqual(path, "/2018-06-01/runtime/invocation/next")
        self.api.deliver(b"0")
        self.assertEqual(self.posted()[2], b'"small"')

    # --- errors

    def test_exception(self):
        path, headers, body = self.run_one(
            """\
            def inner():
                raise ValueError("b\\u00e4d")
            def handler(event, context):
                inner()
            """
        )
        self.assertEqual(path, "invocation/%s/error" % ID)
        self.assertEqual(headers["lambda-runtime-function-error-type"], "ValueError")
        file = os.path.join(self.task, "app.py")
        self.assertEqual(
            json.loads(body),
            {
                "errorMessage": "b\u00e4d",
                "errorType": "ValueError",
                "requestId": ID,
                "stackTrace": [
                    '  File "%s", line 4, in handler\n    inner()\n' % file,
                    '  File "%s", line 2, in inner\n    raise ValueError("b\\u00e4d")\n' % file,
                ],
            },
        )
        self.assertEqual(list(json.loads(body)), ["errorMessage", "errorType", "requestId", "stackTrace"])
        self.assertEqual(
            self.log(),
            "[ERROR] ValueError: b\u00e4d\nTraceback (most recent call last):\n"
            '\u00a0\u00a0File "%s", line 4, in handler\n\u00a0\u00a0\u00a0\u00a0inner()\n'
            '\u00a0\u00a0File "%s", line 2, in inner\n\u00a0\u00a0\u00a0\u00a0raise ValueError("b\\u00e4d")\n'
            % (file, file),
        )
        self.api.expect_next(self)  # it goes on

    def test_unserialisable(self):
        path, _, body = self.run_one("def handler(event, context):\n    return {1, 2}\n")
        self.assertEqual(path, "invocation/%s/error" % ID)
        error = json.loads(body)
        self.assertEqual(error["errorType"], "Runtime.MarshalError")
        self.assertEqual(error["errorMessage"], "Unable to marshal response: Object of type set is not JSON serializable")
        self.assertEqual(error["stackTrace"], [])

    def test_bad_event(self):
        error = json.loads(self.run_one("def handler(event, context):\n    return 1\n", b"{")[2])
        self.assertEqual(error["errorType"], "Runtime.UnmarshalError")

    def test_exits(self):
        for statement, status in (("sys.exit(0)", 0), ("sys.exit(7)", 7), ("os._exit(9)", 9), ("exit(3)", 3)):
            with self.subTest(statement):
                self.write("app.py", "import os, sys\ndef handler(event, context):\n    print('bye')\n    %s\n" % statement)
                self.start()
                self.api.expect_next(self)
                self.api.deliver()
                self.assertEqual(self.process.wait(DEADLINE_S), status)
                self.assertEqual(self.log(), "bye\n")
                self.api.drop()

    # --- init

    def test_import_error(self):
        self.write("app.py", "import no_such_thing\n")
        error = self.fails_init(
            "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'no_such_thing'"
        )
        self.assertEqual(error["stackTrace"], [])

    def test_no_module(self):
        self.fails_init("Runtime.ImportModuleError", "Unable to import module 'app': No module named 'app'")

    def test_no_handler(self):
        self.write("app.py", "x = 1\n")
        self.fails_init("Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'")

    def test_syntax_error(self):
        self.write("app.py", "def handler(event, context)\n    return 1\n")
        error = self.fails_init("Runtime.UserCodeSyntaxError", None)
        self.assertRegex(error["errorMessage"], r"^Syntax error in module 'app': .*\(app\.py, line 1\)$")
        self.assertIn("Line 1", error["stackTrace"][0])

    def test_bad_names(self):
        self.fails_init(
            "Runtime.MalformedHandlerName",
            "Bad handler 'app': not enough values to unpack (expected 2, got 1)",
            handler="app",
        )
        self.api.drop()
        self.fails_init(
            "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module", handler="sys.exit"
        )

    def test_exception_at_import(self):
        self.write("app.py", "raise KeyError('k')\n")
        error = self.fails_init("KeyError", "'k'")
        self.assertEqual(
            error["stackTrace"],
            ['  File "%s", line 1, in <module>\n    raise KeyError(\'k\')\n' % os.path.join(self.task, "app.py")],
        )

    def test_packages(self):
        for handler in ("pkg.sub.mod.fn", "pkg/sub/mod.fn"):
            with self.subTest(handler):
                self.write("pkg/sub/mod.py", "def fn(event, context):\n    return __name__\n")
                self.assertEqual(self.run_one(None, handler=handler)[2], b'"pkg.sub.mod"')
                self.process.kill()
                self.process.wait()
                self.api.drop()

    # --- what handlers see

    def test_context(self):
        body = self.run_one(
            """\
            import os
            def handler(event, context):
                left = context.get_remaining_time_in_millis()
                cc = context.client_context
                return [context.function_name, context.function_version, context.invoked_function_arn,
                        context.memory_limit_in_mb, context.aws_request_id, context.log_group_name,
                        context.log_stream_name, context.identity.cognito_identity_id, 50000 < left <= 60000,
                        cc.custom, cc.env, cc.client.app_title, os.environ["_X_AMZN_TRACE_ID"]]
            """,
            more=[
                ("Lambda-Runtime-Client-Context", '{"custom":{"k":"v"},"env":{},"client":{"app_title":"t"}}'),
                ("Lambda-Runtime-Trace-Id", "Root=1-2"),
            ],
        )[2]
        self.assertEqual(
            json.loads(body),
            ["f", "$LATEST", ARN, "128", ID, "/aws/lambda/f", "2026/01/02/[$LATEST]0", None, True]
            + [{"k": "v"}, {}, "t", "Root=1-2"],
        )

    def test_no_client_context_and_no_trace(self):
        code = """\
            import os
            def handler(event, context):
                return [context.client_context, os.environ.get("_X_AMZN_TRACE_ID")]
            """
        self.assertEqual(self.run_one(code)[2], b"[null, null]")

    def test_search_path(self):
        body = self.run_one("import sys\ndef handler(event, context):\n    return sys.path\n")[2]
        path = json.loads(body)
        self.assertEqual(path[0], self.task)
        self.assertEqual(path[1], "/opt/python/lib/python%d.%d/site-packages" % sys.version_info[:2])
        self.assertEqual(path[2], "/opt/python")

    def test_logging(self):
        self.run_one(
            """\
            import logging
            logging.getLogger().setLevel(logging.INFO)
            logging.warning("at init")
            def handler(event, context):
                logging.info("hello %s", "x")
                logging.getLogger("other").debug("unseen")
                try:
                    1 / 0
                except ZeroDivisionError:
                    logging.exception("caught")
            """
        )
        stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
        self.assertRegex(
            self.log(),
            r"\A\[WARNING\]\t%s\t\tat init\n\[INFO\]\t%s\t%s\thello x\n\[ERROR\]\t%s\t%s\tcaught\nTraceback"
            r"[^\0]*ZeroDivisionError: division by zero\n\Z" % (stamp, stamp, ID, stamp, ID),
        )

    def test_output_is_out_before_the_answer(self):
        code = """\
            import sys
            def handler(event, context):
                print("line")
                print("on stderr", file=sys.stderr)
                print("no newline", end="")
            """
        self.run_one(code)
        self.assertEqual(self.log(), "line\non stderr\nno newline")

    def test_few_modules_are_imported(self):
        body = self.run_one("import sys\ndef handler(event, context):\n    return sorted(sys.modules)\n")[2]
        self.assertFalse({"logging", "traceback", "http.client", "socket", "urllib"} & set(json.loads(body)))


if __name__ == "__main__":
    unittest.main(verbosity=1)
