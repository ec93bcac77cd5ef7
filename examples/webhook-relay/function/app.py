"""Posts the event to the address in HOOK_URL. Any answer but 2xx, or none, is an error: bide tries again."""
import json
import os
import urllib.request


def handler(event, context):
    # The sender's own id goes through, so that the other side knows a delivery that comes twice: after a retry it has the
    # same request id too, after a replay only this.
    key = event.get("id") or context.aws_request_id
    request = urllib.request.Request(
        os.environ["HOOK_URL"], data=json.dumps(event).encode(), method="POST",
        headers={"Content-Type": "application/json", "Idempotency-Key": str(key)})
    with urllib.request.urlopen(request, timeout=5) as answer:
        print("delivered %s: %d" % (key, answer.status))
        return {"status": answer.status}
