"""One list of behaviours for every runtime: what a handler may do, and what its caller, its log and its dead letter then say."""
import base64
import json
import os
import shutil
import tempfile

from lib import Bided, body, expect, until

PYTHON = """
import os, signal, sys, time
calls = 0
def handler(event, context):
    global calls
    calls += 1
    kind = event['kind']
    if kind == 'raise': raise ValueError('no: ' + event['text'])
    if kind == 'exit0': os._exit(0)
    if kind == 'exit3': os._exit(3)
    if kind == 'signal': os.kill(os.getpid(), getattr(signal, event['name']))
    if kind == 'sleep': time.sleep(60)
    if kind == 'memory': return len(bytearray(400 << 20))
    if kind == 'log': print('a line'); print('to stderr', file=sys.stderr)
    if kind == 'big': return 'x' * event['size']
    if kind == 'length': return len(event['data'])
    if kind == 'env': return [os.environ[n] for n in event['names']]
    if kind == 'tmp':
        with open('/tmp/n', 'a') as f: f.write('x')
        return os.path.getsize('/tmp/n')
    if kind == 'calls': return calls
    return event
"""

NODEJS = """
const fs = require('fs');
let calls = 0;
exports.handler = async (event, context) => {
  calls += 1;
  switch (event.kind) {
    case 'raise': throw new RangeError('no: ' + event.text);
    case 'exit0': process.exit(0);
    case 'exit3': process.exit(3);
    case 'signal': process.kill(process.pid, event.name); return new Promise((r) => setTimeout(r, 60000));
    case 'sleep': return new Promise((r) => setTimeout(r, 60000));
    case 'memory': return Buffer.alloc(400 << 20, 'x').length;
    case 'log': console.log('a line'); process.stderr.write('to stderr\\n'); return event;
    case 'big': return 'x'.repeat(event.size);
    case 'length': return event.data.length;
    case 'env': return event.names.map((n) => process.env[n]);
    case 'tmp': fs.appendFileSync('/tmp/n', 'x'); return fs.statSync('/tmp/n').size;
    case 'calls': return calls;
    default: return event;
  }
};
"""

EXEC = r"""#!/bin/sh
event=$(cat; echo .)
event=${event%.}
field() { printf %s "$event" | sed -n 's/.*"'"$1"'": *"\{0,1\}\([^",}]*\).*/\1/p'; }
case $event in
*'"kind": "raise"'*) echo "no: $(field text)" >&2; exit 9 ;;
*'"kind": "exit0"'*) exit 0 ;;
*'"kind": "exit3"'*) exit 3 ;;
*'"kind": "signal"'*) name=$(field name); kill -"${name#SIG}" $$ ;;
*'"kind": "sleep"'*) sleep 60 ;;
*'"kind": "memory"'*) exec python3 -c 'print(len(bytearray(400 << 20)))' ;;
*'"kind": "log"'*) echo 'a line' >&2; echo 'to stderr' >&2 ;;
*'"kind": "big"'*) printf '"'; head -c "$(field size)" /dev/zero | tr '\0' x; printf '"' ;;
*'"kind": "length"'*) x=$(field data); echo "${#x}" ;;
*'"kind": "env"'*) python3 -c 'import json, os, sys; print(json.dumps([os.environ[n] for n in json.loads(sys.argv[1])["names"]]))' "$event" ;;
*'"kind": "tmp"'*) printf x >>/tmp/n; wc -c </tmp/n ;;
*'"kind": "calls"'*) echo 1 ;;
*) printf %s "$event" ;;
esac
"""

EXITED = "Runtime exited with error: "


class Lang:
    """What differs between runtimes: how a handler is written, and what its errors are called."""

    def __init__(self, runtime, files, handler, error, exit0, exit3, segv, init, warm):
        self.runtime, self.files, self.handler, self.error = runtime, files, handler, error
        self.exit0, self.exit3, self.segv = exit0, exit3, segv  # the end of the error's message; None: no error
        self.init = init  # files that cannot be initialised, and the error's type
        self.warm = warm  # what a process keeps from one event to the next: calls it has counted


