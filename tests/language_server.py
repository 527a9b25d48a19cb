"""An OpenAI-compatible server for tests: it answers from a script, on this machine, and remembers what it was asked."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def sentences(body):
    """Answers that depend on the prompt and the seed alone, as a good server's do."""
    words = ("grows", "falls", "stays", "splits", "waits")
    text = body.get("prompt") or body["messages"][0]["content"]
    key = hashlib.sha256(f"{text}|{body['seed']}".encode()).digest()
    return [(f" {words[key[i] % 5]} {words[key[i + 9] % 5]}", "stop") for i in range(body["n"])]


class Scripted:
    """A server whose first responses are `script` (see `respond`), and `sentences` after that."""

    def __init__(self, script=(), delay=0.0):
        self.script = list(script)
        self.delay = delay
        self.bodies = []
        self.headers = []
        self.paths = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append(body)
                outer.headers.append(dict(self.headers))
                outer.paths.append(self.path)
                time.sleep(outer.delay)
                step = outer.script.pop(0) if outer.script else sentences
                outer.respond(self, body, step)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def respond(self, handler, body, step):
        """`step`: an HTTP status, raw bytes, "hang" (slower than the client waits), or a function of the body."""
        if step == "hang":
            time.sleep(0.5)
            step = sentences
        status, data = 200, step
        if isinstance(step, int):
            status, data = step, json.dumps({"error": handler.headers.get("Authorization", "")}).encode()
        elif callable(step):
            chat = "messages" in body
            choices = [
                {"finish_reason": reason} | ({"message": {"content": text}} if chat else {"text": text})
                for text, reason in step(body)
            ]
            data = json.dumps({"choices": choices}).encode()
        try:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def close(self):
        self.server.shutdown()
        self.server.server_close()


if __name__ == "__main__":
    import sys

    server = Scripted(delay=float(sys.argv[1]))
    print(server.url, flush=True)
    sys.stdin.read()
