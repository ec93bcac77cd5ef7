"""Step two: works out what an order costs."""
PRICES = {"EUR": 20, "USD": 22}


def handler(event, context):
    price = PRICES[event["currency"]]
    print("order %s (%s): %d %s" % (event["order"], event["key"], price * event["quantity"], event["currency"]))
    return {"order": event["order"], "total": price * event["quantity"], "currency": event["currency"]}
