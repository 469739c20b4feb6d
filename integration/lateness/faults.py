"""What goes wrong between Synapse and the edge, and how late a message may be then: by no more than the bound of
whatever notices it. Nothing may be lost.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from edge import Edge
from http_client import Failure, require, segment
from proxies import RedisProxy, SlowProxy
from scene import Row, Scene
from stage import CLIENT, Account, Stage
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
# How long writers wait before they publish, who are to die before that.
UNPUBLISHED_SECONDS = 4.0
UNPUBLISHED = "committed and not published"
SEED = 20_261_129


@dataclass
class World:
    """Everything that can be disturbed."""

    stage: Stage
    edge: Edge
    redis: RedisProxy
    database: SlowProxy
    processes: Processes
    long: bool
    rows: list[Row] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    # What is being played.
    open: list[Scene] = field(default_factory=list)

    async def scene(self, name: str) -> tuple[Scene, str]:
        """Two accounts in a room, whose requests the edge parks by now."""
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


Fault = Callable[[World], Awaitable[None]]


async def talk(scene: Scene, room: str) -> None:
    """One thing of each publisher."""
    alice, bob = scene.accounts
    both = [alice, bob]
    event = ""

    async def say() -> None:
        nonlocal event
        event = await alice.say(room, "hello")

    await scene.row("a message", say, both)
    await scene.row("a message to devices", lambda: alice.send_to_device(bob.id, {"number": 1}), [bob])
    await scene.row("a receipt", lambda: bob.in_room("POST", room, f"receipt/m.read/{segment(event)}"), both)
    await scene.row("account data", lambda: bob.do("PUT", bob.own("account_data/org.example.a"), {"a": 1}), [bob])
    await scene.row("typing", lambda: _type(bob, room, True), both)
    await scene.row("a new device", lambda: bob.log_in("NEWDEVICE"), both)
    await scene.row("a leave", lambda: bob.in_room("POST", room, "leave"), both)
    await scene.row("a join", lambda: bob.join(room), both)
    await scene.row("a message after a join", lambda: alice.say(room, "again"), both)


async def delayed(world: World) -> None:
    """Everything that is published arrives later."""
    scene, room = await world.scene("delayed")
    world.redis.latency = lambda _: 0.2
    await talk(scene, room)
    world.redis.latency = None
    await world.close(scene, 0.2)


async def reordered(world: World) -> None:
    """Publishers overtake each other."""
    order = random.Random(SEED)
    scene, room = await world.scene("reordered")
    speeds: dict[str, float] = {}

    def latency(publisher: str) -> float:
        # Some are slow now and quick the next time; within each, the order stays.
        if order.random() < 0.2:
            speeds[publisher] = order.uniform(0.0, 0.4)
        return speeds.setdefault(publisher, order.uniform(0.0, 0.4))

    world.redis.latency = latency
    await talk(scene, room)
    world.redis.latency = None
    await world.close(scene, 0.4)


async def slow_database(world: World) -> None:
    """The edge's questions to PostgreSQL take long."""
    world.database.delay_seconds = 0.3
    scene, room = await world.scene("slow database")
    await talk(scene, room)
    world.database.delay_seconds = 0.0
    # A change of devices asks for rooms, which takes a few answers; it waits for a second at most.
    await world.close(scene, 1.5)


async def lost(world: World) -> None:
    """One message is lost on its way, of each publisher in turns."""
    bound = POSITIONS_SECONDS + SPREAD_SECONDS
    streams = ["to_device", "events"] + (["receipts", "account_data", "device_lists"] if world.long else [])
    for stream in streams:
        scene, room = await world.scene(f"lost {stream}")
        scene.parks = False
        await _lose(world, scene, stream, room)
        await world.close(scene, bound)
    scene, room = await world.scene("lost typing")
    scene.parks = False
    # Typing is in no database: if nobody else tells, the next answer that is let through does.
    scene.equal_seconds = RENEW_SECONDS + 2 * SPREAD_SECONDS + 10.0
    await _lose(world, scene, "typing", room)
    await world.close(scene, RENEW_SECONDS + SPREAD_SECONDS)


