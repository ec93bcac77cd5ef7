"""Other queues, each a private server: its own data directory in BENCH_DIR, a free port on loopback, the settings with which what it
answers for is on disk. Ended by process id, and its data deleted."""
import contextlib
import glob
import json
import os
import pwd
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

from suite import paths


class Failed(Exception):
    """Why there are no figures of a server."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def find(name, *patterns):
    """The path of a program: the newest that a pattern finds, else in PATH or in the folders where only root looks."""
    for pattern in patterns:
        for path in sorted(glob.glob(pattern), reverse=True):
            return path
    got = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")
    if not got:
        raise Failed("not installed: there is no %s" % name)
    return got


def run(*args, **more):
    """What a program printed; Failed with what it said."""
    done = subprocess.run(args, capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise Failed("%s: %s" % (os.path.basename(args[0]), (done.stderr or done.stdout).strip()[-300:]))
    return done.stdout


def family(pid):
    """A process and all that come of it."""
    pids = [pid]
    for p in pids:
        with contextlib.suppress(OSError):
            for task in os.listdir("/proc/%d/task" % p):
                pids += map(int, open("/proc/%d/task/%s/children" % (p, task)).read().split())
    return pids


class Server:
    """Started and empty; between its turns it stands still (SIGSTOP), so that only what is measured runs."""
    name = protocol = settings = None
    end_signal = signal.SIGKILL  # nothing of it is kept
    user = None

    def __init__(self):
        self.dir = None
        self.procs = []

    def __enter__(self):
        try:
            self.prepare()
            self.fresh()
            self.pause()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for proc in reversed(self.procs):
            pids = family(proc.pid)
            for pid, sig in [(proc.pid, self.end_signal), *((p, signal.SIGCONT) for p in pids)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sig)
            with contextlib.suppress(subprocess.TimeoutExpired):
                proc.wait(10)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            proc.wait()
        self.procs = []
        if self.dir:
            shutil.rmtree(self.dir, ignore_errors=True)
            self.dir = None

    def make_dir(self):
        self.dir = tempfile.mkdtemp(prefix="bide-bench-%s-" % self.name.lower(), dir=paths.SCRATCH)
        if self.user:
            os.chown(self.dir, self.user.pw_uid, self.user.pw_gid)

    def spawn(self, *args, **env):
        """A process of its own session, which does not outlive this one."""
        who = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}
        with open(self.dir + "/log", "ab") as log:
            self.procs.append(subprocess.Popen([find("setpriv"), "--pdeathsig", "KILL", *args], cwd=self.dir, env={**os.environ, **env},
                                               stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **who))

    def wait_for(self, ready, what="start", seconds=60):
        end = time.monotonic() + seconds
        while not ready():
            if self.procs[-1].poll() is not None or time.monotonic() > end:
                raise Failed("did not %s: " % what + open(self.dir + "/log", errors="replace").read().strip()[-300:])
            time.sleep(0.02)

    def listens(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def runs(self):
        return all(proc.poll() is None for proc in self.procs)

    def signal(self, sig):
        for proc in self.procs:
            for pid in family(proc.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sig)

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    # --- what a kind of server does its own way

    def prepare(self):
        """What is done once."""

    def fresh(self):
        """There is a server, and it is empty."""

    def version(self):
        """As one word."""

    # --- figures: {"per_second", "p50_us", "p99_us"}, the latter two where there are any

    def rows(self, what, connections, jobs):
        """What is measured of it: pairs of a row's name and what gives its figure."""
        if what == "accept":
            return [(self.name, lambda: self.accept(connections))]
        if what == "batch":
            return [("%s, %s" % (self.name, way), lambda way=way: self.batch(way, connections, jobs)) for way in self.batch_rows]
        return [(self.name, lambda: self.through(connections))]

    def load(self, producers, consumers, batch, protocol):
        got = json.loads(run(paths.program("bench_peer"), protocol, "127.0.0.1", str(self.port), str(producers), str(consumers),
                             str(paths.SECONDS), str(paths.PAYLOAD), str(batch)))
        self.must_answer(got["n"])
        return {k: v for k, v in got.items() if v or not k.endswith("_us")}  # no batch was answered whole

    def must_answer(self, n):
        if n == 0:
            raise Failed("answered nothing in %d s" % paths.SECONDS)

    def accept(self, connections):
        return self.load(connections, 0, 1, self.protocol)

    batch_rows = ()  # names of ways to send many jobs at once

    def batch(self, way, connections, jobs):
        return self.load(connections, 0, jobs, self.protocol)

    def through(self, connections):
        """As many producers as consumers, until the last job is done."""
        return self.load(connections, connections, 1, self.protocol)


