"""Functions' logs with real workers: `bide logs`, the files, floods, a full disk."""
import json
import os
import shutil
import signal
import subprocess
import time

from lib import PREFIX, Bided, body, expect, until

TALKER = """
import sys
print("importing")
def handler(e, c):
    print("hello", e.get("n"), c.log_stream_name)
    print("to stderr", file=sys.stderr)
    if e.get("fail"):
        raise ValueError("no")
    print("unfinished", end="")
    return c.log_stream_name
"""


def lines(b, *args):
    return [json.loads(line) for line in b.bide("logs", *args, "--json").stdout.splitlines()]


def texts(found):
    return [line["message"] for line in found]


def test_a_run_is_told_from_start_to_report():
    with Bided() as b:
        c = b.make("f", TALKER)
        r = c.invoke(FunctionName="f", Payload=b'{"n": 1}')
        stream, sync_id = body(r), r["ResponseMetadata"]["RequestId"]
        mine = lines(b, "f", "--event", sync_id)
        expect([m.split(" ")[0] for m in texts(mine)] == ["START", "hello", "to", "unfinished", "END", "REPORT"], mine)
        expect(all(line["stream"] == stream and line["request_id"] == sync_id for line in mine), mine)
        report = texts(mine)[-1]
        expect("Billed Duration: " in report and "Max Memory Used: " in report and "Init Duration: " in report, report)
        everything = lines(b, "f")
        expect(texts(everything)[0].startswith("INIT_START Runtime Version: python:3.12"), everything[0])
        expect(texts(everything)[1] == "importing" and everything[1]["request_id"] is None, everything[1])
        times = [line["time_ms"] for line in everything]
        expect(times == sorted(times), times)
        day, _, rest = stream.partition("/[")
        name = "%s-%s" % (day.replace("/", "-"), rest.replace("]", "-").replace("$", ""))
        path = os.path.join(b.data, "logs", "f", name + ".log")
        expect(os.path.exists(path) and os.stat(path).st_mode & 0o77 == 0, os.listdir(os.path.dirname(path)))
        # For people: time, stream, text. And a warm run has no init to tell of.
        c.invoke(FunctionName="f", Payload=b'{"n": 2}')
        shown = b.bide("logs", "f").stdout.splitlines()
        expect(shown[-1].split()[2] == rest.partition("]")[2][:8] and "Init Duration" not in shown[-1], shown[-1])
        expect(sum(" importing" in s for s in shown) == 1, shown)


def test_one_event_over_all_its_attempts():
    with Bided("clock=virtual") as b:
        b.make("f", TALKER)
        event = b.bide("invoke", "f", "--event", "--payload", '{"fail": 1, "n": 7}').stdout.strip()
        other = b.bide("invoke", "f", "--event", "--payload", '{"n": 8}').stdout.strip()
        for step in ("61s", "121s", None):
            b.bide("wait")
            if step:
                b.bide("clock", "advance", step)
        b.bide("wait", "--settled")
        found = texts(lines(b, "f", "--event", event))
        for text in ("START RequestId: " + event, "hello 7", "[ERROR] ValueError: no", "END RequestId: ", "REPORT RequestId: "):
            expect(sum(m.startswith(text) for m in found) == 3, text, found)
        expect(not any("hello 8" in m for m in found), found)
        expect(len(texts(lines(b, "f", "--event", other))) == 6)
        attempts = b.show(event)["attempts"]
        expect(all(a["log_tail"].startswith("START RequestId: " + event) and "REPORT" in a["log_tail"] for a in attempts), attempts)


def test_since_and_what_people_type_wrong():
    with Bided() as b:
        c = b.make("f", TALKER)
        c.invoke(FunctionName="f", Payload=b'{"n": 1}')
        first = lines(b, "f")
        until(lambda: time.time() * 1000 > first[-1]["time_ms"] + 5, what="a later time")
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".%03dZ" % (time.time() * 1000 % 1000)
        c.invoke(FunctionName="f", Payload=b'{"n": 2}')
        expect(any("hello 2" in m for m in texts(lines(b, "f", "--since", stamp))))
        expect(not any("hello 1" in m for m in texts(lines(b, "f", "--since", stamp))))
        expect(len(lines(b, "f", "--since", "1h")) == len(lines(b, "f")) == len(lines(b, "f", "--since", "2020-01-01")))
        expect(b.bide("logs", "f", "--since", "2999-01-01").stdout == "")
        for words, status, text in ((["logs"], 2, "NAME"), (["logs", "nosuch"], 1, "nosuch"), (["logs", "f", "--since", "x"], 2, "10m"),
                                    (["logs", "f", "--since", "2026-02-30"], 2, "--since takes"), (["logs", "f", "--event", "7"], 2, "36 characters"),
                                    (["logs", "nosuch", "--follow"], 1, "nosuch")):
            r = b.bide(*words, check=False)
            expect(r.returncode == status and text in r.stderr and r.stdout == "", words, r.returncode, r.stdout, r.stderr)
        # A function that is gone still says what it said; after a restart, too.
        c.delete_function(FunctionName="f")
        expect(texts(lines(b, "f"))[1] == "importing")
        b.stop()
        b.start()
        expect(texts(lines(b, "f"))[1] == "importing")


