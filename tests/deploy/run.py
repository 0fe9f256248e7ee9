#!/usr/bin/env python3
"""run.py: what deploy/ holds is held against its readers: the manifests against Kubernetes' schema, the unit against systemd, the
configurations against wftrace, and the steps of the Dockerfile are done one by one in fresh Debian roots.

The roots are made by debootstrap under build/deploy and removed at the end. Needs root."""
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from support import paths  # noqa: E402
from support.venv import make  # noqa: E402

HERE, ROOT = pathlib.Path(__file__).resolve().parent, paths.ROOT
WORK = paths.BUILD / "deploy"
ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive", "LANG": "C"}


def sh(*argv, **more):
    p = subprocess.run([str(a) for a in argv], capture_output=True, text=True, errors="replace", **more)
    assert p.returncode == 0, f"{' '.join(map(str, argv))[:200]}: {p.returncode}\n{(p.stdout + p.stderr)[-3000:]}"
    return p.stdout


def kubernetes():
    """deploy/kubernetes/*.yaml are valid for the newest Kubernetes that the validator knows."""
    tool = make("deploy", HERE / "requirements.txt") / "bin" / "kubernetes-validate"
    for manifest in sorted((ROOT / "deploy/kubernetes").glob("*.yaml")):
        sh(tool, "--strict", manifest)


def pods():
    """The folder that the agent fills is the node's, and the one that the example's pod mounts and names to its Pythons."""
    python = make("deploy", HERE / "requirements.txt") / "bin" / "python"
    read = "import json, sys, yaml; print(json.dumps([d for f in sys.argv[1:] for d in yaml.safe_load_all(open(f))]))"
    docs = {d["kind"]: d for d in json.loads(sh(python, "-c", read, *sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))))}
    agent, pod = docs["DaemonSet"]["spec"]["template"]["spec"], docs["Pod"]["spec"]

    def node(spec, path):
        """Where on the node a path of the container is, and whether it is written."""
        mounts = [m for m in spec["containers"][0]["volumeMounts"] if f"{path}/".startswith(m["mountPath"] + "/")]
        mount = max(mounts, key=lambda m: len(m["mountPath"]))
        volume = next(v for v in spec["volumes"] if v["name"] == mount["name"])
        return volume["hostPath"]["path"] + path[len(mount["mountPath"]):], not mount.get("readOnly")

    folder = re.search(r"bridge_folder: (\S+)", docs["ConfigMap"]["data"]["wftrace.yaml"])[1]
    names = {e["name"]: e.get("value") for e in pod["containers"][0]["env"]}
    filled, used = node(agent, folder), node(pod, names["PYTHONPATH"])
    assert filled == (used[0], True) and not used[1], (filled, used)


def systemd():
    """The unit is what systemd takes, with the program where it says."""
    unit = WORK / "wftrace.service"
    text = (ROOT / "deploy/wftrace.service").read_text()
    unit.write_text(text.replace("/usr/local/bin/wftrace", str(paths.WFTRACE)))
    said = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert said.returncode == 0 and "wftrace.service" not in said.stderr, said.stderr


def configurations():
    """deploy/wftrace.yaml and the one inside the ConfigMap."""
    inner = WORK / "configmap.yaml"
    text = (ROOT / "deploy/kubernetes/wftrace.yaml").read_text()
    body = re.search(r"  wftrace\.yaml: \|\n((?:    .*\n|\n)+)", text)[1]
    inner.write_text("".join(line[4:] + "\n" for line in body.splitlines()))
    for file in (ROOT / "deploy/wftrace.yaml", inner):
        sh(paths.WFTRACE, "config", "validate", file)


# --- the Dockerfile ---

def instructions(text):
    """(word, rest) of each instruction, continuation lines joined, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


class Stage:
    def __init__(self, base, name):
        self.root, self.cwd = WORK / f"stage-{name}", "/"
        sh("cp", "-a", base, self.root)

    def run(self, command):
        inside = f"cd {shlex.quote(self.cwd)} && {command}"
        script = (f"mount -t proc proc {self.root}/proc && mount --bind /dev {self.root}/dev && "
                  f"exec chroot {self.root} /bin/sh -ec {shlex.quote(inside)}")
        return sh("unshare", "-m", "sh", "-ec", script, env=ENV)

    def copy(self, source, to):
        target = self.root / to.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        sh("cp", "-a", f"{source}/.", target)


def sources():
    """The tree as git has it, without build products: what COPY . would take."""
    out = WORK / "context"
    sh("git", "clone", "-q", "--no-hardlinks", ROOT, out)
    return out


def dockerfile():
    """Every step of deploy/Dockerfile in a fresh Debian 12; then the program of the last stage runs."""
    base = WORK / "debian-12"
    sh("debootstrap", "--variant=minbase", "bookworm", base)
    stages, stage, entry = {}, None, None
    for word, rest in instructions((ROOT / "deploy/Dockerfile").read_text()):
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            assert image.startswith("debian:12"), image
            stage = stages[name or "last"] = Stage(base, name or "last")
        elif word == "RUN":
            stage.run(rest)
        elif word == "WORKDIR":
            stage.cwd = rest
        elif word == "COPY":
            come = re.match(r"--from=(\S+) (\S+) (\S+)", rest)
            source, to = (stages[come[1]].root / come[2].lstrip("/"), come[3]) if come else (sources(), rest.split()[1])
            stage.copy(source, to)
        elif word == "ENTRYPOINT":
            entry = rest
        else:
            assert word == "CMD", word
    assert "wftrace" in entry
    said = stages["last"].run("/usr/bin/wftrace version && /usr/bin/wftrace rules list >/dev/null && ls /usr/lib/wftrace/python")
    assert "wftrace" in said and "_wftrace" in said, said


def main():
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    passed = failed = 0
    for check in (kubernetes, pods, systemd, configurations, dockerfile):
        try:
            check()
            passed += 1
            print(f"ok {check.__name__}", flush=True)
        except Exception as e:  # a broken check is a failed one
            failed += 1
            print(f"FAIL {check.__name__}: {e}", flush=True)
    shutil.rmtree(WORK, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
