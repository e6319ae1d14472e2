"""`python -m kache.daemon`: what the launcher and the CLI start in the background."""

from __future__ import annotations

import logging
import os
import sys

from kache import __version__
from kache.config.load import load
from kache.daemon import server
from kache.engine.logs import to_file
from kache.errors import KacheError
from kache.util.leaving import leave

EXIT_OTHER_VERSION = 86
LOG_NAME = "daemon.log"
log = logging.getLogger("kache")


def main(argv: list[str]) -> int:
    """Serve; 86 tells a launcher of another version to do without."""
    if len(argv) == 2 and argv[0] == "--launcher-version" and argv[1] != __version__:
        return EXIT_OTHER_VERSION
    os.umask(0o077)
    config = load(os.environ, None)
    try:
        to_file(config.cache_dir / LOG_NAME, config.log_level)
        for problem in config.problems:
            log.warning("%s", problem)
        again = server.run(config)
    except KacheError as error:
        log.error("%s", error.line)
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"kache daemon: {error}\n")
        return 1
    if again:
        os.execv(sys.executable, [sys.executable, "-I", "-m", "kache.daemon"])
    return 0


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
