#!/bin/sh
# Debian packages that building and testing wftrace need. Debian 12 takes libbpf, bpftool and libcurl from
# bookworm-backports. Quiet unless something fails; does nothing when everything is there. As root, or through sudo.
#     scripts/deps.sh [build|test]      test (the default) includes build
set -eu

build='gcc make git pkg-config libelf-dev zlib1g-dev libyaml-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libiberty-dev
       linux-libc-dev'
backported='libbpf-dev bpftool libcurl4-openssl-dev'
tests='libcmocka-dev clang-format python3 python3-venv python3-dev redis-server redis-tools postgresql nginx
       wrk curl openssl ca-certificates procps iproute2 util-linux binutils gdb g++ rustc systemtap-sdt-dev nodejs
       qemu-system-x86 busybox-static kmod xz-utils zstd golang-go libclang-rt-14-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross'

what=${1:-test}
. /etc/os-release 2>/dev/null || ID=unknown
if [ "${ID:-}" != debian ] && [ "${ID_LIKE:-}" != debian ]; then
    echo "deps: this is ${PRETTY_NAME:-not Debian}; install by hand: clang $build $backported" >&2
    exit 0
fi
release=${VERSION_ID:-12}
clang=clang
if [ "$release" = 12 ]; then clang='clang-14'; else tests=$(echo "$tests" | sed 's/libclang-rt-14-dev/libclang-rt-dev/'); fi

case $what in
build) want="$build $clang" ;;
test) want="$build $clang $tests" ;;
*) echo "usage: scripts/deps.sh [build|test]" >&2; exit 2 ;;
esac

installed() { dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null | grep '^installed ' | cut -d' ' -f2; }
missing=
for p in $want; do [ -n "$(installed "$p")" ] || missing="$missing $p"; done
for p in $backported; do
    have=$(installed "$p")
    # from Debian 12 itself they are too old (libbpf 1.1, bpftool 7.1, libcurl 7.88)
    case $p in libbpf-dev) least=1:1.4 ;; bpftool) least=7.5 ;; *) least=8.0 ;; esac
    if [ -z "$have" ] || dpkg --compare-versions "$have" lt "$least"; then missing_bpo="${missing_bpo:-} $p"; fi
done
[ -n "$missing${missing_bpo:-}" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "deps: not root and no sudo; as root: apt-get install$missing${missing_bpo:-}" >&2; exit 1; }
    as_root=sudo
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
try() {
    if ! $as_root env DEBIAN_FRONTEND=noninteractive "$@" >"$log" 2>&1; then
        echo "deps: failed: $*" >&2
        tail -30 "$log" >&2
        exit 1
    fi
}

echo "deps: installing$missing${missing_bpo:-}" >&2
# The mirror that this machine uses for Debian 12 serves its backports too.
if [ "$release" = 12 ] && [ -n "${missing_bpo:-}" ] && ! grep -qrs bookworm-backports /etc/apt/sources.list /etc/apt/sources.list.d; then
    list=/etc/apt/sources.list.d/wftrace-backports.list
    mirror=$( (grep -hrsE '^deb .* bookworm ' /etc/apt/sources.list /etc/apt/sources.list.d | sed -E 's/^deb (\[[^]]*\] )?//' | cut -d' ' -f1
              grep -hrsE '^URIs:' /etc/apt/sources.list.d | cut -d' ' -f2) | grep -v security | head -1)
    options=$(grep -hrsE '^deb \[[^]]*\] .* bookworm ' /etc/apt/sources.list /etc/apt/sources.list.d | head -1 | sed -E 's/^deb (\[[^]]*\]).*/\1 /')
    signed=$(grep -hrsE '^Signed-By:' /etc/apt/sources.list.d | head -1 | cut -d' ' -f2)
    [ -n "$options" ] || [ -z "$signed" ] || options="[signed-by=$signed] "
    echo "deb ${options}${mirror:-http://deb.debian.org/debian} bookworm-backports main" >"$log"
    $as_root cp "$log" "$list"
    $as_root chmod 644 "$list"
fi
try apt-get update -qq
if [ -n "${missing_bpo:-}" ]; then
    from=
    [ "$release" != 12 ] || from='-t bookworm-backports'
    # shellcheck disable=SC2086
    try apt-get install -y -qq --no-install-recommends $from $missing_bpo
fi
if [ -n "$missing" ]; then
    # services that packages start by themselves would take the tests' ports and memory: don't start them
    policy=/usr/sbin/policy-rc.d
    made=
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >"$log"
        $as_root cp "$log" $policy && $as_root chmod 755 $policy && made=1
    fi
    # shellcheck disable=SC2086
    (try apt-get install -y -qq --no-install-recommends $missing) || { [ -z "$made" ] || $as_root rm -f $policy; exit 1; }
    [ -z "$made" ] || $as_root rm -f $policy
fi
