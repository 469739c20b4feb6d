"""Starting and stopping child processes so that none is left behind.

Every child is the leader of a session of its own, so that a Ctrl-C in the terminal reaches this program alone and the
order of stopping is kept. Every child also asks the kernel for a signal at the death of this program (`setpriv
--pdeathsig`), for the case that this program is killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from .layout import StackError

# How many lines of a log are shown when something has failed.
TAIL_LINES = 25
# A second signal within this time is taken for the same wish: a closed terminal sends two at once.
SAME_WISH_SECONDS = 0.5

_PR_SET_CHILD_SUBREAPER = 36


class Interrupted(BaseException):
    """A signal has asked this program to stop."""


@dataclass
class Child:
    """One started process."""

    name: str
    log: Path
    popen: subprocess.Popen[bytes]
    # The signal that asks it to stop at once, but in order.
    stop_signal: signal.Signals

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.popen.poll() is None

    def failure(self) -> StackError:
        """Says that it ended without having been asked to, and shows the end of its log."""
        code = self.popen.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return StackError(f"{self.name} has ended by itself ({how}); the end of {self.log}:\n{tail(self.log)}")

    def ask_to_stop(self) -> None:
        """Sends its stop signal."""
        self._signal(self.stop_signal)

    def stop(self, patience_seconds: float) -> bool:
        """Stops it, by force after a while. Returns whether it stopped by itself."""
        self.ask_to_stop()
        try:
            self.popen.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True

    def kill(self) -> None:
        """Ends it and its session's processes at once."""
        if self.running:
            os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            self.popen.send_signal(number)


def start(
    name: str,
    command: list[str],
    log: Path,
    stop_signal: signal.Signals = signal.SIGTERM,
    privileges: list[str] | None = None,
) -> Child:
    """Starts a child whose output goes to a log. `privileges` are arguments of setpriv."""
    death = stop_signal.name.removeprefix("SIG")
    prefix = ["setpriv", *(privileges or []), "--pdeathsig", death]
    with log.open("ab") as output:
        popen = subprocess.Popen(
            [*prefix, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A folder that every user can enter, and that no user wants to unmount.
            cwd="/",
            start_new_session=True,
        )
    return Child(name, log, popen, stop_signal)


def wait_until(child: Child, is_ready: Callable[[], bool], timeout_seconds: float) -> None:
    """Waits until a child does its work, and fails if it ends or takes too long."""
    deadline = time.monotonic() + timeout_seconds
    while not is_ready():
        if not child.running:
            raise child.failure()
        if time.monotonic() > deadline:
            raise StackError(
                f"{child.name} does not answer after {timeout_seconds:.0f} s; the end of {child.log}:\n{tail(child.log)}"
            )
        time.sleep(0.05)


def tail(log: Path) -> str:
    """The end of a log, indented."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return "    (there is no log)"
    return "\n".join(f"    {line}" for line in lines[-TAIL_LINES:])


@contextmanager
def stopping_in_order(stop: Callable[[], None], kill: Callable[[], None]) -> Iterator[None]:
    """Runs a body until it ends or a signal asks to stop, and then stops. A second signal makes short work of it."""
    _raise_on_signals()
    try:
        yield
    except Interrupted:
        pass
    finally:
        try:
            stop()
        except Interrupted:
            kill()


def adopt_orphans() -> None:
    """Makes this process the parent of every orphan below it, so that `descendants` sees them."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def descendants(root: int) -> list[int]:
    """The running processes below a process, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parent = _parent_if_running(entry)
            if parent is not None:
                children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for process in found:
        found.extend(children.get(process, []))
    return found[1:]


def command_of(process: int) -> str:
    """The command line of a process, for messages."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "?"


def _raise_on_signals() -> None:
    last = -SAME_WISH_SECONDS

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SAME_WISH_SECONDS:
            last = now
            raise Interrupted

    # Set even where the caller ignores them: a shell does so for what it starts in the background.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def _parent_if_running(entry: Path) -> int | None:
    """The parent of a process, or None if the process has ended."""
    try:
        # The name of the program, in brackets, may itself hold brackets and spaces.
        state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else int(parent)
