"""A real Zipkin server, from Maven."""
import json
import pathlib
import shutil
import subprocess
import urllib.request

from . import procs

VERSION = "3.5.1"
JAR = pathlib.Path.home() / f".m2/repository/io/zipkin/zipkin-server/{VERSION}/zipkin-server-{VERSION}-exec.jar"


def jar():
    """Path of the server; fetched on first use (10 s)."""
    if not shutil.which("java"):
        raise procs.NotReady("no Zipkin: no java")
    if not JAR.exists():
        if not shutil.which("mvn"):
            raise procs.NotReady("no Zipkin: no mvn to fetch it with")
        p = subprocess.run(["mvn", "-q", "dependency:get", f"-Dartifact=io.zipkin:zipkin-server:{VERSION}:jar:exec", "-Dtransitive=false"],
                           capture_output=True, text=True, timeout=300)
        if not JAR.exists():
            raise procs.NotReady(f"no Zipkin: {p.stdout[-300:]}")
    return JAR


class Zipkin:
    def __init__(self, folder):
        self.port, self.log = procs.free_port(), pathlib.Path(folder) / "zipkin.log"
        self.proc = procs.start(["java", "-Xmx256m", "-jar", jar(), f"--server.port={self.port}"], self.log)
        procs.wait_for("Zipkin", lambda: self.ask("health")["status"] == "UP", 90, self.proc, self.log, every=0.3)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path):
        try:
            with urllib.request.urlopen(f"{self.url}/{path}", timeout=5) as r:
                return json.load(r)
        except OSError:
            return {"status": ""}

    def spans(self):
        """Every span that it keeps, as it answers them."""
        return [s for trace in self.ask("api/v2/traces?limit=10000") for s in trace]

    def stop(self):
        procs.stop(self.proc)
