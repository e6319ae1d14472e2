"""The checks of `kache doctor`, one a file, each a function `check(around) -> list[Finding]`.

To add one: a module here, its name in `CHECKS`, a test.
"""

CHECKS: tuple[str, ...] = (
    "versions",
    "config",
    "cache_dir",
    "filesystem",
    "socket",
    "daemon",
    "store",
    "remote",
    "planner",
    "verified",
    "rustc",
    "toolchains",
    "wrapper",
    "incremental",
    "links",
    "budget",
    "clock",
    "service",
    "use",
    "observation",
)
