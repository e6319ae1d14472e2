#!/usr/bin/env bash
# Fetch what the coming build will need, in one go. Never fails a job: what is missing is fetched, or compiled, later.
set -uo pipefail
[ -n "${KACHE_REMOTE:-}" ] || exit 0
kache="${KACHE_ACTION_KACHE:?the kache action has not run in this job}"
"$kache" prefetch --manifest-key "${KACHE_ACTION_NAME:-}" ||
    echo "::notice title=kache::nothing was prefetched; entries are fetched while the build runs"
exit 0
