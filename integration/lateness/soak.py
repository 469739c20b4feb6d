"""Every answer that the edge gives again is checked at once: Synapse itself, asked for the same token, must have
nothing.

If it has something, the change was under way: then the edge must let go of the poll within two seconds, or it has
missed it. What Synapse itself takes to answer a poll that the edge has let go is not the edge's doing, and is told apart: on a
machine with other work it is seconds.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field

import answers
from device import SYNC
from edge import Metrics
from http_client import Failure, Server, segment
from stage import Account, Stage

# How long a poll lasts.
POLL_MILLISECONDS = 1_000
# Who shares a room.
ROOM_MEMBERS = 5
# What the edge holds back longer than this was missed.
MISSED_SECONDS = 2.0
# What has not come after this is lost, whoever was asked.
LOST_SECONDS = 60.0
# How often something is said, by all together.
EVENTS_A_SECOND = 2.0
# The edge has something new to find out about a device at least so often.
RENEW_SECONDS = 20.0
SEED = 20_261_129


@dataclass
class Tally:
    """What was seen."""

    answers: int = 0
    replays: int = 0
    # Replays that Synapse had nothing for, and those where it had something already.
    verified: int = 0
    under_way: int = 0
    woken: int = 0
    items: int = 0
    # What was under way: for how many seconds the edge held it back at most, after how many it reached the client, what
    # it was, and what the edge said of that poll.
    late: list[tuple[float, float, str, str]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return time.monotonic() - self.began


@dataclass
class Owed:
    """Something that Synapse had: since when that is known, and for how long the edge has held polls since."""

    known: float
    held_seconds: float = 0.0


class Watcher:
    """A device that polls through the edge, and asks Synapse itself whenever the edge has answered."""

    def __init__(self, account: Account, token: str, edge: Server, direct: Server, tally: Tally) -> None:
        self._account = account
        self._token = token
        self._edge = edge
        self._direct = direct
        self._tally = tally
        # What Synapse had for this device, and has not reached it yet.
        self._owed: dict[tuple[str, ...], Owed] = {}

    async def run(self, until: asyncio.Event) -> None:
        """Polls until it is told to end."""
        first = await self._edge.call("GET", f"{SYNC}?timeout=0", self._token)
        since: str = first["next_batch"]
        # What is under way in the end is waited for, until it is there or missed.
        while self._owed or not until.is_set():
            began = time.monotonic()
            answer = await self._edge.send(
                "GET", f"{SYNC}?timeout={POLL_MILLISECONDS}&since={since}", self._token
            )
            if answer.status != 200:
                raise Failure(f"a sync gave {answer.status} {answer.body[:200]!r}")
            told = answers.items(answer.json)
            since = answer.json["next_batch"]
            how = answer.header("x-dendron")
            self._count(began, how, told)
            if how == "replay":
                await self._verify(since)

    def _count(self, began: float, how: str, told: dict[tuple[str, ...], str]) -> None:
        tally, now = self._tally, time.monotonic()
        tally.answers += 1
        tally.items += len(told)
        tally.woken += how.startswith("woken:")
        # For how long the edge held this poll, at most.
        held = 0.0 if how == "forwarded" else min(now - began, POLL_MILLISECONDS / 1000)
        for key, owed in list(self._owed.items()):
            owed.held_seconds += held
            seconds, is_told = now - owed.known, key in told
            if is_told:
                tally.late.append((owed.held_seconds, seconds, key[0], how))
            is_missed = owed.held_seconds > MISSED_SECONDS or seconds > LOST_SECONDS
            if is_missed:
                text = f"{self._account.id}: {key} is known for {seconds:.1f} s, held back for {owed.held_seconds:.1f} s"
                tally.missed.append(text)
            if is_told or is_missed:
                del self._owed[key]

    async def _verify(self, since: str) -> None:
        found = answers.items(await self._direct.call("GET", f"{SYNC}?timeout=0&since={since}", self._token))
        self._tally.replays += 1
        if not found:
            self._tally.verified += 1
            return
        self._tally.under_way += 1
        for key in found:
            self._owed.setdefault(key, Owed(time.monotonic()))


async def run(stage: Stage, watchers: int, replays: int, seconds: float) -> Tally:
    """Lets so many watchers poll until so many replays were checked, or the time is over."""
    tally = Tally()
    accounts, rooms = await _people(stage, watchers)
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number, account in enumerate(accounts):
            token, _ = await account.log_in()
            direct = stage.direct[number % len(stage.direct)]
            group.create_task(Watcher(account, token, stage.edge, direct, tally).run(ended))
        tally.began = time.monotonic()
        group.create_task(_talk(accounts, rooms, ended))
        while tally.replays < replays and tally.seconds < seconds:
            await asyncio.sleep(0.2)
        ended.set()
    return tally


async def _people(stage: Stage, watchers: int) -> tuple[list[Account], list[str]]:
    accounts = [await stage.home.register(f"soak{number}") for number in range(watchers)]
    rooms = []
    for begin in range(0, watchers, ROOM_MEMBERS):
        members = accounts[begin : begin + ROOM_MEMBERS]
        rooms.append(await members[0].create_room())
        for member in members[1:]:
            await member.join(rooms[-1])
    return accounts, rooms


async def _talk(accounts: list[Account], rooms: list[str], ended: asyncio.Event) -> None:
    """Something happens here and there, so that what is checked is not only a server at rest."""
    order = random.Random(SEED)
    while not ended.is_set():
        await asyncio.sleep(order.expovariate(EVENTS_A_SECOND))
        number = order.randrange(len(accounts))
        account, room = accounts[number], rooms[number // ROOM_MEMBERS]
        other = accounts[order.randrange(len(accounts))]
        deed = order.randrange(5)
        if deed == 0:
            await account.send_to_device(other.id, {"number": order.random()})
        elif deed == 1:
            types = {"typing": True, "timeout": 5_000}
            await account.in_room("PUT", room, f"typing/{segment(account.id)}", types)
        elif deed == 2:
            await account.do("PUT", account.own("account_data/org.example.soak"), {"a": order.random()})
        elif deed == 3:
            event = await account.say(room, "read this")
            await account.in_room("POST", room, f"receipt/m.read/{segment(event)}")
        else:
            await account.say(room, "hello")


def report(tally: Tally, watchers: int, edge: Metrics, origin: list[str]) -> str:
    """What was found, for people. The origin says what was tested, when, and how."""
    late = sorted(tally.late, reverse=True)
    latest = ", ".join(f"{held:.2f} s ({what}, {how})" for held, _, what, how in late[:3]) or "none"
    slowest = max((seconds for _, seconds, _, _ in late), default=0.0)
    wakes = edge.by("dendron_sync_wakes_total", "reason")
    lines = [
        "# Soak of parked syncs",
        "",
        *(f"- {line}" for line in origin),
        "",
        f"{watchers} devices polled for {POLL_MILLISECONDS} ms each, {ROOM_MEMBERS} to a room, while about "
        f"{EVENTS_A_SECOND:.0f} things a second happened; the edge gave an answer again for {RENEW_SECONDS:.0f} s "
        "at most.",
        "After each answer given again, Synapse was asked directly, with `timeout=0` and the same token.",
        "",
        "| | |",
        "| --- | --- |",
        f"| seconds | {tally.seconds:.0f} |",
        f"| answers | {tally.answers} |",
        f"| of these woken | {tally.woken} |",
        f"| given again and checked | {tally.replays} |",
        f"| Synapse had nothing | {tally.verified} |",
        f"| Synapse had something, and it was under way to the edge | {tally.under_way} |",
        f"| how long the edge held that back at most, the latest three | {latest} |",
        f"| how late it came, with Synapse's own time | {slowest:.2f} s at most |",
        f"| missed: held back longer than {MISSED_SECONDS:.0f} s | {len(tally.missed)} |",
        f"| wakes by reason | {', '.join(f'{name} {count:.0f}' for name, count in sorted(wakes.items()))} |",
    ]
    if tally.replays and not tally.missed:
        bound = f"With none missed of {tally.replays}, fewer than {3 / tally.replays:.1e} of all are, at 95 %."
        lines += ["", bound]
    return "\n".join(lines) + "\n"
