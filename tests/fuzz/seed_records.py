#!/usr/bin/env python3
"""Makes seeds for the ring decoder, capture files and the rules: python3 tests/fuzz/seed_records.py (run from the root).

One file for each record type of bpf/abi.h with every field set, and one with all of them in a row; captures with every
kind of frame (user/ingest/wfcap.h); the rule files of tests/targets/rules, and the forms that they don't use."""
import glob, os, struct, zlib

FORK, EXEC, EXIT, COMM, OOM, CONN, DATA, CLOSE, TLS, HIT, EDGE, PUT, TAKE, MAPPED, BRIDGE, WRITE = range(1, 17)
PROCINFO = 128
HIT_STR = 128
lost = 0


def record(kind, body=b"", payload=b"", flags=0):
    """rec_hdr, the struct's own fields, the payload; padded to 8 bytes as in the ring."""
    global lost
    lost += 1
    size = 48 + len(body) + len(payload)
    head = struct.pack("<HHIQIIQQII", kind, flags, size, 10**12 + lost, 4000, 4001, 7, 99, lost, 0)
    assert len(head) == 48
    return head + body + payload + b"\0" * (-size % 8)


def put(folder, name, data):
    os.makedirs("tests/fuzz/corpus/" + folder, exist_ok=True)
    with open("tests/fuzz/corpus/%s/%s" % (folder, name), "wb") as f:
        f.write(data)


def address(text):
    return bytes(text) + bytes(16 - len(text))


def conn(family, role, local, remote, flags=0):
    return record(CONN, struct.pack("<QQQQHBBHHII", 11, 12, 13, 14, family, 1, role, 8080, 40000, 111, 4026531840) +
                  address(local) + address(remote), flags=flags)


name, args, get = b"/usr/bin/curl\0", b"curl\0-s\0http://127.0.0.1/\0", b"GET /orders/7 HTTP/1.1\r\nHost: a\r\n\r\n"
mapped4 = [0] * 10 + [0xff, 0xff, 127, 0, 0, 1]
strings = b"order-17".ljust(HIT_STR, b"\0") + b"ada".ljust(HIT_STR, b"\0")
info = b"exe=/usr/bin/python3\0cwd=/srv\0comm=python3\0args=python3\x1fapp.py\0env.OTEL_SERVICE_NAME=shop\0python=3.11\0ppid=1\0"
event = struct.pack("<HBBHBBQ", 48, 1, 3, 2, 3, 1, 77) + struct.pack("<BBH8s", 250, 1, 5, b"Error") + struct.pack(
    "<BBHq", 0, 2, 8, -3) + struct.pack("<BBHB3x", 1, 4, 1, 1)
records = {
    "fork": record(FORK, struct.pack("<II", 4002, 4002)),
    "thread": record(FORK, struct.pack("<II", 4000, 4003)),
    "exec": record(EXEC, struct.pack("<IIHHI", 1, 1000, len(name), len(args), 4 * len(args)), name + args),
    "exit": record(EXIT, struct.pack("<IIQQQQQQ", 0x8b, 1, 10**12, 5, 6, 1 << 20, 4096, 8192)),
    "comm": record(COMM, b"sixteen-bytes-16"),
    "oom": record(OOM, struct.pack("<II", 4000, 0)),
    "conn-ipv4": conn(2, 1, [127, 0, 0, 1], [10, 0, 0, 1], flags=8),
    "conn-mapped": conn(10, 2, mapped4, mapped4),
    "conn-unix": conn(1, 0, [], []),
    "data": record(DATA, struct.pack("<QQIIB7x", 11, 0, 5000, len(get), 0), get),
    "data-tail": record(DATA, struct.pack("<QQIIB7x", 11, 4990, 5000, len(get), 1), get, flags=1),
    "data-unread": record(DATA, struct.pack("<QQIIB7x", 11, 5000, 1 << 20, 0, 0), flags=4),
    "close": record(CLOSE, struct.pack("<QQQII", 11, 100, 200, 104, 0)),
    "tls": record(TLS, struct.pack("<QQIIB7x", 21, 0, len(get), len(get), 1), get),
    "hit": record(HIT, struct.pack("<IBBBBQ8Q8B", 3, 0, 4, 0b1010, 0b0100, 0x7fff1000, 17, 0, 5, 1, 0, 0, 0, 0,
                                   0, 8, 0, 3, 0, 0, 0, 0), strings),
    "edge": record(EDGE, struct.pack("<QQ", 31, 32)),
    "put": record(PUT, struct.pack("<Q", 41)),
    "take": record(TAKE, struct.pack("<Q", 0)),
    "mapped": record(MAPPED),
    "bridge": record(BRIDGE, struct.pack("<II", len(event), len(event)), event),
    "write": record(WRITE, struct.pack("<IIIIQ", 1, 5, 5, 0o10600, 77), b"hello"),
    "procinfo": record(PROCINFO, b"", info),
}
for key, data in records.items():
    put("ring", key, data)
