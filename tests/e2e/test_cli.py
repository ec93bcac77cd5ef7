"""The command line: what people type wrong, and what scripts read."""
import json
import os
import subprocess
import tempfile

from lib import PREFIX, Bided, expect

GOOD = "def handler(e, c):\n    return e\n"


def test_deploy_refuses_what_is_no_code():
    with Bided() as b, tempfile.TemporaryDirectory() as d:
        open(d + "/bad.zip", "w").write("hello")
        open(d + "/empty.zip", "w").close()
        os.mkdir(d + "/links")
        os.symlink("/etc/passwd", d + "/links/app.py")
        for path, text in (("bad.zip", "named like a zip"), ("empty.zip", "is empty"), ("links", "symbolic link"), ("none", "No such file")):
            r = b.bide("deploy", d + "/" + path, "--name", "f", "--runtime", "python3.12", "--handler", "app.handler", check=False)
            expect(r.returncode == 1 and text in r.stderr and r.stdout == "", path, r.returncode, r.stderr)
        expect(b.bide("functions", "--json").stdout == "")
        open(d + "/app.py", "w").write(GOOD)
        r = b.bide("deploy", d + "/app.py", "--name", "f", "--runtime", "python3.12", "--handler", "app.handler", "--json")
        expect(json.loads(r.stdout) == {"function": "f", "created": True, "changed": True}, r.stdout)
        expect(b.bide("invoke", "f", "--payload", "-", stdin='{"a": 1}').stdout == '{"a": 1}\n')


def test_wrong_usage():
    with Bided() as b:
        for words, status in ((["nosuch"], 2), (["status", "--nosuch"], 2), (["deploy"], 2), (["events", "show"], 2),
                              (["clock", "advance", "5x"], 2), (["dlq", "replay"], 2), (["dlq", "rm", "--all", "--function", "f"], 2),
                              (["invoke", "nosuch"], 1), (["events", "show", "nosuch"], 1), (["clock", "advance", "1s"], 1)):
            r = b.bide(*words, check=False)
            expect(r.returncode == status and r.stderr.strip() and r.stdout == "", words, r.returncode, r.stdout, r.stderr)
        for words in ([], ["status"], ["dlq", "replay"], ["clock", "advance"]):
            r = b.bide(*words, "--help", check=False)
            expect(r.returncode == 0 and r.stdout.startswith("Usage: bide"), words, r.stdout)
        env = json.loads(b.bide("env", "--json").stdout)
        expect(env["AWS_ENDPOINT_URL_LAMBDA"] == b.endpoint and env["AWS_ACCESS_KEY_ID"] == b.key, env)
    r = b.bide("status", check=False, data="/nonexistent")
    expect(r.returncode == 1 and "bided --data" in r.stderr, r.stderr)


def test_a_data_directory_of_somebody_else():
    """A daemon that this user may not reach is not said to be missing, and nobody is told to start another."""
    with tempfile.TemporaryDirectory() as d:
        if os.geteuid():
            os.chmod(d, 0)
        other = {"user": 65534} if os.geteuid() == 0 else {}
        for words in (["status"], ["env"]):
            for data, text in ((d, "Permission denied"), ("/etc/passwd", "Not a directory")):
                r = subprocess.run([PREFIX + "/bin/bide", "--data", data, *words], text=True, capture_output=True, **other)
                expect(r.returncode == 1 and text in r.stderr and "no daemon" not in r.stderr, words, data, r.stderr)
        os.chmod(d, 0o700)


def test_numbers_out_of_range():
    with Bided() as b, tempfile.TemporaryDirectory() as d:
        open(d + "/app.py", "w").write(GOOD)
        for option, value, text in (("--timeout", "0", "from 1 to 900"), ("--memory", "64", "from 128 to 10240"),
                                    ("--tmp", "1", "from 512 to 10240"), ("--retries", "3", "from 0 to 2")):
            r = b.bide("deploy", d, "--name", "f", option, value, check=False)
            expect(r.returncode == 2 and text in r.stderr, option, r.stderr)


def test_frame():
    """Options of bide itself anywhere, help by every road, near misses named, a reader that goes away."""
    with Bided() as b:
        bide = PREFIX + "/bin/bide"

        def run(*words):
            return subprocess.run([bide, *words], text=True, capture_output=True, timeout=60)

        for words in (["--data", b.data, "status", "--json"], ["status", "--json", "--data", b.data], ["--json", "status", "--data=" + b.data]):
            r = run(*words)
            expect(r.returncode == 0 and "events" in json.loads(r.stdout), words, r.stderr)
        for words in (["help", "dlq", "replay"], ["dlq", "replay", "--help"], ["--help", "dlq", "replay"]):
            r = run(*words)
            expect(r.returncode == 0 and r.stdout.startswith("Usage: bide dlq replay"), words, r.stdout, r.stderr)
        expect(run("--version").stdout == run("status", "--version").stdout != "")
        for words, hint in ((["stats"], '"status"'), (["events", "list"], "bide events ls"), (["events", "--functon", "f"], "--function"),
                            (["--function", "f", "events"], "after it")):
            r = run(*words)
            expect(r.returncode == 2 and hint in r.stderr and r.stdout == "", words, r.stderr)
        # A pipe whose reader is gone, also when the signal is ignored: nothing is said.
        for ignore in ("", "trap '' PIPE; "):
            r = subprocess.run(["sh", "-c", ignore + '"$0" --help | true; "$0" help | head -n 1', bide], text=True, capture_output=True, timeout=60)
            expect(r.stderr == "" and r.stdout.startswith("Usage"), ignore, r.stderr)
        r = subprocess.run(["sh", "-c", '"$0" --help >/dev/full', bide], text=True, capture_output=True, timeout=60)
        expect(r.returncode == 1 and "standard output" in r.stderr, r.returncode, r.stderr)


