"""Drives the bootstrap of the runtime `exec` against a tiny Runtime API: one program, one event, what came back."""

import json
import os
import sys
import time
import unittest

from rig import ARN, DEADLINE_S, ID, RuntimeCase

BOOTSTRAP = os.path.abspath(sys.argv.pop(1))
RESULT_MAX = 6291556


class ExecRuntime(RuntimeCase):
    runtime = "exec"

    def command(self):
        return [BOOTSTRAP]

    def program(self, text, handler="job", mode=0o755, **kw):
        self.write(handler, text, mode)
        self.start(handler, **kw)

    def sh(self, line, **kw):
        self.program("#!/bin/sh\n" + line + "\n", **kw)

    def fails_init(self, kind, message, handler="job"):
        self.start(handler)
        path, headers, body = self.posted()
        self.assertEqual(path, "init/error")
        self.assertEqual(json.loads(body), {"errorType": kind, "errorMessage": message})
        self.assertEqual(headers["lambda-runtime-function-error-type"], kind)
        self.assertEqual(self.process.wait(DEADLINE_S), 1)
        self.assertEqual(self.log(), "%s: %s\n" % (kind, message))

    def killed(self):
        """One event whose program is killed outright: the bootstrap goes the same way."""
        self.api.expect_next(self)
        self.api.deliver()
        self.assertEqual(self.process.wait(DEADLINE_S), -9)

    # --- results

    def test_json_goes_out_as_it_is(self):
        self.sh("cat")
        for text in (b'{"a": [1,2.5 , "\xc3\xa9"]}', b"7", b"true", b'"s"', b' {"a":\n1}', b'{"a":1,"a":2}', b"1e999"):
            self.assertEqual(self.give(text)[2], text)
        self.assertEqual(self.give(b"[1]\n\n")[2], b"[1]")

    def test_text_becomes_a_string(self):
        self.sh("cat")
        for text, want in (
            (b"done\n", "done"),
            (b"two\nlines\n\n", "two\nlines"),
            (b'say "hi"\t\\\x01', 'say "hi"\t\\\x01'),
            (b"{broken", "{broken"),
            (b"{} {}", "{} {}"),
            ("é☃😀".encode(), "é☃😀"),
            (b"bad \xff\xc0\x80\xed\xa0\x80 bytes", "bad \ufffd\ufffd\ufffd\ufffd\ufffd\ufffd bytes"),
            (b'"cut \xe2\x98', '"cut \ufffd\ufffd'),
            (b"a\0b", "a\0b"),
        ):
            self.assertEqual(json.loads(self.give(text)[2]), want)

    def test_nothing_is_null(self):
        self.sh("cat >/dev/null")
        self.assertEqual(self.give()[2], b"null")
        self.sh("echo; echo")
        self.assertEqual(self.give()[2], b"null")

    def test_a_program_that_does_not_read(self):
        self.sh("echo 1")
        self.assertEqual(self.give(b'"%s"' % (b"x" * (5 << 20)))[2], b"1")

    def test_large_both_ways(self):
        self.sh("cat")
        big = b'"%s"' % (b"x" * (RESULT_MAX - 1000))
        self.assertEqual(self.give(big)[2], big)

    def test_too_large(self):
        want = b'{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).",'
        want += b'"errorType":"Function.ResponseSizeTooLarge"}'
        for line in (
            "head -c 8000000 /dev/zero | tr '\\0' 7; touch finished",
            "head -c 3000000 /dev/zero",  # a string of six bytes for each
        ):
            self.sh(line)
            path, headers, body = self.give()
            self.assertEqual((path, body), ("invocation/%s/error" % ID, want))
            self.assertEqual(headers["lambda-runtime-function-error-type"], "Function.ResponseSizeTooLarge")
            self.assertTrue(os.path.exists(os.path.join(self.task, "finished")))  # it was not cut off in the middle
        self.assertEqual(self.give()[0], "invocation/%s/error" % ID)

    def test_largest(self):
        for size, ok in ((RESULT_MAX - 2, True), (RESULT_MAX - 1, False)):
            self.sh("printf %%s \"'\"; head -c %d /dev/zero | tr '\\0' x" % (size - 1))
            path, _, body = self.give()
            self.assertEqual(path.endswith("response"), ok)
            if ok:
                self.assertEqual(len(body), RESULT_MAX)

    def test_all_three_at_once(self):
        self.program(
            """\
            #!/usr/bin/env python3
            import sys, threading
            def err():
                for i in range(2000): sys.stderr.write("e" * 1000 + "\\n")
            t = threading.Thread(target=err); t.start()
            while True:
                piece = sys.stdin.buffer.read(1 << 16)
                if not piece: break
                sys.stdout.buffer.write(piece); sys.stdout.buffer.flush()
            t.join()
            """
        )
        big = b'"%s"' % (b"x" * (5 << 20))
        self.assertEqual(self.give(big)[2], big)
        self.assertEqual(os.fstat(self.out.fileno()).st_size, 2000 * 1001)

    # --- errors

    def test_exit_status(self):
        self.sh("echo first >&2; echo 'cannot open it' >&2; echo '{}'; exit 3")
        self.assertEqual(
            self.error(kind="Runtime.ExitError"),
            {
                "errorType": "Runtime.ExitError",
                "errorMessage": "exit status 3: cannot open it",
                "stderr": ["first", "cannot open it"],
            },
        )
        self.assertEqual(self.log(), "first\ncannot open it\n")
        self.error(kind="Runtime.ExitError")  # it goes on
        self.sh("exit 1")
        self.assertEqual(self.error()["errorMessage"], "exit status 1")
        self.assertEqual(self.error()["stderr"], [])

    def test_signals(self):
        for sig, words in (("SEGV", "segmentation fault"), ("TERM", "terminated"), ("ABRT", "aborted"), ("40", "signal 40")):
            self.sh("echo late >&2; kill -%s $$" % sig)
            self.assertEqual(self.error(kind="Runtime.ExitError")["errorMessage"], "signal: %s: late" % words)

    def test_killed_outright(self):
        self.sh("kill -9 $$")
        self.killed()

    def test_the_last_of_a_long_stderr(self):
        self.sh("i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done; printf '\\377 end \\r\\n\\n' >&2; exit 2")
        error = self.error()
        self.assertEqual(error["errorMessage"], "exit status 2: \ufffd end")
        self.assertEqual(error["stderr"], ["line %d" % i for i in range(2991, 3000)] + ["\ufffd end"])
        self.sh("head -c 100000 /dev/zero | tr '\\0' y >&2; exit 2")
        error = self.error()
        self.assertEqual(error["stderr"], ["y" * 1024])
        self.assertLessEqual(len(error["errorMessage"]), 800)

    def test_what_it_leaves_is_killed(self):
        self.write("kid", "#!/bin/sh\necho $$ >>pids\nexec sleep 600\n", 0o755)
        self.sh("./kid & setsid ./kid & (setsid setsid ./kid &) & while [ $(cat pids 2>/dev/null | wc -l) -lt 3 ]; do :; done; echo 1")
        self.assertEqual(self.give()[2], b"1")
        with open(os.path.join(self.task, "pids")) as f:
            for pid in f.read().split():
                self.assertFalse(os.path.exists("/proc/" + pid), pid)
        os.unlink(os.path.join(self.task, "pids"))
        self.assertEqual(self.give()[2], b"1")

    def test_a_program_of_another_machine(self):
        self.write("job", "", 0o755)
        with open(os.path.join(self.task, "job"), "wb") as f:
            f.write(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xff\xfe" + bytes(200))
        self.start("job")
        self.assertEqual(self.error(kind="Runtime.InvalidEntrypoint")["errorMessage"], "job cannot be executed: Exec format error")

    # --- init

    def test_bad_names(self):
        for name in ("../job", "/bin/sh", "a/../../job", "..", ""):
            self.fails_init(
                "Runtime.MalformedHandlerName",
                "'%s' is not a valid handler name: a path inside the package is wanted, without .." % name,
                name,
            )

    def test_not_there(self):
        self.fails_init("Runtime.HandlerNotFound", "bin/job is not in the package", "bin/job")

    def test_not_to_be_run(self):
        kind = "Runtime.InvalidEntrypoint"
        self.write("job", "#!/bin/sh\n", 0o644)
        self.fails_init(kind, "job cannot be run: it is not marked as executable (chmod +x)")
        self.write("job", "echo hello\n", 0o755)
        self.fails_init(
            kind,
            "job cannot be run: it is neither a program of this system nor a script whose first line is #! and an interpreter",
        )
        self.write("job", "#! /no/such/shell -e\n", 0o755)
        self.fails_init(kind, "job cannot be run: its interpreter /no/such/shell: No such file or directory")
        self.write("job", "#!/bin/sh\r\necho\r\n", 0o755)
        self.fails_init(
            kind,
            "job cannot be run: its first line ends in CR LF, so that its interpreter is not found; save it with Unix line ends",
        )
        self.write("dir/file", "")
        self.fails_init(kind, "dir cannot be run: it is no file", "dir")

    # --- what programs see

    def test_environment(self):
        self.program(
            """\
            #!/usr/bin/env python3
            import json, os, sys
            print(json.dumps([dict(os.environ), sys.argv, os.getcwd()]))
            """,
            handler="bin/job",
            env={"AWS_LAMBDA_REQUEST_ID": "old", "_X_AMZN_TRACE_ID": "old", "MINE": "a=b c"},
        )
        before = time.time() * 1000
        seen, argv, cwd = self.result(
            more=[("Lambda-Runtime-Trace-Id", "Root=1-2"), ("Lambda-Runtime-Client-Context", '{"custom":{"k":"v"}}')]
        )
        self.assertEqual(argv, [os.path.join(self.task, "bin/job")])
        self.assertEqual(os.path.realpath(cwd), os.path.realpath(self.task))
        self.assertEqual(seen["AWS_LAMBDA_REQUEST_ID"], ID)
        self.assertEqual(seen["AWS_LAMBDA_INVOKED_FUNCTION_ARN"], ARN)
        self.assertEqual(seen["AWS_LAMBDA_CLIENT_CONTEXT"], '{"custom":{"k":"v"}}')
        self.assertEqual(seen["_X_AMZN_TRACE_ID"], "Root=1-2")
        self.assertGreater(int(seen["AWS_LAMBDA_DEADLINE_MS"]), before)
        self.assertEqual((seen["MINE"], seen["_HANDLER"]), ("a=b c", "bin/job"))
        self.assertNotIn("AWS_LAMBDA_RUNTIME_API", seen)
        seen = self.result()[0]
        self.assertNotIn("_X_AMZN_TRACE_ID", seen)
        self.assertNotIn("AWS_LAMBDA_CLIENT_CONTEXT", seen)

    def test_descriptors_and_signals(self):
        self.program(
            """\
            #!/usr/bin/env python3
            import json, os, re
            status = open("/proc/self/status").read()
            fds = [f for f in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + f)]
            print(json.dumps([sorted(fds), re.search("SigBlk:\\\\s*(\\\\w+)", status).group(1)]))
            """
        )
        fds, blocked = self.result()
        self.assertEqual(fds, ["0", "1", "2"])
        self.assertEqual(int(blocked, 16), 0)
        self.sh("(trap - PIPE; yes 2>/dev/null; echo $? >&2) | true")  # and SIGPIPE ends a program
        self.give()
        self.assertEqual(self.log(), "141\n")

    def test_one_connection(self):
        self.sh("cat")
        for i in range(5):
            self.assertEqual(self.result(b"%d" % i), i)
        self.assertEqual(self.api.accepted, 1)
        self.api.expect_next(self)
        self.api.drop()
        self.assertEqual(self.result(b"2"), 2)

    def test_a_refused_response_is_survived(self):
        self.sh("cat")
        big = b'"%s"' % (b"x" * (6 << 20))
        self.api.expect_next(self)
        self.api.deliver(big)
        self.assertTrue(self.api.file.readline().startswith(b"POST "))
        self.api.reply(413, b"{}", [("Connection", "close")])
        self.api.drop()
        while True:  # it may try the answer once more on a new connection
            method, _, _, _ = self.api.request()
            if method == "GET":
                break
            self.api.reply(403, b"{}")
        self.api.deliver(b"3")
        self.assertEqual(self.posted()[2], b"3")


if __name__ == "__main__":
    unittest.main(verbosity=1)
