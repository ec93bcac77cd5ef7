"""The handlers of the benchmarks, one per runtime, which all do the same: keep the moment at which an event with an "n" came, and give
the moments back when asked for a report."""
import json
import os
import shutil

from suite import paths
from suite.daemon import WORKER_MB

PYTHON = b'''import time
stamps = []
def handler(event, context):
    now = time.monotonic_ns() // 1000
    if "report" in event:
        out = stamps[:]
        stamps.clear()
        return out
    if "n" in event:
        stamps.append([event["n"], now])
'''

NODE = b'''let stamps = [];
exports.handler = async (event) => {
  const now = Number(process.hrtime.bigint() / 1000n);
  if ("report" in event) { const out = stamps; stamps = []; return out; }
  if ("n" in event) stamps.push([event.n, now]);
  return null;
};
'''


def _runtime(prefix):
    for folder in sorted(os.listdir(os.path.join(paths.TOP, "runtimes"))):
        manifest = os.path.join(paths.TOP, "runtimes", folder, "manifest")
        if os.path.exists(manifest) and "serves = " + prefix in open(manifest).read():
            return True
    return False


def deploy_all(d, memory_mb=WORKER_MB):
    """Deploys every worker that can run here; their names, in the order of tables."""
    d.deploy_native("native", memory_mb)
    names = ["native"]
    d.deploy("python", {"app.py": PYTHON}, "python3.12", "app.handler", memory_mb)
    names.append("python")
    if _runtime("nodejs") and shutil.which("node"):
        d.deploy("nodejs", {"index.js": NODE}, "nodejs20.x", "index.handler", memory_mb)
        names.append("nodejs")
    return names


def report(d, name):
    """{n: microseconds} since the last report. Ask a function of one worker only."""
    return dict(json.loads(d.invoke(name, '{"report":1}')))
