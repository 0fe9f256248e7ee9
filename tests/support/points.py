"""Reads the metrics out of OTLP/JSON lines: what wftrace or a Collector wrote."""
import json
import pathlib

from .spans import attributes

KINDS = ("gauge", "sum", "histogram", "exponentialHistogram")


class Point:
    """One data point with its metric's name, kind and resource."""

    def __init__(self, metric, kind, raw, resource):
        self.name, self.unit, self.kind, self.resource = metric["name"], metric.get("unit", ""), kind, resource
        self.delta = metric[kind].get("aggregationTemporality") == 1
        self.monotonic = metric[kind].get("isMonotonic", False)
        self.attrs = attributes(raw.get("attributes", ()))
        self.count, self.sum = int(raw.get("count", 0)), raw.get("sum", 0.0)
        self.counts = [int(n) for n in raw.get("bucketCounts", ())]
        self.bounds = raw.get("explicitBounds", [])
        self.value = int(raw["asInt"]) if "asInt" in raw else raw.get("asDouble")
        self.start, self.time = int(raw.get("startTimeUnixNano", 0)), int(raw["timeUnixNano"])
        self.exemplars = raw.get("exemplars", [])

    def key(self):
        return (self.name, json.dumps(self.attrs, sort_keys=True), json.dumps(self.resource, sort_keys=True))

    def facts(self):
        return (self.key(), self.kind, self.start, self.time, self.count, self.sum, tuple(self.counts), self.value)


def load(path):
    """Collections of a file, oldest first: each a list of points. A last line cut off in the middle is left out."""
    found = []
    for line in pathlib.Path(path).read_text().splitlines() if pathlib.Path(path).exists() else ():
        try:
            request = json.loads(line)
        except ValueError:
            continue
        if "resourceMetrics" in request:
            found.append([Point(m, kind, raw, attributes(rm.get("resource", {}).get("attributes", ())))
                          for rm in request["resourceMetrics"] for sm in rm["scopeMetrics"] for m in sm["metrics"]
                          for kind in KINDS if kind in m for raw in m[kind].get("dataPoints", ())])
    return found