LANGS = {
    "python": Lang("python3.12", {"app.py": PYTHON}, "app.handler", ("ValueError", "no: x", "stackTrace"),
                   "Runtime exited without providing a reason", EXITED + "exit status 3", EXITED + "signal: segmentation fault",
                   ({"app.py": "import nosuchmodule\n"}, "Runtime.ImportModuleError"), True),
    "nodejs": Lang("nodejs20.x", {"app.js": NODEJS}, "app.handler", ("RangeError", "no: x", "trace"),
                   "Runtime exited without providing a reason", EXITED + "exit status 3", EXITED + "signal: segmentation fault",
                   ({"app.js": "require('nosuchmodule');\n"}, "Runtime.ImportModuleError"), True),
    "exec": Lang("exec", {"bin/job.sh": EXEC}, "bin/job.sh", ("Runtime.ExitError", "exit status 9: no: x", "stderr"),
                 None, "exit status 3", "signal: segmentation fault",
                 ({"job.sh": "#!/bin/sh\n"}, "Runtime.HandlerNotFound"), False),
}


def installed():
    """Every runtime is tested in CI; elsewhere those that the host has."""
    missing = {"nodejs"} if shutil.which("node", path="/usr/bin:/usr/local/bin") is None else set()
    expect(not missing or os.environ.get("BIDE_SANDBOX_MUST_WORK") != "1", "not installed:", missing)
    return {name: lang for name, lang in LANGS.items() if name not in missing}


class Function:
    def __init__(self, b, name, lang, files=None, **kw):
        self.b, self.name = b, name
        self.client = b.make(name, files or lang.files, handler=lang.handler, runtime=lang.runtime, **kw)

    def call(self, kind, log=False, **more):
        """(error object or None, result, log tail)"""
        r = self.client.invoke(FunctionName=self.name, Payload=json.dumps({"kind": kind, **more}),
                               LogType="Tail" if log else "None")
        tail = base64.b64decode(r.get("LogResult", "")).decode()
        out = body(r)
        expect(r.get("FunctionError") in (None, "Unhandled"), r)
        return (out, None, tail) if "FunctionError" in r else (None, out, tail)

    def result(self, kind, **more):
        error, out, _ = self.call(kind, **more)
        expect(error is None, self.name, kind, error)
        return out

    def error(self, kind, **more):
        error, out, tail = self.call(kind, **more)
        expect(error is not None, self.name, kind, "gave", out)
        return error, tail


def every(**kw):
    """A daemon with one function in each language: yields (language, function)."""
    with Bided(*kw.pop("sets", ())) as b:
        for name, lang in installed().items():
            yield lang, Function(b, name, lang, **kw)


