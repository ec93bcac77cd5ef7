"""bide deploy of a folder: what it takes, what it leaves out, what it guesses, and --watch."""
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading

from lib import PREFIX, Bided, Failed, expect, until

HANDLER = "def handler(e, c):\n    return %s\n"


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def test_folder_without_junk():
    lister = "import os\ndef handler(e, c):\n    return sorted(os.path.relpath(os.path.join(d, f), '/var/task') for d, _, n in os.walk('/var/task') for f in n)\n"
    with Bided() as b, tempfile.TemporaryDirectory() as d:
        write(d + "/app.py", lister)
        kept = ["app.py", "lib/util.py", "node_modules/x/.cache", "data/.env"]
        for name in kept[1:] + [".git/HEAD", "lib/__pycache__/util.cpython-311.pyc", "old.pyc", "node_modules/.cache/big", "app.py~", ".app.py.swp"]:
            write(d + "/" + name, "# x\n")
        os.symlink("/nowhere", d + "/.#app.py")  # an editor's lock: left out, not refused
        b.bide("deploy", d, "--name", "f", "--runtime", "python3.12", "--handler", "app.handler")
        expect(json.loads(b.bide("invoke", "f").stdout) == sorted(kept), b.bide("invoke", "f").stdout)
        # The same files are not sent again, whatever their times.
        os.utime(d + "/app.py", (1, 1))
        expect("unchanged" in b.bide("deploy", d, "--name", "f").stderr)
        before = b.client().get_function_configuration(FunctionName="f")["RevisionId"]
        r = b.bide("deploy", d, "--name", "f", "--json")
        expect(json.loads(r.stdout) == {"function": "f", "created": False, "changed": False}, r.stdout)
        expect(b.client().get_function_configuration(FunctionName="f")["RevisionId"] == before)
        write(d + "/lib/util.py", "# y\n")
        expect("updated" in b.bide("deploy", d, "--name", "f").stderr)


def test_options_beside_the_code():
    with Bided() as b, tempfile.TemporaryDirectory() as d:
        write(d + "/app.py", HANDLER % 1)
        c = b.client()
        b.bide("deploy", d, "--name", "f", "--concurrency", "3", "--retries", "1")
        b.bide("deploy", d, "--name", "f", "--max-age", "90s")
        config = c.get_function_event_invoke_config(FunctionName="f")
        expect(config["MaximumRetryAttempts"] == 1 and config["MaximumEventAgeInSeconds"] == 90, config)
        expect(c.get_function_concurrency(FunctionName="f")["ReservedConcurrentExecutions"] == 3)
        b.bide("deploy", d, "--name", "f", "--concurrency", "none", "--timeout", "7")
        expect("ReservedConcurrentExecutions" not in c.get_function_concurrency(FunctionName="f"))
        expect(c.get_function_configuration(FunctionName="f")["Timeout"] == 7)
        for words, status in ((["--retries", "3"], 2), (["--max-age", "soon"], 2), (["--max-age", "1500ms"], 2), (["--max-age", "5s"], 1),
                              (["--concurrency", "many"], 2), (["--concurrency", "1000"], 1), (["--timeout", "x"], 2)):
            r = b.bide("deploy", d, "--name", "f", *words, check=False)
            expect(r.returncode == status and r.stderr.startswith("bide"), words, r.returncode, r.stderr)


def test_guesses_only_what_is_plain():
    with Bided() as b, tempfile.TemporaryDirectory() as d:
        def deploy(files, *words):
            shutil.rmtree(d + "/f", ignore_errors=True)
            for name, text in files.items():
                write(d + "/f/" + name, text)
            return b.bide("deploy", d + "/f", "--name", "g%d" % len(asked), *words, check=False)

        asked = []
        r = deploy({"app.py": HANDLER % 1, "helper.py": "def help():\n    pass\n"})
        expect(r.returncode == 0 and "--runtime python3.12 --handler app.handler" in r.stderr, r.stderr)
        asked.append(1)
        r = deploy({"lambda_function.py": "def lambda_handler(e, c):\n    return 2\n"})
        expect(r.returncode == 0 and "lambda_function.lambda_handler" in r.stderr, r.stderr)
        asked.append(1)
        for files in ({"a.py": HANDLER % 1, "b.py": HANDLER % 2}, {"a.py": "x = 1\n"}, {"sub/app.py": HANDLER % 1}, {"a.py": "def handlers(): pass\n"}):
            r = deploy(files)
            expect(r.returncode == 2 and "--runtime and --handler are needed" in r.stderr, files, r.stderr)
        expect(deploy({"app.py": HANDLER % 1}, "--runtime", "python3.12").returncode == 2)
        r = b.bide("deploy", d + "/f/app.py", "--name", "single")
        expect("app.handler" in r.stderr and b.bide("invoke", "single").stdout == "1\n", r.stderr)


