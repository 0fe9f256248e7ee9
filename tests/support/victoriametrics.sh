#!/bin/sh
# Fetches Debian trixie's VictoriaMetrics 1.112 into build/victoriametrics (unpacked, not installed) and prints its path.
# Usage: tests/support/victoriametrics.sh [OUTPUT_DIR]
set -eu
file=pool/main/v/victoriametrics/victoria-metrics_1.112.0+ds1-2_amd64.deb
sum=1d3717f1a8ab5bf690271095dd286730f6fb0761cc8c09c0fc8f529c9838f346
root=$(cd "$(dirname "$0")/../.." && pwd)
out=${1:-$root/build/victoriametrics}
bin=$out/usr/bin/victoria-metrics
[ -x "$bin" ] && { echo "$bin"; exit 0; }
[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || { echo "victoriametrics.sh: amd64 Debian only" >&2; exit 1; }
mkdir -p "$out"
# From the mirror that this machine uses for Debian.
mirrors=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sort -u)
for mirror in $mirrors; do
    curl -sfL --max-time 120 -o "$out/it.deb" "${mirror%/}/$file" && break
done
echo "$sum  $out/it.deb" | sha256sum -c --quiet >&2
rm -rf "$out/part"
dpkg -x "$out/it.deb" "$out/part"
mkdir -p "$out/usr"
rm -f "$out/it.deb"
rm -rf "$out/usr" && mv "$out/part/usr" "$out/usr"
rm -rf "$out/part"
echo "$bin"
