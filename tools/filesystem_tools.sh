#!/bin/sh
# Before the tests: on a Debian-like machine where we are root, install what the tests of other filesystems, linkers,
# shells and the browser use, as far as it can be had. Those tests skip themselves without it, so nothing here ever
# fails. KACHE_NO_APT=1 leaves the machine as it is.
set -u

missing=""
pairs="mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs gdb:gdb mold:mold initdb:postgresql"
pairs="$pairs ld.lld:lld git:git shellcheck:shellcheck zstd:zstd zsh:zsh fish:fish systemd-analyze:systemd"
# Names that mean something else, or nothing, on other systems of the family.
grep -q '^ID=debian' /etc/os-release 2>/dev/null && pairs="$pairs elvish:elvish chromium:chromium"
for pair in $pairs; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0

if [ -n "${KACHE_NO_APT:-}" ] || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "test: without$missing some tests of other filesystems, linkers, shells and the browser are skipped"
    exit 0
fi

log="${TMPDIR:-/tmp}/kache-apt-$$.log"
echo "test: installing$missing with apt-get, for tests that use them (KACHE_NO_APT=1 to skip those)"
export DEBIAN_FRONTEND=noninteractive
{
    # The second try is for a machine whose package lists are old or were never fetched.
    # shellcheck disable=SC2086
    apt-get install -y --no-install-recommends $missing ||
        { apt-get update && apt-get install -y --no-install-recommends $missing; }
} >"$log" 2>&1 </dev/null || echo "test: apt-get could not, so those tests are skipped: $(tail -n 1 "$log")"
rm -f "$log"
exit 0
