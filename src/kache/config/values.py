"""Read one value as text or as TOML gave it: sizes, durations, switches. Pure.

Each reader raises ValueError whose text says what would be right; the caller knows where the value came from.
"""

from __future__ import annotations

_SIZE_UNITS = {
    "": 1,
    "b": 1,
    "k": 1024,
    "kb": 1000,
    "kib": 1024,
    "m": 1024**2,
    "mb": 1000**2,
    "mib": 1024**2,
    "g": 1024**3,
    "gb": 1000**3,
    "gib": 1024**3,
    "t": 1024**4,
    "tb": 1000**4,
    "tib": 1024**4,
}
_DURATION_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SWITCHES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

EXPECTED_SIZE = 'a size such as 10GiB, "500 MB" or a number of bytes'
EXPECTED_DURATION = "a duration such as 90s, 30m, 3h, 7d or a number of seconds"
MAX_DURATION_S = 100 * 366 * 86400.0
MAX_SIZE_BYTES = 1 << 60
EXPECTED_SWITCH = "1 or 0, true or false"
EXPECTED_COUNT = "a whole number from 1 on"


def parse_size(value: object) -> int:
    """Bytes of `10GiB`, `500 MB`, `1.5G` (binary) or a plain number.

    Raises:
        ValueError: not a size; the text says what would be right.
    """
    size = int(_scaled(value, _SIZE_UNITS, EXPECTED_SIZE))
    if size > MAX_SIZE_BYTES:
        raise ValueError(f"{EXPECTED_SIZE}, of 1024 PiB at most")
    return size


def parse_duration(value: object) -> float:
    """Seconds of `90s`, `30m`, `3h`, `7d`, `2w` or a plain number.

    Raises:
        ValueError: not a duration; the text says what would be right.
    """
    seconds = _scaled(value, _DURATION_UNITS, EXPECTED_DURATION)
    if seconds > MAX_DURATION_S:
        raise ValueError(f"{EXPECTED_DURATION}, of a hundred years at most")
    return seconds


def parse_count(value: object) -> int:
    """A number of things, at least one.

    Raises:
        ValueError: not a count; the text says what would be right.
    """
    text = str(value).strip()
    if isinstance(value, bool) or not text.isdecimal() or not 0 < int(text) < 1_000_000_000:
        raise ValueError(EXPECTED_COUNT)
    return int(text)


def parse_switch(value: object) -> bool:
    """A yes or no.

    Raises:
        ValueError: neither; the text says what would be right.
    """
    if isinstance(value, bool):
        return value
    found = _SWITCHES.get(str(value).strip().lower())
    if found is None:
        raise ValueError(EXPECTED_SWITCH)
    return found


def _scaled(value: object, units: dict[str, int] | dict[str, float], expected: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(expected)  # noqa: TRY004 - callers catch one class for every wrong value
    text = str(value).strip().lower()
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(number) :].strip()
    # float() would take "1_0", "inf" and "-5" as well.
    if unit not in units or not number or number.strip("0123456789.") or number.count(".") > 1 or number == ".":
        raise ValueError(expected)
    factor = units[unit]
    return float(number) * factor if "." in number else int(number) * factor
