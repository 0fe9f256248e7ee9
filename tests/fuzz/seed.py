#!/usr/bin/env python3
"""Makes seeds for the fuzzers from the wire cases: python3 tests/fuzz/seed.py (run from the root)."""
import glob, os, re


def unescape(text: str) -> bytes:
    out, i = bytearray(), 0
    while i < len(text):
        c = text[i]
        if c != "\\":
            out += c.encode()
            i += 1
            continue
        n = text[i + 1] if i + 1 < len(text) else ""
        if n == "x":
            out.append(int(text[i + 2:i + 4], 16))
            i += 4
            continue
        out += {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "s": b" "}.get(n, n.encode())
        i += 2
    return bytes(out)


def calls(path):
    for line in open(path, encoding="utf-8"):
        m = re.match(r"([<>])(?:\[\d+\])?\s?(.*)\n", line)
        if m and not m.group(2).startswith("~"):
            yield m.group(1), unescape(m.group(2))


def put(folder, name, data):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data[:4096])


for path in sorted(glob.glob("tests/wire/*/*.txt")):
    protocol, name = path.split("/")[2], os.path.basename(path)[:-4]
    both = list(calls(path))
    ask = b"".join(d for s, d in both if s == ">")
    answer = b"".join(d for s, d in both if s == "<")
    put(f"tests/fuzz/corpus/{protocol}", name + "-ask", b"\x00" + ask)
    put(f"tests/fuzz/corpus/{protocol}", name + "-answer", b"\x30" + answer)
    ops = bytearray(b"\x02")
    for side, data in both:
        for i in range(0, len(data), 252):
            piece = data[i:i + 252]
            piece += b" " * (-len(piece) % 4) if len(piece) % 4 and i + 252 < len(data) else b""
            ops += bytes([0 if side == ">" else 1, (len(piece) + 3) // 4]) + piece
    put("tests/fuzz/corpus/stream", protocol + "-" + name, bytes(ops))


def body(message):
    head, rest = message.split(b"\r\n\r\n", 1)
    if b"chunked" not in head:
        n = re.search(rb"[Cc]ontent-[Ll]ength: (\d+)", head)
        return head, rest[:int(n.group(1))] if n else rest
    out = b""
    while rest:
        size, rest = rest.split(b"\r\n", 1)
        out, rest = out + rest[:int(size, 16)], rest[int(size, 16) + 2:]
        if int(size, 16) == 0:
            break
    return head, out


PATHS = (b"/chat/completions", b"/responses", b"/messages", b"GenerateContent", b"converse", b"/invoke", b"/api/chat", b"/mcp")
TYPES = (b"application/json", b"event-stream", b"ndjson", b"amazon.eventstream")
CODINGS = (b"identity", b"gzip", b"deflate", b"br\r", b"zstd")
for path in sorted(glob.glob("tests/wire/http1/llm-*.txt")):
    both = list(calls(path))
    first = next(i for i, (s, d) in enumerate(both) if s == "<")
    last = next((i for i, (s, d) in enumerate(both) if i > first and s == ">"), len(both))
    try:
        (ask, asked), (said, told) = body(both[0][1]), body(b"".join(d for s, d in both[first:last]))
    except ValueError:
        continue  # cut short
    at = [next((i for i, w in enumerate(words) if w in head), 0) for words, head in
          ((PATHS, ask), (TYPES, said), (CODINGS, said.replace(b"Encoding: br", b"Encoding: br\r")))]
    put("tests/fuzz/corpus/llm", os.path.basename(path)[4:-4], bytes(at) + b"\x40" + asked + b"\0" + told)
for i, sql in enumerate([b"WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a, b JOIN c ON x = 'y''z' WHERE d IN (1, 2, 3) -- end",
                         b"select $tag$ text $tag$, E'a\\'b', U&'x', 0xff, 1e-5 from `db`.`t` where \"q\" = # c\n 5", b"/orders/8231/items/8f14e45fceea467f?x=1"]):
    put("tests/fuzz/corpus/sql", f"seed{i}", b"\x40" + sql)
