"""Invoke another function asynchronously: Lambda's API, signed (AWS Signature Version 4) with the standard library.

Where the API is and with which key comes from the environment: API_URL, API_REGION, API_KEY, API_SECRET. (The names AWS_... are
reserved. Where boto3 is part of the package it does all of this in one line.)
"""
import datetime
import hashlib
import hmac
import os
import urllib.parse
import urllib.request


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signed_headers(method, url, body):
    region, now = os.environ["API_REGION"], datetime.datetime.now(datetime.timezone.utc)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    place = urllib.parse.urlsplit(url)
    scope = "%s/%s/lambda/aws4_request" % (day, region)
    request = "\n".join([method, urllib.parse.quote(place.path, safe="/~"), "", "host:" + place.netloc, "x-amz-date:" + stamp, "",
                         "host;x-amz-date", hashlib.sha256(body).hexdigest()])
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = ("AWS4" + os.environ["API_SECRET"]).encode()
    for part in (day, region, "lambda", "aws4_request"):
        key = sign(key, part)
    return {"X-Amz-Date": stamp,
            "Authorization": "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=host;x-amz-date, Signature=%s"
                             % (os.environ["API_KEY"], scope, sign(key, text).hex())}


def invoke_event(function, body):
    """Returns the new event's id once bide has it on disk; raises otherwise."""
    url = "%s/2015-03-31/functions/%s/invocations" % (os.environ["API_URL"].rstrip("/"), function)
    headers = signed_headers("POST", url, body)
    headers["X-Amz-Invocation-Type"] = "Event"
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.headers["x-amzn-RequestId"]
