#!/usr/bin/env python3
"""The rules of the house, checked: who may include what, sizes, words, the .def lists and our own attributes against the files.

Layers. A file may include base/, its own folder, trace/span.h, self/ledger.h, and the contract headers of the stage before it
(LAYERS below); cli/ assembles and may include every contract. libbpf: probe/, ingest/ring.c. bpf/abi.h: probe/,
ingest/, tests.
"""
import glob, os, re, subprocess, sys

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
LAYERS = {  # folder: headers of other folders
    "base": [], "self": [],
    "config": ["probe/", "bpf/abi.h"],
    "probe": ["config/rules.h", "config/sites.h", "ingest/"],
    "ingest": ["bpf/abi.h"],
    "protocol": [],
    "stream": ["ingest/event.h", "protocol/protocol.h"],
    "trace": ["ingest/event.h", "stream/stream.h", "protocol/protocol.h", "workflow/workflow.h", "config/rules.h"],
    "workflow": ["ingest/event.h", "config/rules.h", "trace/tracer.h", "config/sites.h", "config/watch.h"],
    "inproc": ["probe/elf.h"],
    "pipeline": ["trace/plugin_host.h", "ingest/event.h", "trace/tracer.h"], "export": ["config/rules.h", "store/store.h", "trace/plugin_host.h"], "store": [],
}
ANYWHERE = ("base/", "trace/span.h", "trace/signal.h", "self/ledger.h", "self/health.h", "config/option.h")
FILE_SOFT, FILE_HARD, FUNCTION_HARD, MAIN_HARD = 500, 800, 80, 150
WORDS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
PLACES = re.compile(r"(/home/[a-z]|/work/(main|shared|\.))")
problems, notes = [], []


def files(*patterns):
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns], capture_output=True, text=True).stdout.split()
    return [f for f in listed if os.path.isfile(f)]


def layer(path, text):
    folder = path.split("/")[1]
    if folder == "cli" or path == "user/main.c":
        return
    for n, line in enumerate(text.splitlines(), 1):
        m = re.match(r'\s*#\s*include\s*([<"])([^>"]+)', line)
        if not m:
            continue
        quote, header = m.groups()
        if quote == "<":
            if header.startswith("bpf/") and folder != "probe" and path != "user/ingest/ring.c":
                problems.append(f"{path}:{n}: only probe/ and ingest/ring.c see libbpf")
            continue
        if header in ("bpf/abi.h", "bpf/stats.def", "inproc/python/bridge_abi.h") and folder in ("probe", "ingest", "config"):
            continue
        own = header.startswith(folder + "/") or "/" not in header
        generated = header.endswith((".skel.h", ".pb-c.h"))
        if own or generated or header.startswith(ANYWHERE) or any(header.startswith(h) for h in LAYERS.get(folder, [])):
            continue
        problems.append(f"{path}:{n}: {folder}/ may not include {header}")


def functions(text):
    """(name, first line, lines) of functions in our style: the body's braces stand in column 0."""
    lines, start = text.splitlines(), None
    for n, line in enumerate(lines):
        if line == "{":
            start = n
        elif line == "}" and start is not None:
            head = " ".join(lines[max(0, start - 3):start])
            names = re.findall(r"([a-z_0-9A-Z]+)\(", head)
            yield (names[0] if names else "?"), start + 1, n - start - 1
            start = None


def sizes(path, text):
    n = text.count("\n")
    hard = MAIN_HARD if path == "user/main.c" else FILE_HARD
    if n > hard:
        problems.append(f"{path}: {n} lines (at most {hard})")
    elif n > FILE_SOFT:
        notes.append(f"{path}: {n} lines (aim {FILE_SOFT})")
    for name, at, length in functions(text):
        if length > FUNCTION_HARD:
            problems.append(f"{path}:{at}: {name} has {length} lines (at most {FUNCTION_HARD})")
        yield length


def words(path, text):
    for n, line in enumerate(text.splitlines(), 1):
        if WORDS.search(line) and path != "tests/support/lint.py":
            problems.append(f"{path}:{n}: {WORDS.search(line).group()}")
        if PLACES.search(line) and path != "tests/support/lint.py":
            problems.append(f"{path}:{n}: a path of one machine: {PLACES.search(line).group()}")


def definitions():
    """Each line of a family's .def has its symbol in a file of that folder, and each symbol is in the list."""
    for family in ("protocol", "exporter", "command", "runtime", "workflow", "processor"):
        for path in files(f"user/*/{family}.def"):
            folder = os.path.dirname(path)
            listed = re.findall(r"^\s*[A-Z_]+\((\w+)", open(path).read(), re.M)
            made = {}
            for c in glob.glob(folder + "/*.c"):
                for symbol in re.findall(rf"^const struct {family} {family}_(\w+) = \{{", open(c).read(), re.M):
                    made[symbol] = os.path.basename(c)[:-2]
            for symbol in sorted(set(listed) - set(made)):
                problems.append(f"{path}: {symbol} has no «const struct {family} {family}_{symbol}»")
            for symbol in sorted(set(made) - set(listed)):
                problems.append(f"{folder}/{made[symbol]}.c: {family}_{symbol} is not in {path}")
            for symbol, file in made.items():
                if file != symbol and not file.startswith(symbol):
                    problems.append(f"{folder}/{file}.c: {family}_{symbol} should be in {symbol}.c")


def attributes():
    """Each attribute of our own that the code sets stands in docs/attributes.md (those of model calls: docs/llm.md)."""
    told = set(re.findall(r"`(wftrace\.[a-z0-9_.]+)`", open("docs/attributes.md").read()))
    for path in files("user/trace/*.c", "user/workflow/*.c", "user/protocol/*.c", "user/stream/*.c", "user/pipeline/*.c"):
        for key in re.findall(r'attr_(?:str|strv|int|bool|double)\([^;"]*"(wftrace\.[a-z0-9_.]+)"', open(path).read()):
            if key not in told and not key.startswith("wftrace.gen_ai."):
                problems.append(f"{path}: {key} is not in docs/attributes.md")


def main():
    lengths = []
    for path in files("user/*.c", "user/*.h", "user/**/*.c", "user/**/*.h"):
        text = open(path, errors="replace").read()
        layer(path, text)
        lengths += sizes(path, text)
    for path in files("*.c", "*.h", "*.py", "*.sh", "*.mk", "*.md", "*.yaml", "*.yml", "Makefile", "*.def", "*.proto"):
        words(path, open(path, errors="replace").read())
    definitions()
    attributes()
    for note in notes:
        print("note: " + note)
    for p in sorted(set(problems)):
        print(p)
    lengths.sort()
    if lengths:
        print(f"functions: {len(lengths)}, median {lengths[len(lengths) // 2]}, p90 {lengths[len(lengths) * 9 // 10]}, longest {lengths[-1]} lines")
    print(f"{0 if problems else 1} passed, {len(set(problems))} failed")
    return 1 if problems else 0


sys.exit(main())
