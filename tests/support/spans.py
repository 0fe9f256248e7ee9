"""Reads the OTLP/JSON lines that wftrace writes, and finds spans in them."""
import json
import pathlib

KINDS = {0: "unspecified", 1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


class Span:
    """One span: ids as hex text ("" when absent), attributes as Python values."""
    __slots__ = ("trace_id", "span_id", "parent_id", "name", "kind", "start", "end", "attrs", "status", "message",
                 "events", "event_times", "links", "resource", "scope", "flags", "tracestate")

    def __init__(self, raw, resource, scope):
        self.trace_id = raw.get("traceId", "")
        self.span_id = raw.get("spanId", "")
        self.parent_id = raw.get("parentSpanId", "")
        self.name = raw.get("name", "")
        kind = raw.get("kind", 0)
        self.kind = KINDS[kind] if isinstance(kind, int) else kind.removeprefix("SPAN_KIND_").lower()
        self.start, self.end = int(raw["startTimeUnixNano"]), int(raw["endTimeUnixNano"])
        self.attrs = attributes(raw.get("attributes", ()))
        status = raw.get("status", {})
        self.status, self.message = status.get("code", 0), status.get("message", "")
        self.events = [(e.get("name"), attributes(e.get("attributes", ()))) for e in raw.get("events", ())]
        self.event_times = [int(e.get("timeUnixNano", 0)) for e in raw.get("events", ())]
        self.links = raw.get("links", [])
        self.resource, self.scope, self.flags = resource, scope, raw.get("flags", 0)
        self.tracestate = raw.get("traceState", "")

    def __getitem__(self, key):
        return self.attrs.get(key)

    def __repr__(self):
        return f"<{self.kind} {self.name!r} by={self['wftrace.parent.by']} {self.span_id} of {self.parent_id or '-'}>"


def attributes(pairs):
    return {p["key"]: value(p.get("value", {})) for p in pairs}


def value(v):
    if "intValue" in v:
        return int(v["intValue"])
    for key in ("stringValue", "boolValue", "doubleValue", "bytesValue"):
        if key in v:
            return v[key]
    if "arrayValue" in v:
        return [value(x) for x in v["arrayValue"].get("values", ())]
    if "kvlistValue" in v:
        return attributes(v["kvlistValue"].get("values", ()))
    return None


class Spans(list):
    """All spans of a file, with an index by id."""

    def __init__(self, items=()):
        super().__init__(items)
        self.by_id = {s.span_id: s for s in self}

    def parent(self, span):
        return self.by_id.get(span.parent_id) if span.parent_id else None

    def ancestors(self, span):
        seen = set()
        while (span := self.parent(span)) is not None and span.span_id not in seen:
            seen.add(span.span_id)
            yield span

    def children(self, span):
        return [s for s in self if s.parent_id == span.span_id]

    def where(self, kind=None, name=None, **attrs):
        """Spans with that kind and name whose attributes equal attrs (`__` stands for a dot)."""
        want = {k.replace("__", "."): v for k, v in attrs.items()}
        return [s for s in self if (kind is None or s.kind == kind) and (name is None or s.name == name)
                and all(s[k] == v for k, v in want.items())]


def load(path):
    """Spans of an otlp-json file; a last line cut off in the middle (a killed writer) is left out."""
    found = []
    p = pathlib.Path(path)
    if not p.exists():
        return Spans()
    lines = p.read_text(errors="replace").split("\n")
    for n, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except ValueError:
            if n == len(lines) - 1:
                continue
            raise ValueError(f"{path}:{n + 1}: not JSON: {line[:200]}") from None
        for rs in data.get("resourceSpans", ()):
            resource = attributes(rs.get("resource", {}).get("attributes", ()))
            for ss in rs.get("scopeSpans", ()):
                scope = ss.get("scope", {}).get("name", "")
                found += [Span(raw, resource, scope) for raw in ss.get("spans", ())]
    return Spans(found)
