"""Step one: checks an order and hands it to step two, the function "bill"."""
import json

from lambda_api import invoke_event


def handler(event, context):
    if event["quantity"] < 1:
        raise ValueError("order %s: quantity %s" % (event["order"], event["quantity"]))
    # The request id is the same in each attempt: with it step two knows an order that it was given twice.
    step_two = dict(event, key=context.aws_request_id)
    made = invoke_event("bill", json.dumps(step_two).encode())
    print("order %s goes on as event %s" % (event["order"], made))
    return {"order": event["order"], "bill": made}
