#!/bin/sh
# python314.sh: a CPython 3.14 for the bridge's tests in build/cpython-3.14, from Debian sid's packages by apt-get, nothing
# installed: its own C library goes with it. Debian only; needs patchelf. Does nothing when it is there.
set -eu
to=$(realpath -m "${B:-build}/cpython-3.14")
[ ! -x "$to/usr/bin/python3.14" ] || exit 0
command -v patchelf >/dev/null && command -v apt-get >/dev/null || { echo "python314.sh: needs apt-get and patchelf" >&2; exit 1; }
mirror=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
[ -n "$mirror" ] || mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | sed -n 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' | grep -v security | head -1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/root"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$work/sources"
: >"$work/status"
apt() {
    apt-get -qq -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" \
        -o Dir::Etc::sourcelist="$work/sources" -o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User=root "$@"
}
apt update
apt install -d -y --no-install-recommends python3.14 libpython3.14-testsuite >/dev/null
for deb in "$work"/cache/archives/*.deb; do dpkg -x "$deb" "$work/root"; done
lib=$to/usr/lib/x86_64-linux-gnu
patchelf --set-interpreter "$lib/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$lib" "$work/root/usr/bin/python3.14"
rm -rf "$to"
mkdir -p "$(dirname "$to")"
cp -r "$work/root" "$to"
