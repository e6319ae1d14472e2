#!/bin/sh
# Before the tests: on a Debian-like machine where we are root, unpack the distribution's own rustc and cargo where no PATH
# leads, for tests of two toolchains in turn. Those skip themselves without it, so nothing here ever fails.
set -u

where=/opt/kache-tests/debian-rust
[ ! -x "$where/usr/bin/rustc" ] || exit 0
if [ -n "${KACHE_NO_APT:-}" ] || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    exit 0
fi

echo "test: unpacking Debian's rustc below $where, for tests of two toolchains (KACHE_NO_APT=1 to skip them)"
packages="$(mktemp -d)"
mkdir -p "$packages/partial"
fetch() {
    apt-get install -y --no-install-recommends --download-only -o "Dir::Cache::archives=$packages" rustc cargo
}
{
    fetch || { apt-get update && fetch; }
    mkdir -p "$where.new"
    for package in "$packages"/*.deb; do
        dpkg -x "$package" "$where.new" || exit 0
    done
    LD_LIBRARY_PATH="$(echo "$where.new"/usr/lib/*-linux-gnu)" "$where.new/usr/bin/rustc" -V && mv "$where.new" "$where"
} >"$packages/log" 2>&1 </dev/null || echo "test: apt-get could not, so those tests are skipped: $(tail -n 1 "$packages/log")"
rm -rf "$packages" "$where.new"
exit 0
