"""A device that polls all the time as a client does, and remembers what it was told and when.

Its polls are short until one of them has ended empty at its timeout: from such an answer the edge can park the next
poll. Then they are long, until something comes.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from typing import Any

import answers
from http_client import Answer, Failure, Server

# How long a poll lasts by which a device finds out that nothing is left to be told.
SHORT_MILLISECONDS = 400
# How long a poll lasts that waits for something to happen, if nobody says otherwise.
LONG_MILLISECONDS = 12_000
SYNC = "/_matrix/client/v3/sync"
SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
SLIDING_EXTENSIONS = (
    "to_device",
    "e2ee",
    "account_data",
    "receipts",
    "typing",
    "io.element.msc4308.thread_subscriptions",
)


def is_before(token: str, other: str) -> bool:
    """Whether one of a sliding sync's positions is before the other one, in any stream."""
    return any(mine < theirs for mine, theirs in zip(_positions(token), _positions(other)))


def _positions(token: str) -> list[int]:
    """Where each stream's writers are at least: `s9`, `9`, or `m9` if some are further."""
    streams = token.split("/")[-1].split("_")
    return [int(stream.split("~")[0].lstrip("sm")) for stream in streams]


@dataclass
class Poll:
    """One request, and what became of it."""

    began: float
    long: bool
    ended: float | None = None
    status: int = 0
    # What the edge says of it: `replay`, `woken:STREAM` or `forwarded`; nothing if nobody was between.
    how: str = ""
    counts: str = ""
    items: dict[tuple[str, ...], str] = field(default_factory=dict)
    body: bytes = b""


class Device:
    """One device of an account, at one address, from its first sync on."""

    def __init__(self, name: str, server: Server, token: str, device_id: str, sliding: bool = False) -> None:
        self.name = name
        self.server = server
        self.token = token
        self.device_id = device_id
        self.long_milliseconds = LONG_MILLISECONDS
        # Whether it waits with a long poll only when the edge has given an answer again, and so holds the next poll.
        self.must_be_held = False
        self.polls: list[Poll] = []
        # Why it polls no more: the answer that told it so.
        self.ended: Answer | None = None
        self.broken: list[str] = []
        # Whether an answer has ended before where it began. Synapse's does so to sliding syncs now and then: of what its
        # notifier has not told this user, a poll that waits ends before it, though it began behind it. The next one is
        # told again what the device knows, and the one after that begins where the first did.
        self.went_back = False
        self._sliding = sliding
        self._since: str | None = None
        self._to_device_since: str | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to poll."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends the polls. The one under way is dropped, as a client does that goes away."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    @property
    def waits_since(self) -> float | None:
        """Since when a long poll has been under way, if one is."""
        self._raise_if_failed()
        if not self.polls or self.polls[-1].ended is not None or not self.polls[-1].long:
            return None
        return self.polls[-1].began

    def told(self, since: float) -> dict[tuple[str, ...], tuple[str, float]]:
        """The last value of each key that was told since a point in time, and when it was told first."""
        told: dict[tuple[str, ...], tuple[str, float]] = {}
        ended = itertools.takewhile(lambda poll: poll.ended is None or poll.ended >= since, reversed(self.polls))
        for poll in reversed(list(ended)):
            for key, value in poll.items.items():
                if poll.ended is not None and (key not in told or told[key][0] != value):
                    told[key] = (value, poll.ended)
        return told

    def told_before(self, moment: float) -> dict[tuple[str, ...], str]:
        """The last value of each key that was told before a point in time."""
        told: dict[tuple[str, ...], str] = {}
        for poll in itertools.takewhile(lambda poll: poll.ended is not None and poll.ended < moment, self.polls):
            told |= poll.items
        return told

    def poll_at(self, moment: float) -> Poll | None:
        """The poll that was under way at a point in time."""
        return next((poll for poll in self.polls if poll.began <= moment < (poll.ended or float("inf"))), None)

    def last_counts(self) -> str:
        """The counts of keys that the last answer told."""
        return next((poll.counts for poll in reversed(self.polls) if poll.ended is not None), "")

    def answers_begun_after(self, moment: float) -> int:
        """How many polls have begun after a point in time, and have ended."""
        return sum(1 for poll in self.polls if poll.began > moment and poll.ended is not None)

    async def _run(self) -> None:
        rested = False
        while self.ended is None:
            # The first answer is all that there is; it must not wait.
            timeout = 0 if not self._since else self.long_milliseconds if rested else SHORT_MILLISECONDS
            poll = Poll(time.monotonic(), long=rested and bool(self._since))
            self.polls.append(poll)
            answer = await self._ask(timeout)
            if answer is None:
                self.polls.pop()
                rested = False
                await asyncio.sleep(0.1)
                continue
            first = self._since is None
            self._take(poll, answer)
            is_held = poll.how == "replay" or not self.must_be_held
            rested = not first and poll.status == 200 and not poll.items and is_held

    async def _ask(self, timeout: int) -> Answer | None:
        """One request; nothing if it was broken off or refused for a while, which is written down."""
        try:
            answer = await self._send(timeout)
        except (OSError, asyncio.TimeoutError) as error:
            self.broken.append(f"{type(error).__name__}: {error}")
            return None
        except Exception as error:
            # Of aiohttp's own errors those of the connection are what a restart shows.
            if type(error).__module__.startswith("aiohttp"):
                self.broken.append(f"{type(error).__name__}: {error}")
                return None
            raise
        if answer.status not in (200, 401, 403):
            # Synapse itself says 404 to a sync that meets a room as it is deleted. A client asks again.
            self.broken.append(f"{answer.status} {answer.body[:200]!r}")
            return None
        return answer

    async def _send(self, timeout: int) -> Answer:
        if self._sliding:
            return await self.server.send("POST", self._sliding_path(timeout), self.token, self._sliding_body())
        since = f"&since={self._since}" if self._since else ""
        return await self.server.send("GET", f"{SYNC}?timeout={timeout}{since}", self.token)

    def _sliding_path(self, timeout: int) -> str:
        return f"{SLIDING}?timeout={timeout}" + (f"&pos={self._since}" if self._since else "")

    def _sliding_body(self) -> dict[str, Any]:
        extensions: dict[str, Any] = {name: {"enabled": True} for name in SLIDING_EXTENSIONS}
        if self._to_device_since:
            extensions["to_device"]["since"] = self._to_device_since
        rooms = {"ranges": [[0, 49]], "timeline_limit": 20, "required_state": [["*", "*"]]}
        return {"conn_id": "room-list", "lists": {"all": rooms}, "extensions": extensions}

    def _take(self, poll: Poll, answer: Answer) -> None:
        poll.status, poll.how, poll.body = answer.status, answer.header("x-dendron"), answer.body
        if answer.status == 200:
            self._read(poll, answer.json)
        else:
            self.ended = answer
        poll.ended = time.monotonic()

    def _read(self, poll: Poll, body: dict[str, Any]) -> None:
        if self._sliding:
            poll.items, poll.counts = answers.sliding_items(body), answers.sliding_counts(body)
            self.went_back = self.went_back or (self._since is not None and is_before(body["pos"], self._since))
            self._since = body["pos"]
            to_device = body.get("extensions", {}).get("to_device", {})
            self._to_device_since = to_device.get("next_batch", self._to_device_since)
        else:
            poll.items, poll.counts = answers.items(body), answers.counts(body)
            self._since = body["next_batch"]

    def _raise_if_failed(self) -> None:
        if self._task and self._task.done() and not self._task.cancelled() and (error := self._task.exception()):
            raise Failure(f"{self.name} has stopped to poll: {error!r}") from error
