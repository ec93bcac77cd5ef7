"""Run the end-to-end tests: every test_* function of every test_*.py here, or those whose names contain an argument."""
import importlib
import os
import sys
import time
import traceback

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)
sys.dont_write_bytecode = True


def main():
    wanted = sys.argv[1:]
    passed, failed = 0, []
    for file in sorted(os.listdir(here)):
        if not (file.startswith("test_") and file.endswith(".py")):
            continue
        module = importlib.import_module(file[:-3])
        for name in [n for n in vars(module) if n.startswith("test_")]:
            if wanted and not any(w in name or w in file for w in wanted):
                continue
            began = time.monotonic()
            try:
                getattr(module, name)()
                passed += 1
                print("ok   %-60s %6.1f s" % (file[5:-3] + ": " + name[5:], time.monotonic() - began), flush=True)
            except Exception:  # noqa: BLE001 - each failure is printed, the others still run
                failed.append(name)
                print("FAIL %s: %s" % (file, name), flush=True)
                traceback.print_exc(limit=6, file=sys.stdout)
    print("%d passed, %d failed" % (passed, len(failed)))
    return 1 if failed or not passed else 0


sys.exit(main())
