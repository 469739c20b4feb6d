"""A scene: a few accounts that watch, and rows. A row is one source of wakes, fired while every device waits; then
both devices of each account must have been told the same, the edge's hardly later.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import answers
from comparison import Comparison, known_to_both
from device import Device
from http_client import Failure, Server, require
from stage import Account, Stage

# A poll that was not answered for so long is held by whoever it reached.
HELD_SECONDS = 0.15
# How long a device may take to come to rest.
REST_SECONDS = 30.0
# How long it may have none that Synapse has sent back, before it is told something.
NUDGE_SECONDS = 5.0
# How long after a source something of it may come first. Until then nothing is what is proved.
GRACE_SECONDS = 0.5
# How long it may take until both have been told the same, if no bound is given.
EQUAL_SECONDS = 20.0

# A first sync, which does not wait, that tells little more than the counts of keys. Synapse remembers the answers to
# first syncs for a while, so that each must ask in another way.
COUNTS = "/_matrix/client/v3/sync?filter=" + quote('{"room":{"rooms":[]}}') + "&timeout="

Fire = Callable[[], Awaitable[object]]


@dataclass
class Row:
    """One source, and what came of it at one account."""

    scene: str
    source: str
    account: str
    # How much later the edge's device was told; the latest item of all. Negative if it was told earlier.
    late_seconds: float | None = None
    # Whether the account must be told something.
    must: bool = False
    items: int = 0
    # How many events either device was told that both had been told before the source was fired.
    repeated: int = 0
    # What the edge says of the poll that was under way when the source was fired.
    how: str = ""
    # Whether the edge held that poll. Else the two were compared, but nothing is proved of the edge.
    parked: bool = True
    # What only the edge's device was told, for people, when nothing else differs. The edge makes no answers: then it is
    # Synapse that has forgotten to tell the other one, unless it is so each time.
    surplus: str = ""
    faults: list[str] = field(default_factory=list)


@dataclass
class Scene:
    """Accounts that watch, and the rows so far."""

    stage: Stage
    name: str
    accounts: list[Account]
    # Whether the edge parks: else a row only proves that the comparison is right.
    parks: bool
    sliding: bool = False
    # How long it may take until both of an account's devices have been told the same.
    equal_seconds: float = EQUAL_SECONDS
    rows: list[Row] = field(default_factory=list)
    _ways: itertools.count[int] = field(default_factory=itertools.count)

    @classmethod
    async def open(cls, stage: Stage, name: str, people: list[str], parks: bool, sliding: bool = False) -> Scene:
        """Makes the accounts. They do not watch yet."""
        accounts = [await stage.account(f"{name}-{person}", sliding) for person in people]
        return cls(stage, name, accounts, parks, sliding)

    def begin(self) -> None:
        """Lets all devices poll."""
        self._tell_devices()
        for device in self.devices():
            device.start()

    async def close(self) -> None:
        """Ends all polls."""
        for device in self.devices():
            await device.stop()

    @property
    def went_back(self) -> bool:
        """Whether Synapse has sent a device back to where it had been: then it is told things again, and never rests."""
        return any(device.went_back for device in self.devices())

    def devices(self) -> list[Device]:
        """All devices that watch."""
        return [device for account in self.accounts for device in account.devices]

    async def row(
        self, source: str, fire: Fire, wakes: list[Account], counts: bool = False, at_least: int = 1
    ) -> Any:
        """Fires a source, and returns what that gives. `wakes` are the accounts that must be told of it, and each of
        `at_least` so many items; `counts`: counts of keys change."""
        await self.rest()
        fired = time.monotonic()
        given = await fire()
        done = time.monotonic()
        expected = [account.id for account in wakes]
        for account in self.accounts:
            if not account.devices or any(device.ended for device in account.devices):
                continue
            row = Row(self.name, source, account.id.split(":")[0], must=account.id in expected)
            await self._settle(account, fired, done, row, at_least)
            if counts:
                await self._same_counts(account, done, row)
            self.rows.append(row)
        return given

    async def comes(self, source: str, wakes: list[Account], within_seconds: float) -> None:
        """Waits for something that comes by itself; else as `row`."""

        async def wait() -> None:
            fired = time.monotonic()
            while not all(account.watches()[0].told(fired) for account in wakes):
                require(time.monotonic() < fired + within_seconds, f"{source}: not within {within_seconds:.0f} s")
                await asyncio.sleep(0.02)

        await self.row(source, wait, wakes)

    async def ends(self, source: str, fire: Fire, account: Account, devices: list[Device]) -> None:
        """Fires a source that ends sessions: each of these devices must be told so, the edge's at once."""
        await self.rest()
        fired = time.monotonic()
        await fire()
        done = time.monotonic()
        row = Row(self.name, source, account.id.split(":")[0], must=True, items=1)
        if not all([await self._ended(device, source) for device in devices]):
            # Nothing is proved by it.
            row.items = 0
            self.rows.append(row)
            return
        edge = next(device for device in devices if device is account.edge)
        if self.parks:
            # Without it, the poll lasts as long as it would at Synapse.
            row.late_seconds = (edge.polls[-1].ended or 0.0) - done
        self._judge_parked(edge, fired, row, "woken:")
        if len({(device.ended.status, device.ended.body) for device in devices if device.ended}) != 1:
            row.faults.append(f"the ends differ: {[device.ended for device in devices]}")
        self.rows.append(row)

    async def rest(self, since: float = 0.0) -> None:
        """Waits until every device waits, by a poll that has begun since then, and the edge can have parked its own."""
        self._tell_devices()
        deadline, nudge = time.monotonic() + REST_SECONDS, time.monotonic() + NUDGE_SECONDS
        while not all(_waits(device, since) for device in self.devices()):
            if time.monotonic() > nudge:
                nudge += NUDGE_SECONDS
                await self._nudge(since)
            if time.monotonic() > deadline:
                busy = [device for device in self.devices() if not _waits(device, since)]
                told = {
                    device.name: (device.broken[-2:], [sorted(poll.items)[:4] for poll in device.polls[-4:]])
                    for device in busy
                }
                raise Failure(f"{self.name}: no rest within {REST_SECONDS:.0f} s: {told}")
            await asyncio.sleep(0.02)

    async def _nudge(self, since: float) -> None:
        """Has Synapse tell those something of whom a device was sent back and has no rest: then it goes on from there."""
        for account in self.accounts:
            if any(device.went_back and not _waits(device, since) for device in account.devices):
                await account.do("PUT", account.own("account_data/org.example.nudge"), {"at": int(time.monotonic())})

    def _tell_devices(self) -> None:
        for account in self.accounts:
            if account.edge:
                account.edge.must_be_held = self.parks

    async def _settle(self, account: Account, fired: float, done: float, row: Row, at_least: int) -> None:
        """Waits until both devices have been told the same, and enough, and judges it."""
        direct, edge = account.watches()
        deadline = done + self.equal_seconds
        known = known_to_both(edge, direct, fired)
        while True:
            found = Comparison.of(edge, direct, fired, known)
            is_enough = len(found.edge) >= at_least or not row.must
            if found.is_same and is_enough and time.monotonic() > done + GRACE_SECONDS:
                break
            if time.monotonic() > deadline:
                if not found.is_same and found.lacks_nothing:
                    row.surplus = found.difference()
                elif not found.is_same:
                    row.faults.append(found.difference())
                elif not is_enough:
                    row.faults.append(f"only {len(found.edge)} items were told of {at_least}")
                break
            await asyncio.sleep(0.02)
        row.items, row.repeated, row.late_seconds = len(found.direct), found.repeated, found.late_seconds
        self._judge_parked(edge, fired, row, "woken:" if found.direct else "")

    def _judge_parked(self, edge: Device, fired: float, row: Row, wanted: str) -> None:
        poll = edge.poll_at(fired)
        row.how = poll.how if poll else "no poll"
        if self.parks and poll and poll.ended is not None:
            row.parked = row.how.startswith(wanted or ("woken:", "replay"))

    async def _same_counts(self, account: Account, done: float, row: Row) -> None:
        """Both devices ask again, and are told the same counts as Synapse tells either of them."""
        direct, edge = account.watches()
        deadline = done + EQUAL_SECONDS
        while any(device.answers_begun_after(done) < 1 for device in (direct, edge)):
            if time.monotonic() > deadline:
                row.faults.append("no further answer came")
                return
            await asyncio.sleep(0.02)
        for device in (direct, edge):
            way = COUNTS + str(next(self._ways))
            known = answers.counts(await self.stage.main.call("GET", way, device.token))
            if device.last_counts() != known:
                row.faults.append(f"{device.name} was told {device.last_counts()}, and there are {known}")

    async def _ended(self, device: Device, source: str) -> bool:
        """Waits until a device was told that its session has ended; `False` if Synapse itself does not know.

        Of a token that ends, Synapse's processes tell each other by the stream `caches`, of which a few rows are never
        published when several processes write to it at once: then a process that remembers the token takes it for good.
        """
        deadline = time.monotonic() + EQUAL_SECONDS
        while device.ended is None:
            if time.monotonic() > deadline:
                is_taken = [await self._is_taken(server, device) for server in self.stage.direct]
                require(any(is_taken), f"{source}: {device.name} was not told within {EQUAL_SECONDS:.0f} s")
                return False
            await asyncio.sleep(0.02)
        return True

    async def _is_taken(self, server: Server, device: Device) -> bool:
        """Whether a process of Synapse's takes a device's token."""
        return (await server.send("GET", COUNTS + str(next(self._ways)), device.token)).status == 200


def _waits(device: Device, since: float) -> bool:
    began = device.waits_since
    return device.ended is not None or (began is not None and since <= began < time.monotonic() - HELD_SECONDS)
