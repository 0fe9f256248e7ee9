"""Run inside the environment `otlp`: judges spans by the published schema and the published semantic conventions.

otlp_check.py decode FILE…   FILE.traces, FILE.metrics, FILE.logs: one export request each; prints span ids; unknown fields are an error
otlp_check.py names FILE     FILE is JSON {attribute: [values…]}: prints what the conventions do not know"""
import importlib
import json
import pkgutil
import re
import sys


def decode(files):
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from google.protobuf.unknown_fields import UnknownFieldSet

    def unknown(message, path):
        if len(UnknownFieldSet(message)):
            sys.exit(f"unknown field in {path}")
        for field, v in message.ListFields():
            if field.type == field.TYPE_MESSAGE:
                for item in v if not hasattr(v, "ListFields") else [v]:
                    unknown(item, f"{path}.{field.name}")

    kinds = {"traces": ExportTraceServiceRequest, "metrics": ExportMetricsServiceRequest, "logs": ExportLogsServiceRequest}
    for file in files:
        signal = file.rsplit(".", 1)[-1]
        request = kinds[signal].FromString(open(file, "rb").read())
        unknown(request, "request")
        for rs in request.resource_spans if signal == "traces" else ():
            for ss in rs.scope_spans:
                for s in ss.spans:
                    assert len(s.trace_id) == 16 and len(s.span_id) == 8 and len(s.parent_span_id) in (0, 8), s
                    print(s.span_id.hex())


def conventions():
    """({name}, [template prefixes], {name: {enum values}}) of every published attribute."""
    names, templates, enums = set(), [], {}
    for package in ("opentelemetry.semconv._incubating.attributes", "opentelemetry.semconv.attributes"):
        root = importlib.import_module(package)
        for info in pkgutil.iter_modules(root.__path__):
            module = vars(importlib.import_module(f"{package}.{info.name}"))
            known = {k: v for k, v in module.items() if k.isupper() and isinstance(v, str)}
            templates += [v for k, v in known.items() if k.endswith("_TEMPLATE")]
            names.update(known.values())
            for k, cls in module.items():
                if k.endswith("Values") and isinstance(cls, type):
                    const = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", k.removesuffix("Values")).upper()
                    if const in known:
                        enums.setdefault(known[const], set()).update(e.value for e in cls)
    return names, templates, enums


def judge(used):
    names, templates, enums = conventions()
    for name, values in sorted(used.items()):
        if name.startswith("wftrace."):
            continue
        if name not in names and not any(name.startswith(t + ".") for t in templates):
            print(f"{name}: not a published attribute")
        elif name in enums and name != "error.type":
            for v in values:
                if v not in enums[name]:
                    print(f"{name} = {v!r}: not one of {sorted(map(str, enums[name]))[:12]}…")


if sys.argv[1] == "decode":
    decode(sys.argv[2:])
else:
    judge(json.load(open(sys.argv[2])))