class Follower:
    def __init__(self, b, *args):
        self.out = b.log_path + ".follow"
        with open(self.out, "wb") as f:
            self.proc = subprocess.Popen([PREFIX + "/bin/bide", "--data", b.data, "logs", *args, "--follow"], stdout=f)

    def saw(self, text):
        return until(lambda: text in open(self.out).read(), what="the follower sees " + text)

    def end(self, signo):
        self.proc.send_signal(signo)
        status = self.proc.wait(30)
        found = open(self.out).read()
        os.unlink(self.out)
        return status, found


def test_follow():
    with Bided("worker.idle=0") as b:
        c = b.make("f", TALKER)
        follower = Follower(b, "f")  # it has not logged yet
        c.invoke(FunctionName="f", Payload=b'{"n": 1}')
        follower.saw("hello 1")
        until(lambda: json.loads(b.bide("status", "--json").stdout)["workers"] == 0, what="no worker")
        c.invoke(FunctionName="f", Payload=b'{"n": 2}')  # a worker, and so a stream, that was not there
        follower.saw("hello 2")
        status, found = follower.end(signal.SIGINT)
        expect(status == 0, status)
        for text in ("hello 1", "hello 2"):
            expect(found.count(text) == 1, found)
        # It ends when nobody reads any more, also while nothing comes.
        p = subprocess.Popen([PREFIX + "/bin/bide", "--data", b.data, "logs", "f", "--follow"], stdout=subprocess.PIPE)
        expect(b"INIT_START" in p.stdout.readline())
        p.stdout.close()
        expect(p.wait(30) == 0, p.returncode)


FLOOD = """
import os
def handler(e, c):
    while True:
        os.write(1, (b"x" * 1023 + b"\\n") * 1024)
"""


def rss(pid):
    return sum(int(line.split()[1]) for line in open("/proc/%d/status" % pid) if line.startswith("VmRSS"))


def test_a_flood_slows_only_itself():
    with Bided("logs.rate=64KiB") as b:
        b.make("flood", FLOOD, Timeout=900)
        c = b.make("quiet", "def handler(e, c):\n    print('quiet', e['n'])\n    return e\n")
        c.invoke(FunctionName="quiet", Payload=b'{"n": 0}')
        engine = int(open("/proc/%d/task/%d/children" % (b.proc.pid, b.proc.pid)).read().split()[0])
        before = rss(engine)
        event = b.bide("invoke", "flood", "--event").stdout.strip()

        def dropped():
            return json.loads(b.bide("status", "--json").stdout)["logs"]["dropped_bytes"]

        until(lambda: dropped() > 1 << 20, what="the flood")
        for n in range(1, 6):
            expect(body(c.invoke(FunctionName="quiet", Payload=b'{"n": %d}' % n)) == {"n": n})
            c.invoke(FunctionName="quiet", InvocationType="Event", Payload=b'{"n": %d}' % (100 + n))
        b.bide("wait", "--function", "quiet")
        until(lambda: dropped() > 20 << 20, what="more of the flood")
        expect(b.show(event)["state"] == "running")
        grown = rss(engine) - before
        expect(grown < 48 * 1024, "the engine grew by", grown, "KiB")
        b.bide("events", "cancel", event)
        b.bide("wait")
        expect(texts(lines(b, "flood", "--event", event))[-1].startswith("REPORT "))

        def told():
            marks = [m for m in texts(lines(b, "flood")) if m.startswith("[bide] ") and m.endswith("more than logs.rate")]
            return sum(int(m.split()[1]) for m in marks)

        until(lambda: told() == dropped(), what="all that was dropped is told of")
        expect(sum("quiet" in m for m in texts(lines(b, "quiet"))) == 11)


def test_off():
    with Bided("logs=off") as b:
        c = b.make("f", TALKER)
        r = c.invoke(FunctionName="f", LogType="Tail", Payload=b'{"n": 1}')
        expect(r["LogResult"] != "" and os.listdir(b.data + "/logs") == [])
        r = b.bide("logs", "f")
        expect(r.stdout == "" and "logs are off" in r.stderr, r.stderr)


def test_a_full_disk_costs_logs_and_no_event():
    free = shutil.disk_usage("/var/tmp").free
    reserve = free * 6 // 10  # twice that is more than there is
    with Bided("queue.reserve_bytes=%d" % reserve, "queue.max_bytes=%d" % (3 * reserve)) as b:
        c = b.make("f", TALKER)
        event = b.bide("invoke", "f", "--event", "--payload", '{"n": 1}').stdout.strip()
        b.bide("wait")
        expect(b.show(event)["state"] == "done")
        c.invoke(FunctionName="f", Payload=b'{"n": 2}')
        expect(lines(b, "f") == [])
        st = json.loads(b.bide("status", "--json").stdout)["logs"]
        expect(st["stopped"] and st["lost_bytes"] > 0 and "queue.reserve_bytes" in st["why"], st)
        expect("logs    STOPPED: " in b.bide("status").stdout)
        until(lambda: "functions' logs are not written" in b.log(), what="the daemon's log says so")
        expect(b.log().count("functions' logs are not written") == 1)