def test_runtimes_answer():
    env = {"Variables": {"COLOUR": "blue green", "EMPTY1": ""}}
    for lang, f in every(MemorySize=1024, Timeout=30, Environment=env):
        expect(f.result("echo", a=[1, 2.5, None, "é☃"]) == {"kind": "echo", "a": [1, 2.5, None, "é☃"]}, f.name)
        names = ["COLOUR", "EMPTY1", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_REGION", "TZ", "_HANDLER"]
        expect(f.result("env", names=names) == ["blue green", "", f.name, "1024", "us-east-1", ":UTC", lang.handler], f.name)
        expect([f.result("tmp") for _ in range(3)] == [1, 2, 3], f.name, "/tmp is not kept")
        first = f.result("calls")
        expect(f.result("calls") == (first + 1 if lang.warm else first), f.name)
        expect(len(f.result("big", size=6 << 20)) == 6 << 20, f.name)
        expect(f.result("length", data="x" * ((6 << 20) - 100)) == (6 << 20) - 100, f.name)
        error, _ = f.error("big", size=7 << 20)
        expect(error == {"errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
                         "errorType": "Function.ResponseSizeTooLarge"}, f.name, error)
        expect(f.result("echo") == {"kind": "echo"}, f.name)


def test_runtimes_logs():
    for lang, f in every(Timeout=30):
        for first in (True, False):
            error, _, tail = f.call("log", log=True)
            lines = tail.splitlines()
            expect(error is None and lines[0].startswith("START RequestId: ") and lines[-1].startswith("REPORT RequestId: "), tail)
            expect(any(l.endswith("a line") for l in lines) and "to stderr" in lines, f.name, tail)
            expect(("\tInit Duration: " in lines[-1]) == first, f.name, tail)
        error, tail = f.error("raise", text="x", log=True)
        expect("no: x" in tail and tail.startswith("START ") and "END RequestId" in tail, f.name, tail)


def test_runtimes_fail():
    for lang, f in every(MemorySize=256, Timeout=30):
        kind, message, more = lang.error
        error, _ = f.error("raise", text="x")
        expect(error["errorType"] == kind and error["errorMessage"] == message and more in error, f.name, error)
        for what, args, end in (("exit0", {}, lang.exit0), ("exit3", {}, lang.exit3), ("signal", {"name": "SIGSEGV"}, lang.segv),
                                ("signal", {"name": "SIGKILL"}, EXITED + "signal: killed")):
            if end is None:
                expect(f.result(what, **args) is None, f.name, what)
            else:
                error, _ = f.error(what, **args)
                expect(error["errorType"] == "Runtime.ExitError" and error["errorMessage"].endswith(end), f.name, what, error)
            expect(f.result("echo") == {"kind": "echo"}, f.name, "after", what)
        error, tail = f.error("memory", log=True)
        expect(error["errorType"] == "Runtime.ExitError" and error["errorMessage"].endswith("signal: killed"), f.name, error)
        expect("Error Type: Runtime.OutOfMemory" in tail, f.name, tail)
        expect(f.result("echo") == {"kind": "echo"}, f.name, "after memory ran out")
        f.client.update_function_configuration(FunctionName=f.name, Timeout=1)
        f.client.get_waiter("function_updated_v2").wait(FunctionName=f.name)
        f.result("tmp")
        error, tail = f.error("sleep", log=True)
        expect(error["errorType"] == "Sandbox.Timedout" and error["errorMessage"].endswith("Task timed out after 1.00 seconds"), error)
        expect("Status: timeout" in tail, f.name, tail)
        expect(f.result("echo") == {"kind": "echo"}, f.name, "after a timeout")


def test_runtimes_init_error():
    with Bided() as b:
        for name, lang in installed().items():
            files, kind = lang.init
            f = Function(b, name, lang, files)
            error, _ = f.error("echo")
            expect(error["errorType"] == kind, name, error)
            f.client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
            f.client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"kind": "echo"}')
            b.drained(lambda e: e["queued"] + e["running"] + e["waiting"] == 0)
            dead = [json.loads(line) for line in b.bide("dlq", "ls", "--json").stdout.splitlines()]
            dead = [d for d in dead if d["function"] == name]
            expect(len(dead) == 1 and dead[0]["error_type"] == kind and dead[0]["attempt_count"] == 1, dead)
            expect(b.show(dead[0]["id"])["attempts"][0]["outcome"] == "init_error", name)


