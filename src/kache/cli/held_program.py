"""A program that is started and held until it is let go: its process is known before it does anything."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType

_CANNOT_RUN = 127


class HeldProgram:
    """A child process that waits, then becomes the program; whatever this process inherited, it inherits.

    Args:
        argv: the program by its path, and its arguments.
        env: its environment.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        ready, self._gate = os.pipe()
        self._ended = False
        self.pid = os.fork()
        if self.pid == 0:
            _become(ready, self._gate, argv, env)
        os.close(ready)

    def __enter__(self) -> HeldProgram:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """One that was never let go ends without having run."""
        self._close()
        if not self._ended:
            self.wait()

    def let_go(self) -> None:
        """Have it become the program."""
        os.write(self._gate, b"1")
        self._close()

    def wait(self) -> int:
        """Its exit status; of one that a signal ended, the signal's number, negative."""
        _, status = os.waitpid(self.pid, 0)
        self._ended = True
        return os.waitstatus_to_exitcode(status)

    def send_signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        if not self._ended:
            os.kill(self.pid, number)

    def _close(self) -> None:
        gate, self._gate = self._gate, -1
        if gate >= 0:
            os.close(gate)


def _become(ready: int, gate: int, argv: Sequence[str], env: Mapping[str, str]) -> None:
    try:
        os.close(gate)
        if os.read(ready, 1):
            os.execve(argv[0], list(argv), dict(env))
    except OSError as error:
        os.write(2, f"kache: cannot run {argv[0]}: {error.strerror}\n".encode(errors="surrogateescape"))
    finally:
        os._exit(_CANNOT_RUN)
