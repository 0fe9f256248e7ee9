#!/usr/bin/env python3
"""Records a real conversation as a wire case: a proxy that writes down each piece it passes on.

    record.py CASE.txt TARGET -- command …   {port} in the command is the proxy's; TARGET is host:port or a socket's path
"""
import os, select, socket, subprocess, sys, time


def escape(data: bytes) -> str:
    out = []
    for i, b in enumerate(data):
        c = chr(b)
        if c == "\\":
            out.append("\\\\")
        elif b in (13, 10, 9):
            out.append({13: "\\r", 10: "\\n", 9: "\\t"}[b])
        elif 32 < b < 127 or (b == 32 and i not in (0, len(data) - 1)):
            out.append(c)
        else:
            out.append("\\x%02x" % b)
    return "".join(out)


def connect(target: str) -> socket.socket:
    if "/" in target:
        s = socket.socket(socket.AF_UNIX)
        s.connect(target)
        return s
    host, port = target.rsplit(":", 1)
    return socket.create_connection((host, int(port)))


def main() -> None:
    case, target, command = sys.argv[1], sys.argv[2], sys.argv[4:]
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    child = subprocess.Popen([a.replace("{port}", str(port)) for a in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    listener.settimeout(20)
    client, _ = listener.accept()
    server = connect(target)
    lines = []
    start = time.monotonic()
    open_ends = {client: (server, ">"), server: (client, "<")}
    while open_ends:
        ready, _, _ = select.select(list(open_ends), [], [], 20)
        if not ready:
            break
        for s in ready:
            other, mark = open_ends[s]
            data = s.recv(65536)
            if not data:
                open_ends.clear()
                break
            lines.append("@%d" % (1000 + int((time.monotonic() - start) * 1e6)))
            lines.append(f"{mark} {escape(data)}")
            other.sendall(data)
    client.close()
    server.close()
    child.wait(timeout=20)
    with open(case, "w") as f:
        f.write("# recorded: %s\n" % " ".join(os.path.basename(a) for a in command[:1]))
        f.write("\n".join(lines) + "\nclose\n")


main()
