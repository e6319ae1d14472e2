#!/usr/bin/env bash
# The end of a job: summary, manifest, what was compiled to the remote, or the store made ready for GitHub's cache.
#
# A cache that cannot be saved is a warning: the build is what it is. Every step runs, whatever became of the one before.
set -uo pipefail
kache="${KACHE_ACTION_KACHE:-}"
if [ -z "$kache" ]; then
    echo "::error title=kache::the kache action has not run in this job. Why: this step saves what it set up. Fix: use it before this one."
    exit 1
fi

warn() {
    echo "::warning title=kache::$1. The build itself is not touched by that."
}

if [ "${SUMMARY:-true}" = true ]; then
    # A store from GitHub's cache knows of earlier jobs. Some seconds more: the report counts back from when it starts.
    since=$(($(date +%s) - KACHE_ACTION_STARTED + 10))
    "$kache" report --format github --since "${since}s" --root "${GITHUB_WORKSPACE:-.}" --top 20 || warn "there is no report"
fi

sends=false
if [ -n "${KACHE_REMOTE:-}" ] && [ "$KACHE_ACTION_SAVES" = true ]; then
    if [ -n "${KACHE_REMOTE_SIGNING_KEY:-}" ]; then
        sends=true
    else
        echo "::notice title=kache::nothing is sent to the remote: there is no signing-key"
    fi
fi
if $sends; then
    "$kache" sync --push || warn "not everything was sent to the remote"
    # What prefetch plans with in the next run of this job.
    "$kache" save-manifest --manifest-key "${KACHE_ACTION_NAME:-}" || warn "the build's manifest was not saved"
fi

# Files of a store that is in use are no snapshot.
"$kache" daemon stop >/dev/null || true
saves=false
if [ -n "${KACHE_ACTION_KEY:-}" ] && [ "$KACHE_ACTION_SAVES" = true ]; then
    if "$kache" gc --max-size "${MAX_SIZE:-2GiB}"; then
        saves=true
    else
        warn "the store could not be made ready for GitHub's cache"
    fi
fi
echo "saves-github-cache=$saves" >>"$GITHUB_OUTPUT"
exit 0
