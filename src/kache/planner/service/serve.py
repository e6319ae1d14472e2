"""Starts the service: its database, who may come in, its socket, TLS."""

from __future__ import annotations

import ipaddress
import logging
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from kache.errors import PlannerSetupError
from kache.planner.service.app import Service, Settings
from kache.planner.service.auth import SCOPES, Door, Tokens, Verifier
from kache.planner.service.database import Database
from kache.planner.service.oidc import Issuer, Oidc

log = logging.getLogger("kache")
_BACKLOG = 512
_AT_ONCE = 512
_IDLE_S = 30
_DRAIN_S = 10


@dataclass(frozen=True, slots=True)
class Options:
    """What `kache planner serve` was told.

    Attributes:
        bind: HOST:PORT; port 0 takes a free one.
        database: URL.
        tokens: text of tokens, and where it came from.
        tokens_file: file of tokens.
        oidc_issuer, oidc_audience, oidc_allow, oidc_scopes: see `oidc.Issuer`.
        tls_cert, tls_key: PEM files.
        is_open: everybody may do everything, wherever it listens.
        settings: how it behaves.
    """

    bind: str = "127.0.0.1:8080"
    database: str = "sqlite:///planner.db"
    tokens: str = ""
    tokens_file: Path | None = None
    oidc_issuer: str = ""
    oidc_audience: str = ""
    oidc_allow: tuple[str, ...] = ()
    oidc_scopes: frozenset[str] = frozenset(SCOPES)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    is_open: bool = False
    settings: Settings = field(default_factory=Settings)


def run(options: Options, say: Callable[[str], None]) -> None:
    """Serve until told to stop.

    Args:
        options: what was asked for.
        say: told where it listens, once it does.

    Raises:
        PlannerSetupError: it cannot listen there, or must not.
        PlannerDatabaseError: the database cannot be used.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    door = Door(_verifiers(options))
    host, port = _place(options.bind)
    if door.is_open and not options.is_open and not _is_loopback(host):
        raise PlannerSetupError(
            f"{options.bind} can be reached by others, and everybody could read and write",
            why="neither tokens nor an OIDC issuer are set",
            fix="set KACHE_PLANNER_TOKENS, --tokens or --oidc-issuer, or say --open if that is meant",
        )
    if (options.tls_cert is None) != (options.tls_key is None):
        raise PlannerSetupError("TLS needs a certificate and its key", fix="give --tls-cert and --tls-key")
    listener = _listen(host, port)
    database = Database(options.database)
    scheme = "https" if options.tls_cert else "http"
    try:
        config = uvicorn.Config(
            Service(database, door, options.settings).app(),
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_AT_ONCE,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=_DRAIN_S,
            ssl_certfile=options.tls_cert,
            ssl_keyfile=options.tls_key,
            ws="none",
        )
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise PlannerSetupError("the certificate or its key cannot be used", why=str(error)) from error
    shown = f"[{host}]" if ":" in host else host
    say(f"{scheme}://{shown}:{listener.getsockname()[1]} (database {database.url})")
    uvicorn.Server(config).run(sockets=[listener])


def _verifiers(options: Options) -> list[Verifier]:
    found: list[Verifier] = []
    if options.tokens:
        found.append(Tokens.parse(options.tokens, "KACHE_PLANNER_TOKENS"))
    if options.tokens_file is not None:
        try:
            text = options.tokens_file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise PlannerSetupError(f"cannot read {options.tokens_file}", why=str(error)) from error
        found.append(Tokens.parse(text, str(options.tokens_file)))
    if options.oidc_issuer:
        issuer = Issuer(options.oidc_issuer, options.oidc_audience, options.oidc_allow, options.oidc_scopes)
        found.append(Oidc(issuer))
    return found


def _place(bind: str) -> tuple[str, int]:
    host, colon, port = bind.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65_535:
        raise PlannerSetupError(f"{bind!r} is no address", why="one is HOST:PORT", fix="write 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise PlannerSetupError(
            f"cannot listen on {host}:{port}", why=error.strerror or str(error), fix="name another address with --bind"
        ) from error
