#!/bin/sh
# Builds a real Jaeger 2.13 (module v1.76.0) into build/jaeger/jaeger and prints its path. About 7 minutes of a core the first time,
# nothing afterwards. Its web page is a placeholder; the query API is whole.
# Usage: tests/support/jaeger.sh [OUTPUT_DIR]
set -eu
module=github.com/jaegertracing/jaeger@v1.76.0
root=$(cd "$(dirname "$0")/../.." && pwd)
out=${1:-$root/build/jaeger}
bin=$out/jaeger
[ -x "$bin" ] && { echo "$bin"; exit 0; }
# The newest of the compilers that are installed: before 1.21 go can't fetch a newer one.
newest=$(for d in $(printf '%s' "$PATH" | tr : ' ') /usr/local/go/bin /usr/lib/go-*/bin; do
    [ ! -x "$d/go" ] || echo "$("$d/go" env GOVERSION) $d"; done | sort -V | tail -1)
[ -z "$newest" ] || PATH=${newest#* }:$PATH
command -v go >/dev/null || { echo "jaeger.sh: no go compiler" >&2; exit 1; }
export GOTOOLCHAIN=auto GOFLAGS=
rm -rf "$out/src"
mkdir -p "$out/src"
# Built in a copy of its own source: there its replace lines and checksums hold.
cd "$out"
source=$(go mod download -json "$module" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
cp -r "$source/." src
chmod -R u+w src
cd src
nice go build -mod=mod -trimpath -ldflags='-s -w' -o "$bin.tmp" ./cmd/jaeger >&2
cd ..
rm -rf src
mv "$bin.tmp" "$bin"
echo "$bin"
