# Install the wheel $1 into an environment of its own at $2, for the launcher at $3. Progress and errors go to stderr.
set -u
for python in python3.14 python3.13 python3.12 python3.11 python3 ""; do
    [ -n "$python" ] || break
    "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
done
if [ -z "$python" ]; then
    echo "error[no-python]: kache has no Python to run with" >&2
    echo "why: no Python 3.11 or newer that can make virtual environments is on PATH" >&2
    echo "fix: install one (Debian: apt install python3-venv); compiles go on without the cache" >&2
    exit 1
fi
echo "kache: first use of this version: installing its Python package into $2 (once, some seconds)" >&2
rm -rf "$2"
"$python" -m venv "$2" >&2 && "$2/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "$1" >&2 || {
    echo "error[not-installed]: kache's Python package could not be installed into $2" >&2
    echo "why: what pip says is above; it fetches what the package depends on" >&2
    echo "fix: see that pip reaches a package index, and run the command again; compiles go on without the cache" >&2
    exit 1
}
# The launcher that people call is the one that kache init names.
ln -sf "$3" "$2/bin/kache" && touch "$2/complete"
