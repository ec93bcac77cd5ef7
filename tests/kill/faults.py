"""The fault shim (tests/faults/shim.h) under a program that is started with env: what is to happen, told while it runs."""
import mmap
import os
import struct

CALLS = ("write", "pwrite", "writev", "pwritev", "lseek", "fdatasync", "fsync", "syncfs", "msync", "ftruncate", "fallocate", "mmap", "open",
         "mkdir", "rename", "unlink", "fork", "clone3", "pthread_create", "accept4", "socket", "malloc", "calloc", "realloc")
# What changes a file or a folder, or makes it durable.
CHANGES = ("write", "pwrite", "writev", "pwritev", "fdatasync", "fsync", "syncfs", "msync", "ftruncate", "fallocate", "open", "mkdir",
           "rename", "unlink")
REFUSE, LATE, SHORT, DROP, KILL, KILL_AFTER = range(6)

MAGIC = 0x6269646566617531
ARMED, CALLS_AT, PID, FROM, COUNT, CHANCE, SEED, HOW, ERROR, SLOW, RECORD, SEEN, FIRED = (8 * n for n in range(1, 14))
DIR = 8 * (14 + 32 + 4)
SIZE = DIR + 512


class Faults:
    def __init__(self, library, path, folder):
        """Calls on files are seen below folder only."""
        with open(path, "wb") as f:
            f.truncate(SIZE)
        fd = os.open(path, os.O_RDWR)
        self.map = mmap.mmap(fd, SIZE)
        os.close(fd)
        os.chmod(path, 0o666)
        self.map[DIR:DIR + len(folder)] = folder.encode()
        self.put(0, MAGIC)
        self.env = {"LD_PRELOAD": library, "BIDE_FAULTS": path}

    def put(self, at, n):
        struct.pack_into("Q", self.map, at, n)

    def get(self, at):
        return struct.unpack_from("Q", self.map, at)[0]

    def arm(self, calls, nth, how, count=1, error=0):
        """The nth of these calls in any process, and count of them."""
        self.put(ARMED, 0)
        for at, n in ((CALLS_AT, sum(1 << CALLS.index(c) for c in calls)), (PID, 0), (FROM, nth), (COUNT, count), (CHANCE, 0), (HOW, how),
                      (ERROR, error), (SEEN, 0), (FIRED, 0)):
            self.put(at, n)
        self.map[DIR + 256:DIR + 512] = bytes(256)
        self.put(ARMED, 1)

    def disarm(self):
        self.put(ARMED, 0)

    def slow_syncs(self, ms):
        self.put(SLOW, ms * 1000)

    @property
    def fired(self):
        return self.get(FIRED)

    @property
    def seen(self):
        return self.get(SEEN)

    @property
    def what(self):
        """The first call that was hit: "pwrite /x/queue/data.mdb"."""
        return bytes(self.map[DIR + 256:DIR + 512]).split(b"\0")[0].decode()
