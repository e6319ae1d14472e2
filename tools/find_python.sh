#!/bin/sh
# Print the newest Python that can make a virtual environment for kache, or say in three lines what is missing.
#
# Each candidate is run: a version manager's shim is on PATH for versions it then refuses to start, and some
# distributions ship python3 without the module that makes environments.
set -u

newest_minor=14
oldest_minor=11

# Prints the interpreter's own path, not the shim's.
usable() {
    "$1" -c "
import ensurepip, sys, venv
if not (3, $oldest_minor) <= sys.version_info[:2] <= (3, $newest_minor):
    sys.exit(1)
print(sys.executable)" 2>/dev/null
}

if [ -n "${PYTHON:-}" ]; then
    set -- "$PYTHON"
else
    set -- python3.14 python3.13 python3.12 python3.11 python3 python
fi

for candidate in "$@"; do
    usable "$candidate" && exit 0
done

echo "error[no-python]: no Python 3.$oldest_minor to 3.$newest_minor that can make virtual environments is on PATH" >&2
echo "why: tried $*; each is absent, of another version, or lacks the venv or ensurepip module" >&2
echo "fix: install Python 3.$oldest_minor or newer with its venv module (Debian: apt install python3-venv), or run make PYTHON=/path/to/python3" >&2
exit 1