class Watch:
    """bide deploy --watch, its lines as they come."""

    def __init__(self, b, path):
        self.p = subprocess.Popen([PREFIX + "/bin/bide", "--data", b.data, "deploy", path, "--name", "w", "--watch"], stderr=subprocess.PIPE,
                                  stdout=subprocess.DEVNULL, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=lambda: [self.lines.put(line.strip()) for line in self.p.stderr], daemon=True).start()

    def line(self):
        try:
            return self.lines.get(timeout=60)
        except queue.Empty:
            raise Failed("deploy --watch said nothing for a minute") from None

    def expect(self, text):
        got = self.line()
        expect(text in got, "wanted", text, "got", got)

    def stop(self):
        self.p.send_signal(signal.SIGINT)
        expect(self.p.wait(60) == 0, "watch ended with", self.p.returncode)


def test_watch():
    with Bided() as b, tempfile.TemporaryDirectory() as top:
        d = top + "/code"
        write(d + "/app.py", HANDLER % 1)
        w = Watch(b, d)
        try:
            for text in ("taken to be", "watching", "w created"):
                w.expect(text)
            expect(b.bide("invoke", "w").stdout == "1\n")
            write(d + "/app.py", HANDLER % 2)
            w.expect("w updated")
            expect(b.bide("invoke", "w").stdout == "2\n")
            # As editors do it: written beside, then renamed over; caches and swap files say nothing.
            write(d + "/__pycache__/app.cpython-311.pyc", "x")
            write(d + "/.app.py.swp", "x")
            write(d + "/.new", HANDLER % 3)
            os.rename(d + "/.new", d + "/app.py")
            w.expect("w updated")
            expect(b.bide("invoke", "w").stdout == "3\n")
            # A new folder, and later what changes in it.
            write(d + "/lib/deep/x.py", "V = 4\n")
            w.expect("w updated")
            write(d + "/lib/deep/x.py", "V = 5\n")
            w.expect("w updated")
            write(d + "/app.py", "from lib.deep import x\ndef handler(e, c):\n    return x.V\n")
            w.expect("w updated")
            expect(b.bide("invoke", "w").stdout == "5\n")
            # What cannot be deployed is told; mending it is noticed.
            os.symlink("/etc/passwd", d + "/link")
            w.expect("symbolic link")
            os.unlink(d + "/link")
            write(d + "/app.py", HANDLER % 6)
            w.expect("w updated")
            # The folder is taken away and comes back.
            os.rename(d, top + "/away")
            shutil.copytree(top + "/away", d)
            write(d + "/app.py", HANDLER % 7)
            until(lambda: b.bide("invoke", "w", check=False).stdout == "7\n", what="the new folder's code")
            w.stop()
        finally:
            w.p.kill()


def test_installed_where_only_root_may_walk():
    """As /root/bide: the engine, which is not root, has the runtimes by a descriptor. A runtime that lacks its interpreter
    does not keep the others from running, and --check says so."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
        shutil.copytree(PREFIX, os.path.join(d, "bide"), symlinks=True)
        lang = os.path.join(d, "bide/libexec/bide/runtimes/lang")
        os.mkdir(lang)
        with open(os.path.join(lang, "manifest"), "w", encoding="utf-8") as f:
            f.write("serves = lang*\ninterpreter = /usr/bin/no-such-lang\ninstall = apt-get install lang\n")
        b = Bided()
        b.prefix = os.path.join(d, "bide")
        check = subprocess.run([b.prefix + "/bin/bided", "--check", "--data", b.data, "--set", "listen=127.0.0.1:0"],
                               text=True, capture_output=True, timeout=120)
        line = [x for x in check.stdout.splitlines() if "apt-get install lang" in x]
        expect(line and line[0].startswith("warn") and check.returncode == 0, check.stdout)
        with b:
            c = b.make("f", "def handler(event, context):\n    return event\n")
            expect(c.invoke(FunctionName="f", Payload=b"7")["Payload"].read() == b"7")
