"""The one table of settings: name, type, default, environment variable, meaning.

To add a setting: one row here, one attribute in `load.Config`, one test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kache.config.remote import parse_place
from kache.config.values import parse_count, parse_duration, parse_size, parse_switch

LOG_LEVELS = ("error", "warn", "info", "debug")
INCREMENTAL = ("off", "adaptive")
VERIFY_MODES = ("off", "sampled", "always")
SUMMARY_MODES = ("auto", "always", "off")
GIB = 1024**3
MIN_DEFAULT_SIZE_BYTES = 5 * GIB
MAX_DEFAULT_SIZE_BYTES = 100 * GIB


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: key in the `[cache]` table of a TOML file.
        attribute: field of `Config`.
        type: word for the documentation.
        parse: makes the value of text or of what TOML gave; raises ValueError saying what would be right.
        default: value when nobody sets it; None where `load` computes it (its `doc` says how).
        env: environment variable, ranks above the files.
        doc: one sentence for the documentation.
        env_only: the launcher reads it before any file, so a file cannot set it.
        choices: the words it may be; empty where more is possible.
    """

    name: str
    attribute: str
    type: str
    parse: Callable[[object], object]
    default: object
    env: str
    doc: str
    env_only: bool = False
    choices: tuple[str, ...] = ()


PULL_REQUESTS = ("read", "own")
SCRIPT_RUNS = ("packages", "declared")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a text in quotes")  # noqa: TRY004 - callers catch one class for every wrong value
    return value


def _absolute_path(value: object) -> Path:
    path = Path(_text(value)) if isinstance(value, str) else None
    if path is None or not path.is_absolute():
        raise ValueError("an absolute path")
    return path


def _http_url(value: object) -> str:
    text = _text(value).rstrip("/")
    scheme, _, rest = text.partition("://")
    if text and (scheme not in ("http", "https") or not rest or any(ord(letter) <= 0x20 for letter in text)):
        raise ValueError("a URL that starts with https:// or http://")
    return text