def test_runtimes_events():
    with Bided("clock=virtual", "history.payload=on") as b:
        for name, lang in installed().items():
            f = Function(b, name, lang, Timeout=30)
            done = b.events()["done"]
            big = {"kind": "length", "data": "x" * ((1 << 20) - 40)}
            f.client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(big))
            for i in range(20):
                f.client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps({"kind": "echo", "i": i}))
            b.drained(lambda e: e["done"] == done + 21)
            r = b.bide("invoke", name, "--event", "--payload", '{"kind": "raise", "text": "x"}')
            event = r.stdout.strip()
            for attempts, wait in ((1, "61s"), (2, "121s"), (3, None)):
                until(lambda: len(b.show(event)["attempts"]) == attempts and b.show(event)["state"] in ("waiting", "dead"),
                      what=lambda: b.show(event))
                if wait:
                    b.bide("clock", "advance", wait)
            shown = b.show(event)
            kind, message, _ = lang.error
            expect(shown["state"] == "dead", shown)
            for a in shown["attempts"]:
                expect(a["outcome"] == "function_error" and a["error_type"] == kind and a["error_message"] == message, name, a)


PERL = r"""
use strict; use warnings; use IO::Socket::INET; $| = 1;
my ($file, $name) = split /\./, $ENV{_HANDLER};
require "./$file.pl";
sub ask {
    my ($head, $body) = @_;
    my $s = IO::Socket::INET->new($ENV{AWS_LAMBDA_RUNTIME_API}) or die "no Runtime API: $!";
    print $s "$head HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", (defined $body ? "Content-Length: " . length($body) . "\r\n\r\n$body" : "\r\n");
    local $/; my ($h, $b) = split /\r\n\r\n/, <$s>, 2;
    return ($h, $b);
}
while (1) {
    my ($head, $event) = ask("GET /2018-06-01/runtime/invocation/next");
    my ($id) = $head =~ /Lambda-Runtime-Aws-Request-Id: (\S+)/i;
    no strict 'refs';
    my $answer = eval { &{"main::$name"}($event) };
    my $path = "POST /2018-06-01/runtime/invocation/$id";
    defined $answer ? ask("$path/response", $answer) : ask("$path/error", '{"errorType":"Die","errorMessage":"' . ($@ =~ s/ at .*//sr) . '"}');
}
"""


def test_a_new_language_is_a_folder():
    top = tempfile.mkdtemp(prefix="bide-e2e-", dir="/var/tmp")
    os.chmod(top, 0o755)  # the engine is another user
    opt = tempfile.mkdtemp(prefix="bide-e2e-", dir="/opt") if os.geteuid() == 0 else None
    try:
        b = Bided()
        b.prefix = os.path.join(top, "prefix")
        shutil.copytree(Bided.prefix, b.prefix, symlinks=True)
        with b:
            folder = os.path.join(b.prefix, "libexec/bide/runtimes/perl")
            os.mkdir(folder)  # while it runs
            with open(folder + "/bootstrap.pl", "w") as f:
                f.write(PERL)
            with open(folder + "/manifest", "w") as f:
                f.write("serves = perl5\ninterpreter = /usr/bin/perl\narg = /var/runtime/bootstrap.pl\nversion = perl:5\n")
                f.write("env = GREETING=hello\n")
                if opt:
                    f.write("read_only = %s\n" % opt)
            if opt:
                os.chmod(opt, 0o755)
                with open(opt + "/word", "w") as f:
                    f.write('world')
            word = "open(my $f, '<', '%s/word'); my $w = <$f>;" % opt if opt else "my $w = 'world';"
            code = "sub greet { my $e = shift; die 'no' if $e =~ /die/; %s print \"a line\\n\"; return qq({\"$ENV{GREETING}\":\"$w\",\"event\":$e}) } 1;\n" % word
            c = b.make("p", {"app.pl": code}, handler="app.greet", runtime="perl5")
            expect(c.get_function_configuration(FunctionName="p")["Runtime"] == "perl5")
            expect(body(c.invoke(FunctionName="p", Payload=b'{"a": 1}')) == {"hello": "world", "event": {"a": 1}})
            expect(body(c.invoke(FunctionName="p", Payload=b'"die"')) == {"errorType": "Die", "errorMessage": "no"})
    finally:
        shutil.rmtree(top)
        if opt:
            shutil.rmtree(opt)
