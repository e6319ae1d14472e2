"""Documents, signatures and the keyring: what is believed, and what is not."""

from __future__ import annotations

import msgspec
import pytest

from kache.core.digest import hash_bytes
from kache.core.entry import Artifact, Entry, InputKind, MemoInput, Role
from kache.errors import KeysError, RemoteObjectError, UntrustedError
from kache.remote import compression, documents, layout
from kache.remote.documents import EntryManifest, Member, PathSet
from kache.remote.keyring import Keyring
from kache.remote.layout import Kind
from kache.remote.trust import MAGIC, PublicKey, SecretKey, Trusted
from tests.support.store import entry_of

SECRET = SecretKey(bytes(range(32)))
SUBJECT = hash_bytes(b"subject")
DOCUMENT = SECRET.sign(Kind.ENTRIES, SUBJECT, b"the body")
TRUSTED = Trusted([SECRET.public("ci")])


def test_a_signed_document_gives_its_body() -> None:
    assert TRUSTED.body(Kind.ENTRIES, SUBJECT, DOCUMENT) == b"the body"


@pytest.mark.parametrize(
    ("kind", "subject"), [(Kind.MEMOS, SUBJECT), (Kind.ENTRIES, hash_bytes(b"other"))], ids=["kind", "name"]
)
def test_a_document_moved_to_another_name_is_refused(kind: str, subject: bytes) -> None:
    with pytest.raises(UntrustedError):
        TRUSTED.body(kind, subject, DOCUMENT)


def test_a_foreign_key_is_refused_even_if_it_claims_to_be_ours() -> None:
    foreign = SecretKey.generate()
    with pytest.raises(UntrustedError, match="signed by the key"):
        TRUSTED.body(Kind.ENTRIES, SUBJECT, foreign.sign(Kind.ENTRIES, SUBJECT, b"the body"))
    _, signature, body = msgspec.msgpack.decode(foreign.sign(Kind.ENTRIES, SUBJECT, b"the body")[len(MAGIC) :])
    swapped = MAGIC + msgspec.msgpack.encode((SECRET.public().id, signature, body))
    with pytest.raises(UntrustedError, match="wrong"):
        TRUSTED.body(Kind.ENTRIES, SUBJECT, swapped)


def test_no_altered_byte_is_believed() -> None:
    for at in range(len(DOCUMENT)):
        altered = bytearray(DOCUMENT)
        altered[at] ^= 1
        with pytest.raises(UntrustedError):
            TRUSTED.body(Kind.ENTRIES, SUBJECT, bytes(altered))


@pytest.mark.parametrize("document", [b"", b"kache1\n", b"{}", MAGIC + b"\xc0", DOCUMENT[:-1], DOCUMENT + b"x"])
def test_what_is_no_document_is_refused(document: bytes) -> None:
    with pytest.raises(UntrustedError):
        TRUSTED.body(Kind.ENTRIES, SUBJECT, document)


def test_keys_are_written_and_read() -> None:
    assert SecretKey.parse(SECRET.text) == SECRET
    assert PublicKey.parse(SECRET.public().text) == SECRET.public()
    assert SECRET.text not in repr(SECRET)
    for text in ("", "kache-ed25519:", "kache-ed25519:AAAA", SECRET.public().text[:-4], SECRET.text):
        with pytest.raises(KeysError):
            PublicKey.parse(text)


# ---- the keyring


@pytest.fixture
def env(tmp_path: object) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def test_our_own_key_is_trusted_and_kept_private(env: dict[str, str]) -> None:
    made = Keyring(env).generate()
    again = Keyring(env)
    assert [key.raw for key in again.keys] == [made.raw]
    path = again.directory / "signing.key"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeysError, match="there is a signing key"):
        again.generate()
    path.chmod(0o644)
    with pytest.raises(KeysError, match="open to others"):
        Keyring(env)


def test_what_is_revoked_is_trusted_nowhere(env: dict[str, str]) -> None:
    key = SecretKey.generate().public("ci")
    Keyring(env).trust(key)
    env["KACHE_REMOTE_TRUSTED_KEYS"] = f"{key.text}, {SECRET.public().text}"
    assert {found.raw for found in Keyring(env).keys} == {key.raw, SECRET.public().raw}
    keyring = Keyring(env)
    keyring.revoke(keyring.find("ci"))
    assert {found.raw for found in Keyring(env).keys} == {SECRET.public().raw}
    Keyring(env).trust(key)
    assert {found.raw for found in Keyring(env).keys} == {key.raw, SECRET.public().raw}