class Restarted(Server):
    """A server that starts at once: emptied by starting anew on an empty directory."""

    def prepare(self):
        self.program = find(self.binary)

    def fresh(self):
        self.close()
        self.make_dir()
        self.port = free_port()
        self.spawn(self.program, *self.args())
        self.wait_for(self.listens)


class Beanstalkd(Restarted):
    name, protocol, binary = "beanstalkd", "beanstalkd", "beanstalkd"
    settings = "`-b DIR -f0`: a sync for every put and every delete"
    batch_rows = ("put, 64 pipelined",)

    def args(self):
        return "-l", "127.0.0.1", "-p", str(self.port), "-b", self.dir, "-f0"

    def version(self):
        return run(self.program, "-v").split()[-1]


class Redis(Restarted):
    name, protocol, binary = "Redis", "redis", "redis-server"
    settings = "`appendonly yes`, `appendfsync always`, no snapshots; `LPUSH`, taken by `BLMOVE`, done by `LREM`"
    batch_rows = ("LPUSH, 64 pipelined", "LPUSH of 64 values")

    def args(self):
        return ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", self.dir, "--save", "", "--appendonly", "yes",
                "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")

    def version(self):
        return re.search(r"v=(\S+)", run(self.program, "--version"))[1]

    def batch(self, way, connections, jobs):
        return self.load(connections, 0, jobs, "redis" if way == self.batch_rows[0] else "redis-values")