async def _lose(world: World, scene: Scene, stream: str, room: str) -> None:
    alice, bob = scene.accounts
    event = await alice.say(room, "read this")
    await world.until_parked(scene)
    sources: dict[str, tuple[Callable[[], Awaitable[object]], list[Account]]] = {
        "to_device": (lambda: alice.send_to_device(bob.id, {"number": 1}), [bob]),
        "events": (lambda: alice.say(room, "hello"), [alice, bob]),
        "receipts": (lambda: bob.in_room("POST", room, f"receipt/m.read/{segment(event)}"), [alice, bob]),
        "account_data": (lambda: bob.do("PUT", bob.own("account_data/org.example.a"), {"a": 1}), [bob]),
        "device_lists": (lambda: bob.log_in("NEWDEVICE"), [alice, bob]),
        "typing": (lambda: _type(bob, room, True), [alice, bob]),
    }
    before = world.redis.lost
    world.redis.lose = f"RDATA {stream} "
    fire, wakes = sources[stream]
    await scene.row(f"a lost row of {stream}", fire, wakes)
    require(world.redis.lost == before + 1, f"no row of {stream} was lost")


async def cut(world: World) -> None:
    """The connection to Redis breaks, and Synapse goes on meanwhile."""
    scene, room = await world.scene("cut")
    alice, bob = scene.accounts
    scene.parks = False
    world.redis.cut()
    await scene.row("a message at once", lambda: alice.say(room, "cut"), [alice, bob])
    await scene.row("a message a little later", lambda: alice.say(room, "still cut"), [alice, bob])
    world.redis.mend()
    await world.until_parked(scene)
    scene.parks = True
    await scene.row("a message when it is mended", lambda: alice.say(room, "mended"), [alice, bob])
    await world.close(scene, SPREAD_SECONDS)


async def redis_restarted(world: World) -> None:
    """Redis itself is gone for a moment: Synapse's own processes learn late of each other's."""
    scene, room = await world.scene("Redis restarted")
    alice, bob = scene.accounts
    scene.parks = False
    world.processes.restart_redis()
    await scene.row("a message", lambda: alice.say(room, "Redis is gone"), [alice, bob])
    await world.until_parked(scene)
    scene.parks = True
    await scene.row("a message after that", lambda: alice.say(room, "Redis is back"), [alice, bob])
    await world.close(scene, SPREAD_SECONDS)


async def edge_restarted(world: World) -> None:
    """The edge dies with polls in it, and another one begins with nothing."""
    for how in (signal.SIGKILL, signal.SIGTERM):
        scene, room = await world.scene(f"edge {how.name}")
        alice, bob = scene.accounts
        scene.parks = False

        async def restart(how: signal.Signals = how, alice: Account = alice, room: str = room) -> None:
            await world.edge.stop(how)
            await alice.say(room, "nobody is at the edge")
            await world.edge.start()

        await scene.row("a message meanwhile", restart, [alice, bob])
        await world.until_parked(scene)
        scene.parks = True
        await scene.row("a message after that", partial(alice.say, room, "hello"), [alice, bob])
        # The direct device is told while the other one has nobody to ask.
        await world.close(scene, 8.0)


async def synapse_restarted(world: World) -> None:
    """Processes of Synapse end and begin again below the edge."""
    scene, room = await world.scene("Synapse restarted")
    alice, bob = scene.accounts
    scene.parks = False
    names = [name for name in ("events1", "sync1", "typing1") if name in world.processes.names] or ["main"]
    await scene.row("a message after a restart", lambda: _restart_and_say(world, names, alice, room), [alice, bob])
    await world.until_parked(scene)
    scene.parks = True
    await scene.row("typing after that", lambda: _type(bob, room, True), [alice, bob])
    await scene.row("a message after that", lambda: alice.say(room, "hello"), [alice, bob])
    await world.close(scene, SPREAD_SECONDS + 3.0)


async def _restart_and_say(world: World, names: list[str], alice: Account, room: str) -> None:
    await world.processes.restart(names)
    await alice.say(room, "restarted")