def test_a_secret_key_can_come_from_the_environment(env: dict[str, str]) -> None:
    env["KACHE_REMOTE_SIGNING_KEY"] = SECRET.text
    assert [key.raw for key in Keyring(env).keys] == [SECRET.public().raw]


# ---- documents


def manifest_of(**changes: object) -> EntryManifest:
    artifact = Artifact("libthing-0123.rlib", Role.RLIB, hash_bytes(b"content"), 7, executable=False)
    made = EntryManifest(
        entry=entry_of("thing", (artifact,)),
        inputs=(MemoInput(InputKind.FILE, b"<workspace>/src/lib.rs", hash_bytes(b"source")),),
        members=(Member(hash_bytes(b"content"), 7),),
        pack=hash_bytes(b"pack"),
        pack_bytes=100,
        created_s=1,
        writer="0",
    )
    return msgspec.structs.replace(made, **changes)


def entry_with(**changes: object) -> Entry:
    return msgspec.structs.replace(manifest_of().entry, **changes)


def artifact_named(name: str) -> Entry:
    return entry_with(artifacts=(msgspec.structs.replace(manifest_of().entry.artifacts[0], name=name),))


def test_a_manifest_is_written_and_read() -> None:
    assert documents.decode_manifest(documents.encode(manifest_of())) == manifest_of()


@pytest.mark.parametrize(
    "wrong",
    [
        manifest_of(entry=artifact_named("../libthing.rlib")),
        manifest_of(entry=artifact_named("/etc/passwd")),
        manifest_of(entry=artifact_named("a/b")),
        manifest_of(entry=artifact_named("..")),
        manifest_of(entry=artifact_named("")),
        manifest_of(entry=artifact_named("a\0b")),
        manifest_of(entry=artifact_named("x" * 300)),
        manifest_of(entry=artifact_named("thing.d")),
        manifest_of(entry=entry_with(dep_info_name="../../x.d")),
        manifest_of(entry=entry_with(artifacts=manifest_of().entry.artifacts * 65)),
        manifest_of(members=()),
        manifest_of(members=(Member(hash_bytes(b"content"), 8),)),
        manifest_of(members=(Member(hash_bytes(b"content"), -1),)),
        manifest_of(members=manifest_of().members * 2),
        manifest_of(pack=b"short"),
        manifest_of(pack_bytes=0),
        manifest_of(pack_bytes=1 << 50),
    ],
)
def test_a_manifest_beyond_its_bounds_is_refused(wrong: EntryManifest) -> None:
    with pytest.raises(RemoteObjectError):
        documents.decode_manifest(documents.encode(wrong))


def test_a_document_that_unpacks_to_much_is_refused() -> None:
    bomb = compression.compress(bytes(documents.MAX_BODY_BYTES + 1))
    assert len(bomb) < 10_000
    for read in (documents.decode_manifest, documents.decode_path_set):
        with pytest.raises(RemoteObjectError):
            read(bomb)
        with pytest.raises(RemoteObjectError):
            read(b"no zstd")


def test_no_value_of_a_variable_is_sent() -> None:
    inputs = (
        MemoInput(InputKind.FILE, b"<workspace>/src/lib.rs", hash_bytes(b"source")),
        MemoInput(InputKind.ENV, b"TOKEN", b"\x01" + hash_bytes(b"secret")),
        MemoInput(InputKind.ENV, b"UNSET", b""),
    )
    assert documents.path_set(inputs) == PathSet(
        (
            (InputKind.FILE, b"<workspace>/src/lib.rs", b""),
            (InputKind.ENV, b"TOKEN", b"\x01"),
            (InputKind.ENV, b"UNSET", b""),
        )
    )
    entry = entry_with(dep_info=b"a: b\n\nb:\n\n# env-dep:TOKEN=secret=x\\n\n# env-dep:UNSET\n# env-dep:EMPTY=\n")
    sent = documents.blanked(entry).dep_info
    assert sent == b"a: b\n\nb:\n\n# env-dep:TOKEN=\n# env-dep:UNSET\n# env-dep:EMPTY=\n"


def test_names_are_read_back() -> None:
    digest = hash_bytes(b"x")
    assert layout.parse(layout.memo_name(digest, 3)) == (Kind.MEMOS, digest, 3)
    assert layout.parse(layout.entry_name(digest)) == (Kind.ENTRIES, digest, 0)
    assert layout.parse(layout.pack_name(digest)) == (Kind.PACKS, digest, 0)
    name = digest.hex()
    for other in ("", "v2/entries/ab/cd", f"v1/entries/zz/{name}", f"v1/packs/{name[:2]}/{name}", "v1/entries/../x/y"):
        assert layout.parse(other) is None
