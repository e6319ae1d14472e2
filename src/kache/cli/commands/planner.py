"""`kache planner serve`."""

from __future__ import annotations

import argparse
from pathlib import Path

from kache.cli.diagnostics import say
from kache.cli.output import Result
from kache.cli.parser import Examples, option
from kache.cli.session import Session
from kache.config.values import parse_count
from kache.errors import PlannerMissingError

DESCRIPTION = (
    "The planner service: it learns from the builds of a team which artifacts a coming build will need, and answers\n"
    "with plans. Clients name it with KACHE_PLANNER. It needs more packages than builds do: kache[planner].\n\n"
    "  serve  answer until it is told to stop"
)
EXAMPLES: Examples = (
    ("kache planner serve", "on this machine alone, with planner.db here"),
    ("kache planner serve --bind 0.0.0.0:8443 --tokens FILE --tls-cert C --tls-key K", "for others"),
    ("kache planner serve --database postgresql://planner@db/planner", "several replicas share one database"),
)
ACTIONS = ("serve",)
SCOPES = ("read", "write", "read+write")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help="serve")
    parser.add_argument("--bind", metavar="HOST:PORT", default="127.0.0.1:8080", help="where (127.0.0.1:8080)")
    parser.add_argument(
        "--database", metavar="URL", default="", help="sqlite:///FILE (planner.db here) or postgresql://USER@HOST/NAME"
    )
    parser.add_argument("--tokens", metavar="FILE", type=Path, help="lines NAME:SCOPES:TOKEN; or KACHE_PLANNER_TOKENS")
    parser.add_argument("--open", action="store_true", help="without tokens also where others can reach it")
    parser.add_argument("--oidc-issuer", metavar="URL", default="", help="take tokens of this issuer as well")
    parser.add_argument("--oidc-audience", metavar="NAME", default="", help="what they must be made for")
    parser.add_argument(
        "--oidc-allow", metavar="WHO", action="append", default=[], help="OWNER, OWNER/REPOSITORY or sub:SUBJECT"
    )
    parser.add_argument("--oidc-scopes", choices=SCOPES, default="read+write", help="what they may")
    parser.add_argument("--tls-cert", metavar="FILE", type=Path, help="speak TLS with this certificate chain (PEM)")
    parser.add_argument("--tls-key", metavar="FILE", type=Path, help="and its key")
    parser.add_argument("--keep-days", metavar="DAYS", type=option(parse_count), default=90, help="forget builds (90)")
    parser.add_argument(
        "--rate", metavar="COUNT", type=option(parse_count), default=300, help="requests a second of a client (300)"
    )


def run(args: argparse.Namespace, session: Session) -> Result:
    """Serve."""
    try:
        from kache.planner.service.app import Settings
        from kache.planner.service.serve import Options
        from kache.planner.service.serve import run as serve
    except ImportError as error:
        raise PlannerMissingError("the planner service cannot start", why=f"{error}; it is part of an extra") from error
    options = Options(
        bind=args.bind,
        database=args.database or session.env.get("KACHE_PLANNER_DATABASE", "") or "sqlite:///planner.db",
        tokens=session.env.get("KACHE_PLANNER_TOKENS", ""),
        tokens_file=args.tokens,
        oidc_issuer=args.oidc_issuer,
        oidc_audience=args.oidc_audience,
        oidc_allow=tuple(args.oidc_allow),
        oidc_scopes=frozenset(args.oidc_scopes.split("+")),
        tls_cert=args.tls_cert,
        tls_key=args.tls_key,
        is_open=args.open,
        settings=Settings(keep_days=args.keep_days, rate_per_s=args.rate),
    )
    serve(options, lambda text: say(f"planner: {text}"))
    return Result({"stopped": True}, "")
