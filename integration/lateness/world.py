"""What is disturbed, and what is said and held meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from edge import Edge
from http_client import Failure, segment
from proxies import PublishersProxy, RedisProxy, SlowProxy
from scene import Row, Scene
from stage import Account, Stage
from synapse import Processes

# A busy machine's own delay, beside every bound.
MACHINE_SECONDS = 1.0
# How long the edge takes to let a parked crowd go (it spreads them over this time).
SPREAD_SECONDS = 2.0
# When the edge notices that the database is ahead of what it has heard: asked every 5 s, believed after 2 s.
POSITIONS_SECONDS = 7.0
# For how long the edge may give an answer again in these tests.
RENEW_SECONDS = 20.0
# How long the edge may take until it parks again after a fault.
RECOVERY_SECONDS = 40.0


@dataclass
class World:
    """Everything that can be disturbed."""

    stage: Stage
    edge: Edge
    redis: RedisProxy
    database: SlowProxy
    publishers: PublishersProxy
    processes: Processes
    long: bool
    rows: list[Row] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    # What is being played.
    open: list[Scene] = field(default_factory=list)

    async def scene(self, name: str) -> tuple[Scene, str]:
        """Two accounts in a room, whose requests the edge parks by now."""
        await self._unlatch()
        scene = await Scene.open(self.stage, name, ["alice", "bob"], parks=True)
        self.open.append(scene)
        alice, bob = scene.accounts
        room = await alice.create_room()
        await bob.join(room)
        scene.begin()
        await self.until_parked(scene)
        return scene, room

    async def until_parked(self, scene: Scene) -> None:
        """Waits until the edge holds the polls of all its devices."""
        try:
            async with asyncio.timeout(RECOVERY_SECONDS):
                while (await self.edge.metrics()).sum("dendron_sync_parked") < len(scene.accounts):
                    await asyncio.sleep(0.1)
                await scene.rest()
        except TimeoutError as error:
            syncs = (await self.edge.status())["syncs"]
            raise Failure(
                f"{scene.name}: the edge does not hold both polls within {RECOVERY_SECONDS:.0f} s: {syncs}"
            ) from error

    async def _unlatch(self) -> None:
        """Starts an edge anew that has seen a message come late, as its administrator would: it parks nobody until then."""
        if (await self.edge.status())["syncs"].get("gate") == "latched":
            await self.edge.stop()
            await self.edge.start()
            await self.edge.until_live()

    async def close(self, scene: Scene, bound_seconds: float) -> None:
        """Ends a scene, and holds its rows against a bound."""
        await scene.close()
        self.open.remove(scene)
        self.rows += scene.rows
        for row in scene.rows:
            if row.late_seconds is not None and row.late_seconds > bound_seconds + MACHINE_SECONDS:
                self.late.append(
                    f"{row.scene}: {row.source} ({row.account}) came {row.late_seconds:.1f} s later, "
                    f"and {bound_seconds:.1f} s are allowed"
                )


async def talk(scene: Scene, room: str) -> None:
    """One thing of each publisher."""
    alice, bob = scene.accounts
    both = [alice, bob]
    event = await scene.row("a message", lambda: alice.say(room, "hello"), both)
    await scene.row("a message to devices", lambda: alice.send_to_device(bob.id, {"number": 1}), [bob])
    await scene.row("a receipt", lambda: bob.in_room("POST", room, f"receipt/m.read/{segment(event)}"), both)
    await scene.row("account data", lambda: bob.do("PUT", bob.own("account_data/org.example.a"), {"a": 1}), [bob])
    await scene.row("typing", lambda: types(bob, room, True), both)
    await scene.row("a new device", lambda: bob.log_in("NEWDEVICE"), both)
    await scene.row("a leave", lambda: bob.in_room("POST", room, "leave"), both)
    await scene.row("a join", lambda: bob.join(room), both)
    await scene.row("a message after a join", lambda: alice.say(room, "again"), both)


async def types(account: Account, room: str, does: bool) -> None:
    """Types, or does not any more."""
    body = {"typing": does, "timeout": 90_000} if does else {"typing": False}
    await account.in_room("PUT", room, f"typing/{segment(account.id)}", body)
