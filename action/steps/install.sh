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

# The release of the tag that the action was named with, if it is one and has an archive for this machine.
from_release() {
    [[ "${ACTION_REF:-}" == v[0-9]* ]] && [ -n "${ACTION_REPOSITORY:-}" ] || return 1
    local triple name url
    triple="$(rustc -vV | sed -n 's/^host: //p')" || return 1
    name="kache-${ACTION_REF#v}-$triple"
    url="${GITHUB_SERVER_URL:-https://github.com}/$ACTION_REPOSITORY/releases/download/$ACTION_REF/$name.tar.gz"
    mkdir -p "$where/bin" || return 1
    (
        cd "$where" &&
            curl --fail --silent --show-error --location --retry 2 --remote-name "$url" --remote-name "$url.sha256" &&
            if command -v sha256sum >/dev/null; then sha256sum --check --quiet "$name.tar.gz.sha256"; else shasum -a 256 --check --quiet "$name.tar.gz.sha256"; fi &&
            tar -xzf "$name.tar.gz" && mv "$name/kache" bin/kache
    ) || return 1
    kache="$where/bin/kache"
    # Its first command installs the package that it carries.
    "$kache" help >/dev/null || return 1
    echo "$("$kache" --version) of release $ACTION_REF"
}

case "${INSTALL:-auto}" in
path)
    kache="$(command -v kache)" || fail "kache is not on PATH" "the input install says path" "install it in the image, or leave the input out"
    ;;
*)
    where="${RUNNER_TEMP:?}/kache"
    rm -rf "$where"
    kache="$where/bin/kache"
    if [ "${INSTALL:-auto}" != auto ]; then
        with_pip "$INSTALL"
    elif ! from_release; then
        echo "there is no release to take: building kache from the action's own checkout"
        rm -rf "$where"
        with_pip "$here"
    fi
    ;;
esac
echo "$("$kache" --version) in $kache"
echo "kache=$kache" >>"$GITHUB_OUTPUT"
