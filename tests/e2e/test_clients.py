"""Unmodified AWS clients: boto3 and the AWS CLI."""
import base64
import json
import os
import subprocess
import sys
import tempfile

from botocore.exceptions import ClientError

from lib import ROLE, Bided, balanced, body, expect, until, zipped

ECHO = "def handler(e, c):\n    print('hello', e)\n    return {'got': e, 'id': c.aws_request_id}\n"


def refused(call, code, status, text=None, **kw):
    try:
        call(**kw)
    except ClientError as e:
        got, http = e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"]
        expect(got == code and http == status, "expected", code, status, "got", got, http, e.response["Error"])
        expect(text is None or text in e.response["Error"]["Message"], "text:", e.response["Error"]["Message"])
        return e.response
    raise AssertionError("not refused: %s" % code)


def test_life_of_a_function():
    with Bided() as b:
        c = b.client()
        made = c.create_function(FunctionName="f", Runtime="python3.12", Role=ROLE, Handler="app.handler", Timeout=5,
                                 Environment={"Variables": {"COLOUR": "green"}}, Tags={"team": "x"},
                                 Code={"ZipFile": zipped({"app.py": ECHO})})
        expect(made["State"] == "Pending" and made["Runtime"] == "python3.12" and made["Version"] == "$LATEST", made)
        c.get_waiter("function_active_v2").wait(FunctionName="f")
        refused(c.create_function, "ResourceConflictException", 409, "Function already exist: f", FunctionName="f",
                Runtime="python3.12", Role=ROLE, Handler="app.handler", Code={"ZipFile": zipped({"app.py": ECHO})})
        r = c.invoke(FunctionName="f", Payload=b'{"a": 1}', LogType="Tail")
        out = body(r)
        log = base64.b64decode(r["LogResult"]).decode()
        expect(r["StatusCode"] == 200 and r["ExecutedVersion"] == "$LATEST" and "FunctionError" not in r, r)
        expect(out["got"] == {"a": 1} and out["id"] == r["ResponseMetadata"]["RequestId"], out)
        expect("START RequestId: %s Version: $LATEST" % out["id"] in log and "hello {'a': 1}" in log and "REPORT RequestId" in log, log)
        expect(c.invoke(FunctionName="f", InvocationType="DryRun")["StatusCode"] == 204)
        r = c.invoke(FunctionName="f", InvocationType="Event", Payload=b'{"a": 2}')
        expect(r["StatusCode"] == 202, r)
        event = r["ResponseMetadata"]["RequestId"]
        until(lambda: b.show(event)["state"] == "done")
        u = c.update_function_code(FunctionName="f", ZipFile=zipped({"app.py": "def handler(e, c):\n    return 'new'\n"}))
        expect(u["LastUpdateStatus"] == "InProgress", u)
        c.get_waiter("function_updated_v2").wait(FunctionName="f")
        expect(body(c.invoke(FunctionName="f")) == "new")
        c.update_function_configuration(FunctionName="f", MemorySize=256, Timeout=7)
        c.get_waiter("function_updated_v2").wait(FunctionName="f")
        got = c.get_function(FunctionName="f")
        expect(got["Configuration"]["MemorySize"] == 256 and got["Tags"] == {"team": "x"}, got)
        expect([f["FunctionName"] for f in c.list_functions()["Functions"]] == ["f"])
        c.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=7)
        expect(c.get_function_concurrency(FunctionName="f")["ReservedConcurrentExecutions"] == 7)
        c.delete_function_concurrency(FunctionName="f")
        expect("ReservedConcurrentExecutions" not in c.get_function_concurrency(FunctionName="f"))
        c.put_function_event_invoke_config(FunctionName="f", MaximumRetryAttempts=1)
        c.update_function_event_invoke_config(FunctionName="f", MaximumEventAgeInSeconds=100)
        cfg = c.get_function_event_invoke_config(FunctionName="f")
        expect(cfg["MaximumRetryAttempts"] == 1 and cfg["MaximumEventAgeInSeconds"] == 100, cfg)
        c.delete_function_event_invoke_config(FunctionName="f")
        c.delete_function(FunctionName="f")
        refused(c.get_function, "ResourceNotFoundException", 404, "Function not found: arn:aws:lambda:us-east-1:000000000000:function:f",
                FunctionName="f")
        refused(c.invoke, "ResourceNotFoundException", 404, ":function:f:$LATEST", FunctionName="f")
        expect(balanced(b.events()))