class PostgreSQL(Server):
    name = "PostgreSQL"
    settings = ("`fsync=on`, `synchronous_commit=on`, `shared_buffers=512MB`, `max_wal_size=4GB`; `pgbench -M prepared`; a table with a "
                "bigserial key, an index on the due time and a jsonb payload; `DELETE` of what `FOR UPDATE SKIP LOCKED` finds, in a "
                "transaction that lasts as long as the job; \"done when taken\": by itself, so that a crash of its consumer loses the job")
    end_signal = signal.SIGQUIT  # at once, without its children left behind
    batch_rows = ("INSERT of 64 rows",)
    ONE_STATEMENT = "PostgreSQL, done when taken"

    TABLE = ("DROP TABLE IF EXISTS jobs; CREATE TABLE jobs (id bigserial PRIMARY KEY, run_at timestamptz NOT NULL DEFAULT now(), "
             "payload jsonb NOT NULL); CREATE INDEX ON jobs (run_at);")
    # With nothing to take, a consumer asks again ten milliseconds later.
    TAKE = """\\set id 0
%s
DELETE FROM jobs WHERE id = (SELECT id FROM jobs WHERE run_at <= now() ORDER BY run_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id \\aset
%s
\\if :id = 0
\\sleep 10 ms
\\endif
"""

    def prepare(self):
        self.bin = os.path.dirname(os.path.realpath(find("initdb", "/usr/lib/postgresql/*/bin/initdb")))
        for program in ("postgres", "pgbench", "psql"):
            if not os.path.exists(os.path.join(self.bin, program)):
                raise Failed("not installed: there is no %s in %s" % (program, self.bin))
        if os.geteuid() == 0:  # which it refuses
            try:
                self.user = pwd.getpwnam("postgres")
            except KeyError:
                self.user = pwd.getpwnam("nobody")
        self.make_dir()
        self.port = free_port()
        data = self.dir + "/data"
        who = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}
        run(self.bin + "/initdb", "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", cwd=self.dir, **who)
        sets = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "max_connections": 200, "fsync": "on",
                "synchronous_commit": "on", "shared_buffers": "512MB", "max_wal_size": "4GB"}
        self.spawn(self.bin + "/postgres", "-D", data, *("--%s=%s" % s for s in sets.items()))
        self.wait_for(self.answers)

    def answers(self):
        with contextlib.suppress(Failed):
            return bool(self.sql("SELECT 1"))
        return False

    def sql(self, text):
        return run(self.bin + "/psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "bench", "-d", "postgres", "-XAtqc", text).strip()

    def fresh(self):
        self.sql(self.TABLE)

    def version(self):
        return self.sql("SHOW server_version").split()[0]

    def script(self, leaf, text):
        path = os.path.join(self.dir, leaf)
        with open(path, "w") as f:
            f.write(text)
        return path

    def insert(self, rows):
        payload = '{"data":"%s"}' % ("x" * (paths.PAYLOAD - 11))
        return self.script("insert-%d.sql" % rows, "INSERT INTO jobs (payload) VALUES %s;\n" % ", ".join(["('%s')" % payload] * rows))

    def pgbench(self, script, clients, seconds, *more):
        return [self.bin + "/pgbench", "-h", "127.0.0.1", "-p", str(self.port), "-U", "bench", "-n", "-M", "prepared", "-c", str(clients),
                "-T", str(seconds), "-f", script, *more, "postgres"]

    def processed(self, out):
        n = int(re.search(r"transactions actually processed: (\d+)", out)[1])
        self.must_answer(n)
        return n

    def inserts(self, connections, rows):
        """Latencies are those of one transaction in ten: writing each one down would cost the disk."""
        with tempfile.TemporaryDirectory() as logs:
            out = run(*self.pgbench(self.insert(rows), connections, paths.SECONDS, "--log", "--log-prefix", logs + "/log",
                                    "--sampling-rate", "0.1"))
            took = sorted(int(line.split()[2]) for path in glob.glob(logs + "/*") for line in open(path))
        n = self.processed(out)
        kept = int(self.sql("SELECT count(*) FROM jobs"))
        if kept < n * rows:
            raise Failed("%d rows were answered for, %d are there" % (n * rows, kept))
        took = took or [0]
        return {"per_second": rows * float(re.search(r"^tps = (\S+)", out, re.M)[1]), "p50_us": statistics.median(took),
                "p99_us": took[len(took) * 99 // 100]}

    def accept(self, connections):
        return self.inserts(connections, 1)

    def batch(self, way, connections, jobs):
        return self.inserts(connections, jobs)

    def rows(self, what, connections, jobs):
        rows = super().rows(what, connections, jobs)
        return rows + [(self.ONE_STATEMENT, lambda: self.through(connections, ("", "")))] if what == "through" else rows

    def through(self, connections, around=("BEGIN;", "COMMIT;")):
        take = self.script("take.sql", self.TAKE % around)
        consumers = subprocess.Popen(self.pgbench(take, connections, 600), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.wait_for(lambda: int(self.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'")) == connections,
                          "let consumers in")
            began = time.monotonic()
            out = run(*self.pgbench(self.insert(1), connections, paths.SECONDS))
            self.wait_for(lambda: self.sql("SELECT count(*) FROM (SELECT FROM jobs LIMIT 1) AS one") == "0", "drain", 120)
            took = time.monotonic() - began
            n = self.processed(out)
            if consumers.poll() is not None:
                raise Failed("pgbench ended while it took jobs")
        finally:
            consumers.kill()
            consumers.wait()
        took -= float(re.search(r"initial connection time = (\S+) ms", out)[1]) / 1000
        return {"per_second": n / took}


class RabbitMQ(Server):
    name, protocol = "RabbitMQ", "amqp"
    settings = "one node, a durable quorum queue, persistent messages, publisher confirms; consumers with 16 messages ahead acknowledge each"
    batch_rows = ("publish, 64 pipelined",)

    def prepare(self):
        server = find("rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server")
        epmd = find("epmd", "/usr/lib/erlang/erts-*/bin/epmd")
        find("erl")
        self.make_dir()
        self.port, names, dist = free_port(), free_port(), free_port()
        for leaf, text in (("empty.sh", ""), ("plugins", "[].\n"), ("rabbitmq.conf", "listeners.tcp.1 = 127.0.0.1:%d\n" % self.port)):
            with open(os.path.join(self.dir, leaf), "w") as f:
                f.write(text)
        env = {"ERL_EPMD_PORT": str(names), "ERL_EPMD_ADDRESS": "127.0.0.1", "HOME": self.dir}
        self.spawn(epmd, "-port", str(names), "-address", "127.0.0.1", **env)  # or Erlang starts one that stays
        self.spawn(server, RABBITMQ_CONF_ENV_FILE=self.dir + "/empty.sh", RABBITMQ_NODENAME="bench%d@localhost" % self.port,
                   RABBITMQ_CONFIG_FILE=self.dir + "/rabbitmq.conf", RABBITMQ_ENABLED_PLUGINS_FILE=self.dir + "/plugins",
                   RABBITMQ_MNESIA_BASE=self.dir + "/mnesia", RABBITMQ_LOG_BASE=self.dir + "/logs", RABBITMQ_PID_FILE=self.dir + "/pid",
                   RABBITMQ_DIST_PORT=str(dist), RUNNING_UNDER_SYSTEMD="true", **env)  # the last: no shell in between
        self.wait_for(self.listens)

    def version(self):
        got = glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*")
        return got[0].rsplit("-", 1)[1] if got else "?"


PEERS = (Beanstalkd, Redis, PostgreSQL, RabbitMQ)
