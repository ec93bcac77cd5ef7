"""Ships an order. An order without a quantity fails: that is what the quick start breaks, mends and replays."""


def handler(event, context):
    print("order", event["order"])
    return {"shipped": event["order"], "quantity": event["quantity"]}
