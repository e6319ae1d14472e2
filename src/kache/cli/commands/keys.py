"""`kache keys generate|list|trust|revoke`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from kache.cli.output import Result
from kache.cli.parser import Examples, refuse_flags_of_others
from kache.cli.session import Session
from kache.errors import UsageError
from kache.reports.render.text import table

if TYPE_CHECKING:
    from kache.remote.keyring import Keyring
    from kache.remote.trust import PublicKey

DESCRIPTION = (
    "Keys of a remote: what is sent is signed with the key of this machine, what is taken must be signed with a key\n"
    "that is trusted here.\n\n"
    "  generate  make the signing key of this machine and print its public half\n"
    "  list      print the keys that are trusted, that sign, and that were revoked\n"
    "  trust     trust a public key\n"
    "  revoke    trust a key no longer, wherever it is named"
)
EXAMPLES: Examples = (
    ("kache keys generate", "on the machine that sends, such as CI"),
    ("kache keys generate --secret", "print a secret key for a CI's secret store, and keep nothing"),
    ("kache keys trust kache-ed25519:KEY --label ci", "on every machine that takes"),
    ("kache keys revoke ci", "after a key got into other hands"),
)
ACTIONS = ("generate", "list", "trust", "revoke")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument("key", metavar="KEY", nargs="?", default="", help="a public key; revoke: or its id or label")
    parser.add_argument("--label", default="", help="trust: what to call it")
    parser.add_argument("--secret", action="store_true", help="generate: print the secret key, write no file")


def run(args: argparse.Namespace, session: Session) -> Result:
    """Do the action."""
    session.warn_of_config_problems()
    from kache.remote.keyring import Keyring
    from kache.remote.trust import PublicKey, SecretKey

    command = f"keys {args.action}"
    given = {
        "--label": (bool(args.label), ("trust",)),
        "--secret": (args.secret, ("generate",)),
        "a key": (bool(args.key), ("trust", "revoke")),
    }
    refuse_flags_of_others("kache keys", args.action, given)
    if args.action == "generate" and args.secret:
        secret = SecretKey.generate()
        data = {"secret": secret.text, "public": secret.public().text}
        return Result(data, f"KACHE_REMOTE_SIGNING_KEY={secret.text}\npublic: {data['public']}", command=command)
    keyring = Keyring(session.env)
    if args.action == "generate":
        made = keyring.generate()
        text = f"signing with {made.id.hex()} from now on; elsewhere:\n  kache keys trust {made.text}"
        return Result(_data(made), text, command=command)
    if args.action == "list":
        return _list(keyring, command)
    if not args.key:
        raise UsageError(f"kache keys {args.action} which key?", fix="see kache keys --help")
    if args.action == "trust":
        key = PublicKey.parse(args.key, args.label.strip())
        keyring.trust(key)
        return Result(_data(key), f"trusting {key.id.hex()} {key.label}".rstrip(), command=command)
    key = keyring.find(args.key)
    keyring.revoke(key)
    return Result(_data(key), f"{key.id.hex()} {key.label} is trusted no longer", command=command)


def _data(key: PublicKey) -> dict[str, Any]:
    return {"id": key.id.hex(), "public": key.text, "label": key.label}


def _list(keyring: Keyring, command: str) -> Result:
    signing = keyring.signing.public().raw if keyring.signing else b""
    keys = [{**_data(key), "signs": key.raw == signing, "revoked": False} for key in keyring.keys]
    keys += [{**_data(key), "signs": key.raw == signing, "revoked": True} for key in keyring.revoked]
    if not keys:
        return Result({"keys": []}, "no keys: nothing is taken from a remote, and nothing is sent", command=command)
    rows = [[key["id"], _word(key), key["public"], key["label"]] for key in keys]
    return Result({"keys": keys}, table(["id", "use", "public key", "label"], rows), command=command)


def _word(key: dict[str, Any]) -> str:
    if key["revoked"]:
        return "revoked"
    return "signs" if key["signs"] else "trusted"
