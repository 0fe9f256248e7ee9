#!/bin/sh
# Debian packages that building and testing wftrace need. On Debian 12 libbpf, bpftool, libcurl and go come from
# bookworm-backports. Quiet unless something fails; does nothing when everything is there; removes no package and starts no
# service. As root, or through sudo.
#     scripts/deps.sh [build|demo|test]     demo and test (the default) include build
set -eu

build='gcc libc6-dev make git pkg-config libelf-dev zlib1g-dev libbrotli-dev libzstd-dev libyaml-dev libjansson-dev libmicrohttpd-dev libgnutls28-dev libprotobuf-c-dev protobuf-c-compiler
       protobuf-compiler libiberty-dev libpcre2-dev libsqlite3-dev libssl-dev'
demo='ca-certificates python3 python3-venv redis-server postgresql'
tests='libcmocka-dev clang-format python3 python3-venv python3-dev python3-grpcio redis-server redis-tools postgresql nginx wrk
       openssl ca-certificates procps iproute2 util-linux binutils g++ rustc systemtap-sdt-dev cron nodejs opentelemetry-proto prometheus
       qemu-system-x86 busybox-static kmod xz-utils zstd patchelf qemu-system-arm gcc-aarch64-linux-gnu libc6-dev-arm64-cross e2fsprogs debootstrap systemd maven default-jre-headless'
# Other builds of nodejs bring npm with them and refuse Debian's.
command -v npm >/dev/null || tests="$tests npm"
# PACKAGE=LEAST: what Debian 12 itself has is too old (headers of 6.1, libbpf 1.1, bpftool 7.1, libcurl 7.88 and the curl that goes with it)
build_least='linux-libc-dev=6.6 libbpf-dev=1:1.4 bpftool=7.5 libcurl4-openssl-dev=8.0'
tests_least='curl=8.0'

what=${1:-test}
. /etc/os-release 2>/dev/null || ID=unknown
if [ "${ID:-}" != debian ]; then
    echo "deps: this is ${PRETTY_NAME:-not Debian}; install by hand: clang $build $build_least" >&2
    exit 0
fi
release=${VERSION_ID:-13}
backports=
case $release in
12) backports=bookworm-backports; build="$build clang-14"; tests="$tests libclang-rt-14-dev golang-1.23-go" ;;
*) build="$build clang"; tests="$tests libclang-rt-dev golang-go" ;;
esac
case $what in
build) want=$build; least=$build_least ;;
demo) want="$build $demo"; least=$build_least ;;
test) want="$build $tests"; least="$build_least $tests_least" ;;
*) echo "usage: scripts/deps.sh [build|demo|test]" >&2; exit 2 ;;
esac

version() { dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null | sed -n 's/^installed //p'; }

missing=
for p in $want; do
    [ -n "$(version "$p")" ] || case $p in
    golang-1.23-go) missing="$missing $p/$backports" ;;
    *) missing="$missing $p" ;;
    esac
done
old=
for p in $least; do
    have=$(version "${p%=*}")
    if [ -z "$have" ] || dpkg --compare-versions "$have" lt "${p#*=}"; then old="$old ${p%=*}${backports:+/$backports}"; fi
done
# A curl of Debian 12 that is there already has to go with its library.
[ -z "$backports" ] || case "$(version curl)$old" in 7.*libcurl4*) case $old in *" curl/"*) ;; *) old="$old curl/$backports" ;; esac ;; esac
[ -n "$missing$old" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "deps: not root and no sudo; as root: apt-get install --no-install-recommends$missing$old" >&2; exit 1; }
    as_root=sudo
fi
work=$(mktemp -d)
policy=/usr/sbin/policy-rc.d
made_policy=
finish() {
    [ -z "$made_policy" ] || $as_root rm -f $policy
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# put FILE MODE: standard input becomes FILE
put() {
    cat >"$work/put"
    $as_root install -m "$2" "$work/put" "$1"
}

# The mirror that this machine uses for Debian 12 serves its backports too.
add_backports() {
    old_style=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | grep -E '^deb (\[[^]]*\] )?[^ ]+ bookworm ' | head -1)
    deb822=$(awk -v RS= '/(^|\n)Suites:[^\n]* ?bookworm( |\n|$)/' /etc/apt/sources.list.d/*.sources 2>/dev/null | sed '/^#/d')
    mirror=$(printf '%s\n' "$old_style" | sed -E 's/^deb (\[[^]]*\] )?//' | cut -d' ' -f1)
    options=$(printf '%s\n' "$old_style" | sed -nE 's/^deb (\[[^]]*\] ).*/\1/p')
    if [ -z "$mirror" ]; then
        mirror=$(printf '%s\n' "$deb822" | sed -n 's/^URIs: *\([^ ]*\).*/\1/p' | head -1)
        signed=$(printf '%s\n' "$deb822" | sed -n 's/^Signed-By: *\(\/[^ ]*\)$/\1/p' | head -1)
        [ -z "$signed" ] || options="[signed-by=$signed] "
    fi
    echo "deb ${options}${mirror:-http://deb.debian.org/debian} $backports main" | put /etc/apt/sources.list.d/wftrace-backports.list 644
}

apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get "$@" >>"$work/log" 2>&1; }
# shellcheck disable=SC2086
apt_install() { apt install -y -q --no-install-recommends --no-remove "$@" $missing $old; }
fail() {
    echo "deps: $1" >&2
    tail -30 "$work/log" >&2
    exit 1
}

echo "deps: installing$missing$old" >&2
if [ -n "$backports" ] && ! grep -qrsE "^[^#]*$backports" /etc/apt/sources.list /etc/apt/sources.list.d; then add_backports; fi
# Services that packages start by themselves would take the tests' ports and memory.
if [ ! -e $policy ]; then
    made_policy=1
    printf '#!/bin/sh\nexit 101\n' | put $policy 755
fi
apt update -q || fail "apt-get update failed"
# A machine whose libraries are newer already needs their company from backports as well: then everything may come from there.
apt_install || { [ -n "$backports" ] && apt_install -t "$backports"; } || fail "apt-get could not install$missing$old"
