"""Making processes beside threads that write programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from kache.util import processes
from kache.util.new_file import NewFile


def test_a_program_just_written_can_be_run(tmp_path: Path) -> None:
    """A process made meanwhile has its descriptor for a moment: "Text file busy" for whoever runs the program."""
    content = Path(str(shutil.which("true"))).resolve().read_bytes()
    stop = threading.Event()

    def make_processes() -> None:
        while not stop.is_set():
            processes.run(["true"], 20)

    makers = [threading.Thread(target=make_processes) for _ in range(3)]
    for maker in makers:
        maker.start()
    try:
        for number in range(150):
            path = tmp_path / f"program{number}"
            with NewFile(bytes(path)) as new:
                with open(new.fd, "wb", closefd=False) as file:
                    file.write(content)
                os.fchmod(new.fd, 0o755)
                new.publish()
            subprocess.run([path], check=True)
    finally:
        stop.set()
        for maker in makers:
            maker.join()


def test_what_takes_too_long_is_killed() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        processes.run(["sleep", "60"], 0.2)


def test_output_and_status() -> None:
    done = processes.run(["sh", "-c", "echo out; echo err >&2; cat; exit 3"], 20)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
