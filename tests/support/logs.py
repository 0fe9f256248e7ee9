"""Reads log records out of the OTLP/JSON lines that wftrace writes."""
import json
import pathlib

from .spans import attributes, value


class Record:
    """One log record: ids as hex text ("" when absent), attributes as Python values."""

    def __init__(self, raw, resource, scope):
        self.body = value(raw.get("body", {})) or ""
        self.trace_id, self.span_id = raw.get("traceId", ""), raw.get("spanId", "")
        self.severity, self.level = raw.get("severityNumber", 0), raw.get("severityText", "")
        self.time, self.observed = int(raw.get("timeUnixNano", 0)), int(raw.get("observedTimeUnixNano", 0))
        self.attrs, self.resource, self.scope = attributes(raw.get("attributes", ())), resource, scope

    def __getitem__(self, key):
        return self.attrs.get(key)

    def __repr__(self):
        return f"<{self.scope} {self.level} {self.body[:80]!r} {self.span_id or '-'}>"


def load(path):
    found = []
    for line in pathlib.Path(path).read_text().splitlines():
        for rl in json.loads(line).get("resourceLogs", ()):
            resource = attributes(rl.get("resource", {}).get("attributes", ()))
            for sl in rl.get("scopeLogs", ()):
                found += [Record(raw, resource, sl.get("scope", {}).get("name", "")) for raw in sl.get("logRecords", ())]
    return found
