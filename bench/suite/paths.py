"""Folders and sizes. Every size is an environment variable, so that a quick form exists of each benchmark."""
import os

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# BENCH_BUILD names a build folder to take the programs from; without it bench/run builds its own.
BUILD = os.environ.get("BENCH_BUILD") or os.path.join(TOP, "build", "bench")
RESULTS = os.path.join(BUILD, "results")
# Data directories, on the disk that is measured.
SCRATCH = os.environ.get("BENCH_DIR", "/var/tmp")
TINY = bool(os.environ.get("BENCH_TINY"))


def _number(name, default, tiny):
    return int(os.environ.get(name) or (tiny if TINY else default))


RUNS = _number("BENCH_RUNS", 5, 1)           # interleaved repetitions; medians are of these
SECONDS = _number("BENCH_SECONDS", 3, 1)     # of one closed-loop run
EVENTS = _number("BENCH_EVENTS", 1_000_000, 3000)  # a big backlog
BACKLOG = _number("BENCH_BACKLOG", 10_000_000, 3000)  # a very big one
SLICE = _number("BENCH_SLICE", 20_000, 300)  # events of one timed piece
SAMPLES = _number("BENCH_SAMPLES", 200, 10)  # single latencies
PAYLOAD = 256


def program(name):
    for folder in ("bin", "bench"):
        path = os.path.join(BUILD, folder, name)
        if os.path.exists(path):
            return path
    raise SystemExit("bench/run: %s was not built" % name)
