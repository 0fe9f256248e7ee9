"""Starts /bin/true, then makes the kernel give its pid to /bin/false. Prints the pid, or «no reuse». Needs root."""
import os


def spawn(program):
    pid = os.fork()
    if pid == 0:
        os.execv(program, [program])
    return pid


def again(wanted, program):
    """Forks with ns_last_pid just below: the child gets `wanted` unless somebody was quicker."""
    with open("/proc/sys/kernel/ns_last_pid", "w") as f:
        f.write(str(wanted - 1))
    pid = os.fork()
    if pid == 0:
        os.execv(program, [program]) if os.getpid() == wanted else os._exit(0)
    os.waitpid(pid, 0)
    return pid == wanted


for _ in range(30):
    first = spawn("/bin/true")
    os.waitpid(first, 0)
    if again(first, "/bin/false"):
        print(first)
        break
else:
    print("no reuse")