async def writers_killed(world: World) -> None:
    """Both writers of events die when they have committed and not yet published, so that their rows never are."""
    writers = [name for name in world.processes.names if name.startswith("events")]
    if not writers:
        return
    # Synapse's own switch for tests: each stream waits for so long before it is published.
    world.processes.set(f"replication_torture_level: {UNPUBLISHED_SECONDS * 1000:.0f}")
    await world.processes.restart(writers, signal.SIGKILL)
    scene, room = await world.scene("writers killed")
    alice, bob = scene.accounts
    # Rooms are shared out among the writers, so that with some of them there is one of each.
    rooms = [room, *[await _shared_room(alice, bob) for _ in range(3)]]
    await world.until_parked(scene)
    scene.parks = False
    die = partial(_say_and_die, world, writers, alice, rooms)
    await scene.row("messages that were never published", die, [alice, bob])
    await world.until_parked(scene)
    await world.close(scene, POSITIONS_SECONDS + SPREAD_SECONDS)


async def _shared_room(alice: Account, bob: Account) -> str:
    room = await alice.create_room()
    await bob.join(room)
    return room


async def _say_and_die(world: World, writers: list[str], alice: Account, rooms: list[str]) -> None:
    # What was done before is published by then, so that nothing of it takes these along.
    await asyncio.sleep(2 * UNPUBLISHED_SECONDS)
    restarts = {name: await world.processes.restarts_of(name) for name in writers}
    published = {name: world.redis.published[name] for name in writers}
    said = [asyncio.create_task(alice.say(room, UNPUBLISHED)) for room in rooms]
    for room in rooms:
        await _until_committed(world, writers, alice, room)
    world.processes.set("")
    await asyncio.gather(*(world.processes.kill(name) for name in writers))
    for name in writers:
        await world.processes.until_ready(name, restarts[name])
    # Whoever was told of a failure was told wrong: it is in the database.
    await asyncio.gather(*said, return_exceptions=True)
    require(
        all(world.redis.published[name] == count for name, count in published.items()),
        "what was to be lost was published: the machine is too slow for this",
    )


async def _until_committed(world: World, writers: list[str], alice: Account, room: str) -> None:
    """Waits until one of the writers has a room's message; nobody else knows of it yet."""
    servers = [world.stage.process(name) for name in writers]
    deadline = time.monotonic() + UNPUBLISHED_SECONDS
    path = f"{CLIENT}/rooms/{segment(room)}/messages?dir=b&limit=1"
    while True:
        for server in servers:
            found = (await server.call("GET", path, alice.token))["chunk"]
            if any(event["content"].get("body") == UNPUBLISHED for event in found):
                return
        require(time.monotonic() < deadline, "a message was not committed in time")
        await asyncio.sleep(0.02)


async def tortured(world: World) -> None:
    """Synapse publishes its streams late and in any order."""
    processes = [name for name in world.processes.names if not name.startswith("sync")]
    for level in (5, 200):
        world.processes.set(f"replication_torture_level: {level}")
        await world.processes.restart(processes)
        scene, room = await world.scene(f"tortured for {level} ms")
        await talk(scene, room)
        await world.close(scene, level / 1000)
    world.processes.set("")
    await world.processes.restart(processes)


async def _type(account: Account, room: str, types: bool) -> None:
    body = {"typing": types, "timeout": 90_000} if types else {"typing": False}
    await account.in_room("PUT", room, f"typing/{segment(account.id)}", body)


FAULTS: dict[str, Fault] = {
    "delayed": delayed,
    "reordered": reordered,
    "slow-database": slow_database,
    "lost": lost,
    "cut": cut,
    "redis-restarted": redis_restarted,
    "edge-restarted": edge_restarted,
    "writers-killed": writers_killed,
    "synapse-restarted": synapse_restarted,
}
# These take minutes on a stack with a dozen processes.
LONG_FAULTS: dict[str, Fault] = {"tortured": tortured}


async def run(world: World, only: str) -> None:
    """One fault after the other: each is everybody's while it lasts."""
    for name, fault in (FAULTS | (LONG_FAULTS if world.long else {})).items():
        if only not in name:
            continue
        try:
            await fault(world)
        except Failure as failure:
            world.rows.append(Row(name, "the fault itself", "", faults=[str(failure)]))
        finally:
            # Open still only if it has failed; then nothing is said of its lateness.
            for scene in list(world.open):
                await world.close(scene, float("inf"))
            world.redis.mend()
            world.redis.latency, world.redis.lose, world.database.delay_seconds = None, "", 0.0
