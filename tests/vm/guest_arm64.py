#!/usr/bin/env python3
"""guest_arm64.py: run inside the arm64 guest, beside wftrace, dump, live.py, native_c and its rules. Prints a line a case
and the sum. What wftrace says of real programs is held against what they are known to have done."""
import json, os, socket, subprocess, sys, time

import live

SCENE = r"""
redis-server --port 7001 --save '' --daemonize no >/dev/null & r=$!
busybox httpd -f -p 127.0.0.1:7002 -h /work/www & h=$!
openssl s_server -quiet -accept 127.0.0.1:7003 -key /tmp/k.pem -cert /tmp/c.pem -WWW >/dev/null 2>&1 & s=$!
until redis-cli -p 7001 ping >/dev/null 2>&1; do sleep 1; done
redis-cli -p 7001 set arm64:one two >/dev/null
redis-cli -p 7001 lpush arm64:one two >/dev/null
curl -s http://127.0.0.1:7002/order.txt; curl -s -o /dev/null http://127.0.0.1:7002/absent
until curl -sk https://127.0.0.1:7003/order.txt; do sleep 1; done
./native_c
sh -c 'exit 3'
kill $r $h $s; wait
exit 4
"""


def once(*args):
    return subprocess.run(["./wftrace", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=200)


def scene():
    """One traced run of everything; (CompletedProcess, spans)."""
    subprocess.run("mkdir -p www && echo chair >www/order.txt && cp www/order.txt . && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
                   " -keyout /tmp/k.pem -out /tmp/c.pem -days 2 -subj /CN=localhost 2>/dev/null", shell=True, check=True)
    with open("native_c.yaml") as rules, open("/tmp/rules.yaml", "w") as here:
        here.write(rules.read().replace("BINARY", "/work/native_c"))
    p = once("run", "--privacy", "off", "-r", "/tmp/rules.yaml", "-e", "console:json:/tmp/spans", "--", "sh", "-c", SCENE)
    return p, [json.loads(line) for line in open("/tmp/spans")]


def where(spans, **attributes):
    return [s for s in spans if all(s["attributes"].get(k.replace("__", ".")) == v for k, v in attributes.items())]


def same(got, want):
    assert got == want, "got %r, not %r" % (got, want)


def test_doctor(_p, _spans):
    p = once("doctor")
    same(p.returncode, 0)
    assert "aarch64" in p.stdout, p.stdout
    socket_data = next(line.split()[-1] for line in p.stdout.splitlines() if "socket data" in line)
    same(socket_data, "kprobe" if os.uname().release.startswith("6.1.") else "tp_btf")


def test_output_and_status(p, _spans):
    same(p.returncode, 4)
    same(p.stdout.count("chair"), 2)
    assert " 0 lost" in p.stderr, p.stderr[-500:]


def test_processes(_p, spans):
    processes = [s for s in spans if s["scope"] == "process"]
    by_id = {s["span_id"]: s for s in processes}
    root = [s for s in processes if not s["parent_span_id"]]
    same([(s["name"], s["attributes"]["process.exit.code"]) for s in root], [("sh", 4)])
    inner = [s for s in processes if s["attributes"].get("process.exit.code") == 3]  # named by its command
    same([by_id[s["parent_span_id"]]["span_id"] for s in inner], [root[0]["span_id"]])
    same(len([s for s in processes if s["name"] == "curl" and s["attributes"]["process.exit.code"] == 0]), 3)


def test_redis(_p, spans):
    calls = where(spans, db__system__name="redis", db__operation__name="SET")
    same(sorted(s["kind"] for s in calls), ["client", "server"])
    wrong = [s for s in where(spans, db__system__name="redis", db__operation__name="LPUSH") if s["kind"] == "client"]
    same([s["status"] for s in wrong], ["error"])


def test_http(_p, spans):
    for path, status in (("/order.txt", 200), ("/absent", 404)):
        server = [s for s in where(spans, url__path=path, http__response__status_code=status) if s["kind"] == "server"]
        client = [s for s in where(spans, http__response__status_code=status, server__port=7002) if s["kind"] == "client"]
        same((len(server), len(client)), (1, 1))
        same(server[0]["trace_id"], client[0]["trace_id"])
        same(server[0]["parent_span_id"], client[0]["span_id"])


def test_https(_p, spans):
    """curl's side, in plain text through OpenSSL's calls."""
    found = [s for s in where(spans, server__port=7003, http__request__method="GET") if s["kind"] == "client"]
    same([(s["attributes"]["url.scheme"], s["attributes"]["http.response.status_code"], s["service"]) for s in found], [("https", 200, "curl")])


def test_native_rules(p, spans):
    order = where(spans, number=7, customer="Ada", cents=1999)
    same([(s["name"], s["attributes"]["result"]) for s in order], [("order 7", 10)])
    stock = [s for s in spans if s["name"] == "check_stock" and s["parent_span_id"] == order[0]["span_id"]]
    same(sorted((s["attributes"]["item"], s["attributes"]["count"], s["attributes"]["length"]) for s in stock), [("chair", 1, 6), ("lamp", 0, 4)])
    failed = [s for s in spans if s["name"] == "charge" and s["status"] == "error"]
    same(len(failed), 1)
    # errno is found through x86-64 code only; that it is left out must be told.
    assert "errno can't be read" in p.stderr and "errno" not in failed[0]["attributes"], p.stderr
    walks = {s["attributes"]["depth"]: s for s in spans if s["name"] == "walk"}
    assert len(walks) > 1 and all(walks[d]["parent_span_id"] == walks[d + 1]["span_id"] for d in walks if d + 1 in walks), walks


def main():
    cases = sys.argv[1:]
    live.ARGS = type("Args", (), {"dump": "./dump", "force": None, "small": True, "python": "/usr/bin/python3"})
    p, spans = scene()
    tests = [(k[5:], lambda f=f: f(p, spans)) for k, f in globals().items() if k.startswith("test_")]
    tests += [("live " + c, live.CASES[c]) for c in cases]
    failed = 0
    for name, run in tests:
        start, why = time.time(), None
        try:
            run()
        except Exception as e:  # a test's own mistake is a failure like any other
            why = "%s: %s" % (type(e).__name__, str(e)[:1500])
            failed += 1
        print("%-7s %-22s %s" % ("FAILED" if why else "ok", name, why or "%.1f s" % (time.time() - start)), flush=True)
    if failed:
        print("".join("  %s %s %s %s %s\n" % (s["kind"], s["name"], s["status"], s["parent_by"], s["attributes"]) for s in spans), p.stderr[-2000:])
    print("%d passed, %d failed, 0 skipped" % (len(tests) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
