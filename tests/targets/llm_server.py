#!/usr/bin/env python3
"""A stand-in for paid model APIs: speaks their protocols byte for byte with the documented answers of tests/wire/llm.py, with
a pause between the pieces of a stream. What a test wants out of the ordinary it asks for in the prompt: «429 once», «cut»,
«tools», «encode:br».

    llm_server.py PORT [CERT KEY]

MODEL_THINKS is the time in seconds before each answer (0).
"""
import gzip, json, os, pathlib, socket, ssl, sys, threading, time, zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "wire"))
import llm as wire  # noqa: E402

PAUSE = 0.02
THINKS = float(os.environ.get("MODEL_THINKS", 0))
refused = set()


def encode(kind, body):
    if kind == "br":
        import brotli
        return brotli.compress(body)
    if kind == "zstd":
        import zstandard
        return zstandard.compress(body)
    return gzip.compress(body) if kind == "gzip" else zlib.compress(body)


def said(case, n=0):
    """What the server says in a wire case: the n-th answer's calls, as bytes."""
    answers, last = [], ">"
    for line in wire.CASES["llm-" + case]():
        if line[0] == "<" and last == ">":
            answers.append([])
        if line[0] in "<>":
            last = line[0]
        if line[0] == "<":
            text = line[2:].encode()
            out, i = bytearray(), 0
            while i < len(text):
                c = text[i:i + 1]
                if c != b"\\":
                    out += c
                    i += 1
                    continue
                e = text[i + 1:i + 2]
                out += bytes([int(text[i + 2:i + 4], 16)]) if e == b"x" else {b"r": b"\r", b"n": b"\n", b"t": b"\t"}.get(e, e)
                i += 4 if e == b"x" else 2
            answers[-1].append(bytes(out))
    return answers[n]


def choose(path, body):
    """The case that answers this request."""
    text = json.dumps(body)
    stream = body.get("stream")
    if path.endswith("/chat/completions"):
        if "429 once" in text and body["model"] not in refused:
            refused.add(body["model"])
            return said("openai-chat-retry")
        if "tool_call_id" in text:
            return said("openai-chat-tool-loop", 1)
        if "cut" in text:
            return said("openai-chat-cut")
        if "tools" in body:
            return said("openai-chat-tools-stream" if stream else "openai-chat-tool-loop")
        if "mistral" in body["model"]:
            return said("mistral-chat-stream" if stream else "mistral-chat")
        return said("openai-chat-stream" if stream else "openai-chat")
    for end, case, streamed in (("/responses", "openai-responses", "openai-responses-stream"), ("/embeddings", "openai-embeddings", ""),
                                ("/v1/messages", "anthropic-messages", "anthropic-messages-stream"),
                                ("/api/chat", "ollama-chat", "ollama-chat-stream")):
        if path.endswith(end):
            return said(streamed if stream else case)
    for end, case in ((":generateContent", "gemini-generate"), (":streamGenerateContent", "gemini-stream"),
                      ("/converse", "bedrock-converse"), ("/converse-stream", "bedrock-converse-stream"),
                      ("/invoke-with-response-stream", "bedrock-invoke-stream"), ("/invoke", "bedrock-invoke")):
        if path.endswith(end):
            return said(case)
    return [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"]


def packed(calls, kind):
    head, body = b"".join(calls).split(b"\r\n\r\n", 1)
    fields = [f for f in head.split(b"\r\n") if not f.lower().startswith(b"content-length")]
    body = encode(kind, body)
    fields += [b"Content-Encoding: " + kind.encode(), b"Content-Length: %d" % len(body)]
    return [b"\r\n".join(fields) + b"\r\n\r\n" + body]


def serve_one(f, s):
    line = f.readline().decode()
    if not line:
        return False
    fields = {}
    while (h := f.readline().strip()):
        k, v = h.decode().split(":", 1)
        fields[k.lower()] = v.strip()
    if fields.get("transfer-encoding") == "chunked":
        raw = b""
        while (n := int(f.readline(), 16)):
            raw += f.read(n)
            f.readline()
        f.readline()
    else:
        raw = f.read(int(fields.get("content-length", 0)))
    if fields.get("content-encoding") == "gzip":
        raw = gzip.decompress(raw)
    body = json.loads(raw)
    calls = choose(line.split()[1].split("?")[0], body)
    text = raw.decode(errors="replace")
    if "encode:" in text:
        calls = packed(calls, text.split("encode:")[1].split(":")[0])
    time.sleep(THINKS)
    for n, data in enumerate(calls):
        if n:
            time.sleep(PAUSE)
        s.sendall(data)
    return "cut" not in text


def serve(s, context):
    try:
        if context:
            s = context.wrap_socket(s, server_side=True)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with s, s.makefile("rb") as f:
            while serve_one(f, s):
                pass
    except OSError:
        pass


def main():
    context = None
    if len(sys.argv) > 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=256)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0], context), daemon=True).start()


if __name__ == "__main__":
    main()
