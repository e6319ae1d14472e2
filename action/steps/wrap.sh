#!/usr/bin/env bash
# Have cargo call kache in all later steps of the job, and say where the store is kept between jobs.
#
# By variables, not by `kache init`: a runner that stays must not be left with a cargo configuration that names a program
# of a job that is gone.
set -euo pipefail

fail() {
    echo "::error title=kache::$1. Why: $2. Fix: $3."
    exit 1
}

is_pull_request() {
    case "${GITHUB_EVENT_NAME:-}" in pull_request* | issue_comment | merge_group) return 0 ;; esac
    [ -n "${GITHUB_HEAD_REF:-}" ]
}

case "${SAVE:-auto}" in
auto) if is_pull_request; then saves=false; else saves=true; fi ;;
always) saves=true ;;
never) saves=false ;;
*) fail "the input save is '$SAVE'" "it is not one of auto, always, never" "write one of them" ;;
esac

# A job that names a cache dir of its own has a machine that stays, and the store stays with it.
stays=${KACHE_CACHE_DIR:+true}
cache_dir="${KACHE_CACHE_DIR:-${RUNNER_TEMP:?}/kache-cache}"
mkdir -p "$cache_dir" && chmod 700 "$cache_dir" # the daemon starts in a private directory alone
{
    echo "RUSTC_WRAPPER=$KACHE"
    echo "KACHE_CACHE_DIR=$cache_dir"
    # Nothing is edited in CI, and incremental outputs fit nobody else.
    echo "CARGO_INCREMENTAL=0"
    echo "KACHE_ACTION_KACHE=$KACHE"
    echo "KACHE_ACTION_SAVES=$saves"
    echo "KACHE_ACTION_NAME=${CACHE_KEY:-job}"
    echo "KACHE_ACTION_STARTED=$(date +%s)"
    if [ -n "${REMOTE:-}" ]; then
        echo "KACHE_REMOTE=$REMOTE"
        echo "KACHE_REMOTE_TRUSTED_KEYS=$(tr -s '\n ' '  ' <<<"${TRUSTED_KEYS:-}")"
        [ -z "${TRUST_DOMAIN:-}" ] || echo "KACHE_TRUST_DOMAIN=$TRUST_DOMAIN"
        $saves || echo "KACHE_REMOTE_READONLY=1"
    fi
} >>"$GITHUB_ENV"
dirname "$KACHE" >>"$GITHUB_PATH"
echo "cache-dir=$cache_dir" >>"$GITHUB_OUTPUT"

if [ -n "${REMOTE:-}${stays:-}" ]; then
    echo "uses-github-cache=false" >>"$GITHUB_OUTPUT"
    exit 0
fi
# Another toolchain has no use for these entries, and each job saves under a key of its own: GitHub's caches never change.
toolchain="$(cd "${DIRECTORY:-.}" && rustc -vV | cksum | cut -d ' ' -f 1)" ||
    fail "rustc -vV fails" "the key of GitHub's cache names the toolchain" "install Rust before this action"
key="kache-${RUNNER_OS:-any}-${RUNNER_ARCH:-any}-$toolchain-${CACHE_KEY:-job}-"
{
    echo "uses-github-cache=true"
    echo "restore-key=$key"
    echo "key=$key${GITHUB_RUN_ID:-0}-${GITHUB_RUN_ATTEMPT:-1}"
} >>"$GITHUB_OUTPUT"
echo "KACHE_ACTION_KEY=$key${GITHUB_RUN_ID:-0}-${GITHUB_RUN_ATTEMPT:-1}" >>"$GITHUB_ENV"
