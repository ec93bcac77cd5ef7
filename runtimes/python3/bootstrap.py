"""Runs Python handlers: asks the Runtime API for an event, calls the handler, posts what came of it.

Started once per worker as `python3 -S -s -B /var/runtime/bootstrap.py`. Few modules are imported, because a small
function starts on a small share of a CPU: the C socket instead of `socket`, `logging` and `traceback` only when they are
needed. Works on Python 3.8 and later.
"""

import os
import sys
import time

import _socket
import json

API = "/2018-06-01/runtime/"
ONE_SEND_MAX = 65536  # head and body are joined up to here; above, two sends cost less than the copy
HEAD_MAX = 65536


class ApiError(Exception):
    """The Runtime API gave an answer that leaves this process nothing sensible to do."""


class Fault(Exception):
    """An error of the function that has a type of Lambda's own."""

    def __init__(self, kind, message, trace=None):
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.trace = trace or []


# --- the Runtime API ----------------------------------------------------------------------------------------------


class RuntimeApi:
    """One keep-alive HTTP connection. Every answer of this API has a Content-Length."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.host = address
        self.peer = (host, int(port))
        self.sock = None
        self.rest = b""

    def _connect(self):
        self.sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        self.sock.connect(self.peer)
        self.sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self.rest = b""

    def _drop(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def _send(self, head, body):
        if len(body) <= ONE_SEND_MAX:
            self.sock.sendall(head + body)
        else:
            self.sock.sendall(head)
            self.sock.sendall(body)

    def _receive(self):
        data = self.rest
        while True:
            end = data.find(b"\r\n\r\n")
            if end >= 0:
                break
            piece = self.sock.recv(65536)
            if not piece or len(data) > HEAD_MAX:
                raise OSError("the Runtime API closed the connection")
            data += piece
        lines = data[:end].decode("utf-8", "surrogateescape").split("\r\n")
        status = int(lines[0].split(" ", 2)[1])
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        body = data[end + 4 : end + 4 + length]
        self.rest = data[end + 4 + length :]
        if len(body) < length:
            body = self._receive_rest(body, length)
        if headers.get("connection", "").lower() == "close":
            self._drop()
        return status, headers, body

    def _receive_rest(self, start, length):
        whole = bytearray(length)
        whole[: len(start)] = start
        view = memoryview(whole)
        have = len(start)
        while have < length:
            n = self.sock.recv_into(view[have:])
            if n == 0:
                raise OSError("the Runtime API closed the connection")
            have += n
        view.release()
        return bytes(whole)

    def call(self, head, body=b""):
        """Send, and read the answer. A kept connection that turns out to be closed is opened once more."""
        for again in (True, False):
            try:
                if self.sock is None:
                    self._connect()
                self._send(head, body)
                return self._receive()
            except OSError:
                self._drop()
                if not again:
                    raise

    def next(self):
        status, headers, body = self.call(
            ("GET %sinvocation/next HTTP/1.1\r\nHost: %s\r\n\r\n" % (API, self.host)).encode()
        )
        if status != 200:
            raise ApiError("next: status %d" % status)
        return headers, body

    def post(self, path, body, content_type="application/json", error_type=None):
        head = "POST %s%s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n" % (
            API,
            path,
            self.host,
            content_type,
            len(body),
        )
        if error_type is not None:
            head += "Lambda-Runtime-Function-Error-Type: %s\r\n" % header_text(error_type)
        try:
            self.call((head + "\r\n").encode(), body)
        except OSError:
            # Refused in mid-body (too large): the other side has settled the invocation; next will tell.
            pass


def header_text(text):
    return "".join(c if " " < c <= "~" else "_" for c in text)[:256]


# --- what handlers are given --------------------------------------------------------------------------------------


class CognitoIdentity:
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self, values):
        self.cognito_identity_id = values.get("cognitoIdentityId")
        self.cognito_identity_pool_id = values.get("cognitoIdentityPoolId")


class Client:
    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")

    def __init__(self, values):
        for name in self.__slots__:
            setattr(self, name, values.get(name))


class ClientContext:
    __slots__ = ("custom", "env", "client")

    def __init__(self, values):
        self.custom = values.get("custom")
        self.env = values.get("env")
        client = values.get("client")
        self.client = Client(client) if isinstance(client, dict) else None


class LambdaContext:
    def __init__(self, headers):
        env = os.environ.get
        self.aws_request_id = headers.get("lambda-runtime-aws-request-id", "")
        self.log_group_name = env("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = env("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = env("AWS_LAMBDA_FUNCTION_NAME")
        self.memory_limit_in_mb = env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = env("AWS_LAMBDA_FUNCTION_VERSION")
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn")
        client_context = headers.get("lambda-runtime-client-context")
        values = json.loads(client_context) if client_context else None
        self.client_context = ClientContext(values) if isinstance(values, dict) else None
        identity = headers.get("lambda-runtime-cognito-identity")
        values = json.loads(identity) if identity else {}
        self.identity = CognitoIdentity(values if isinstance(values, dict) else {})
        self._deadline_ms = int(headers.get("lambda-runtime-deadline-ms", "0"))

    def get_remaining_time_in_millis(self):
        return max(self._deadline_ms - int(time.time() * 1000), 0)

    def log(self, message):
        sys.stdout.write(str(message))

    def __repr__(self):
        return "LambdaContext([aws_request_id=%s,log_group_name=%s,log_stream_name=%s,function_name=%s,memory_limit_in_mb=%s,function_version=%s,invoked_function_arn=%s,client_context=%s,identity=%s])" % (
            self.aws_request_id,
            self.log_group_name,
            self.log_stream_name,
            self.function_name,
            self.memory_limit_in_mb,
            self.function_version,
            self.invoked_function_arn,
            self.client_context,
            self.identity,
        )


# --- logging ------------------------------------------------------------------------------------------------------

current_request_id = ""


class LoggingHook:
    """Gives the root logger Lambda's handler at the moment somebody imports logging, and costs nothing before."""

    def find_spec(self, name, path=None, target=None):
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                break
        else:
            return None
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            install_log_handler(module)

        spec.loader.exec_module = exec_module
        return spec


