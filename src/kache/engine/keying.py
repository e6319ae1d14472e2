"""Gather the key inputs of a call that is parsed: its words, its externs, what is native, what a link reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc import clippy
from kache.compilers.rustc.invocation import Invocation, Refusal
from kache.compilers.rustc.key_inputs import KeyInputs, add_externs, add_link_closure, add_native, static_inputs
from kache.compilers.rustc.native import NativeResolver, target_specifications
from kache.compilers.rustc.roots import Roots
from kache.compilers.rustc.toolchain import Toolchain
from kache.config.load import Config
from kache.core.outcome import Reason
from kache.ipc.protocol import Request
from kache.store.local import LocalStore


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks.

    Attributes:
        request: the call.
        env: its environment.
        config: settings of its workspace.
        seen_id: identifies call and settings.
    """

    request: Request
    env: dict[bytes, bytes]
    config: Config
    seen_id: bytes


class Keying:
    """Makes key inputs.

    Args:
        store: knows what recorded artifacts were compiled against.
        digests: the stat memo.
        pending: whether the artifact at a path is still being recorded.
    """

    def __init__(self, store: LocalStore, digests: FileDigests, pending: Callable[[bytes], bool]) -> None:
        self._store = store
        self._digests = digests
        self._pending = pending
        self._native = NativeResolver()

    def inputs(
        self, call: Invocation, roots: Roots, asker: Asker, toolchain: Toolchain, *, remapped: bool
    ) -> KeyInputs | Refusal:
        """Every input known before rustc runs.

        Raises:
            PendingRecord: an rlib this link reads is still being recorded.
            OSError: a file vanished or cannot be read.
        """
        cwd = asker.request.cwd
        inputs = static_inputs(call, roots, asker.env, toolchain)
        # A directory that rustc is not told another name for is in the outputs: HOME alone hides none.
        inputs.add(b"cwd", roots.remapped(cwd))
        inputs.add(b"salt", asker.config.key_salt.encode())
        if not asker.config.observe:
            inputs.add(b"closures", b"by explicit rules alone")  # they prove less than those observed
        if remapped:
            inputs.add(b"paths", b"remapped")
        else:
            # Outputs then hold real paths: they fit no other place.
            inputs.add(b"paths", b"real " + b" ".join(root.path for root in roots.all if root.name))
        add_externs(call, self._digests, inputs)
        native = self._native.resolve(call, asker.env, cwd)
        if isinstance(native, Refusal):
            return native
        if native.unfollowed and not asker.config.observe:
            return Refusal(Reason.NATIVE_INPUT, native.unfollowed)
        inputs.unfollowed = native.unfollowed
        native.files += target_specifications(call, asker.env)
        inputs.absent += native.absent
        if call.is_clippy:
            present, absent = clippy.configuration(asker.env, cwd)
            native.files += present
            inputs.absent += absent
        add_native(native, roots, self._digests, inputs)
        if call.links:
            add_link_closure(call, self._digests, inputs, self._store.links, self._pending)
        return inputs


def may_remap(call: Invocation, roots: Roots) -> bool:
    """Whether outputs may name paths by stable names.

    Coverage maps must name real files; trybuild compares messages itself; unpacked debug info is found by the name of
    the target dir, which is the stable one only where it is `target` in the workspace.
    """
    if call.coverage or b"/trybuild/" in call.out_dir:
        return False
    return call.split_debuginfo != "unpacked" or any(root.path == roots.cwd + b"/target" for root in roots.all)
