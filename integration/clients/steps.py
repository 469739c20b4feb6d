"""Named steps, bounded waits and the exit code that every client program here shares.

A step prints one line `ok NAME` when its body ends without an exception. The first failure ends the program: its step
and reason go to stderr and the exit code is 1. There are no soft failures and no retries of a whole step, because a
proxy that is right only the second time is wrong.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

# The longest that one awaited thing (a message, a receipt, a directory entry) may take to appear.
WAIT_SECONDS = 20.0

# The longest that a whole program may take. A hang anywhere becomes a failure that names its step.
PROGRAM_SECONDS = 120.0

# The files of these programs, to tell their frames in a traceback from those of the libraries.
OWN_FILES = {path.name for path in Path(__file__).parent.glob("*.py")}

T = TypeVar("T")


class Failure(Exception):
    """Something was not as the Matrix specification says; the text is the reason shown to the reader."""


class Steps:
    """Counts the steps that passed, and remembers which one is under way."""

    def __init__(self) -> None:
        self.passed = 0
        self.current = "start"

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Runs its body as the step `name`, and reports the step when the body succeeds."""
        self.current = name
        yield
        self.passed += 1
        print(f"ok {name}", flush=True)


def require(condition: bool, reason: str) -> None:
    """Fails with `reason` unless `condition` holds. Unlike `assert` it is not removed by `python -O`."""
    if not condition:
        raise Failure(reason)


async def eventually(
    description: str, attempt: Callable[[], Awaitable[T | None]], within_seconds: float = WAIT_SECONDS
) -> T:
    """Repeats `attempt` until it gives something, for what a homeserver does in the background (its directories)."""
    deadline = asyncio.get_running_loop().time() + within_seconds
    while True:
        result = await attempt()
        if result is not None:
            return result
        if asyncio.get_running_loop().time() > deadline:
            raise Failure(f"{description}: not within {within_seconds:.0f} s")
        await asyncio.sleep(0.25)


def run_program(program: Callable[[Steps], Awaitable[None]]) -> int:
    """Runs `program` inside the overall time limit, and returns the exit code for the process."""
    steps = Steps()
    try:
        asyncio.run(_bounded(program, steps))
    except Exception as error:
        print(f"failed {steps.current}: {_describe(error)}", file=sys.stderr, flush=True)
        return 1
    print(f"{steps.passed} steps passed", flush=True)
    return 0


async def _bounded(program: Callable[[Steps], Awaitable[None]], steps: Steps) -> None:
    limit = asyncio.timeout(PROGRAM_SECONDS)
    try:
        async with limit:
            await program(steps)
    except TimeoutError as error:
        if limit.expired():
            raise Failure(f"the program took longer than {PROGRAM_SECONDS:.0f} s") from error
        raise


def _describe(error: Exception) -> str:
    """A `Failure` explains itself; anything else is told by its type and where in these programs it came up."""
    if isinstance(error, Failure):
        return str(error)
    frames = [Path(frame.filename).name + f":{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    own = [frame for frame in frames if frame.split(":")[0] in OWN_FILES]
    return f"{type(error).__name__}: {error} ({' > '.join(own)})"
