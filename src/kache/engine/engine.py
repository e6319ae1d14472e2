"""The engine: one object that answers calls, whoever asks.

`begin` decides without running anything; `restore` serves a hit; `compile` hands out a token and what to run; `finish`
records. The daemon calls them from its event loop and a worker thread, the in-process wrapper one after the other.
Whatever goes wrong in here becomes a passthrough and an event: a cache problem never fails a build.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc.invocation import Refusal
from kache.compilers.rustc.key_inputs import PendingRecord
from kache.compilers.rustc.macro_library import MacroTraits
from kache.compilers.rustc.observed_log import filter_for
from kache.compilers.rustc.outputs import existing_outputs
from kache.compilers.rustc.toolchain import Toolchain
from kache.config.load import Config
from kache.core.digest import Digest
from kache.core.entry import Entry, FileIdentity, MemoInput
from kache.core.outcome import Outcome, Reason
from kache.engine import progress
from kache.engine.builds import Builds
from kache.engine.calls import Call, Compile
from kache.engine.configs import Configs
from kache.engine.decisions import Asked, Decision, Found, Missed, Passed
from kache.engine.edit_states import EditStates, Wanted
from kache.engine.edits import Edits, correct_dep_info, inputs_read
from kache.engine.events import Events
from kache.engine.in_place_linkers import InPlaceLinkers
from kache.engine.kept_toolchains import KeptToolchains
from kache.engine.lookup import Lookup, trace_of
from kache.engine.prefetch.learning import Learning
from kache.engine.preparation import Preparation
from kache.engine.record import Moments, NotStoredError, Recorder, at_end, identity_of, labelled
from kache.engine.requests import Announcement, environment
from kache.engine.serve import Served, serve
from kache.engine.transfer import policy
from kache.engine.verification import Verification
from kache.engine.warm_start.told import told
from kache.engine.warm_start.traces import Trace, Traces
from kache.engine.warm_start.warm_start import WarmStart
from kache.errors import BlobBrokenError, StoreError
from kache.ipc.protocol import Done, Request, Run
from kache.store.local import LocalStore

log = logging.getLogger("kache")
CLOCK_NAME = "clock"
WAIT = 1
"""Flag of RUN: after DONE the launcher waits until the engine closes the connection."""


class Engine:
    """Answers calls from one store.

    Args:
        store: the open store.
        cache_dir: where its clock file is.
        state_dir: where what is known of the machine's toolchains is kept: it outlives a cache, and serves all of them.
        outlives_builds: it is a daemon's, so it sees builds end.
    """

    def __init__(self, store: LocalStore, cache_dir: Path, state_dir: Path, *, outlives_builds: bool = True) -> None:
        self.store = store
        self._outlives_builds = outlives_builds
        self.digests = FileDigests(self._saved_digest)
        self.configs = Configs()
        self.pending: set[bytes] = set()
        self.traces = Traces()
        self._in_place_linkers = InPlaceLinkers()
        self.preparation = Preparation(store)
        self.warm_start = WarmStart(store, self.digests, self.traces, self._in_place_linkers)
        self.broken = False
        self._clock_path = os.fsencode(cache_dir / CLOCK_NAME)
        self._builds = Builds()
        self._lookup = Lookup(store, self.digests, self._is_pending)
        self.learning = Learning(store, self._lookup.toolchains, is_on=outlives_builds)
        self._recorder = Recorder(store, self.digests, MacroTraits(self.digests), self._in_place_linkers)
        self._edits = Edits(store)
        self.edit_states = EditStates(cache_dir)
        self._verification = Verification(cache_dir)
        self._compiles: dict[int, Compile] = {}
        self._next_token = int.from_bytes(os.urandom(7), "little")
        self.events = Events(store)
        self._kept_toolchains = KeptToolchains(self._lookup.toolchains, state_dir, cache_dir)

    # ---- a call

    def arrive(self, request: Request) -> Call:
        """Note when a call came and whose it is."""
        return Call(request, time.time_ns(), time.perf_counter(), self._builds.of(request.ppid))

    def config(self, call: Call) -> Config:
        """The settings of the call's workspace."""
        if call.config is None:
            call.config = self.configs.of(call.request.env, call.build.cwd or call.request.cwd)
        return call.config

    def begin(self, call: Call) -> Decision:
        """Decide.

        Raises:
            PendingRecord: ask again when the artifact at its path is recorded.
        """
        try:
            config = self.config(call)
            if config.disabled:
                return Passed(Reason.DISABLED)
            return self._lookup.decide(call.request, config)
        except PendingRecord:
            raise
        except StoreError as error:
            self.broken = True
            log.warning("lookup: %s: %s", error.what, error.why)
            return Passed(Reason.STORE_UNAVAILABLE, error.what, outcome=Outcome.ERROR)
        except Exception:
            log.exception("lookup failed")
            return Passed(Reason.INTERNAL_ERROR, outcome=Outcome.ERROR)

    def restore(self, call: Call, found: Found) -> Served | Passed | None:
        """Serve a hit.

        Returns:
            What was served; Passed when the outputs cannot be written; None when a blob is missing or wrong: the store
            has forgotten the entry, and asking `begin` again gives a miss.
        """
        try:
            served = serve(found, call.request, self.store, self.digests)
        except BlobBrokenError as error:
            log.warning("%s: %s; it is compiled anew", found.entry.crate_name, error)
            return None
        except (OSError, StoreError) as error:
            log.warning("restore of %s: %s", found.entry.crate_name, _in_a_line(error))
            return Passed(
                Reason.RESTORE_FAILED, str(error), found.entry.crate_name, found.entry.unit_kind, Outcome.ERROR
            )
        except Exception:
            log.exception("restore failed")
            return Passed(Reason.INTERNAL_ERROR, "", found.entry.crate_name, found.entry.unit_kind, Outcome.ERROR)
        self.preparation.note(call.build, found.entry)
        self._trace(call, found.trace)
        self._verification.consider(call.request, call.build, found.entry, self.config(call).verify)
        self._add_event(
            call,
            self.learning.note(call, found.entry, found.outcome),
            crate_name=found.entry.crate_name,
            unit_kind=found.entry.unit_kind,
            compile_ms=found.entry.compile_ms,
            linked_bytes=served.linked_bytes,
            cloned_bytes=served.cloned_bytes,
            copied_bytes=served.copied_bytes,
            entry_key=found.entry.key,
        )
        return served

    def wants_seed(self, call: Call) -> bool:
        """Whether this is cargo's first question in a target it has never built in."""
        if call.request.argv[-1:] != [b"-vV"] or not call.build.argv or not self.config(call).warm_start:
            return False
        self.warm_start.note(call.build, call.request, self.config(call))
        return self.warm_start.is_due(call.build)

    def announced(self, announcement: Announcement) -> Call:
        """Note a cargo that is about to start, as the call it would make first."""
        request = announcement.as_request()
        build = self._builds.announce(request.ppid, announcement.argv, request.cwd)
        call = Call(request, time.time_ns(), time.perf_counter(), build)
        if self.config(call).warm_start and not self.config(call).disabled:
            self.warm_start.note(build, request, self.config(call))
        return call

    def toolchain_of(self, call: Call) -> Toolchain | Refusal:
        """The compiler a call asks; may take half a second of hashing the first time."""
        request = call.request
        return self._lookup.toolchains.identify(request.argv[0], environment(request), request.cwd, request.ppid)

    def seed(self, call: Call, *, fills_up: bool = False) -> int:
        """Put whole units into the call's target; blocks, so the daemon calls it in a worker thread.

        Args:
            call: cargo's first.
            fills_up: also where cargo has built before.

        Returns:
            The number of units placed.
        """
        started, placed = time.perf_counter(), None
        try:
            toolchain = self.toolchain_of(call)
            if not isinstance(toolchain, Refusal):
                now = self._touched_now()
                placed = self.warm_start.seed(call.build, call.request.umask, toolchain, now, fills_up=fills_up)
        except (OSError, StoreError) as error:
            log.warning("warm start: %s", error)
        except Exception:
            log.exception("warm start failed")
        if placed is None:
            return 0
        self.learning.note_placed(call, placed.units)
        for outcome, known in told(placed, int((time.perf_counter() - started) * 1e6)):
            self._add_event(call, outcome, **known)
        return len(placed.units)

    def passed(self, call: Call, passed: Passed) -> None:
        """Count a call that went past the cache."""
        log.debug("passthrough %s: %s %s", passed.crate_name, passed.reason, passed.detail)
        crate = {"crate_name": passed.crate_name, "unit_kind": passed.unit_kind}
        self._add_event(call, passed.outcome, reason=passed.reason, **crate)

    def compile(self, call: Call, missed: Missed, *, wait: bool) -> Run:
        """Hand out a compile.

        Args:
            call: the call.
            missed: its decision.
            wait: the launcher must wait for `finish`: there is no daemon to do it afterwards.

        Raises:
            OSError: the filesystem's clock cannot be read.
        """
        roots, invocation = missed.around.roots, missed.call
        started_ns = self._touched_now().st_mtime_ns
        identities = [(path, identity_of(os.stat(path))) for path in missed.inputs.files]
        self._next_token = (self._next_token + 1) & 0x7FFFFFFFFFFFFFFF
        edit = self._edits.edit_of(missed, self.config(call))
        is_private = self._edits.is_private(missed, edit)
        is_further = edit is not None and edit.is_further
        replacements = roots.reverse(json=invocation.json_errors) if missed.remapped else []
        if edit is not None:
            self.edit_states.give_up(edit.state)
        if edit is not None and is_further:
            edit = edit.with_linked_out(invocation.out_dir)
            replacements = [*edit.true_name(invocation), *replacements]
        self._compiles[self._next_token] = Compile(call, missed, Moments(started_ns, identities), edit, is_private)
        self.events.begun()
        return Run(
            token=self._next_token,
            # What a further edit leaves is put right before cargo looks at it.
            flags=WAIT if wait or is_further else 0,
            argv=missed.argv() if edit is None else edit.argv(missed),
            env_set=[],
            env_unset=[],
            replacements=replacements,
            unlink=existing_outputs(invocation),
            # A first edit is stored like any miss; of further ones nothing is.
            filter=b"" if not missed.is_observed or is_further else filter_for(invocation, missed.toolchain),
        )

    def ask(self, asked: Asked) -> Run:
        """Hand out a question to rustc as it stands."""
        self._next_token = (self._next_token + 1) & 0x7FFFFFFFFFFFFFFF
        return Run(self._next_token, 0, asked.argv, [], [], [], [])

    def learn(self, asked: Asked, done: Done) -> None:
        """Keep what rustc answered."""
        self._lookup.queries.learn(asked.key, done)

    def started(self, token: int) -> Compile | None:
        """A compile handed out and not finished."""
        return self._compiles.get(token)

    def expect(self, done: Done) -> None:
        """A rustc has ended and `finish` will come: links that read its outputs wait, and those may not change."""
        compile_ = self._compiles.get(done.token)
        if compile_ is not None:
            self.pending.add(_stem(compile_.missed))
            compile_.around.messages, compile_.around.outputs = at_end(done)

    def abandon(self, token: int) -> None:
        """The launcher is gone: nothing will come of this compile."""
        compile_ = self._compiles.pop(token, None)
        if compile_ is not None:
            self.pending.discard(_stem(compile_.missed))

    def finish(self, done: Done) -> Entry | None:
        """Record a compile that ended; may take long (hashing), so the daemon calls it in a worker thread."""
        compile_ = self._compiles.pop(done.token, None)
        if compile_ is None:
            return None
        try:
            if not compile_.is_incremental:
                return self._record(compile_, done)
            self._edited(compile_, done)
            return None
        finally:
            # Last: whoever waits until nothing is pending (flush) finds this call counted.
            self.pending.discard(_stem(compile_.missed))

    def _record(self, compile_: Compile, done: Done) -> Entry | None:
        missed, reason, outcome, stored = compile_.missed, "", Outcome.MISS, None
        try:
            if compile_.is_private:
                raise NotStoredError(Reason.INCREMENTAL_EXTERN)
            stored = self._recorder.record(missed, done, compile_.around, send_to=self._send_to(compile_))
            self.preparation.note(compile_.call.build, stored[0])
            self.learning.note(compile_.call, stored[0], outcome)
        except NotStoredError as error:
            reason = error.reason
            log.info("not stored %s: %s %s", missed.shape.crate_name, error.reason, error.detail)
        except (StoreError, OSError) as error:
            reason, outcome = Reason.STORE_WRITE_FAILED, Outcome.ERROR
            log.warning("record %s: %s", missed.shape.crate_name, _in_a_line(error))
        except Exception:
            reason, outcome = Reason.INTERNAL_ERROR, Outcome.ERROR
            log.exception("record failed")
        if compile_.edit is not None:
            compile_.edit.end(done)
            if done.wait_status == 0:
                self.edit_states.note(compile_.call.build.id, Wanted(compile_.edit, missed, compile_.call.request))
        if stored is not None and missed.is_traced:
            self._trace(compile_.call, trace_of(missed, *stored))
        self._compiled(compile_, done, outcome, reason, () if stored is None else stored[1].inputs)
        return None if stored is None else stored[0]

    def _edited(self, compile_: Compile, done: Done) -> None:
        assert compile_.edit is not None
        reason = compile_.edit.end(done)
        correct_dep_info(compile_.edit, compile_.missed)
        inputs = inputs_read(compile_.missed, self.digests, compile_.started_ns)
        self._compiled(compile_, done, Outcome.PASSTHROUGH, reason, inputs)

    def _send_to(self, compile_: Compile) -> str:
        """The remote this compile may be sent to."""
        if compile_.missed.place is None:
            return ""
        sent_to = policy.sent_to(self.config(compile_.call), policy.relevant(compile_.call.request.env))
        return "" if sent_to is None else str(sent_to)

    def _compiled(
        self, compile_: Compile, done: Done, outcome: Outcome, reason: str, inputs: Sequence[MemoInput]
    ) -> None:
        """Note that rustc ran, and on what."""
        missed = compile_.missed
        self._add_event(
            compile_.call,
            outcome,
            reason=reason,
            crate_name=missed.shape.crate_name,
            unit_kind=missed.call.unit_kind,
            compile_ms=done.wall_us // 1000,
            inputs=labelled(missed, inputs),
        )

    # ---- events and persistence

    def flush(self) -> None:
        """Write events and what was learnt about files."""
        try:
            self.events.write()
            rows = self.digests.unsaved()
            if rows:
                self.store.save_file_digests(rows)
        except StoreError as error:
            log.warning("cannot write events: %s: %s", error.what, error.why)

    def close(self) -> None:
        """Keep what took long to find out; the store is the caller's to close."""
        self.flush()
        self._kept_toolchains.save()

    @property
    def in_flight(self) -> int:
        """Compiles handed out and not recorded yet."""
        return len(self._compiles) + len(self.pending)

    def running(self) -> list[dict[str, Any]]:
        """The compiles handed out and not ended yet, for people who watch."""
        now = time.perf_counter()
        return [
            {
                "crate_name": each.missed.shape.crate_name,
                "unit_kind": each.missed.call.unit_kind,
                "build": each.call.build.id,
                "elapsed_ms": round((now - each.call.clock) * 1000, 1),
            }
            for each in list(self._compiles.values())
        ]

    def _add_event(self, call: Call, outcome: Outcome, **known: Any) -> None:
        event = self.events.add(call, outcome, **known)
        if progress.is_told(outcome) and self.config(call).progress:
            progress.tell(call.build.id, outcome, event.crate_name, call.request.env, event.elapsed_us)

    def _saved_digest(self, identity: FileIdentity) -> Digest | None:
        try:
            return self.store.file_digest(identity)
        except StoreError:
            return None

    def _trace(self, call: Call, trace: Trace | None) -> None:
        if trace is None or not self._outlives_builds:
            return  # without a daemon nobody would be there to capture what the build left
        if self.warm_start.note(call.build, call.request, self.config(call)) is not None:
            self.traces.add(call.build.id, trace, call.at_ns)

    def _is_pending(self, path: bytes) -> bool:
        return bool(self.pending) and path.rpartition(b".")[0] in self.pending

    def _touched_now(self) -> os.stat_result:
        """Of a file touched now: its date is the filesystem's own clock, with its own grain."""
        try:
            os.utime(self._clock_path)
        except FileNotFoundError:
            os.close(os.open(self._clock_path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        return os.stat(self._clock_path)


def _in_a_line(error: Exception) -> str:
    """An error with its cause: that a file cannot be stored says little without that the disk is full."""
    return f"{error}: {error.why}" if isinstance(error, StoreError) and error.why else str(error)


def _stem(missed: Missed) -> bytes:
    call = missed.call
    return call.out_dir + b"/lib" + call.crate_name.encode() + call.extra_filename
