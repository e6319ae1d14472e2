"""Every error class of kache; imports nothing from kache.

An error says what happened, why, and what to do. The CLI prints it as three lines; on the compile path one
function turns it into a passthrough and an event, so none of these can fail a build.
"""

from __future__ import annotations


class KacheError(Exception):
    """A failure kache knows: printed without a traceback.

    Args:
        what: what failed, one line without a full stop; `str(error)` gives it back.
        why: the cause as far as known; the class's own text when empty.
        fix: what the user can do; the class's own text when empty.
        run: the commands to run next, where the class's own do not fit.

    Attributes:
        code: kebab-case id, stable, for scripts and the documentation.
        exit_code: exit status of the command that ends with this error.
        next_commands: what to run next, for scripts.
    """

    code = "error"
    exit_code = 1
    next_commands: tuple[str, ...] = ()
    default_why = ""
    default_fix = ""

    def __init__(self, what: str, *, why: str = "", fix: str = "", run: tuple[str, ...] = ()) -> None:
        super().__init__(what)
        self.next_commands = run or type(self).next_commands
        self.why = why or self.default_why
        self.fix = fix or self.default_fix

    @property
    def what(self) -> str:
        """What failed, the same text as `str(error)`."""
        return str(self)

    @property
    def line(self) -> str:
        """What, why and fix in one line, for a log."""
        return "; ".join(part for part in (self.what, self.why, self.fix) if part)


class StoreError(KacheError):
    """The store cannot be used."""

    code = "store-unusable"
    next_commands: tuple[str, ...] = ("kache doctor",)
    default_fix = "run kache doctor; builds go on without the cache"


class StoreCorruptError(StoreError):
    """The index or a blob does not hold what it must."""

    code = "store-corrupt"
    next_commands: tuple[str, ...] = ("kache doctor --verify --repair",)
    default_fix = "run kache doctor --verify --repair; builds go on without the cache"


class StoreVersionError(StoreError):
    """A newer kache wrote the store; this one cannot read its schema."""

    code = "store-newer"
    next_commands: tuple[str, ...] = ("kache doctor", "kache --version")
    default_why = "a newer kache has migrated the index, and there is no way back"
    default_fix = "upgrade this kache, or give it a cache dir of its own with KACHE_CACHE_DIR"


class CacheDirError(StoreError):
    """The cache dir cannot be created or written, or is not ours."""

    code = "cache-dir-unusable"
    next_commands: tuple[str, ...] = ("kache doctor",)
    default_fix = "make the directory yours and writable, or set KACHE_CACHE_DIR to another one"


class BlobBrokenError(StoreError):
    """A blob is missing or its content is not what its digest says; it is forgotten, with every entry that names it.

    Args:
        digest: of the blob, 32 bytes.

    Attributes:
        digest: the same.
    """

    code = "blob-broken"
    default_why = "it is missing or was altered; it and the entries that name it have been dropped"
    default_fix = "nothing to do: the next compile stores it again"

    def __init__(self, digest: bytes) -> None:
        super().__init__(f"blob {digest.hex()} is broken")
        self.digest = digest


class OutputChangedError(StoreError):
    """A compile's output was written to while it was being stored."""

    code = "output-changed"
    default_why = "something wrote to it after the compiler had ended"
    default_fix = "nothing to do: the next compile is stored"


class DaemonUnreachableError(KacheError):
    """No daemon answers on the socket."""

    code = "daemon-unreachable"
    next_commands: tuple[str, ...] = ("kache daemon start", "kache daemon log")
    default_fix = "run kache daemon start; builds go on without it"


class DaemonSilentError(DaemonUnreachableError):
    """A daemon is there, and says nothing: it was stopped, or it hangs."""

    code = "daemon-silent"
    next_commands: tuple[str, ...] = ("kache daemon log",)
    default_fix = "see kache daemon log; end it by its pid, then kache daemon start"


class RemoteError(KacheError):
    """The remote cannot do what it was asked for; builds go on with the store of this machine."""

    code = "remote-failed"
    next_commands: tuple[str, ...] = ("kache remote status", "kache doctor")
    default_fix = "run kache doctor; builds go on without the remote"


class RemoteUnreachableError(RemoteError):
    """The remote does not answer, answers too late, or says that it is out of order."""

    code = "remote-unreachable"


