"""steady_redis.py PORT PER_SECOND LOG: pipelined GETs of k:0, k:1 … at a steady rate until SIGTERM; LOG gets «wall_ns next_number» now and
then. What is behind is made up for, at most a second's worth at once."""
import socket
import sys
import time

port, rate, log = int(sys.argv[1]), int(sys.argv[2]), open(sys.argv[3], "w", buffering=1)
s = socket.create_connection(("127.0.0.1", port))
began, done = time.monotonic(), 0
while True:
    n = min(int((time.monotonic() - began) * rate) - done, rate)
    if n >= rate // 100:
        for at in range(0, n, 50):
            part = range(done, done + min(50, n - at))
            s.sendall(b"".join(b"*2\r\n$3\r\nGET\r\n$%d\r\nk:%d\r\n" % (len(str(k)) + 2, k) for k in part))
            left = 5 * len(part)  # $-1
            while left:
                left -= len(s.recv(left))
            done += len(part)
        log.write(f"{time.time_ns()} {done}\n")
    time.sleep(0.005)
