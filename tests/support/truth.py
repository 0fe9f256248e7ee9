"""Compares spans with what a load really did: is every request and every call there once, under the right parent?"""
import collections
import dataclasses
import re

CALL = re.compile(r"rid-\d+\.[a-z]+\d*")
SLACK_NS = 3_000_000  # a span's edge may lie that far outside the client's window: two clocks' reading, a wake-up


@dataclasses.dataclass
class Verdict:
    """right / WRONG / none are about parents of calls that were seen; the rest is about presence and time."""
    requests: int = 0
    servers: int = 0
    calls: int = 0
    right: int = 0
    wrong: int = 0
    none: int = 0
    missing: int = 0
    extra: int = 0
    time_bad: int = 0
    status_bad: int = 0
    by: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    per_endpoint: dict = dataclasses.field(default_factory=dict)
    problems: list = dataclasses.field(default_factory=list)

    def note(self, text, keep=12):
        if len(self.problems) < keep:
            self.problems.append(text)

    @property
    def perfect(self):
        return self.requests > 0 and self.right == self.calls and self.servers == self.requests and not (
            self.wrong or self.none or self.missing or self.extra or self.time_bad or self.status_bad)

    def line(self):
        return (f"requests {self.requests} servers {self.servers} | calls {self.calls} right {self.right} "
                f"WRONG {self.wrong} none {self.none} missing {self.missing} extra {self.extra} | times off "
                f"{self.time_bad} status off {self.status_bad} | by {dict(self.by)}")

    def table(self):
        rows = [f"{'endpoint':12} {'right':>6} {'WRONG':>6} {'none':>6} {'missing':>8}"]
        rows += [f"{e:12} {c['right']:6} {c['wrong']:6} {c['none']:6} {c['missing']:8}"
                 for e, c in sorted(self.per_endpoint.items())]
        return "\n".join(rows)


def compare(reqs, spans):
    """Compares answered requests with server spans (by url.path) and client spans (by call id in the statement)."""
    v = Verdict(requests=len(reqs))
    servers = _servers(reqs, spans, v)
    seen = _calls(spans)
    for req in reqs:
        endpoint = v.per_endpoint.setdefault(req.path.split("/")[1], collections.Counter())
        for call in req.calls:
            v.calls += 1
            _judge(call, seen.pop(call, []), servers.get(req.rid), spans, v, endpoint)
    for call, found in seen.items():
        v.extra += len(found)
        v.note(f"extra call span {call}: {found[0]}")
    return v


def _servers(reqs, spans, v):
    """The one server span of each request, by request id."""
    by_path = collections.defaultdict(list)
    for s in spans:
        if s.kind == "server" and s["url.path"]:
            by_path[s["url.path"]].append(s)
    ours = {}
    for req in reqs:
        found = by_path.pop(req.path, [])
        if not found:
            v.missing += 1
            v.note(f"no server span for {req.path}")
            continue
        if len(found) > 1:
            v.extra += len(found) - 1
            v.note(f"{len(found)} server spans for {req.path}")
        span = ours[req.rid] = found[0]
        v.servers += 1
        if span["http.response.status_code"] != req.status:
            v.status_bad += 1
            v.note(f"{req.path}: status {span['http.response.status_code']}, truth {req.status}")
        if span.start < req.start - SLACK_NS or span.end > req.end + SLACK_NS or span.end < span.start:
            v.time_bad += 1
            v.note(f"{req.path}: span {span.start - req.start:+d} … {span.end - req.end:+d} ns around the client's window")
    for path, found in by_path.items():
        if "/rid-" in path:
            v.extra += len(found)
            v.note(f"server span nobody asked for: {path}")
    return ours


def _calls(spans):
    """Client spans by the call id in their statement."""
    seen = collections.defaultdict(list)
    for s in spans:
        if s.kind == "client":
            for call in set(CALL.findall(str(s["db.query.text"] or s["url.path"] or ""))):
                seen[call].append(s)
    return seen


def _judge(call, found, server, spans, v, endpoint):
    if not found:
        v.missing += 1
        endpoint["missing"] += 1
        v.note(f"no span for call {call}")
        return
    if len(found) > 1:
        v.extra += len(found) - 1
        v.note(f"{len(found)} spans for call {call}: {found[:3]}")
    span = found[0]
    owner = next((a for a in spans.ancestors(span) if a.kind == "server"), None)
    v.by[span["wftrace.parent.by"]] += 1
    if owner is None or server is None:
        v.none += 1
        endpoint["none"] += 1
        v.note(f"{call}: no parent ({span})")
    elif owner is server:
        v.right += 1
        endpoint["right"] += 1
        if span.start < server.start - SLACK_NS or span.end > server.end + SLACK_NS or span.trace_id != server.trace_id:
            v.time_bad += 1
            v.note(f"{call}: outside its server span or in another trace")
    else:
        v.wrong += 1
        endpoint["wrong"] += 1
        v.note(f"WRONG {call}: under {owner['url.path']} ({span})")
