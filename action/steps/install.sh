#!/usr/bin/env bash
# Install kache for this job and print where it is: output `kache`.
#
# INSTALL: auto, path, or what pip shall install. ACTION_REF, ACTION_REPOSITORY: of the action; empty where it is used
# from a checkout of the job's own.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

fail() {
    echo "::error title=kache::$1. Why: $2. Fix: $3."
    exit 1
}

python_for_kache() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "there is no Python 3.11 or newer" "kache's engine is a Python package" \
        "run actions/setup-python before this action, or install python3 and python3-venv in the image"
}

with_pip() {
    local python
    python="$(python_for_kache)" || { echo "$python"; exit 1; }
    "$python" -m venv "$where"
    # A wrapper the job has already must not be needed to build this one.
    RUSTC_WRAPPER="" "$where/bin/python" -m pip install --quiet --disable-pip-version-check "$1" ||
        fail "pip could not install $1" "its words are above" "see whether that can be reached; kache needs a Rust toolchain to be built from source"
}

case "${INSTALL:-auto}" in
path)
    kache="$(command -v kache)" || fail "kache is not on PATH" "the input install says path" "install it in the image, or leave the input out"
    ;;
*)
    where="${RUNNER_TEMP:?}/kache"
    rm -rf "$where"
    if [ "${INSTALL:-auto}" = auto ]; then
        with_pip "$here"
    else
        with_pip "$INSTALL"
    fi
    kache="$where/bin/kache"
    ;;
esac
echo "$("$kache" --version) in $kache"
echo "kache=$kache" >>"$GITHUB_OUTPUT"
