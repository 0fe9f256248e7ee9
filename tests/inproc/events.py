"""Reads what tests/inproc/recorder.c wrote."""
import struct

KINDS = {1: "START", 2: "END", 3: "FAIL", 4: "SUSPEND", 5: "RESUME", 6: "NOTE"}
NAMED = {250: "error.type", 251: "error.message", 252: "error.where", 253: "function"}


def value(kind, raw):
    if kind == 1:
        return raw.decode()
    if kind == 2:
        return struct.unpack("<q", raw)[0]
    if kind == 3:
        return struct.unpack("<d", raw)[0]
    return raw == b"\1" if kind == 4 else None


def read(path):
    """Events in order, each a dictionary."""
    try:
        with open(path, "rb") as f:
            data = f.read()
    except FileNotFoundError:
        return []
    events, at = [], 0
    while at < len(data):
        ns, pid, tid, size, version, kind, watch, n, dropped, activity = struct.unpack_from("<QIIHBBHBBQ", data, at)
        assert version == 2 and size >= 16
        off, end, attrs = at + 32, at + 16 + size, {}
        for _ in range(n):
            index, type_, length = struct.unpack_from("<BBH", data, off)
            attrs[NAMED.get(index, index)] = value(type_, data[off + 4 : off + 4 + length])
            off += 4 + (length + 3 & ~3)
        assert off == end, "attributes and size disagree"
        events.append(dict(ns=ns, pid=pid, tid=tid, kind=KINDS[kind], watch=watch, activity=activity, dropped=dropped, attrs=attrs))
        at = end
    return events
