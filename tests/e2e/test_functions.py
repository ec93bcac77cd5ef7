"""Functions that behave and functions that do not; what they see of the machine; their limits."""
import json
import os
import shutil
import subprocess
import tempfile

from lib import Bided, body, expect

BAD = """
import os, sys, time, signal, subprocess
def handler(e, c):
    k = e['kind']
    if k == 'raise': raise KeyError('x')
    if k == 'exit0': os._exit(0)
    if k == 'exit3': os._exit(3)
    if k == 'sysexit': sys.exit(4)
    if k == 'kill': os.kill(os.getpid(), signal.SIGKILL)
    if k == 'segv': os.kill(os.getpid(), signal.SIGSEGV)
    if k == 'sleep': signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)
    if k == 'big': return 'x' * 7000000
    if k == 'unserialisable': return {1, 2}
    if k == 'none': return None
    if k == 'memory': x = bytearray(400 << 20); return len(x)
    if k == 'flood':
        line = 'x' * 1023 + chr(10)
        for i in range(20 * 1024): sys.stdout.write(line)
        return 'flooded'
    if k == 'children':
        for i in range(10): subprocess.Popen(['sleep', e['seconds']], start_new_session=True)
        return 'left'
    if k == 'tmp':
        n = 0
        try:
            with open('/tmp/fill', 'wb') as f:
                while True: n += f.write(b'x' * (1 << 20))
        except OSError as x:
            os.unlink('/tmp/fill')
            return [x.errno, n >> 20]
    return k
"""


def test_ways_to_fail():
    with Bided() as b:
        c = b.make("bad", BAD, Timeout=20, MemorySize=256)

        seconds = "86400.%d" % os.getpid()  # nobody else's sleep

        def call(kind):
            r = c.invoke(FunctionName="bad", Payload=json.dumps({"kind": kind, "seconds": seconds}))
            return r.get("FunctionError"), body(r)

        expect(call("ok") == (None, "ok"))
        expect(call("none") == (None, None))
        error, out = call("raise")
        expect(error == "Unhandled" and out["errorType"] == "KeyError" and out["errorMessage"] == "'x'" and len(out["stackTrace"]) == 1
               and "/var/task/app.py" in out["stackTrace"][0], out)
        for kind, text in (("exit0", "Runtime exited without providing a reason"), ("exit3", "Runtime exited with error: exit status 3"),
                           ("kill", "Runtime exited with error: signal: killed"),
                           ("segv", "Runtime exited with error: signal: segmentation fault")):
            error, out = call(kind)
            expect(error == "Unhandled" and out["errorType"] == "Runtime.ExitError" and out["errorMessage"].endswith(text), kind, out)
            expect(call("ok") == (None, "ok"), "after", kind)
        error, out = call("big")
        expect(out == {"errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
                       "errorType": "Function.ResponseSizeTooLarge"}, out)
        error, out = call("unserialisable")
        expect(error == "Unhandled" and out["errorType"] == "Runtime.MarshalError", out)
        error, out = call("memory")
        expect(error == "Unhandled" and out["errorType"] in ("Runtime.ExitError", "Runtime.OutOfMemory"), out)
        expect(call("ok") == (None, "ok"), "after memory")
        expect(call("flood") == (None, "flooded"))
        expect(call("children") == (None, "left"))
        error, out = call("tmp")
        expect(error is None and out[0] == 28 and 500 <= out[1] <= 512, out)
        c.update_function_configuration(FunctionName="bad", Timeout=1)
        c.get_waiter("function_updated_v2").wait(FunctionName="bad")
        error, out = call("sleep")
        expect(error == "Unhandled" and out["errorType"] == "Sandbox.Timedout"
               and out["errorMessage"].endswith("Error: Task timed out after 1.00 seconds"), out)
        expect(call("ok") == (None, "ok"), "after a timeout")
    expect(subprocess.run(["pgrep", "-f", "sleep " + seconds], capture_output=True).returncode != 0, "a grandchild lives on")


def test_broken_code():
    with Bided() as b:
        cases = {
            "noimport": ({"app.py": "import nosuchmodule\n"}, "app.handler", "Runtime.ImportModuleError"),
            "nohandler": ({"app.py": "x = 1\n"}, "app.handler", "Runtime.HandlerNotFound"),
            "syntax": ({"app.py": "def handler(:\n"}, "app.handler", "Runtime.UserCodeSyntaxError"),
            "exits": ({"app.py": "import os\nos._exit(5)\n"}, "app.handler", "Runtime.ExitError"),
        }
        for name, (files, handler, kind) in cases.items():
            c = b.make(name, files, handler=handler)
            r = c.invoke(FunctionName=name)
            out = body(r)
            expect(r.get("FunctionError") == "Unhandled" and out["errorType"] == kind, name, out)
        c.put_function_event_invoke_config(FunctionName="noimport", MaximumRetryAttempts=0)
        c.invoke(FunctionName="noimport", InvocationType="Event")
        b.drained(lambda e: e["dead"] == 1)
        dead = json.loads(b.bide("dlq", "ls", "--json").stdout)
        expect(dead["error_type"] == "Runtime.ImportModuleError" and dead["attempt_count"] == 1, dead)
        ev = b.show(dead["id"])
        expect(ev["attempts"][0]["outcome"] == "init_error", ev)


PROVIDED = """#!/bin/sh
while :; do
    headers=$(mktemp)
    event=$(curl -sS -LD "$headers" "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next")
    id=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$headers" | tr -d '[:space:]' | cut -d: -f2)
    curl -sS -X POST "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response" -d "{\\"echo\\": $event, \\"handler\\": \\"$_HANDLER\\"}" >/dev/null
done
"""