class RemoteDeniedError(RemoteError):
    """The remote does not let us in, or not do this."""

    code = "remote-denied"
    default_fix = "look at the credentials and what they allow: kache doctor says whose they are"


class RemoteObjectError(RemoteError):
    """An object of the remote is not what it must be; it counts as if it were not there."""

    code = "remote-object"
    next_commands: tuple[str, ...] = ("kache remote verify",)
    default_why = "it was altered, cut short or written by something else"
    default_fix = "run kache remote verify; builds go on without that object"


class UntrustedError(RemoteObjectError):
    """A document is unsigned, signed by a key that is not trusted, or altered."""

    code = "remote-untrusted"
    next_commands: tuple[str, ...] = ("kache keys list", "kache keys trust KEY")
    default_why = "without a signature of a trusted key nobody knows who wrote it"
    default_fix = "if its writer is to be trusted: kache keys trust"


class KeysError(KacheError):
    """A key cannot be read, used or written."""

    code = "keys-unusable"
    next_commands: tuple[str, ...] = ("kache keys list",)
    default_fix = "see kache keys list, and kache keys generate"


class PlannerError(KacheError):
    """The planner service does not answer, or not with what it should; plans are made without it."""

    code = "planner-failed"
    next_commands: tuple[str, ...] = ("kache doctor", "kache config get planner")
    default_fix = "look at its log and at `planner` in the configuration; builds go on without it"


class PlannerDatabaseError(PlannerError):
    """The planner service's database cannot be used.

    Attributes:
        is_full: there is no room where it is.
    """

    code = "planner-database"
    is_full = False
    default_fix = "look at its disk, its server and who may write to it; clients plan without the service meanwhile"


class PlannerSetupError(KacheError):
    """The planner service is told to do what it cannot, or must not."""

    code = "planner-setup"
    next_commands: tuple[str, ...] = ("kache planner --help",)
    default_fix = "mend it and start it again; see kache planner --help"


class PlannerMissingError(KacheError):
    """The planner service needs packages that are not installed."""

    code = "planner-missing"
    next_commands: tuple[str, ...] = ("pip install 'kache[planner]'",)
    default_why = "they are no part of what builds need, so they are an extra"
    default_fix = "install kache[planner], for example: pip install 'kache[planner]'"


class ConfigError(KacheError):
    """A configuration value that a command cannot do without is wrong."""

    code = "config-invalid"
    next_commands: tuple[str, ...] = ("kache config list",)


class ConfigFileError(ConfigError):
    """A configuration file cannot be read, is not TOML, or cannot be changed."""

    code = "config-file-invalid"
    next_commands: tuple[str, ...] = ("kache config path", "kache config edit")
    default_fix = "mend the file; nothing was changed"


class CargoConfigError(ConfigError):
    """A configuration file of cargo's cannot be read or is not TOML."""

    code = "cargo-config-invalid"
    next_commands: tuple[str, ...] = ("kache doctor",)
    default_fix = "mend the file: cargo refuses it as well; nothing was changed"


class SetupBlockedError(KacheError):
    """Something stands in the way of the setup; nothing was changed."""

    code = "setup-blocked"
    next_commands: tuple[str, ...] = ("kache init --check",)
    default_fix = "mend it and run kache init again"


class SetupFailedError(KacheError):
    """A step of the setup failed; what this run had changed is as it was before."""

    code = "setup-failed"
    next_commands: tuple[str, ...] = ("kache init --check",)
    default_fix = "mend it and run kache init again"


class OutputError(KacheError):
    """The file a command should write cannot be written."""

    code = "output-unwritable"
    default_fix = "name another file, or leave -o out to print it"


class ProgramMissingError(KacheError):
    """A program that the command needs is not there or does not start."""

    code = "program-missing"
    next_commands: tuple[str, ...] = ("kache doctor",)
    default_fix = "install it, or mend PATH"


class CancelledError(KacheError):
    """Ctrl-C, or the signal it sends, ended the command."""

    code = "interrupted"
    exit_code = 130
    default_why = "Ctrl-C"
    default_fix = "run it again: nothing was left half done"


class UsageError(KacheError):
    """The command line asks for something kache does not have."""

    code = "usage"
    next_commands: tuple[str, ...] = ("kache help",)
    exit_code = 2
