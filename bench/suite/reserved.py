"""instructions that the scheduler takes per event, with reserved concurrency on 1,000 functions and without"""
import re
import shutil
import subprocess

from suite import paths
from suite.table import Table

TINY = paths.EVENTS < 10_000
FUNCTIONS = 20 if TINY else 1000
EVENTS = 200 if TINY else 20_000
KINDS = (("no reservation", -1), ("reserved concurrency 100 each: never reached", 100), ("reserved concurrency 1 each: reached now and then", 1))


def instructions(reserved, events):
    """As callgrind counts them: the same in each run, whatever else the machine does."""
    out = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", paths.program("bench_sched"),
                          str(FUNCTIONS), str(reserved), str(events)], check=True, capture_output=True, text=True).stderr
    return int(re.search(r"Collected : (\d+)", out)[1])


def run():
    t = Table("The scheduler's instructions for an event of one of %s functions (added, given to a warm worker, ended, settled), and those that "
              "the reservation adds." % "{:,}".format(FUNCTIONS), "functions with", "instructions per event", "more than without, %")
    if shutil.which("valgrind") is None:
        t.note("Not counted: valgrind is not installed.")
        return [t]
    base = None
    for name, reserved in KINDS:
        # The difference of two lengths: set-up, and the first event of each function, which starts its worker, fall out.
        per = (instructions(reserved, FUNCTIONS + 2 * EVENTS) - instructions(reserved, FUNCTIONS + EVENTS)) / EVENTS
        base = base or per
        t.add(name, per, "" if reserved < 0 else (per / base - 1) * 100)
    t.note("Wanted: less than 5 % more. An event's whole way through the engine is tens of thousands of instructions.")
    return [t]
