"""Is it flat? Samples are taken at quiet moments: nothing queued, running or waiting, and no worker left, so that what differs between
two of them is what the work in between left behind.

Exact measures (descriptors, threads, processes, cgroups, mounts, files) have one right value at a quiet moment: each sample must be the
first one's. The others are judged from six samples on, of which the first is warm-up (allocators and free lists have grown to what the work
needs): the median of the second half of the rest may be above that of the first half by

  memory      2 % and 256 KiB, which 64 bytes per event exceed within ten minutes
  map used    10 % and 64 pages: history and dead letters that have not reached their retention differ by chance
  map free    25 % and 256 pages: LMDB's file grows to its high-water mark and stays there
  code        10 % and 1 MiB

and the logs may be 24 MiB at any moment: logs.max_bytes (4 MiB), and what is written in the minute between two sweeps.
"""
import statistics

from sample import EXACT, LOOSE

TOLERANCE = {
    "anon_engine_kb": (0.02, 256), "anon_executor_kb": (0.02, 256), "map_used_pages": (0.10, 64), "map_free_pages": (0.25, 256),
    "code_kb": (0.10, 1024),
}
CEILING = {"logs_kb": 24 * 1024}


def slope(points):
    """Least squares, per hour, of (seconds, value)."""
    if len(points) < 2:
        return 0.0
    mx, my = statistics.fmean(p[0] for p in points), statistics.fmean(p[1] for p in points)
    below = sum((x - mx) ** 2 for x, _ in points)
    return 3600 * sum((x - mx) * (y - my) for x, y in points) / below if below else 0.0


def judge(samples):
    """samples: [(seconds, {measure: value})]. The report's lines, and the names of what is not flat."""
    lines, bad = [], []
    lines.append("%-18s %10s %10s %10s %10s %14s  %s" % ("measure", "first", "last", "half 1", "half 2", "slope / hour", "verdict"))
    few = len(samples) < 6
    for name in EXACT + LOOSE:
        points = [(t, s[name]) for t, s in samples]
        values = [v for _, v in points]
        rest = values[1:] or values
        cut = max(1, len(rest) // 2)
        half1, half2 = statistics.median(rest[:cut]), statistics.median(rest[cut:] or rest)
        if name in EXACT:
            flat = len(set(values)) == 1
        elif name in CEILING:
            flat = max(values) <= CEILING[name]
        else:
            share, slack = TOLERANCE[name]
            flat = few or half2 <= half1 * (1 + share) + slack
        lines.append("%-18s %10d %10d %10d %10d %+14.1f  %s" % (name, values[0], values[-1], half1, half2, slope(points[1:]),
                                                              "not judged: too short" if few and name in TOLERANCE
                                                              else "flat" if flat else "NOT FLAT"))
        if not flat:
            bad.append(name)
    return lines, bad
