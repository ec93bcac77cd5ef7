"""The command line: what people type wrong, and what scripts read."""
import json
import os
import tempfile

from lib import Bided, expect

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
        expect(json.loads(r.stdout) == {"function": "f", "created": True}, r.stdout)
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