def _one_of(words: tuple[str, ...]) -> Callable[[object], str]:
    def parse(value: object) -> str:
        word = str(value).strip().lower()
        if word not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return word

    return parse


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="cache_dir",
        attribute="cache_dir",
        type="path",
        parse=_absolute_path,
        default=None,
        env="KACHE_CACHE_DIR",
        doc="Where everything is kept; the platform's user cache dir by default.",
        env_only=True,
    ),
    Setting(
        name="socket_path",
        attribute="socket_path",
        type="path",
        parse=_absolute_path,
        default=None,
        env="KACHE_SOCKET_PATH",
        doc="The daemon's socket; beside the store by default.",
        env_only=True,
    ),
    Setting(
        name="daemon",
        attribute="daemon",
        type="switch",
        parse=parse_switch,
        default=True,
        env="KACHE_DAEMON",
        doc="Use, and start, a daemon; off runs the same engine inside each call.",
        env_only=True,
    ),
    Setting(
        name="disabled",
        attribute="disabled",
        type="switch",
        parse=parse_switch,
        default=False,
        env="KACHE_DISABLED",
        doc="Run every compiler as if kache were not there.",
        env_only=True,
    ),
    Setting(
        name="max_size",
        attribute="max_size_bytes",
        type="size",
        parse=parse_size,
        default=None,
        env="KACHE_MAX_SIZE",
        doc="Disk the store may take; 5 % of the disk by default, at least 5 GiB and at most 100 GiB.",
    ),
    Setting(
        name="gc",
        attribute="gc",
        type="switch",
        parse=parse_switch,
        default=True,
        env="KACHE_AUTO_GC",
        doc="Evict by itself when the store outgrows max_size.",
    ),
    Setting(
        name="key_salt",
        attribute="key_salt",
        type="text",
        parse=_text,
        default="",
        env="KACHE_KEY_SALT",
        doc="Part of every cache key: builds with different salts share nothing.",
    ),
    Setting(
        name="local_only",
        attribute="local_only",
        type="switch",
        parse=parse_switch,
        default=False,
        env="KACHE_LOCAL_ONLY",
        doc="Use the store on this machine alone, no remote.",
    ),
    Setting(
        name="trust_domain",
        attribute="trust_domain",
        type="text",
        parse=_text,
        default="",
        env="KACHE_TRUST_DOMAIN",
        doc="Secret name of those who share a remote: salts what is sent of variables; others find nothing.",
    ),
    Setting(
        name="remote",
        attribute="remote",
        type="URL or table",
        parse=parse_place,
        default=None,
        env="KACHE_REMOTE",
        doc="The cache shared with other machines: a URL, or the table [cache.remote] (docs/how-to/remote.md).",
    ),
    Setting(
        name="remote_readonly",
        attribute="remote_readonly",
        type="switch",
        parse=parse_switch,
        default=False,
        env="KACHE_REMOTE_READONLY",
        doc="Take from the remote, send nothing.",
    ),
    Setting(
        name="remote_pull_requests",
        attribute="remote_pull_requests",
        type="choice",
        parse=_one_of(PULL_REQUESTS),
        default="read",
        env="KACHE_REMOTE_PULL_REQUESTS",
        doc="What builds of pull requests may do: `read`, or `own`: also write, to a namespace that nobody else reads.",
    ),
    Setting(
        name="remote_concurrency",
        attribute="remote_concurrency",
        type="count",
        parse=parse_count,
        default=16,
        env="KACHE_REMOTE_CONCURRENCY",
        doc="Requests to the remote at one time.",
    ),
    Setting(
        name="remote_upload_rate",
        attribute="remote_upload_rate",
        type="size",
        parse=parse_size,
        default=0,
        env="KACHE_REMOTE_UPLOAD_RATE",
        doc="Bytes a second that uploads may send; 0 means as many as go.",
    ),
    Setting(
        name="remote_download_rate",
        attribute="remote_download_rate",
        type="size",
        parse=parse_size,
        default=0,
        env="KACHE_REMOTE_DOWNLOAD_RATE",
        doc="Bytes a second that may be fetched; 0 means as many as come.",
    ),
    Setting(
        name="remote_stall",
        attribute="remote_stall_s",
        type="duration",
        parse=parse_duration,
        default=0.8,
        env="KACHE_REMOTE_STALL",
        doc="How long a remote may stand still before builds go on without it.",
    ),
    Setting(
        name="remote_wait",
        attribute="remote_wait_s",
        type="duration",
        parse=parse_duration,
        default=0.25,
        env="KACHE_REMOTE_WAIT",
        doc="How long an entry may be waited for in any case; beyond it, as long as compiling it took elsewhere.",
    ),
    Setting(
        name="remote_warm_limit",
        attribute="remote_warm_limit_s",
        type="duration",
        parse=parse_duration,
        default=60.0,
        env="KACHE_REMOTE_WARM_LIMIT",
        doc="How long cargo may wait, at its first question in a fresh target, for units to come from the remote; it"
        " never waits longer than compiling them is expected to take.",
    ),
    Setting(
        name="remote_queue",
        attribute="remote_queue",
        type="count",
        parse=parse_count,
        default=20000,
        env="KACHE_REMOTE_QUEUE",
        doc="Entries that may wait for their upload; beyond that the oldest are given up.",
    ),
    Setting(
        name="prefetch",
        attribute="prefetch",
        type="switch",
        parse=parse_switch,
        default=True,
        env="KACHE_PREFETCH",
        doc="When a build begins, fetch from the remote what it will need by all that is known; needs the daemon.",
    ),
    Setting(
        name="prefetch_max_size",
        attribute="prefetch_max_bytes",
        type="size",
        parse=parse_size,
        default=2 * GIB,
        env="KACHE_PREFETCH_MAX_SIZE",
        doc="Bytes that one prefetch may fetch, whatever a planner says.",
    ),
    Setting(
        name="planner",
        attribute="planner",
        type="URL",
        parse=_http_url,
        default="",
        env="KACHE_PLANNER",
        doc="Planner service that is asked for plans and told of builds (docs/how-to/planner.md); its token is in"
        " KACHE_PLANNER_TOKEN.",
    ),
    Setting(
        name="s3_bucket",
        attribute="s3_bucket",
        type="text",
        parse=_text,
        default="",
        env="KACHE_S3_BUCKET",
        doc="Bucket of the remote, in place of the one `remote` names.",
    ),
    Setting(
        name="s3_prefix",
        attribute="s3_prefix",
        type="text",
        parse=_text,
        default="",
        env="KACHE_S3_PREFIX",
        doc="Prefix of the remote, in place of the one `remote` names.",
    ),
    Setting(
        name="s3_endpoint",
        attribute="s3_endpoint",
        type="text",
        parse=_text,
        default="",
        env="KACHE_S3_ENDPOINT",
        doc="Server of the remote, in place of the one `remote` names.",
    ),
    Setting(
        name="s3_region",
        attribute="s3_region",
        type="text",
        parse=_text,
        default="",
        env="KACHE_S3_REGION",
        doc="Region of the remote, in place of the one `remote` names.",
    ),
    Setting(
        name="s3_profile",
        attribute="s3_profile",
        type="text",
        parse=_text,
        default="",
        env="KACHE_S3_PROFILE",
        doc="AWS profile of the remote, in place of the one `remote` names.",
    ),
    Setting(
        name="base_dir",
        attribute="base_dir",
        type="path",
        parse=_absolute_path,
        default=None,
        env="KACHE_BASE_DIR",
        doc="Treat paths below this directory as alike in every checkout, beside what kache finds out itself.",
    ),
    Setting(
        name="remap",
        attribute="remap",
        type="switch",
        parse=parse_switch,
        default=True,
        env="KACHE_REMAP",
        doc="Remap source paths in the outputs, so that checkouts give identical files.",
    ),
    Setting(
        name="incremental",
        attribute="incremental",
        type="choice",
        parse=_one_of(INCREMENTAL),
        choices=INCREMENTAL,
        default=None,
        env="KACHE_INCREMENTAL",
        doc="`adaptive` compiles what is being edited incrementally where cargo asks for it, and stores nothing of it;"
        " `off` never does. Off by default on macOS, adaptive elsewhere.",
    ),
    Setting(
        name="observe",
        attribute="observe",
        type="switch",
        parse=parse_switch,
        default=True,
        env="KACHE_OBSERVE",
        doc="Observe what compiles read (Linux with glibc); off, or elsewhere, explicit rules alone decide.",
    ),
    Setting(
        name="warm_start",
        attribute="warm_start",
        type="switch",
        parse=parse_switch,
        default=False,
        env="KACHE_WARM_START",
        doc="Put whole units into a fresh target before cargo asks (on trial, so off by default); needs the daemon.",
    ),
    Setting(
        name="warm_start_scripts",
        attribute="warm_start_scripts",
        type="choice",
        parse=_one_of(SCRIPT_RUNS),
        choices=SCRIPT_RUNS,
        default="packages",
        env="KACHE_WARM_START_SCRIPTS",
        doc="Whose build scripts' runs are put into a fresh target: `packages`, those of registry and git packages;"
        " `declared`, those of the checkout as well, where what they declared is unchanged: they must declare all"
        " that they read.",
    ),
    Setting(
        name="progress",
        attribute="progress",
        type="switch",
        parse=parse_switch,
        default=False,
        env="KACHE_PROGRESS",
        doc="Say each hit among cargo's own lines, on Linux.",
    ),
    Setting(
        name="summary",
        attribute="summary",
        type="choice",
        parse=_one_of(SUMMARY_MODES),
        choices=SUMMARY_MODES,
        default="auto",
        env="KACHE_SUMMARY",
        doc="After `kache cargo` say in a line what the cache did: auto (on a terminal), always or off.",
    ),
    Setting(
        name="verify",
        attribute="verify",
        type="choice",
        parse=_one_of(VERIFY_MODES),
        choices=VERIFY_MODES,
        default="off",
        env="KACHE_VERIFY",
        doc="Compile hits again in the background and report what differs: off, sampled (one hit in 64) or always.",
    ),
    Setting(
        name="idle_timeout",
        attribute="idle_timeout_s",
        type="duration",
        parse=parse_duration,
        default=3 * 3600.0,
        env="KACHE_DAEMON_IDLE_TIMEOUT",
        doc="The daemon exits after this long without a request; 0 means never.",
    ),
    Setting(
        name="log",
        attribute="log_level",
        type="choice",
        parse=_one_of(LOG_LEVELS),
        choices=LOG_LEVELS,
        default="info",
        env="KACHE_LOG",
        doc="How much is logged: error, warn, info or debug.",
    ),
)
