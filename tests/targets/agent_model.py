#!/usr/bin/env python3
"""A model behind OpenAI's chat completions that plays a known game: asked «agent N» it calls two tools at once, then a third, then it
is done. The ids of its calls say whose they are.

    agent_model.py PORT
"""
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROUNDS = ((("a", "get_weather", {"place": "{n}"}), ("b", "get_weather", {"place": "nowhere-{n}"})), (("c", "get_time", {"place": "{n}"}),), ())


def answer(body):
    asked = re.search(r"agent (\d+)", json.dumps(body["messages"])).group(1)
    done = sum(m["role"] == "tool" for m in body["messages"])
    calls = [{"id": f"call-{asked}-{key}", "type": "function",
              "function": {"name": name, "arguments": json.dumps({k: v.format(n=asked) for k, v in args.items()})}}
             for key, name, args in ROUNDS[{0: 0, 2: 1}.get(done, 2)]]
    said = {"role": "assistant", "content": None if calls else f"done {asked}", **({"tool_calls": calls} if calls else {})}
    return {"id": f"answer-{asked}-{done}", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [
        {"index": 0, "message": said, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": {"prompt_tokens": 10 + done, "completion_tokens": 5, "total_tokens": 15 + done}}


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        out = json.dumps(answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    def log_message(self, *args):
        pass


ThreadingHTTPServer.request_queue_size = 128  # twenty agents ask at once
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Model).serve_forever()
