"""Where a figure was measured: without it the figure means nothing."""
import os
import platform
import subprocess

from suite import paths


def _run(*args):
    try:
        return subprocess.run(args, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _cpu():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def commit():
    head = _run("git", "-C", paths.TOP, "rev-parse", "--short=10", "HEAD")
    dirty = _run("git", "-C", paths.TOP, "status", "--porcelain", "--untracked-files=no")
    return (head or "unknown") + (" with changes" if dirty else "")


def describe():
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "ram_gib": round(ram / 2**30, 1),
        "virtual": _run("systemd-detect-virt") or "unknown",
        "kernel": platform.release(),
        "file_system": _run("stat", "-f", "-c", "%T", paths.SCRATCH),
        "mount": _run("findmnt", "-no", "SOURCE,OPTIONS", "-T", paths.SCRATCH),
        "commit": commit(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def line(m):
    return "%s, %d cores, %.0f GiB, Linux %s, %s at %s, commit %s, load before %.2f" % (
        m["cpu"], m["cores"], m["ram_gib"], m["kernel"], m["file_system"], paths.SCRATCH, m["commit"], m["load_before"])
