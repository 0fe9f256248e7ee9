#!/bin/sh
# Unpacks the arm64 libraries and programs that the cross build and its guest need into a directory of their own. Uses an apt
# of its own (lists, cache, status): the machine's packages, sources and foreign architectures stay as they are. No root.
#     scripts/arm64_sysroot.sh DIRECTORY
set -eu

libraries='libbpf-dev libelf-dev zlib1g-dev libbrotli-dev libzstd-dev libyaml-dev libjansson-dev libpcre2-dev libsqlite3-dev libssl-dev libmicrohttpd-dev libgnutls28-dev libprotobuf-c-dev libcurl4-openssl-dev libiberty-dev libc6-dev'
programs='busybox-static dash coreutils python3 curl redis-server openssl'
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

root=$1
. /etc/os-release
[ "${ID:-}" = debian ] || { echo "arm64: the cross build takes its libraries from Debian's mirror" >&2; exit 1; }
suite=$VERSION_CODENAME
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sed -n 's|/*$||; /\/debian$/p' | head -1)
[ -n "$mirror" ] || { echo "arm64: apt has no Debian mirror" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
echo "deb [arch=arm64 signed-by=$keyring] $mirror $suite main" >"$work/sources"
backports=
if [ "$suite" = bookworm ]; then # what deps.sh takes from there, with the company it needs
    backports=bookworm-backports
    echo "deb [arch=arm64 signed-by=$keyring] $mirror $backports main" >>"$work/sources"
    libraries=$(echo "$libraries" | sed "s|libbpf-dev|&/$backports linux-libc-dev/$backports|; s|libcurl4-openssl-dev|&/$backports libcurl4/$backports|")
    programs=$(echo "$programs" | sed "s|curl|&/$backports|")
fi

apt() {
    apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root -o Acquire::Retries=3 \
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
        -o Dir::Etc::SourceList="$work/sources" -o Dir::Etc::SourceParts=- -o Dir::Etc::Preferences=/dev/null \
        -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State::Lists="$work/lists" -o Dir::State::status=/dev/null \
        -o Dir::Cache="$work/cache" "$@" >>"$work/log" 2>&1 || { tail -20 "$work/log" >&2; exit 1; }
}
apt update
# shellcheck disable=SC2086
apt install -y --no-install-recommends --download-only $libraries $programs

rm -rf "$root" "$root.new"
for d in bin sbin lib; do # merged /usr, as an installed system has it
    mkdir -p "$root.new/usr/$d"
    ln -s "usr/$d" "$root.new/$d"
done
for deb in "$work"/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink --no-same-owner -C "$root.new" -f -
done
rm -rf "$root.new/usr/share/doc" "$root.new/usr/share/man" "$root.new/usr/share/locale"
mv "$root.new" "$root"
