"""`make docs`: build the site from docs/ and mkdocs.yml into build/site; warnings and broken links are errors."""

from __future__ import annotations

import os
import subprocess
import sys

from tools import setup
from tools.site_links import broken_links


def main() -> int:
    """Install what it needs where it is not there, then build."""
    try:
        python = setup.install_docs()
    except setup.SetupError as error:
        print(error, file=sys.stderr)
        return 1
    # Not --quiet: what that keeps back is not counted by strict either.
    argv = [str(python), "-m", "mkdocs", "build", "--clean"]
    # Material's word about its successor is no warning about this site.
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(argv, cwd=setup.ROOT, env=env, check=False, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        return 1
    broken = broken_links(setup.ROOT / "build" / "site")
    if broken:
        print("\n".join(["error[broken-links]: links of the site lead nowhere", *broken]), file=sys.stderr)
        return 1
    print("docs: the site is in build/site, from index.html on")
    return 0


if __name__ == "__main__":
    sys.exit(main())
