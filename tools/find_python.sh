#!/bin/sh
# Print the newest Python that can make a virtual environment for kache, or say in three lines what is missing.
#
# Each candidate is run: a version manager's shim is on PATH for versions it then refuses to start, and some
# distributions ship python3 without the module that makes environments.
set -u

newest_minor=14
oldest_minor=11

# Prints the interpreter's own path, not a shim's or an environment's.
usable() {
    "$1" -c "
import ensurepip, sys, venv
if not (3, $oldest_minor) <= sys.version_info[:2] <= (3, $newest_minor):
    sys.exit(1)
print(getattr(sys, '_base_executable', sys.executable))" 2>/dev/null
}

if [ -n "${PYTHON:-}" ]; then
    set -- "$PYTHON"
else
    # The Python of an environment made before comes first: without PYTHON= again, it stays.
    set -- .venv/bin/python python3.14 python3.13 python3.12 python3.11 python3 python
fi

for candidate in "$@"; do
    usable "$candidate" && exit 0
done

echo "error[no-python]: no Python 3.$oldest_minor to 3.$newest_minor that can make virtual environments is on PATH" >&2
echo "why: tried $*; each is absent, of another version, or lacks the venv or ensurepip module" >&2
echo "fix: install Python 3.$oldest_minor or newer with its venv module (Debian: apt install python3-venv), or run make PYTHON=/path/to/python3" >&2
exit 1