def test_wrong_signatures():
    with Bided() as b:
        refused(b.client(secret="x" * 40).list_functions, "InvalidSignatureException", 403)
        refused(b.client(key="AKIAXXXXXXXXXXXXXXXX").list_functions, "UnrecognizedClientException", 403)
        import urllib.error
        import urllib.request
        try:
            urllib.request.urlopen(b.endpoint + "/2015-03-31/functions/")
            raise AssertionError("served without a signature")
        except urllib.error.HTTPError as e:
            expect(e.code == 403 and b"Missing Authentication Token" in e.read(), e)
        expect(urllib.request.urlopen(b.endpoint + "/health").status == 200)


def test_bad_payloads():
    with Bided() as b:
        c = b.make("f", ECHO)
        for kind in ("RequestResponse", "Event", "DryRun"):
            refused(c.invoke, "InvalidRequestContentException", 400, "Could not parse request body into json", FunctionName="f",
                    InvocationType=kind, Payload=b"{not json")
        refused(c.invoke, "RequestEntityTooLargeException", 413, FunctionName="f", InvocationType="Event",
                Payload=json.dumps("x" * 1048577).encode())
        refused(c.invoke, "RequestEntityTooLargeException", 413, FunctionName="f", Payload=json.dumps("x" * 6291457).encode())
        expect(body(c.invoke(FunctionName="f"))["got"] == {})
        big = {"x": "y" * 1000000}
        e = c.invoke(FunctionName="f", InvocationType="Event", Payload=json.dumps(big).encode())
        until(lambda: b.show(e["ResponseMetadata"]["RequestId"])["state"] == "done")
        expect(len(body(c.invoke(FunctionName="f", Payload=json.dumps({"x": "y" * 3000000}).encode()))["got"]["x"]) == 3000000)


def test_aws_cli():
    with Bided() as b, tempfile.TemporaryDirectory() as d:
        open(d + "/f.zip", "wb").write(zipped({"app.py": ECHO}))
        script = """
set -e
eval "$(%s/bin/bide --data %s env)"
aws lambda create-function --function-name f --runtime python3.12 --role %s --handler app.handler --zip-file fileb://f.zip >/dev/null
aws lambda wait function-active-v2 --function-name f
aws lambda update-function-configuration --function-name f --timeout 9 >/dev/null
aws lambda wait function-updated-v2 --function-name f
aws lambda update-function-code --function-name f --zip-file fileb://f.zip >/dev/null
aws lambda wait function-updated-v2 --function-name f
aws lambda list-functions --query 'Functions[].FunctionName' --output text
aws lambda invoke --function-name f --payload '{"a": 1}' --cli-binary-format raw-in-base64-out out.json --query StatusCode
aws lambda invoke --function-name f --invocation-type Event --payload '{"a": 2}' --cli-binary-format raw-in-base64-out ev.json --query StatusCode
aws lambda invoke --function-name f --invocation-type DryRun dry.json --query StatusCode
aws lambda put-function-event-invoke-config --function-name f --maximum-retry-attempts 0 --query MaximumRetryAttempts
aws lambda put-function-concurrency --function-name f --reserved-concurrent-executions 3 --query ReservedConcurrentExecutions
aws lambda delete-function --function-name f >/dev/null
""" % (os.environ["BIDE_PREFIX"], b.data, ROLE)
        env = dict(os.environ, PATH=os.path.dirname(sys.executable) + ":" + os.environ["PATH"], HOME=d)
        script = script.replace("--cli-binary-format raw-in-base64-out ", "")
        env.pop("AWS_ENDPOINT_URL_LAMBDA", None)
        r = subprocess.run(["bash", "-c", script], cwd=d, env=env, capture_output=True, text=True, timeout=120)
        expect(r.returncode == 0, r.stdout, r.stderr)
        expect(r.stdout.split() == ["f", "200", "202", "204", "0", "3"], r.stdout)
        expect(json.load(open(d + "/out.json"))["got"] == {"a": 1})
