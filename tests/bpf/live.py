#!/usr/bin/env python3
"""live.py [--dump PATH] [--force FORM] [--small] [CASE…]: the kernel side against real programs on this kernel.

Each case runs a program under `dump` and holds what came out against what the program is known to have done. --small: fewer
processes and messages, for a guest. Prints one line a case; exit status 1 when any failed, 2 when nothing could run."""
import argparse, os, re, shutil, subprocess, sys, tempfile, textwrap, time

ARGS = None
WORD = re.compile(r'(\w[\w.]*)=("(?:[^"\\]|\\.)*"|\S*)')


class Event(dict):
    pass


def unquote(v):
    if not v.startswith('"'):
        return v
    return re.sub(rb'\\x([0-9a-f]{2})', lambda m: bytes([int(m[1], 16)]), v[1:-1].encode('utf-8'))


def parse(line):
    head = line.split(' ', 3)
    if len(head) < 3 or '/' not in head[2]:
        return None
    e = Event(time=float(head[0]), type=head[1], tgid=int(head[2].split('/')[0]), tid=int(head[2].split('/')[1]), line=line)
    for k, v in WORD.findall(head[3] if len(head) > 3 else ''):
        e[k] = unquote(v)
    e['flags'] = [w for w in (head[3] if len(head) > 3 else '').split() if '=' not in w]
    return e