def install_log_handler(logging):
    class LambdaLoggerFilter(logging.Filter):
        def filter(self, record):
            record.aws_request_id = current_request_id
            return True

    class LambdaLoggerHandler(logging.Handler):
        def emit(self, record):
            try:
                text = self.format(record)
                sys.stdout.write(text if text.endswith("\n") else text + "\n")
            except Exception:
                self.handleError(record)

    handler = LambdaLoggerHandler()
    formatter = logging.Formatter(
        "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(LambdaLoggerFilter())
    logging.root.addHandler(handler)


# --- errors -------------------------------------------------------------------------------------------------------


def user_frames(tb):
    """The traceback from the first frame that is neither ours nor the import machinery's."""
    import traceback

    frames = [(f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(tb)]
    own = (__file__, "<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")
    first = 0
    while first < len(frames) and frames[first][0] in own:
        first += 1
    return traceback.format_list(frames[first:])


def error_object(message, kind, trace, request_id):
    return {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": trace}


def error_of(exc, request_id):
    if isinstance(exc, Fault):
        return error_object(exc.message, exc.kind, exc.trace, request_id)
    return error_object(str(exc), type(exc).__name__, user_frames(exc.__traceback__), request_id)


def no_break(line):
    """Indentation in no-break spaces, as Lambda logs it: log viewers fold ordinary ones."""
    text = line.lstrip(" ")
    return "\u00a0" * (len(line) - len(text)) + text


def log_error(error):
    head = "[ERROR]"
    if error["errorType"]:
        head += " " + error["errorType"]
    if error["errorMessage"]:
        head += (": " if error["errorType"] else " ") + error["errorMessage"]
    lines = [head, "Traceback (most recent call last):"]
    for entry in error["stackTrace"]:
        lines += [no_break(line) for line in entry.splitlines()]
    sys.stdout.write("\n".join(lines) + "\n")


# --- the function -------------------------------------------------------------------------------------------------


def load_handler(name):
    module_name, dot, attribute = name.rpartition(".")
    if not dot:
        raise Fault(
            "Runtime.MalformedHandlerName",
            "Bad handler '%s': not enough values to unpack (expected 2, got 1)" % name,
        )
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault(
            "Runtime.BuiltInModuleConflict", "Cannot use built-in module %s as a handler module" % module_name
        )
    path = module_name.replace("/", ".")
    try:
        __import__(path)
    except ImportError as e:
        raise Fault("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (module_name, e))
    except SyntaxError as e:
        raise Fault(
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module '%s': %s" % (module_name, e),
            ['  File "%s" Line %s\n    %s' % (e.filename, e.lineno, e.text)],
        )
    try:
        return getattr(sys.modules[path], attribute)
    except AttributeError:
        raise Fault("Runtime.HandlerNotFound", "Handler '%s' missing on module '%s'" % (attribute, module_name))


def make_encoder():
    # Since Python 3.12 Lambda writes characters as they are, before that as \u escapes.
    asked = os.environ.get("AWS_EXECUTION_ENV", "").rpartition("python3.")[2]
    return json.JSONEncoder(ensure_ascii=asked.isdigit() and int(asked) < 12).encode


def marshal(encode, value):
    if isinstance(value, bytes):
        return value, "application/unknown"
    try:
        return encode(value).encode("utf-8"), "application/json"
    except Exception as e:
        raise Fault("Runtime.MarshalError", "Unable to marshal response: %s" % e)


def unmarshal(body):
    try:
        return json.loads(body)
    except Exception as e:
        raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % e)


def error_body(error):
    # "replace": a lone surrogate in a message must not cost the answer.
    return json.dumps(error, ensure_ascii=False).encode("utf-8", "replace")


def flush():
    sys.stdout.flush()
    sys.stderr.flush()


def run_one(api, handler, encode, headers, event):
    """One invocation, whatever it does. SystemExit and the like end the process, as on Lambda."""
    global current_request_id
    context_id = headers.get("lambda-runtime-aws-request-id", "")
    current_request_id = context_id
    trace = headers.get("lambda-runtime-trace-id")
    if trace:
        os.environ["_X_AMZN_TRACE_ID"] = trace
    else:
        os.environ.pop("_X_AMZN_TRACE_ID", None)
    try:
        result, content_type = marshal(encode, handler(unmarshal(event), LambdaContext(headers)))
    except Exception as e:
        error = error_of(e, context_id)
        log_error(error)
        flush()
        api.post("invocation/%s/error" % context_id, error_body(error), error_type=error["errorType"])
        return
    flush()
    api.post("invocation/%s/response" % context_id, result, content_type)


def prepare_paths():
    """Lambda's search order: the package, layers, the runtime, the standard library; last what the host's packages add."""
    version = "python%d.%d" % sys.version_info[:2]
    task = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    sys.path[0:1] = [task, "/opt/python/lib/%s/site-packages" % version, "/opt/python"]
    for folder in ("/usr/local/lib/%s/dist-packages" % version, "/usr/local/lib/%s/site-packages" % version,
                   "/usr/lib/python3/dist-packages", "/usr/lib/%s/site-packages" % version):
        if os.path.isdir(folder):
            sys.path.append(folder)


def prepare_process():
    # A line is out as soon as it is written: a crash or a kill loses none. Never fail on a character.
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    import site  # -S left out its work at start; exit() and quit() are expected to be there

    site.setquit()
    sys.meta_path.insert(0, LoggingHook())


def main():
    prepare_paths()
    prepare_process()
    api = RuntimeApi(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        handler = load_handler(os.environ.get("_HANDLER", ""))
    except Exception as e:
        error = error_of(e, "")
        log_error(error)
        flush()
        api.post("init/error", error_body(error), error_type=error["errorType"])
        sys.exit(1)
    encode = make_encoder()
    try:
        while True:
            headers, event = api.next()
            run_one(api, handler, encode, headers, event)
    except (ApiError, OSError) as e:
        sys.stderr.write("bootstrap: %s\n" % e)
        sys.exit(1)


if __name__ == "__main__":
    main()