def test_listings_page():
    with Bided() as b:
        for i in range(3):
            b.make("f%d" % i, GOOD)
        expect(len(b.bide("functions", "--json").stdout.splitlines()) == 3)
        names = [json.loads(line)["FunctionName"] for line in b.bide("functions", "--json", "--limit", "2").stdout.splitlines()]
        expect(names == ["f0", "f1"], names)
        for _ in range(60):
            b.bide("invoke", "f0", "--event")
        expect(len(b.bide("events", "--json").stdout.splitlines()) == 60)
        expect(len(b.bide("events", "--json", "--limit", "7").stdout.splitlines()) == 7)
        expect(b.bide("events", "--limit", "x", check=False).returncode == 2)


def test_wait():
    with Bided("clock=virtual") as b:
        b.make("ok", "import time\ndef handler(e, c):\n    time.sleep(0.3)\n")
        b.make("bad", "def handler(e, c):\n    raise ValueError('no')\n")
        expect(b.bide("wait").returncode == 0)
        ids = [b.bide("invoke", "ok", "--event").stdout.strip() for _ in range(3)]
        expect(b.bide("wait", "--function", "ok").stdout == "")
        expect(all(b.show(i)["state"] == "done" for i in ids))
        b.bide("invoke", "bad", "--event")
        expect(json.loads(b.bide("wait", "--json").stdout) == {"queued": 0, "running": 0, "waiting": 1})
        r = b.bide("wait", "--settled", "--timeout", "50ms", check=False)
        expect(r.returncode == 1 and "waiting 1" in r.stderr, r.stderr)
        for d in ("61s", "121s"):
            b.bide("clock", "advance", d)
            b.bide("wait")
        expect(b.bide("wait", "--settled", "--function", "bad", "--json").stdout.strip() == '{"queued":0,"running":0,"waiting":0}')
        for words, status in ((["--timeout", "soon"], 2), (["--function", "nosuch"], 1), (["x"], 2)):
            expect(b.bide("wait", *words, check=False).returncode == status, words)

        # A wait for a paused function may be for nothing, and says so.
        b.bide("pause", "ok")
        expect(b.bide("wait").stderr == "", "nothing is queued")
        b.bide("invoke", "ok", "--event")
        for words in ([], ["--function", "ok"]):
            r = b.bide("wait", "--timeout", "20ms", *words, check=False)
            expect(r.returncode == 1 and "until `bide resume NAME`; paused: ok\n" in r.stderr and " ms; paused: ok\n" in r.stderr, r.stderr)


def test_env_looks_at_the_aws_cli():
    """An old one is named on stderr; one that hangs, fails or prints nonsense holds up nothing and says nothing."""
    with Bided() as b, tempfile.TemporaryDirectory() as d:
        def env(script):
            with open(d + "/aws", "w") as f:
                f.write("#!/bin/sh\n" + script)
            os.chmod(d + "/aws", 0o755)
            r = subprocess.run([PREFIX + "/bin/bide", "env", "--data", b.data], text=True, capture_output=True, timeout=60,
                               env={"PATH": d + ":" + os.environ["PATH"]})
            expect(r.returncode == 0 and "export AWS_ENDPOINT_URL_LAMBDA=" in r.stdout, r.stderr)
            return r.stderr

        for version in ("1.29.79", "2.12.9", "2.9.19", "0.1.2"):
            expect("too old" in env("echo aws-cli/%s Python/3.11 >&2" % version), version)
        expect("2.9.19" in env("echo 'warning: something'; echo aws-cli/2.9.19 Python/3.11"))
        for script in ("echo aws-cli/1.29.80 Python/3", "echo aws-cli/2.13.0 Python/3", "echo aws-cli/3.0.0 x", "exit 1", "echo nonsense",
                       "yes", "kill -9 $$", "sleep 1000 & exec sleep 1000"):
            expect(env(script) == "", script)


def test_a_daemon_that_has_stopped():
    """Its socket is left behind: what does not answer is the socket, and no host and port are made up."""
    with Bided() as b:
        b.stop()
        r = b.bide("status", check=False)
        expect(r.returncode == 1 and "Connection refused" in r.stderr and b.data + "/bide.sock" in r.stderr, r.stderr)
        expect(" port " not in r.stderr, r.stderr)
