#!/usr/bin/env python3
"""receiver.py PORT FILE: stands for the other side. Takes POST requests on 127.0.0.1 (PORT 0: a free one), writes what they
bring to FILE, one line each, and prints its URL once it listens."""
import http.server
import sys


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with open(sys.argv[2], "a", encoding="utf-8") as f:
            f.write("%s %s\n" % (self.headers["Idempotency-Key"], body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *what):
        pass


server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Hook)
print("http://127.0.0.1:%d/hook" % server.server_port, flush=True)
server.serve_forever()
