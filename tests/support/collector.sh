#!/bin/sh
# Builds a real OpenTelemetry Collector 0.155.0 (receiver otlp; exporter file, debug; extension bearertokenauth) into
# build/collector/otelcol and prints its path. About 3 minutes the first time, nothing afterwards.
# Usage: tests/support/collector.sh [OUTPUT_DIR]
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
out=${1:-$root/build/collector}
bin=$out/otelcol
[ -x "$bin" ] && { echo "$bin"; exit 0; }
# The newest of the compilers that are installed: before 1.21 go can't fetch a newer one.
newest=$(for d in $(printf '%s' "$PATH" | tr : ' ') /usr/local/go/bin /usr/lib/go-*/bin; do
    [ ! -x "$d/go" ] || echo "$("$d/go" env GOVERSION) $d"; done | sort -V | tail -1)
[ -z "$newest" ] || PATH=${newest#* }:$PATH
command -v go >/dev/null || { echo "collector.sh: no go compiler" >&2; exit 1; }
export GOTOOLCHAIN=auto GOFLAGS= # Debian's own go is older than the Collector asks for: it fetches the newer one
mkdir -p "$out/src"
cat > "$out/builder.yaml" <<EOF
dist:
  module: wftrace.test/otelcol
  name: otelcol
  description: the Collector that wftrace's tests speak to
  version: 0.155.0
  output_path: $out/src
receivers:
  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v0.155.0
exporters:
  - gomod: go.opentelemetry.io/collector/exporter/debugexporter v0.155.0
  - gomod: github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter v0.155.0
extensions:
  - gomod: github.com/open-telemetry/opentelemetry-collector-contrib/extension/bearertokenauthextension v0.155.0
providers:
  - gomod: go.opentelemetry.io/collector/confmap/provider/fileprovider v1.61.0
  - gomod: go.opentelemetry.io/collector/confmap/provider/envprovider v1.61.0
EOF
GOBIN=$out/bin go install go.opentelemetry.io/collector/cmd/builder@v0.164.0 >&2
"$out/bin/builder" --config "$out/builder.yaml" --skip-get-modules --skip-compilation --skip-strict-versioning >&2
cd "$out/src"
cat > go.mod <<EOF
module wftrace.test/otelcol
go 1.25.0
require (
$(sed -n 's/.*gomod: /	/p' "$out/builder.yaml")
	go.opentelemetry.io/collector/otelcol v0.155.0
	go.opentelemetry.io/collector/component v1.61.0
	go.opentelemetry.io/collector/confmap v1.61.0
)
EOF
nice go build -mod=mod -trimpath -ldflags='-s -w' -o "$bin.tmp" . >&2
mv "$bin.tmp" "$bin"
echo "$bin"