put("ring", "all", b"".join(records.values()))
put("ring", "cut", b"".join(records.values())[:-9])


def frame(kind, payload):
    return struct.pack("<III", len(payload), kind, zlib.crc32(payload)) + payload


def capture(version, frames):
    text = b"kernel=6.1.0\0host=h\0wall_minus_boot=5\0rules:shop.yaml=activities: [{name: pay, at: native:/usr/bin/shop:pay}]\0"
    return b"WFCAP\r\n\x1a" + struct.pack("<IIII", version, 1, len(text), zlib.crc32(text)) + text + b"".join(frames)


RECORD, TICK, END, SITE = 1, 2, 3, 4
site = frame(SITE, struct.pack("<III", 3, 0, 0) + b"shop::pay\0/usr/bin/shop\0")
tick = frame(TICK, struct.pack("<Qq", 10**12 + 50, 5))
some = [records[k] for k in ("procinfo", "conn-ipv4", "data", "hit")]
totals = struct.pack("<QQQQ", len(some), 1, sum(map(len, some)), 0)
put("wfcap", "kinds", capture(2, [site] + [frame(RECORD, r) for r in some] + [tick, frame(END, totals)]))
put("wfcap", "wrong-totals", capture(2, [frame(RECORD, some[0]), frame(END, totals)]))
put("wfcap", "unended-site", capture(2, [frame(SITE, struct.pack("<III", 3, 0, 0) + b"shop::pay\0/usr/bin/shop")]))
put("wfcap", "empty", capture(1, [frame(END, bytes(32))]))

more = {
    "conditions": 'activities:\n  - name: "load {size} {{x}}"\n    type: storage\n    kind: client\n    at: native:libstore:ns::Store::load\n'
                  '    attributes: { size: "arg1->8.16:u32", key: "arg2->0:str(arg3)", e: errno, hex: "arg0[2]:bytes(16)", k: \'"word"\' }\n'
                  '    error: [ errno, "ret < 0", "ret == -EAGAIN", "attr.size == 0" ]\n    when: [ "arg1 != null", "arg4:i64 > 3" ]\n',
    "metrics": 'activities:\n- { name: a, at: "exec:/usr/bin/*", attributes: { f: "argv[1]", c: exit, s: signal, a: args, h: env.HOME },\n'
               '  metrics: [ { counter: runs, unit: "1" }, { histogram: took, of: duration, attributes: [ f ], description: d } ] }\n',
    "anchors": 'activities:\n  - &a { name: x, at: "native:/b:f", attributes: &t { n: "arg0->0:f64" } }\n  - *a\n  - { name: y, at: "native:*:g*", attributes: *t, error: exception }\n',
    "mistakes": 'activites: []\nactivities:\n  - nam: a\n    name: "{gone"\n    type: taks\n    at: natve:x\n    until: a:b\n    attributes: { n: arg99, n: ret:f64 }\n',
    "other-places": 'activities:\n  - { name: p, at: "python:app.orders:place" }\n  - { name: g, at: "go:main.(*Shop).Order" }\n  - { name: h, at: "http:GET /orders" }\n',
}
for path in glob.glob("tests/targets/rules/*.yaml"):
    put("rules", os.path.basename(path)[:-5], open(path, "rb").read())
for key, text in more.items():
    put("rules", key, text.encode())
