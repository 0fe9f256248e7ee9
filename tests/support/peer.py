"""Which of our spans tell what a span of opentelemetry-instrument tells: same operation, of the same order, the n-th of its kind.

Both kinds of spans get a key: (service, operation, order), where the order is the number in its own text or in that of its nearest
ancestor; spans with equal keys are paired in the order in which they began."""
import collections
import dataclasses
import re

NUMBER = re.compile(r"/(?:orders|stock|label|refused)/(\d+)|\(id, item\) VALUES \((\d+)|WHERE id = (\d+)|gpt-(\d+)")


def order(found, span):
    """The number of the order that a span belongs to; None for what belongs to none."""
    for s in (span, *found.ancestors(span)):
        m = NUMBER.search(" ".join(str(s[k] or "") for k in ("http.target", "http.url", "url.path", "db.statement", "db.query.text",
                                                             "gen_ai.request.model")))
        if m:
            return int(next(g for g in m.groups() if g))
    return None


def path(url):
    return re.sub(r"^http://[^/]*", "", url)


def theirs(found, s):
    """The operations that a span of the SDK stands for: mostly one, of a pipeline each of its commands; what it is called in the table."""
    kind = s.scope.rsplit(".", 1)[-1]
    if kind == "fastapi" and s["asgi.event.type"]:
        return [("message", s["asgi.event.type"], path(found.parent(s)["http.url"]).split("?")[0])], "ASGI message sent"
    if kind == "fastapi":
        return [("server", s["http.method"], path(s["http.url"]))], "request served"
    if kind in ("httpx", "requests"):
        up = found.parent(s)
        if up is not None and up["gen_ai.request.model"]:
            return [("model", up["gen_ai.request.model"])], "model's request"
        return [("client", s["http.method"], path(s["http.url"]))], f"request, {kind}"
    if kind == "openai_v2":
        return [("model", s["gen_ai.request.model"])], "model's call"
    if kind == "celery":
        return [(s.kind, s["celery.task_name"])], "task sent" if s.kind == "producer" else "task"
    if kind == "psycopg":
        return [("sql", s["db.statement"])], "statement"
    if kind == "redis":
        texts = s["db.statement"].split("\n")
        two = [" ".join(t.split()[:2]) if t.startswith("SCRIPT ") else t.split()[0] for t in texts]
        return [("redis", t) for t in two], "command" if len(two) == 1 else "pipeline"
    if kind == "langchain":
        if s["gen_ai.tool.name"]:
            return [("execute_tool", s["gen_ai.tool.name"])], "tool"
        name = s["gen_ai.task.name"] or s["gen_ai.agent.name"]
        return [("graph", name)], "node, branch" if s["gen_ai.task.name"] else "graph"
    raise AssertionError(f"a span of {kind}: {s.name} {s.attrs}")


def ours(s):
    """The operation of a span of wftrace; what it is called in the table."""
    scope = s.scope.split("/")[-1]
    if s["gen_ai.request.model"]:
        return ("model", s["gen_ai.request.model"]), "model's call"
    if scope == "http1":
        full = s["url.path"] + (f"?{s['url.query']}" if s["url.query"] else "")
        return (s.kind, s["http.request.method"], full), "request served" if s.kind == "server" else "request"
    if scope == "postgres":
        return ("sql", s["db.query.text"]), "statement"
    if scope == "resp":
        return ("redis", s["db.operation.name"]), "command"
    if scope == "celery":
        return (s.kind, s["celery.task"]), "task sent" if s.kind == "producer" else "task"
    if scope == "langgraph":
        return ("execute_tool", s["gen_ai.tool.name"]) if s["gen_ai.tool.name"] else ("graph", s.name), s["wftrace.activity.type"]
    if s["asgi.event.type"]:
        return ("message", s["asgi.event.type"], s["url.path"]), "ASGI message sent"
    return (scope, s.name), "process" if s["process.pid"] else scope


@dataclasses.dataclass
class Pair:
    """A span of theirs, what the table calls it, and ours: the first and the last (of a pipeline)."""
    their: object
    label: str
    first: object
    last: object
    since: object  # the first, or the BEGIN that psycopg says before it: theirs is for both

    @property
    def apart(self):
        """How much later ours begins and ends, in ms."""
        return (self.since.start - self.their.start) / 1e6, (self.last.end - self.their.end) / 1e6


def match(their_spans, our_spans):
    """(pairs, spans of theirs that have none of ours, spans of ours that have none of theirs)."""
    pool = collections.defaultdict(list)
    for s in sorted(our_spans, key=lambda s: s.start):
        pool[_service(s), ours(s)[0], order(our_spans, s)].append(s)
    # «invoke_agent» and «workflow» are the same graph, as a model's call and its request are: both are paired with the one of ours
    shared, pairs, missing = {}, [], []
    for s in sorted(their_spans, key=lambda s: s.start):
        operations, label = theirs(their_spans, s)
        up = their_spans.parent(s)
        if id(up) in shared and theirs(their_spans, up)[0] == operations:
            one = shared[id(s)] = shared[id(up)]
            pairs.append(Pair(s, label, one, one, one))
            continue
        got = [_take(pool[_service(s), op, order(their_spans, s)], s, len(operations) > 1 or order(their_spans, s) is None) for op in operations]
        if None in got:
            missing.append(s)
            continue
        shared[id(s)] = got[0]
        begins = [b for b in our_spans if label == "statement" and b.name == "BEGIN" and b.parent_id == got[0].parent_id and b.end <= got[0].start]
        pairs.append(Pair(s, label, got[0], got[-1], max(begins, key=lambda b: b.start, default=got[0])))
    rest = [s for group in pool.values() for s in group]
    return pairs, missing, rest


def _inside(up, s):
    return up["db.system"] == s["db.system"] == "redis"


def _service(s):
    return s.resource.get("service.name")


def _take(group, s, nearest):
    """The first of the group that is left; of those that have no order the one that began when s did."""
    if not group:
        return None
    return group.pop(min(range(len(group)), key=lambda i: abs(group[i].start - s.start)) if nearest else 0)


def wrong_parents(their_spans, our_spans, pairs):
    """Pairs whose nearest paired ancestor is not the pair of their parent's; an ancestor of theirs that ours was told of on the wire is one too."""
    partner = {id(p.their): p.first for p in pairs}
    known = {id(p.first) for p in pairs} | {id(p.last) for p in pairs}
    wrong = []
    for p in pairs:
        up = their_spans.parent(p.their)
        if up is None or id(up) not in partner:
            continue
        if p.first is partner[id(up)] or p.first.parent_id == up.span_id:
            continue
        near = next((a for a in our_spans.ancestors(p.first) if id(a) in known), None)
        if _inside(up, p.their):  # a library's command that says other commands first: on the wire they are one after the other
            up = their_spans.parent(up)
            if up is None or id(up) not in partner:
                continue
        if near is not partner[id(up)]:
            wrong.append(f"{p.their.name} ({p.first!r}) is under {near!r}, theirs under {up.name}")
    return wrong