def test_provided():
    with Bided() as b:
        c = b.make("sh", {"bootstrap": PROVIDED}, runtime="provided.al2023", handler="my.handler")
        expect(body(c.invoke(FunctionName="sh", Payload=b'{"a": 1}')) == {"echo": {"a": 1}, "handler": "my.handler"})
        c = b.make("none", {"other": "x"}, runtime="provided.al2023", handler="h")
        out = body(c.invoke(FunctionName="none"))
        expect(out["errorType"] == "Runtime.InvalidEntrypoint", out)


LOOK = """
import os, socket
def handler(e, c):
    out = {}
    for p in e['paths']:
        try: out[p] = os.listdir(p) if os.path.isdir(p) else open(p, 'rb').read(200).decode('latin1')
        except OSError as x: out[p] = x.errno
    out['pids'] = sorted(int(p) for p in os.listdir('/proc') if p.isdigit())
    out['uid'] = os.getuid()
    out['env'] = dict(os.environ)
    out['fds'] = sorted(int(f) for f in os.listdir('/proc/self/fd'))
    for host, port in e['connect']:
        s = socket.socket(); s.settimeout(2)
        out['%s:%d' % (host, port)] = s.connect_ex((host, port)); s.close()
    try: open('/var/task/new', 'w'); out['write'] = 0
    except OSError as x: out['write'] = x.errno
    return out
"""


def test_what_a_function_sees():
    os.environ["BIDE_E2E_SECRET"] = "a secret of the daemon's environment"
    with Bided() as b:
        b.make("other", "def handler(e, c):\n    return 'the other'\n")
        c = b.make("look", LOOK)
        port = int(b.endpoint.rsplit(":", 1)[1])
        paths = [b.data, "/etc/shadow", "/root", "/home", "/var/lib", "/proc/1/environ", "/proc/1/cmdline", "/var/tmp", "/sys/fs/cgroup"]
        out = body(c.invoke(FunctionName="look", Payload=json.dumps(
            {"paths": paths, "connect": [["127.0.0.1", port], ["169.254.169.254", 80], ["8.8.8.8", 53]]})))
        for p in ("/etc/shadow", "/root", b.data, "/var/lib", "/var/tmp", "/sys/fs/cgroup"):
            expect(out[p] == 2 or out[p] == [] or out[p] == 13, p, out[p])
        expect(max(out["pids"]) < 100 and len(out["pids"]) <= 4, out["pids"])
        expect("secret" not in json.dumps(out), "the daemon's environment shows")
        expect(out["uid"] != 0 and out["write"] in (30, 13), out["uid"], out["write"])
        expect(out["127.0.0.1:%d" % port] != 0 and out["169.254.169.254:80"] != 0 and out["8.8.8.8:53"] != 0, out)
        expect(out["env"]["AWS_LAMBDA_FUNCTION_NAME"] == "look" and out["env"]["_HANDLER"] == "app.handler"
               and out["env"]["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "128" and out["env"]["TZ"] == ":UTC", out["env"])


def test_archives_refused():
    import io
    import zipfile
    from test_clients import refused
    from lib import ROLE

    def archive(name, data=b"x", attr=None):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as z:
            info = zipfile.ZipInfo(name)
            if attr is not None:
                info.external_attr = attr << 16
            z.writestr(info, data)
        return out.getvalue()

    with Bided() as b:
        c = b.client()
        for bad in (b"not a zip", archive("../evil"), archive("/etc/evil"), archive("a/../../evil"),
                    archive("link", b"/etc/passwd", 0o120777), archive("dev", b"", 0o020666)):
            refused(c.create_function, "InvalidParameterValueException", 400, FunctionName="z", Runtime="python3.12", Role=ROLE,
                    Handler="a.b", Code={"ZipFile": bad})
        expect(c.list_functions()["Functions"] == [])
        expect(not os.path.exists(os.path.join(b.data, "evil")))


def test_daemon_refusals():
    prefix = os.environ["BIDE_PREFIX"]
    with Bided() as b:
        r = subprocess.run([prefix + "/bin/bided", "--data", b.data, "--listen", "127.0.0.1:0"], capture_output=True, text=True, timeout=30)
        expect(r.returncode == 1 and "is in use" in r.stderr and str(b.proc.pid) in r.stderr, r.stderr)
        port = b.endpoint.rsplit(":", 1)[1]
        d = tempfile.mkdtemp(dir="/var/tmp")
        r = subprocess.run([prefix + "/bin/bided", "--data", d, "--listen", "127.0.0.1:" + port], capture_output=True, text=True, timeout=30)
        expect(r.returncode == 1 and "cannot listen" in r.stderr, r.stderr)
        for wrong in (["--set", "nosuch=1"], ["--set", "worker.idle=5x"], ["--set", "clock=sundial"], ["--nosuch"], ["word"]):
            r = subprocess.run([prefix + "/bin/bided", "--data", d] + wrong, capture_output=True, text=True, timeout=30)
            expect(r.returncode in (1, 2) and r.stderr.strip(), wrong, r.stderr)
        shutil.rmtree(d)
    d = tempfile.mkdtemp(dir="/var/tmp")
    os.makedirs(d + "/queue")
    open(d + "/queue/data.mdb", "wb").write(os.urandom(65536))
    r = subprocess.run([prefix + "/bin/bided", "--data", d, "--listen", "127.0.0.1:0"], capture_output=True, text=True, timeout=30)
    expect(r.returncode == 1 and "is not a store" in r.stderr, r.returncode, r.stderr)
    shutil.rmtree(d)