def dump(command, *options, env=None, timeout=None):
    opts = list(options)
    if ARGS.force:
        opts += ['-f', ARGS.force]
    full = dict(os.environ, **(env or {}))
    p = subprocess.run([ARGS.dump, *opts, '--', *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=full,
                       timeout=timeout or (600 if ARGS.small else 120))
    if p.returncode == 3 and b'dump: ready' not in p.stderr:
        sys.exit('live: cannot trace here: ' + p.stderr.decode())
    text = p.stdout.decode('utf-8', 'replace').splitlines()
    events = [e for e in map(parse, text) if e]
    total = dict(WORD.findall(next((l for l in text if l.startswith('TOTAL')), '')))
    kernel = dict(WORD.findall(next((l for l in text if l.startswith('KERNEL')), '')))
    return p.returncode, events, {k: int(v) for k, v in total.items()}, {k: int(v) for k, v in kernel.items()}, p.stderr.decode()


def script(text):
    f = tempfile.NamedTemporaryFile('w', suffix='.py', delete=False)
    f.write(textwrap.dedent(text))
    f.close()
    return f.name


def python(text, *options, interpreter='/usr/bin/python3', **kw):
    path = script(text)
    try:
        return dump([interpreter, path], *options, **kw)
    finally:
        os.unlink(path)


def of(events, type_, **match):
    return [e for e in events if e['type'] == type_ and all(e.get(k) == v for k, v in match.items())]


def need(ok, *why):
    if not ok:
        raise AssertionError(' '.join(map(str, why)))


def lossless(total, kernel):
    need(total['lost'] == 0 and total['bad'] == 0, 'lost or bad records', total)


# ---- processes ----

def case_exit_code():
    rc, ev, total, kernel, _ = dump(['/bin/sh', '-c', '/bin/true; exit 3'])
    need(rc == 3, 'exit status of the command', rc)
    exits = of(ev, 'exit')
    need(sorted(e['status'] for e in exits) == ['0', '768'], exits)
    shell = next(e for e in exits if e['status'] == '768')
    need(any(f['child'].split('/')[0] == str(e['tgid']) for f in of(ev, 'fork') for e in exits if e is not shell), 'no fork of the child')
    x = of(ev, 'exec', tgid=shell['tgid'])[0]
    need(x['args'] == b'/bin/sh\0-c\0/bin/true; exit 3\0', x)
    info = of(ev, 'procinfo', tgid=shell['tgid'])
    need(info and info[-1]['seen'] == 'start', 'no introduction', info)
    first = next(e for e in ev if e['tgid'] == shell['tgid'])
    need(first['type'] == 'procinfo', 'introduced too late', first)
    need(float(shell['start']) / 1e9 <= x['time'] <= shell['time'], 'times out of order')
    lossless(total, kernel)


def case_signal():
    rc, ev, *_ = dump(['/bin/sh', '-c', 'kill -9 $$'])
    need([e['status'] for e in of(ev, 'exit')] == ['9'], of(ev, 'exit'))
    rc, ev, *_ = python('import os, signal\nos.abort()')
    need(int(of(ev, 'exit')[-1]['status']) & 127 == 6, of(ev, 'exit'))


def case_threads_and_fork():
    rc, ev, total, kernel, _ = python('''
        import os, threading, time
        t = threading.Thread(target=time.sleep, args=(.05,)); t.start(); t.join()
        if os.fork() == 0: os._exit(7)
        os.wait()
        open('/proc/self/comm', 'w').write('renamed')
        ''')
    forks = of(ev, 'fork')
    need(any('thread' in f['flags'] for f in forks), 'no thread made', forks)
    need(any(e['status'] == '1792' for e in of(ev, 'exit')), 'child without exec', of(ev, 'exit'))
    need(any(e['comm'] == b'renamed' for e in of(ev, 'comm')), of(ev, 'comm'))
    need(any('thread' in e['flags'] for e in of(ev, 'exit')), 'no thread ended')
    lossless(total, kernel)


def case_many_processes():
    n = 60 if ARGS.small else 5000
    rc, ev, total, kernel, _ = dump(['/bin/sh', '-c', 'i=0; while [ $i -lt %d ]; do /bin/true; i=$((i+1)); done' % n], '-q')
    need(total['exec'] == n + 1 and total['exit'] == n + 1 and total['fork'] == n, total)
    lossless(total, kernel)


def case_untraced():
    """A process that is no target leaves no record: the neighbour of a traced one."""
    other = subprocess.Popen(['/bin/sh', '-c', 'i=0; while [ $i -lt 100 ]; do /bin/true; i=$((i+1)); done'])
    rc, ev, *_ = dump(['/bin/sleep', '0.5'])
    other.wait()
    need({e['tgid'] for e in ev if e['type'] != 'procinfo'} == {of(ev, 'exec')[0]['tgid']}, 'strangers', {e['tgid'] for e in ev})


# ---- sockets ----

TCP = '''
    import socket, threading, os
    ready = threading.Event()
    def serve():
        global port
        s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); port = s.getsockname()[1]; ready.set()
        c, _ = s.accept()
        while True:
            b = c.recv(65536)
            if not b: break
            if b.endswith(b'?'): c.sendall(b'ok:' + b[-1:])
        c.close()
    t = threading.Thread(target=serve); t.start(); ready.wait()
    c = socket.create_connection(('127.0.0.1', port))
'''


def case_tcp():
    rc, ev, total, kernel, _ = python(TCP + '''
    c.send(b'hello?'); c.recv(100)
    c.sendmsg([b'head ', b'', b'body' * 60, b'?']); c.recv(100)
    os.writev(c.fileno(), [b'a' * 10, b'b' * 20, b'?']); c.recv(3, socket.MSG_PEEK); c.recv(3); c.recv(1)
    os.write(c.fileno(), b'w?'); os.read(c.fileno(), 100)
    b = bytearray(4), bytearray(100); os.write(c.fileno(), b'v?'); os.readv(c.fileno(), b)
    c.close(); t.join()
    ''')
    conns = of(ev, 'conn')
    need(sorted(c['role'] for c in conns) == ['client', 'server'], conns)
    client = next(c for c in conns if c['role'] == 'client')['conn']
    sends = [e for e in of(ev, 'data', conn=client) if 'send' in e['flags']]
    recvs = [e for e in of(ev, 'data', conn=client) if 'recv' in e['flags']]
    need([int(e['len']) for e in sends] == [6, 246, 31, 2, 2], sends)
    need(sends[1]['bytes'].startswith(b'head bodybody') and sends[1]['cap'] == '246', sends[1])
    need(sends[2]['bytes'] == b'a' * 10 + b'b' * 20 + b'?', sends[2])
    need([e['bytes'] for e in recvs] == [b'ok:?', b'ok:?', b'ok:', b'?', b'ok:?', b'ok:?'], recvs)
    pos = 0
    for e in sends:
        need(int(e['pos']) == pos, 'position', e)
        pos += int(e['len'])
    close = of(ev, 'close', conn=client)
    need(close and int(close[0]['sent']) == pos and close[0]['err'] == '0', close)
    lossless(total, kernel)


def case_big_write():
    rc, ev, total, kernel, _ = python(TCP + '''
    c.sendall(bytes(range(65, 91)) * 8000 + b'THE-END?'); c.recv(100)
    c.sendall(b'again?'); c.recv(100)
    c.close(); t.join()
    ''', '-b', '20000')
    client = next(c for c in of(ev, 'conn') if c['role'] == 'client')['conn']
    sends = [e for e in of(ev, 'data', conn=client) if 'send' in e['flags']]
    total_sent = 26 * 8000 + 8
    heads = [e for e in sends if 'tail' not in e['flags'] and int(e['pos']) < total_sent]
    need(int(heads[0]['cap']) == 16384 and int(heads[0]['pos']) == 0, heads[0])
    need(sum(int(e['cap']) for e in heads) <= 20000, 'over budget')
    tail = [e for e in sends if 'tail' in e['flags'] and int(e['pos']) + int(e['cap']) == total_sent]
    need(len(tail) == 1, sends)
    at, shown = int(tail[0]['pos']), tail[0]['bytes'][:100]
    need(shown == bytes(65 + (at + i) % 26 for i in range(len(shown))) and len(shown) == 100, 'not the last bytes', tail)
    again = [e for e in sends if e['bytes'] == b'again?']
    need(len(again) == 1 and int(again[0]['pos']) == total_sent and 'tail' not in again[0]['flags'], 'budget not renewed', again)
    need(kernel['budget_bytes'] > 0, kernel)


def case_answer_then_reset():
    """The client resets while the server answers: the answer is told before the end, on one connection."""
    turns = 20 if ARGS.small else 200
    rc, ev, total, kernel, _ = python(f"""
import socket, threading, struct
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()
def serve():
    for i in range({turns}):
        c, _ = s.accept()
        c.recv(100)
        try: c.sendall(b'a' * 1000)
        except OSError: pass
        c.close()
t = threading.Thread(target=serve); t.start()
for i in range({turns}):
    c = socket.create_connection(s.getsockname())
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    c.send(b'?' * 10); c.recv(1); c.close()
t.join()
""")
    lossless(total, kernel)
    conns = of(ev, 'conn')
    need(len(conns) == 2 * turns, len(conns), 'connections')
    closed = {}
    for e in ev:
        if e['type'] == 'close':
            closed[e['conn']] = e
        elif e['type'] == 'data':
            need(e['conn'] not in closed, 'bytes after the end', e)
    need(len(closed) == 2 * turns, len(closed), 'ends')
    servers = [closed[c['conn']] for c in conns if c['role'] == 'server']
    need(servers and all(c['sent'] == '1000' and c['received'] == '10' for c in servers), servers[:3])


def case_unix():
    rc, ev, total, kernel, _ = python('''
    import socket, os, tempfile, threading
    path = tempfile.mktemp()
    s = socket.socket(socket.AF_UNIX); s.bind(path); s.listen()
    c = socket.socket(socket.AF_UNIX); c.connect(path); a, _ = s.accept()
    c.send(b'to server'); a.recv(100); a.send(b'to client'); c.recv(100)
    os.unlink(path)
    x, y = socket.socketpair(); x.send(b'pair'); y.recv(10)
    d, e = socket.socketpair(type=socket.SOCK_DGRAM); d.send(b'not a stream')
    ''')
    conns = of(ev, 'conn', family='1')
    need(sorted(c['role'] for c in conns) == ['client', 'server', 'unknown', 'unknown'], conns)
    by = {c['inode']: c for c in conns}
    for c in conns:
        need(by[c['peer']]['peer'] == c['inode'], 'ends do not point at each other', conns)
    need([e['bytes'] for e in of(ev, 'data')] == [b'to server', b'to server', b'to client', b'to client', b'pair', b'pair'], of(ev, 'data'))


def case_failed_connect():
    rc, ev, *_ = python('''
    import socket
    try: socket.create_connection(('127.0.0.1', 1))
    except OSError: pass
    ''')
    c = of(ev, 'conn')
    need(len(c) == 1 and c[0]['err'] == '111' and c[0]['role'] == 'client' and c[0]['line'].endswith('127.0.0.1:1'), c)


def case_sendfile():
    rc, ev, total, kernel, _ = python(TCP + '''
    c.sendfile(open('/bin/sh', 'rb'), 0, 50000); c.send(b'?'); c.recv(10); c.close(); t.join()
    ''')
    client = next(c for c in of(ev, 'conn') if c['role'] == 'client')['conn']
    blind = [e for e in of(ev, 'data', conn=client) if 'nodata' in e['flags']]
    need(sum(int(e['len']) for e in blind) == 50000 and all(e['cap'] == '0' for e in blind), blind)
    need(of(ev, 'close', conn=client)[0]['sent'] == '50001', of(ev, 'close'))


def case_loss_is_counted():
    n = 200 if ARGS.small else 3000
    rc, ev, total, kernel, _ = python(TCP + '''
    for i in range(%d): c.send(b'x' * 3000)
    import time; time.sleep(%d) # the ring empties: what comes now tells of all that was lost
    c.send(b'?'); c.recv(10); c.close(); t.join()
    ''' % (n, 4 if ARGS.small else 1), '-r', '16384', '-q')
    full = sum(v for k, v in kernel.items() if k.startswith('ring_full'))
    seen = total['data']
    need(full > 0, 'the ring was never full', kernel)
    need(seen < n + 1 <= seen + full, 'seen', seen, 'lost', full, 'sent', n + 1)
    need(total['lost'] == full, 'told', total['lost'], 'counted', full)


def case_attach_open():
    """A server with an open connection, joined in the middle: its connection is told as open before."""
    path = script('''
    import socket, time
    a = socket.socket(); a.bind(('127.0.0.1', 0)); a.listen()
    c = socket.create_connection(a.getsockname()); s, _ = a.accept()
    c.send(b'before'); s.recv(10)
    print('ready', flush=True)
    input()
    for i in range(5): c.send(b'after%d' % i); s.recv(10); time.sleep(.01)
    ''')
    target = subprocess.Popen(['/usr/bin/python3', path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    target.stdout.readline()
    opts = ['-f', ARGS.force] if ARGS.force else []
    d = subprocess.Popen([ARGS.dump, *opts, '-p', str(target.pid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    d.stderr.readline()
    time.sleep(3 if ARGS.small else .3)
    target.stdin.write(b'\n')
    target.stdin.close()
    out = d.communicate(timeout=300)[0].decode()
    target.wait()
    os.unlink(path)
    ev = [e for e in map(parse, out.splitlines()) if e]
    conns = of(ev, 'conn')
    need(len(conns) == 2 and all('open' in c['flags'] for c in conns), conns)
    need(of(ev, 'data')[0]['bytes'] == b'after0' and of(ev, 'data')[0]['pos'] == '0', of(ev, 'data')[:1])
    need(of(ev, 'procinfo')[0]['seen'] == 'attach', of(ev, 'procinfo')[:1])


# ---- TLS, units, hits ----

def certificate(d):
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', d + '/k.pem', '-out', d + '/c.pem', '-days', '2',
                    '-subj', '/CN=localhost'], check=True, stderr=subprocess.DEVNULL)


def case_tls_python():
    d = tempfile.mkdtemp()
    certificate(d)
    try:
        rc, ev, total, kernel, err = python('''
        import socket, ssl, threading, time
        sc = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); sc.load_cert_chain('%s/c.pem', '%s/k.pem')
        cc = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT); cc.check_hostname = False; cc.verify_mode = ssl.CERT_NONE
        time.sleep(%s) # until the probes sit
        a = socket.socket(); a.bind(('127.0.0.1', 0)); a.listen()
        def serve():
            s = sc.wrap_socket(a.accept()[0], server_side=True)
            for i in range(3): s.sendall(b'answer %%d to ' %% i + s.recv(100))
        t = threading.Thread(target=serve); t.start()
        c = cc.wrap_socket(socket.create_connection(a.getsockname()))
        for i in range(3): c.sendall(b'question %%d' %% i); c.recv(100)
        t.join()
        # memory BIOs: the library never sees the socket
        ci, co, si, so = (ssl.MemoryBIO() for _ in range(4))
        c, s = cc.wrap_bio(ci, co), sc.wrap_bio(si, so, server_side=True)
        for _ in range(6):
            for o in (c, s):
                try: o.do_handshake()
                except ssl.SSLWantReadError: pass
                si.write(co.read()); ci.write(so.read())
        c.write(b'through memory'); si.write(co.read()); s.read(100)
        ''' % (d, d, 10 if ARGS.small else 1))
    finally:
        shutil.rmtree(d)
    need(rc == 0, err)
    tls = of(ev, 'tls')
    texts = [(('send' in e['flags']), e['bytes']) for e in tls]
    for i in range(3):
        need((True, b'question %d' % i) in texts and (False, b'question %d' % i) in texts, 'question', i, texts, err)
        need((True, b'answer %d to question %d' % (i, i)) in texts and (False, b'answer %d to question %d' % (i, i)) in texts, 'answer', i, texts)
    need((True, b'through memory') in texts and (False, b'through memory') in texts, 'memory BIO', texts)
    sent = [e for e in tls if e['bytes'].startswith(b'question') and 'send' in e['flags']]
    need([int(e['pos']) for e in sent] == [0, 10, 20], 'positions', sent)


def case_python_units():
    rc, ev, total, kernel, err = python('''
    import asyncio, socket, sys, time
    async def talk(n, port):
        r, w = await asyncio.open_connection('127.0.0.1', port)
        for i in range(3):
            w.write(b'task %%d' %% n); await w.drain(); await r.read(100); await asyncio.sleep(.01)
        w.close()
    async def serve(r, w):
        while (b := await r.read(100)): w.write(b)
        w.close()
    async def main():
        time.sleep(%s)
        s = await asyncio.start_server(serve, '127.0.0.1', 0)
        await asyncio.gather(*[asyncio.create_task(talk(n, s.sockets[0].getsockname()[1])) for n in range(4)])
        s.close()
    asyncio.run(main())
    ''' % (10 if ARGS.small else 1), interpreter=ARGS.python)
    need(rc == 0, err)
    units = {}
    for e in of(ev, 'data'):
        if 'send' in e['flags'] and e['bytes'].startswith(b'task'):
            units.setdefault(e['bytes'], []).append(e.get('unit', '0'))
    # The server echoes «task N» too, in its own contexts: each text has two units, the client's three times.
    need(len(units) == 4, units)
    clients = {max(set(u), key=u.count) for u in units.values()}
    edges = {e['child'] for e in of(ev, 'edge')}
    need(len(clients) == 4 and '0' not in clients, 'units not apart', units, err)
    need(clients <= edges, 'contexts without an edge', clients, edges)


def case_executor():
    rc, ev, total, kernel, err = python('''
    import time, socket, concurrent.futures as f
    time.sleep(%s)
    with f.ThreadPoolExecutor(2) as e:
        print(sum(e.map(lambda x: x + 1, range(10))))
    ''' % (10 if ARGS.small else 1), interpreter=ARGS.python)
    puts = [e['key'] for e in of(ev, 'put')]
    takes = [e['key'] for e in of(ev, 'take') if e['key'] != '0']
    need(len(puts) >= 10, 'puts', len(puts), err)
    need(set(takes) <= set(puts) and len(takes) >= 10, 'takes', len(takes), len(puts))


GREENLETS = '''
import os, socket, sys, time
s = socket.socket(fileno=int(sys.argv[1]))
if len(sys.argv) > 2: # the program after the exec: a greenlet's switch was seen of it, none yet since
    import greenlet
    time.sleep(%(wait)s)
    s.send(b'after exec')
    sys.exit()
import greenlet
time.sleep(%(wait)s)
def work(n):
    for i in range(3):
        s.send(b'piece of %%d' %% n)
        greenlet.getcurrent().parent.switch()
def leave():
    s.send(b'leaving')
    os.execv(sys.executable, [sys.executable, __file__, str(s.fileno()), 'again'])
workers = [greenlet.greenlet(work) for _ in range(4)]
for n, w in enumerate(workers): w.switch(n)
for _ in range(2):
    for w in workers: w.switch()
greenlet.greenlet(leave).switch()
'''


def case_greenlets():
    """Needs --greenlet. Each greenlet is a unit; an exec forgets which one ran, also where the next program has greenlets too."""
    need(ARGS.greenlet, 'no Python with greenlet was named')
    path = script(GREENLETS % {'wait': 10 if ARGS.small else 1})
    try:
        start = 'import os, socket; a, b = socket.socketpair(); a.set_inheritable(True); os.execv(%r, [%r, %r, str(a.fileno())])'
        # b stays open in a child that reads to the end
        start = start.replace('os.execv', 'os.fork() or (a.close(), [0 for _ in iter(lambda: b.recv(99), b"")], os._exit(0)); os.execv')
        rc, ev, total, kernel, err = dump([ARGS.greenlet, '-c', start % (ARGS.greenlet, ARGS.greenlet, path)])
    finally:
        os.unlink(path)
    need(rc == 0, err)
    sent = [(e['bytes'], e.get('unit', '0')) for e in of(ev, 'data') if 'send' in e['flags']]
    units = {n: {u for b, u in sent if b == b'piece of %d' % n} for n in range(4)}
    need(all(len(u) == 1 and u != {'0'} for u in units.values()) and len(set.union(*units.values())) == 4, 'units', units, err)
    last = dict(sent)
    need(last[b'leaving'] != '0', 'the last greenlet', sent)
    need(last[b'after exec'] == '0', 'a greenlet of the program before', sent)


HIT_C = r'''
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
struct order { int id; const char *name; };
__attribute__((noinline)) int place_order(struct order *o, const char *who, long a, long b, long c, long d, long on_stack)
{ asm volatile("" ::: "memory"); if (o->id == 3) { errno = ENOENT; return -1; } return o->id * 2 + (int)on_stack; }
__attribute__((noinline)) int recurse(int n) { asm volatile("" ::: "memory"); return n ? recurse(n - 1) + 1 : 0; }
int main(void)
{ puts("alice"); /* touches the page: a probe cannot fault one in */
  for (int i = 1; i <= 3; i++) { struct order o = { i, "widget" }; place_order(&o, "alice", 1, 2, 3, 4, 77); } return recurse(3) - 3; }
'''
HIT_RULES = '''
activities:
  - name: "place_order"
    type: task
    at: "native:%s:place_order"
    attributes: { id: "arg0->0:i32", who: "arg1:str", stack: "arg6" }
    error: ret < 0
  - name: "recurse"
    type: task
    at: "native:%s:recurse"
    attributes: { n: "arg0:i32" }
'''


def case_hits():
    d = tempfile.mkdtemp()
    try:
        open(d + '/t.c', 'w').write(HIT_C)
        subprocess.run(['gcc', '-O1', '-o', d + '/t', d + '/t.c'], check=True)
        open(d + '/r.yaml', 'w').write(HIT_RULES % (d + '/t', d + '/t'))
        rc, ev, total, kernel, err = dump([d + '/t'], '-R', d + '/r.yaml')
    finally:
        shutil.rmtree(d)
    hits = of(ev, 'hit')
    need(rc == 0, rc, err)
    entries = [e for e in hits if e['phase'] == 'entry']
    exits = [e for e in hits if e['phase'] == 'return']
    need(len(entries) == 3 + 4 and len(exits) == 7, 'entries', len(entries), 'returns', len(exits), err)
    orders = [e for e in entries if b'alice' in e.values()]
    need(len(orders) == 3, 'strings', entries)
    need([sorted(v for k, v in e.items() if re.fullmatch(r'v\d', k) and isinstance(v, str))[0] for e in orders] == ['1', '2', '3'], orders)
    need(all('77' in e.values() for e in orders), 'stack argument', orders)


def case_links_come_and_go():
    """Probed programs of which each has a file of its own come, stay a while and end: the links that they needed end with them,
    not at once, and one that comes back is probed again, under the numbers that it had."""
    n, idle, quiet, within = (6, 40, 6, 400) if ARGS.small else (20, 4, 1, 60)
    d = tempfile.mkdtemp()
    try:
        open(d + '/t.c', 'w').write(HIT_C)
        subprocess.run(['gcc', '-O1', '-o', d + '/t', d + '/t.c'], check=True)
        for i in range(n):
            shutil.copy(d + '/t', d + '/svc%d' % i)
        open(d + '/r.yaml', 'w').write(HIT_RULES % (d + '/svc*', d + '/svc*'))
        rc, ev, total, kernel, err = python(f'''
        import os, subprocess, time
        def links():
            at = '/proc/%d/fd/' % os.getppid()
            kinds = [os.readlink(at + f) for f in os.listdir(at) if os.path.islink(at + f)]
            return sum(k in ('anon_inode:bpf_link', 'anon_inode:bpf-link', 'anon_inode:[perf_event]') for k in kinds)
        def steady(least=0):
            now, since, end = links(), time.monotonic(), time.monotonic() + {within}
            while (now < least or time.monotonic() < since + {quiet}) and time.monotonic() < end:
                time.sleep(.1)
                if links() != now: now, since = links(), time.monotonic()
            return now
        def round():
            for i in range({n}): subprocess.run(['{d}/svc%d' % i], stdout=subprocess.DEVNULL)
        before = links()
        round()
        seen = [steady(before + 2 * {n})]
        round()
        seen.append(steady())
        end = time.monotonic() + {within}
        while links() > seen[0] - 2 * {n} and time.monotonic() < end: time.sleep(.1)
        seen.append(steady())
        round()
        seen.append(steady(seen[2] + 2 * {n}))
        open('{d}/links', 'w').write(repr(seen))
        ''', '-R', d + '/r.yaml', '-i', str(idle * 1000))
        first, busy, after, again = eval(open(d + '/links').read())
    finally:
        shutil.rmtree(d)
    need(rc == 0, rc, err)
    need(busy == first, 'links while they are used now and then', first, busy)
    need(first - after >= 2 * n, 'links', first, 'after', after)
    need(again > after, 'probed again', after, again)
    sites = {e['site'] for e in of(ev, 'hit')}
    hits = len(of(ev, 'hit'))
    need(hits >= 14 * n, 'hits', hits) # of the second round all, of the others those after the probes sat
    need(max(map(int, sites)) < 4 * n + 4, 'numbers', len(sites), max(map(int, sites)))


CASES = {k[5:]: v for k, v in list(globals().items()) if k.startswith('case_')}


def main():
    global ARGS
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--dump', default='build/tests/bpf/dump')
    a.add_argument('--force')
    a.add_argument('--small', action='store_true')
    a.add_argument('--python', default='/usr/bin/python3')
    a.add_argument('--greenlet', metavar='PYTHON', help='one that has the package greenlet')
    a.add_argument('cases', nargs='*')
    ARGS = a.parse_args()
    failed = 0
    for name in ARGS.cases or [c for c in CASES if c != 'greenlets' or ARGS.greenlet]:
        start = time.time()
        try:
            CASES[name]()
            print('ok      %-20s %.1f s' % (name, time.time() - start), flush=True)
        except (AssertionError, subprocess.TimeoutExpired, IndexError, KeyError, StopIteration) as e:
            failed += 1
            print('FAILED  %-20s %s: %s' % (name, type(e).__name__, str(e)[:1500]), flush=True)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
