"""What a bided holds: read from /proc, its data directory, its cgroups and its status."""
import json
import os

# Measures in the order of the report. Exact ones must not differ between two quiet moments at all; the others have a tolerance.
EXACT = ("fds_engine", "fds_executor", "threads_engine", "threads_executor", "processes", "zombies", "boxes", "cgroups", "mounts",
         "files", "code_files")
LOOSE = ("anon_engine_kb", "anon_executor_kb", "map_used_pages", "map_free_pages", "logs_kb", "code_kb")


def _status(pid):
    out = {}
    for line in open("/proc/%d/status" % pid):
        key, _, value = line.partition(":")
        out[key] = value.strip()
    return out


def descendants(pid):
    """All processes below pid, as (pid, command, state)."""
    out, todo = [], [pid]
    while todo:
        p = todo.pop()
        try:
            tasks = os.listdir("/proc/%d/task" % p)
            children = [int(c) for t in tasks for c in open("/proc/%d/task/%s/children" % (p, t)).read().split()]
        except OSError:
            continue  # it ended meanwhile
        for c in children:
            try:
                s = _status(c)
            except OSError:
                continue
            out.append((c, s["Name"], s["State"][0]))
            todo.append(c)
    return out


def engine_of(pid):
    return next(c for c, name, _ in descendants(pid) if name == "bided")


def _tree(path):
    """Files and kilobytes below a folder."""
    files, size = 0, 0
    for folder, _, names in os.walk(path):
        for n in names:
            try:
                size += os.lstat(os.path.join(folder, n)).st_blocks * 512
                files += 1
            except FileNotFoundError:
                pass
    return files, size // 1024


def cgroups(data):
    """Those of this data directory: executor/box names their folder after its device and inode."""
    st = os.stat(data)
    wanted = "bide-%x-%x" % (st.st_dev, st.st_ino)
    n = 0
    for folder, below, _ in os.walk("/sys/fs/cgroup"):
        if os.path.basename(folder) == wanted:
            n += sum(1 for _ in os.walk(folder))
            below.clear()
    return n


def descriptors(pid):
    """Without the connections of clients, this one's own included, which the daemon closes when it notices that they are gone, and without
    the files of log streams, which their writer closes a moment after the worker has ended."""
    folder = "/proc/%d/fd" % pid
    ours = {line.split()[6] for line in open("/proc/%d/net/unix" % pid) if line.rstrip().endswith("bide.sock") and line.split()[5] == "03"}
    ours |= {line.split()[9] for line in open("/proc/%d/net/tcp" % pid).readlines()[1:] if line.split()[3] != "0A"}
    n = 0
    for fd in os.listdir(folder):
        try:
            to = os.readlink(os.path.join(folder, fd))
        except FileNotFoundError:
            continue  # closed meanwhile
        n += not (to.startswith("socket:[") and to[8:-1] in ours) and not to.endswith(".log")
    return n


def sample(b):
    """Of a running lib.Bided."""
    executor = b.proc.pid
    engine = engine_of(executor)
    below = descendants(executor)
    executor_status, engine_status = _status(executor), _status(engine)
    status = json.loads(b.bide("status", "--json").stdout)
    page = os.sysconf("SC_PAGE_SIZE")
    used = status["store"]["map_used_bytes"] // page
    whole = os.stat(b.data + "/queue/data.mdb").st_size // page
    code_files, code_kb = _tree(b.data + "/code")
    _, logs_kb = _tree(b.data + "/logs")
    files, _ = _tree(b.data)
    log_files, _ = _tree(b.data + "/logs")
    return {
        "fds_engine": descriptors(engine),
        "fds_executor": descriptors(executor),
        "threads_engine": int(engine_status["Threads"]),
        "threads_executor": int(executor_status["Threads"]),
        "processes": len(below),
        "zombies": sum(1 for _, _, state in below if state == "Z"),
        "boxes": status["workers"],
        "cgroups": cgroups(b.data),
        # Others mount things on this machine as well; ours would name the data directory.
        "mounts": sum(1 for line in open("/proc/%d/mountinfo" % executor) if b.data in line),
        "files": files - code_files - log_files,
        "code_files": code_files,
        "anon_engine_kb": int(engine_status["RssAnon"].split()[0]),
        "anon_executor_kb": int(executor_status["RssAnon"].split()[0]),
        "map_used_pages": used,
        "map_free_pages": max(0, whole - used),
        "logs_kb": logs_kb,
        "code_kb": code_kb,
    }
