"""The other commands: doctor, list, replay, rules list, completion, version."""
import json
import subprocess

from support import paths, spans, tracer
from support.harness import test


@test("command/doctor", limit=40)
def doctor(case):
    """doctor says what is used and ends with 0 as root; --json is JSON"""
    p = tracer.once("doctor")
    assert p.returncode == 0 and len(p.stdout.splitlines()) >= 5, (p.returncode, p.stdout, p.stderr)
    assert "uprobe" in p.stdout.lower(), p.stdout
    data = json.loads(tracer.once("doctor", "--json").stdout)
    assert data, data


def _doctor_in(setup, *argv):
    """doctor where `setup` has changed what it finds, in a mount namespace of its own."""
    return subprocess.run(["unshare", "-m", "sh", "-c", f'{setup} && exec "$@"', "sh", *argv, paths.WFTRACE, "doctor"],
                          capture_output=True, text=True, timeout=30)


def _wide(text):
    return [line for line in text.splitlines() if len(line) > 80]


@test("command/doctor-without", limit=60)
def doctor_without(case):
    """without root, BTF, or with a lockdown: exit 3, a sentence that says what to do, within 80 columns"""
    lock = case.dir / "lockdown"
    lock.write_text("none integrity [confidentiality]\n")
    no_btf = "mount -t tmpfs none /sys/kernel/btf"
    locked = f"mount -t tmpfs none /sys/kernel/security && cp {lock} /sys/kernel/security/lockdown"
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    for what, p in (("root", _doctor_in("true", *user)), ("CONFIG_DEBUG_INFO_BTF", _doctor_in(no_btf)), ("lockdown", _doctor_in(locked))):
        case.note(f"{what}: {p.stdout.strip().splitlines()[-1] if p.stdout.strip() else p.stderr}")
        assert p.returncode == 3 and "not possible here" in p.stdout and what in p.stdout, (what, p.returncode, p.stdout, p.stderr)
        assert "✗" in p.stdout and not _wide(p.stdout), p.stdout
    assert not _wide(tracer.once("doctor").stdout)


@test("command/list", limit=40)
def list_(case):
    """list names a server that could be traced"""
    redis = case.redis()
    p = tracer.once("list")
    assert p.returncode == 0 and "redis-server" in p.stdout and str(redis.proc.pid) in p.stdout, (p.stdout[-800:], p.stderr)


@test("command/replay", limit=60)
def replay(case):
    """a capture replayed, by a user without privileges too, gives the same spans"""
    live, again, file = case.dir / "live.jsonl", case.dir / "again.jsonl", case.dir / "t.wfcap"
    p = tracer.once("run", "--privacy", "off", "--capture", file, "--export", f"otlp-json:{live}", "--", "sh", "-c",
                    f"redis-cli -p {case.redis().port} set a b; psql -qAt {case.postgres().url} -c 'select 1'; /bin/false; true")
    assert p.returncode == 0, p.stderr
    p = tracer.once("replay", file, "--privacy", "off", "--export", f"otlp-json:{again}")
    assert p.returncode == 0, p.stderr
    want, got = spans.load(live), spans.load(again)
    assert len(want) >= 6, want

    def facts(found):
        return sorted((s.span_id, s.parent_id, s.name, s.start, s.end, json.dumps(s.attrs, sort_keys=True)) for s in found)
    assert facts(got) == facts(want), f"{len(got)} spans of {len(want)}: {[x for x in facts(want) if x not in facts(got)][:2]}" \
                                      f" / {[x for x in facts(got) if x not in facts(want)][:2]}"


@test("command/replay-damaged", limit=60)
def damaged(case):
    """a capture cut off or damaged is replayed as far as it goes, and said to be damaged"""
    file = case.dir / "t.wfcap"
    p = tracer.once("run", "--capture", file, "--", "sh", "-c", "true; /bin/true; /bin/false")
    assert p.returncode == 1, p.stderr
    data = file.read_bytes()
    for name, bad in (("cut", data[:len(data) * 2 // 3]), ("flip", data[:200] + bytes(b ^ 0x5A for b in data[200:400]) + data[400:]),
                      ("empty", b""), ("text", b"hello\n" * 100)):
        f = case.dir / f"{name}.wfcap"
        f.write_bytes(bad)
        p = tracer.once("replay", f)
        assert p.returncode in (0, 1, 2), (name, p.returncode, p.stderr[-500:])
        assert name not in ("empty", "text") or (p.returncode != 0 and p.stderr.strip()), (name, p)


@test("command/rules", limit=30)
def rules(case):
    """rules check accepts the rules of the tests; rules list shows them"""
    for file in sorted((paths.TARGETS / "rules").glob("native_*.yaml")):
        mine = case.dir / file.name
        mine.write_text(file.read_text().replace("BINARY", "/bin/true"))
        p = tracer.once("rules", "check", mine)
        text = p.stdout + p.stderr
        assert p.returncode == 0 or "symbol" in text or "true" in text, f"{file.name}: {p.returncode} {text[-500:]}"
    p = tracer.once("rules", "list")
    assert p.returncode == 0, p


@test("command/completion-version", limit=30)
def completion(case):
    """completion for bash, version, help of each command"""
    p = tracer.once("completion", "bash")
    assert p.returncode == 0 and "wftrace" in p.stdout, p
    assert tracer.once("version").returncode == 0
    for command in ("run", "attach", "list", "doctor", "replay", "rules"):
        p = tracer.once("help", command)
        assert p.returncode == 0 and command in p.stdout, p
        p = tracer.once(command, "--help")
        assert p.returncode == 0 and command in p.stdout, p
