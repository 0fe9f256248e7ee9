"""The comparer itself: synthetic spans with known faults must be judged as what they are."""
import json

from support import load, spans, truth
from support.harness import test


def _raw(span_id, parent, kind, start, end, **attrs):
    pairs = [{"key": k.replace("__", "."), "value": {"intValue": str(v)} if isinstance(v, int) else {"stringValue": v}}
             for k, v in attrs.items()]
    return {"traceId": "aa" * 16, "spanId": span_id, "parentSpanId": parent, "name": "x", "kind": kind,
            "startTimeUnixNano": str(start), "endTimeUnixNano": str(end), "attributes": pairs}


def _world(n=4):
    """n requests with one call each, all as they should be."""
    reqs, raws = load.plan(("direct",), n), []
    for i, r in enumerate(reqs):
        r.status, r.start, r.end, r.calls = 200, 10**18 + i * 10**8, 10**18 + i * 10**8 + 10**7, (r.rid + ".r1",)
        raws.append(_raw(f"{i:016x}", "", 2, r.start + 1000, r.end - 1000, url__path=r.path, http__response__status_code=200))
        raws.append(_raw(f"{i + 100:016x}", f"{i:016x}", 3, r.start + 2000, r.end - 2000, db__query__text="GET " + r.calls[0],
                         wftrace__parent__by="unit"))
    return reqs, raws


def _load(case, raws):
    path = case.dir / "s.jsonl"
    request = {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {"name": "t"}, "spans": raws}]}]}
    path.write_text(json.dumps(request) + "\n" + json.dumps(request)[:50])
    return spans.load(path)


def _judge(case, change):
    reqs, raws = _world()
    change(reqs, raws)
    return truth.compare(reqs, _load(case, raws))


@test("self/truth-comparer", product=False)
def comparer(case):
    """perfect, wrong, none, missing, extra, times, status are each told apart"""
    v = _judge(case, lambda q, s: None)
    assert v.perfect and v.right == 4 and v.by == {"unit": 4}, v.line()
    v = _judge(case, lambda q, s: s[1].update(parentSpanId=s[2]["spanId"]))
    assert (v.wrong, v.right, v.perfect) == (1, 3, False), v.line()
    v = _judge(case, lambda q, s: s[1].update(parentSpanId=""))
    assert (v.none, v.perfect) == (1, False), v.line()
    v = _judge(case, lambda q, s: s.pop(1))
    assert (v.missing, v.perfect) == (1, False), v.line()
    v = _judge(case, lambda q, s: s.pop(0))
    assert (v.missing, v.none, v.servers) == (1, 1, 3), v.line()
    v = _judge(case, lambda q, s: s.append(dict(s[1], spanId="ff" * 8)))
    assert (v.extra, v.perfect) == (1, False), v.line()
    v = _judge(case, lambda q, s: s[0].update(endTimeUnixNano=str(q[0].end + 10**8)))
    assert (v.time_bad, v.perfect) == (1, False), v.line()
    v = _judge(case, lambda q, s: setattr(q[0], "status", 500))
    assert (v.status_bad, v.perfect) == (1, False), v.line()
    v = _judge(case, lambda q, s: s.clear())
    assert (v.missing, v.perfect) == (8, False), v.line()
