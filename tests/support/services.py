"""Private servers for a test: Redis, PostgreSQL, nginx. Own port, own folder, gone afterwards."""
import os
import pathlib
import pwd
import shutil
import signal
import subprocess

from . import procs


class Redis:
    """redis-server without persistence."""

    def __init__(self, folder):
        self.port = procs.free_port()
        self.log = pathlib.Path(folder) / "redis.log"
        self.proc = procs.start(["redis-server", "--port", self.port, "--save", "", "--appendonly", "no",
                                 "--bind", "127.0.0.1", "--dir", folder], self.log)
        procs.wait_port(self.port, self.proc, self.log)

    def stop(self):
        procs.stop(self.proc)


class Postgres:
    """A fresh cluster: user postgres, trust, TCP port and Unix socket, no fsync."""

    def __init__(self, folder, max_connections=200):
        self.port = procs.free_port()
        self.folder = pathlib.Path(folder)
        self.log = self.folder / "postgres.log"
        self.sockets = self.folder / "pgsock"
        self.data = self.folder / "pgdata"
        bindir = pg_bindir()
        self._as_user = []
        for d in (self.folder, self.sockets, self.data):
            d.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            u = pwd.getpwnam("postgres")
            self._as_user = ["setpriv", f"--reuid={u.pw_uid}", f"--regid={u.pw_gid}", "--clear-groups",
                             "--pdeathsig=INT"]
            self.folder.chmod(0o755)
            for d in (self.sockets, self.data):
                os.chown(d, u.pw_uid, u.pw_gid)
        self.data.chmod(0o700)
        made = subprocess.run(self._as_user + [bindir / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust",
                                               "-N", "--locale=C", "-E", "UTF8"], capture_output=True, text=True, cwd="/")
        if made.returncode:
            raise procs.NotReady(f"initdb: {made.stderr}")
        self.proc = procs.start(self._as_user + [
            bindir / "postgres", "-D", self.data, "-p", self.port, "-k", self.sockets, "-h", "127.0.0.1",
            "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off",
            "-c", f"max_connections={max_connections}"], self.log, cwd="/")
        procs.wait_for("postgres", lambda: subprocess.run(
            [bindir / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]).returncode == 0, 30, self.proc, self.log)

    @property
    def url(self):
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def sql(self, text):
        return subprocess.run(["psql", "-qAtX", "-v", "ON_ERROR_STOP=1", self.url, "-c", text], check=True,
                              capture_output=True, text=True).stdout

    def stop(self):
        procs.stop(self.proc, signal.SIGINT)


class Nginx:
    """nginx in the foreground; `server` is the text inside `server { … }`, with {port} for the port.

    `prefix` is put before the command, so that a test can start it under wftrace."""

    def __init__(self, folder, server, http="", workers=1, prefix=(), connections=1024):
        self.port = procs.free_port()
        self.folder = pathlib.Path(folder) / f"nginx-{self.port}"
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o755)
        (self.folder / "html").mkdir()
        self.log = self.folder / "error.log"
        self.pidfile = self.folder / "pid"
        user = "user root;" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(
            f"{user} worker_processes {workers}; worker_rlimit_nofile 65536; daemon off; pid {self.pidfile};"
            f" error_log {self.log} warn;\n"
            f"events {{ worker_connections {connections}; }}\nhttp {{ access_log off; keepalive_requests 10000000;\n"
            f"client_body_temp_path {self.folder}/body; proxy_temp_path {self.folder}/proxy; fastcgi_temp_path {self.folder}/f;"
            f" uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;\n{http}\n"
            f"server {{ root {self.folder}/html;\n{server.replace('{port}', str(self.port))} }} }}\n")
        self.proc = procs.start([*prefix, shutil.which("nginx") or "/usr/sbin/nginx", "-p", self.folder, "-c", self.folder / "nginx.conf", "-e", self.log],
                                self.folder / "out.log")
        procs.wait_port(self.port, self.proc, self.folder / "out.log")

    def master(self):
        return int(self.pidfile.read_text())

    def stop(self):
        """Ends nginx itself; a wftrace in front of it then ends on its own."""
        if self.proc.poll() is None:
            procs.send(self.master(), signal.SIGTERM)
        try:
            return self.proc.wait(15)
        except subprocess.TimeoutExpired:
            return procs.stop(self.proc)


def pg_bindir():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if not found:
        raise procs.NotReady("PostgreSQL is not installed")
    return found[-1].parent
