"""Drives runtimes/nodejs/bootstrap.js against a tiny Runtime API. Arguments: the bootstrap, the interpreter; without an
interpreter the test is skipped (exit status 77), or fails with BIDE_SANDBOX_MUST_WORK=1."""

import json
import os
import sys
import unittest

from rig import ARN, DEADLINE_S, ID, RuntimeCase

BOOTSTRAP = os.path.abspath(sys.argv.pop(1))
NODE = sys.argv.pop(1) if len(sys.argv) > 1 else ""
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


class NodejsRuntime(RuntimeCase):
    runtime = "nodejs20.x"

    def command(self):
        return [NODE, BOOTSTRAP]

    def handler(self, code, runtime=None, file="index.js", handler="index.handler", env=None):
        """Start with `exports.handler = CODE`, or with the code itself when it has a line of its own."""
        self.write(file, code if "\n" in code else "exports.handler = %s;\n" % code)
        self.start(handler, runtime, env)

    def fails_init(self, kind, message=None, handler="index.handler", runtime=None, status=129):
        self.start(handler, runtime)
        path, headers, body = self.posted()
        self.assertEqual(path, "init/error")
        error = json.loads(body)
        self.assertEqual(list(error), ["errorType", "errorMessage", "trace"])
        self.assertEqual(error["errorType"], kind)
        self.assertEqual(headers["lambda-runtime-function-error-type"], kind)
        if message is not None:
            self.assertEqual(error["errorMessage"], message)
        self.assertEqual(self.process.wait(DEADLINE_S), status)
        return error

    # --- answers

    def test_async(self):
        self.handler("async (event) => ({ got: event, none: undefined })")
        self.assertEqual(self.result(b'{"a": [1, 2.5, true, "\xc3\xa9"]}'), {"got": {"a": [1, 2.5, True, "é"]}})

    def test_callback(self):
        self.handler("(event, context, callback) => { setTimeout(() => callback(null, event.n + 1), 5); }")
        self.assertEqual(self.result(b'{"n": 1}'), 2)
        self.assertEqual(self.result(b'{"n": 2}'), 3)

    def test_a_callback_waits_for_what_is_left_to_do(self):
        self.handler(
            """
            let late = 0;
            exports.handler = (event, context, callback) => {
              context.callbackWaitsForEmptyEventLoop = event.wait;
              setTimeout(() => { late += 1; if (event.wait) console.log('late'); }, event.ms);
              callback(null, late);
            };
            """
        )
        self.assertEqual(self.result(b'{"wait": true, "ms": 20}'), 0)
        self.assertIn("late", self.log())  # before the answer
        self.assertEqual(self.result(b'{"wait": false, "ms": 100000000}'), 1)  # not waited for

    def test_old_methods_of_the_context(self):
        self.handler("(e, c) => { setTimeout(() => c[e.how](...e.args), 1); setInterval(() => {}, 1000); }")
        self.assertEqual(self.result(b'{"how": "succeed", "args": [{"a": 1}]}'), {"a": 1})
        self.assertEqual(self.result(b'{"how": "done", "args": [null, 2]}'), 2)
        self.assertEqual(self.error(b'{"how": "fail", "args": ["why"]}', "string")["errorMessage"], "why")
        self.assertEqual(self.error(b'{"how": "fail", "args": []}', "string")["errorMessage"], "handled")

    def test_only_the_first_answer_counts(self):
        self.handler("(e, c, callback) => { callback(null, 1); callback(null, 2); c.succeed(3); }")
        self.assertEqual(self.result(), 1)
        self.assertEqual(self.result(), 1)

    def test_what_a_plain_function_returns_is_ignored(self):
        self.handler("(event) => 'ignored'")
        self.assertEqual(self.result(), None)

    def test_a_promise_of_a_plain_function_is_its_answer(self):
        self.handler("(event) => Promise.resolve('kept')")
        self.assertEqual(self.result(), "kept")

    def test_nothing_is_null(self):
        for code in ("async () => {}", "(e, c, callback) => callback()", "async () => () => 1"):
            self.handler(code)
            self.assertEqual(self.give()[2], b"null")

    def test_nodejs24(self):
        self.handler("(event) => event.n", "nodejs24.x")
        self.assertEqual(self.result(b'{"n": 7}'), 7)
        self.handler("async (event, context) => [arguments.length, Object.keys(context)]", "nodejs24.x")
        self.assertNotIn("callbackWaitsForEmptyEventLoop", self.result()[1])
        self.write("index.js", "exports.handler = (event, context, callback) => callback(null, 1);\n")
        error = self.fails_init("Runtime.CallbackHandlerDeprecated", runtime="nodejs24.x")
        self.assertIn("removed support for callback-based function handlers", error["errorMessage"])

    def test_large(self):
        self.handler("async (event) => event")
        big = json.dumps("x" * (6 << 20)).encode()
        self.assertEqual(self.give(big)[2], big)

    def test_one_connection_and_state_kept(self):
        self.handler("let n = 0;\nexports.handler = async () => ++n;\n")
        for i in range(1, 6):
            self.assertEqual(self.result(), i)
        self.assertEqual(self.api.accepted, 1)

    def test_a_dropped_connection_is_made_anew(self):
        self.handler("async (event) => event")
        self.assertEqual(self.result(b"1"), 1)
        self.api.expect_next(self)
        self.api.drop()
        self.assertEqual(self.result(b"2"), 2)

    def test_a_refused_response_is_survived(self):
        self.handler("async (event) => (event ? 'x'.repeat(8 << 20) : 'small')")
        self.api.expect_next(self)
        self.api.deliver(b"1")
        self.assertTrue(self.api.file.readline().startswith(b"POST "))
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

    def test_error(self):
        self.handler("async () => { throw Object.assign(new TypeError('b\\u00e4d'), { code: 'E1', more: 2 }); }")
        error = self.error(kind="TypeError")
        self.assertEqual(list(error), ["errorType", "errorMessage", "trace"])
        self.assertEqual(error["errorMessage"], "b\u00e4d")
        self.assertEqual(error["trace"][0], "TypeError: b\u00e4d")
        self.assertIn("index.js:1:", error["trace"][1])
        self.assertRegex(self.log(), r"\A%s\t%s\tERROR\tInvoke Error \t\{" % (STAMP, ID))
        logged = json.loads(self.log().split("\t", 4)[4])
        self.assertEqual((logged["errorType"], logged["code"], logged["more"]), ("TypeError", "E1", 2))
        self.assertEqual(logged["stack"], error["trace"])
        self.error(kind="TypeError")  # it goes on

    def test_thrown_and_called_back(self):
        self.handler("(e, c, callback) => { if (e.throw) throw new RangeError('t'); callback(new RangeError('c')); }")
        self.assertEqual(self.error(b'{"throw": true}', "RangeError")["errorMessage"], "t")
        self.assertEqual(self.error(b'{"throw": false}', "RangeError")["errorMessage"], "c")

    def test_what_is_no_error(self):
        self.handler("async (event) => { throw event; }")
        self.assertEqual(self.error(b'"text"'), {"errorType": "string", "errorMessage": "text", "trace": []})
        self.assertEqual(self.error(b'{"a": 1}')["errorType"], "object")
        self.assertEqual(self.error(b"null")["errorMessage"], "handled")

    def test_an_error_class_of_the_function(self):
        self.handler("class Refused extends Error { constructor(m) { super(m); this.name = 'Refused'; } }\n"
                     "exports.handler = async () => { throw new Refused('no'); };\n")
        self.assertEqual(self.error(kind="Refused")["errorMessage"], "no")

    def test_unserialisable(self):
        self.handler("async (event) => { if (event.big) return 1n; const a = {}; a.a = a; return a; }")
        for event in (b'{"big": true}', b'{"big": false}'):
            self.assertEqual(self.error(event, "Error")["errorMessage"], "Unable to stringify response body")

    def test_a_promise_that_is_never_settled(self):
        self.handler("async () => { await new Promise(() => {}); }")
        error = self.error(kind="Runtime.NodeJsExit")
        self.assertIn("a Promise that was never settled", error["errorMessage"])
        self.error(kind="Runtime.NodeJsExit")

    def test_uncaught_exception(self):
        self.handler("(e, c, callback) => { setTimeout(() => { throw new Error('later'); }, 1); }")
        error = self.error(kind="Error")
        self.assertEqual(error["errorMessage"], "later")
        self.assertEqual(self.process.wait(DEADLINE_S), 129)
        self.assertRegex(self.log(), r"\A%s\t%s\tERROR\tUncaught Exception \t\{" % (STAMP, ID))

    def test_unhandled_rejection(self):
        self.handler("(e, c, callback) => { Promise.reject(new Error('lost')); }")
        error = self.error(kind="Runtime.UnhandledPromiseRejection")
        self.assertEqual(error["errorMessage"], "Error: lost")
        self.assertIn("index.js", "".join(error["trace"]))
        self.assertEqual(self.process.wait(DEADLINE_S), 128)
        logged = json.loads(self.log().split("\t", 4)[4])
        self.assertEqual(logged["reason"]["errorMessage"], "lost")

    def test_a_rejection_beside_an_answer_does_not_cost_the_answer(self):
        self.handler("async () => { Promise.reject(new Error('lost')); return 'kept'; }")
        self.assertEqual(self.result(), "kept")
        self.assertEqual(self.process.wait(DEADLINE_S), 128)
        self.assertIn("Unhandled Promise Rejection", self.log())

    def test_exits(self):
        for statement, status in (("process.exit(0)", 0), ("process.exit(7)", 7), ("process.kill(process.pid, 9)", -9)):
            with self.subTest(statement):
                self.handler("async () => { console.log('bye'); process.stdout.write('raw\\n'); %s; }" % statement)
                self.api.expect_next(self)
                self.api.deliver()
                self.assertEqual(self.process.wait(DEADLINE_S), status)
                self.assertRegex(self.log(), r"\tbye\nraw\n\Z")

    # --- init

    def test_no_module(self):
        error = self.fails_init("Runtime.ImportModuleError")
        self.assertTrue(error["errorMessage"].startswith("Error: Cannot find module 'index'\nRequire stack:"), error)
        self.assertRegex(self.log(), r"\A%s\tundefined\tERROR\tUncaught Exception \t\{" % STAMP)

    def test_import_error(self):
        self.write("index.js", "require('no-such-thing');\n")
        error = self.fails_init("Runtime.ImportModuleError")
        self.assertTrue(error["errorMessage"].startswith("Error: Cannot find module 'no-such-thing'"), error)
        self.assertEqual(error["trace"][0], "Runtime.ImportModuleError: Error: Cannot find module 'no-such-thing'")

    def test_no_handler(self):
        self.write("index.js", "exports.x = 1;\n")
        self.fails_init("Runtime.HandlerNotFound", "index.handler is undefined or not exported")
        self.fails_init("Runtime.HandlerNotFound", "index.x is not a function", "index.x")

    def test_syntax_error(self):
        self.write("index.js", "exports.handler = async ( => 1;\n")
        error = self.fails_init("Runtime.UserCodeSyntaxError")
        self.assertTrue(error["errorMessage"].startswith("SyntaxError: "), error)
        self.assertIn("index.js:1", "\n".join(error["trace"]))  # where it is
        self.write("index.js", "")
        os.unlink(os.path.join(self.task, "index.js"))
        self.write("index.mjs", "export const handler = async ( => 1;\n")
        self.fails_init("Runtime.UserCodeSyntaxError")

    def test_bad_names(self):
        self.fails_init("Runtime.MalformedHandlerName", "Bad handler", "index")
        self.fails_init(
            "Runtime.MalformedHandlerName",
            "'../index.handler' is not a valid handler name. "
            "Use absolute paths when specifying root directories in handler names.",
            "../index.handler",
        )

    def test_exception_at_load(self):
        self.write("index.js", "throw new RangeError('at load');\n")
        error = self.fails_init("RangeError", "at load")
        self.assertIn("index.js:1", error["trace"][1])

    def test_failures_of_init_outside_of_the_load(self):
        self.write("index.mjs", "setTimeout(() => { throw new Error('soon'); }, 1);\n"
                                "await new Promise((r) => setTimeout(r, 100000));\nexport const handler = 1;\n")
        self.fails_init("Error", "soon")
        self.write("index.mjs", "Promise.reject(new Error('lost'));\n"
                                "await new Promise((r) => setTimeout(r, 100000));\nexport const handler = 1;\n")
        self.fails_init("Runtime.UnhandledPromiseRejection", "Error: lost", status=128)
        self.write("index.mjs", "await new Promise(() => {});\nexport const handler = 1;\n")
        self.start("index.handler")
        self.assertEqual(self.process.wait(DEADLINE_S), 13)

    def test_streaming_is_refused(self):
        self.write("index.js", "exports.handler = awslambda.streamifyResponse(async () => {});\n")
        error = self.fails_init("Runtime.InvalidStreamingOperation")
        self.assertIn("not supported", error["errorMessage"])

    def test_kinds_of_modules(self):
        esm = "import { basename } from 'node:path';\nexport const handler = async () => basename(import.meta.url);\n"
        cjs = "exports.handler = async () => require('path').basename(__filename);\n"
        rows = (
            ({"index.mjs": esm}, "index.mjs"),
            ({"index.cjs": cjs}, "index.cjs"),
            ({"index.js": esm, "package.json": '{"type": "module"}'}, "index.js"),
            ({"index.cjs": cjs, "package.json": '{"type": "module"}'}, "index.cjs"),
            ({"index.js": cjs, "package.json": '{"type": "commonjs"}'}, "index.js"),
            ({"index.js": cjs, "index.mjs": esm}, "index.js"),
            ({"index": cjs}, "index"),
        )
        for files, want in rows:
            with self.subTest(sorted(files)):
                for name in os.listdir(self.task):
                    os.unlink(os.path.join(self.task, name))
                for name, text in files.items():
                    self.write(name, text)
                self.start("index.handler")
                self.assertEqual(self.result(), want)

    def test_top_level_await(self):
        self.handler("const n = await Promise.resolve(3);\nexport async function handler() { return n; }\n", file="index.mjs")
        self.assertEqual(self.result(), 3)

    def test_folders_and_nested_exports(self):
        self.write("a/b/file.js", "exports.fn = async () => 'fn';\nexports.deep = { er: { fn: async () => 'deep' } };\n")
        for handler, want in (("a/b/file.fn", "fn"), ("a/b/file.deep.er.fn", "deep"), ("./a/b/file.fn", "fn")):
            self.start(handler)
            self.assertEqual(self.result(), want)

    def test_packages(self):
        self.write("node_modules/dep/package.json", '{"name": "dep", "main": "lib/main.js"}')
        self.write("node_modules/dep/lib/main.js", "exports.handler = async () => 'main';\nexports.n = 5;\n")
        self.handler("async () => require('dep').n")
        self.assertEqual(self.result(), 5)
        self.start("dep.handler")  # a handler inside a package
        self.assertEqual(self.result(), "main")
        self.write("layer/other/index.js", "exports.n = 6;\n")
        self.handler("async () => require('other').n", env={"NODE_PATH": os.path.join(self.task, "layer")})
        self.assertEqual(self.result(), 6)

    # --- what handlers see

    def test_context(self):
        self.handler("async (e, c) => ({ ...c, left: c.getRemainingTimeInMillis(), trace: process.env._X_AMZN_TRACE_ID })")
        seen = self.result(
            more=[
                ("Lambda-Runtime-Client-Context", '{"custom":{"k":"v"}}'),
                ("Lambda-Runtime-Cognito-Identity", '{"cognitoIdentityId":"i"}'),
                ("Lambda-Runtime-Trace-Id", "Root=1-2"),
            ]
        )
        self.assertTrue(50000 < seen.pop("left") <= 60000)
        self.assertEqual(
            seen,
            {
                "callbackWaitsForEmptyEventLoop": True,
                "functionVersion": "$LATEST",
                "functionName": "f",
                "memoryLimitInMB": "128",
                "logGroupName": "/aws/lambda/f",
                "logStreamName": "2026/01/02/[$LATEST]0",
                "clientContext": {"custom": {"k": "v"}},
                "identity": {"cognitoIdentityId": "i"},
                "invokedFunctionArn": ARN,
                "awsRequestId": ID,
                "trace": "Root=1-2",
            },
        )
        seen = self.result()
        self.assertNotIn("trace", seen)
        self.assertNotIn("clientContext", seen)

    def test_console(self):
        self.handler(
            "console.log('at init');\n"
            "exports.handler = async () => {\n"
            "  console.log('a %s', 'b', { c: 1 }); console.info('i'); console.warn('w'); console.error('e'); console.debug('d');\n"
            "  console.log('two\\nlines');\n"
            "};\n"
        )
        self.result()
        want = [("undefined", "INFO", "at init"), (ID, "INFO", "a b { c: 1 }"), (ID, "INFO", "i"), (ID, "WARN", "w")]
        want += [(ID, "ERROR", "e"), (ID, "DEBUG", "d"), (ID, "INFO", "two\nlines")]
        self.assertRegex(self.log(), r"\A%s\Z" % "".join(r"%s\t%s\t%s\t%s\n" % ((STAMP,) + w) for w in want))

    def test_little_is_loaded(self):
        self.handler("async () => process.moduleLoadList.filter((m) => /^NativeModule (http|https|url|worker)/.test(m))")
        self.assertNotIn("NativeModule http", self.result())


if __name__ == "__main__":
    if not NODE:
        print("Node.js is not installed: apt-get install nodejs")
        sys.exit(1 if os.environ.get("BIDE_SANDBOX_MUST_WORK") == "1" else 77)
    unittest.main(verbosity=1)
