#!/usr/bin/env python3
"""Writes the llm-* cases of tests/wire/http1: one exchange for each provider and mode, byte for byte as the provider's own
documentation gives them (heads shortened to what matters). `make golden` writes what they should yield; read the diff.

    llm.py [NAME…]
"""
import base64, gzip, json, os, struct, sys, zlib

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "http1")
CASES = {}


def case(fn):
    CASES["llm-" + fn.__name__.replace("_", "-")] = fn
    return fn


def escape(data: bytes) -> str:
    out = []
    for i, b in enumerate(data):
        if b == 0x5C:
            out.append("\\\\")
        elif b in (13, 10, 9):
            out.append({13: "\\r", 10: "\\n", 9: "\\t"}[b])
        elif 32 < b < 127 or (b == 32 and i not in (0, len(data) - 1)):
            out.append(chr(b))
        else:
            out.append("\\x%02x" % b)
    return "".join(out)


def dumps(o) -> bytes:
    return json.dumps(o, ensure_ascii=False, separators=(",", ":")).encode()


def post(path, host, body, *fields):
    body = body if isinstance(body, bytes) else dumps(body)
    head = [f"POST {path} HTTP/1.1", f"Host: {host}", *fields, "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def answer(body, *fields, status="200 OK", type="application/json"):
    body = body if isinstance(body, bytes) else dumps(body)
    head = [f"HTTP/1.1 {status}", f"Content-Type: {type}", *fields, f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def streamed(*fields, type="text/event-stream; charset=utf-8"):
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Type: {type}", *fields, "Transfer-Encoding: chunked"]).encode() + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


def sse(o, event=None) -> bytes:
    return (f"event: {event}\n" if event else "").encode() + b"data: " + (o if isinstance(o, bytes) else dumps(o)) + b"\n\n"


LAST = b"0\r\n\r\n"


class Case(list):
    """Lines of a capture. Each call comes 20 ms after the one before."""

    def __init__(self, *remarks):
        super().__init__("# " + r for r in remarks)
        self.clock = 1000

    def call(self, mark, data):
        self.append(f"@{self.clock}")
        self.append(f"{mark} {escape(data)}")
        self.clock += 20000
        return self

    def ask(self, data):
        return self.call(">", data)

    def get(self, *calls):
        for data in calls:
            self.call("<", data)
        return self


# ---- OpenAI: https://platform.openai.com/docs/api-reference ----

OPENAI = "api.openai.com"
OPENAI_USAGE = {
    "prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
}
OPENAI_LIMITS = (
    "x-request-id: req_4f1a", "x-ratelimit-limit-requests: 10000", "x-ratelimit-limit-tokens: 200000",
    "x-ratelimit-remaining-requests: 9999", "x-ratelimit-remaining-tokens: 199970", "x-ratelimit-reset-requests: 8.64s",
    "x-ratelimit-reset-tokens: 9ms")
MESSAGES = [{"role": "developer", "content": "You are a helpful assistant."}, {"role": "user", "content": "Say \"Hello!\" \\ é 😀"}]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"model": {"type": "string"}}}}}]


def completion(message, finish, **more):
    return {"id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "object": "chat.completion", "created": 1741569952,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
            "usage": OPENAI_USAGE, "service_tier": "default", "system_fingerprint": "fp_44709d6fcb", **more}


@case
def openai_chat():
    return Case("OpenAI, chat completions").ask(post("/v1/chat/completions", OPENAI, {
        "messages": MESSAGES, "model": "gpt-4o-mini", "max_completion_tokens": 100, "n": 1, "seed": 7, "temperature": 0.2,
        "top_p": 0.9}, "X-Stainless-Retry-Count: 0", "User-Agent: OpenAI/Python 2.0")).get(
        answer(completion({"role": "assistant", "content": "Hello! How can I help?", "refusal": None}, "stop"), *OPENAI_LIMITS))


def delta(d, finish=None, **more):
    return sse({"id": "chatcmpl-123", "object": "chat.completion.chunk", "created": 1694268190, "model": "gpt-4o-mini-2024-07-18",
                "service_tier": "default", "system_fingerprint": "fp_44709d6fcb",
                "choices": [{"index": 0, "delta": d, "logprobs": None, "finish_reason": finish}], **more})


@case
def openai_chat_stream():
    usage = {"id": "chatcmpl-123", "object": "chat.completion.chunk", "created": 1694268190, "model": "gpt-4o-mini-2024-07-18",
             "choices": [], "usage": OPENAI_USAGE}
    return Case("OpenAI, chat completions, streamed, with usage").ask(post("/v1/chat/completions", OPENAI, {
        "messages": MESSAGES, "model": "gpt-4o-mini", "stream": True, "stream_options": {"include_usage": True}})).get(
        streamed(*OPENAI_LIMITS), chunk(delta({"role": "assistant", "content": "", "refusal": None}, usage=None)),
        chunk(delta({"content": "Hel"}, usage=None) + delta({"content": "lo"}, usage=None)), chunk(delta({"content": "!"}, usage=None)),
        chunk(delta({}, "stop", usage=None)), chunk(sse(usage)) + chunk(sse(b"[DONE]")) + LAST)


def main():
    for name in sys.argv[1:] or CASES:
        with open(os.path.join(HERE, name + ".txt"), "w") as f:
            f.write("\n".join(CASES[name]()) + "\n")


if __name__ == "__main__":
    main()
