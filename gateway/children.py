"""Processes that live no longer than we do."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

STOP_WITHIN_S = 15.0
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Child:
    """A process we started; what it says is in `log`."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def ended(self) -> bool:
        """Whether it is gone, wanted or not."""
        return self.process.poll() is not None

    def last_words(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def start(name: str, command: list[str], *, folder: Path, environ: Mapping[str, str]) -> Child:
    """Start `command` in `folder`, where its log goes, and in a session of its own: a Ctrl-C meant for us does not reach it."""
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603  our own programs
            command,
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=_dies_with(os.getpid()),
        )
    return Child(name, process, log)


def stop(children: list[Child], within_s: float = STOP_WITHIN_S) -> None:
    """Ask all of them to stop, wait, and end what does not."""
    for child in children:
        if not child.ended:
            child.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + within_s
    for child in children:
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()


def _dies_with(parent: int) -> Callable[[], None] | None:
    """On Linux the kernel ends a child whose parent was killed without a chance to stop it."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def ask_the_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return ask_the_kernel
