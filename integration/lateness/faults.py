"""What goes wrong between Synapse and the edge, and how late a message may be then: by no more than the bound of
whatever notices it. Nothing may be lost.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from functools import partial

from http_client import Failure, require, segment
from publishing import published_late
from scene import Row, Scene
from stage import Account
from world import POSITIONS_SECONDS, RENEW_SECONDS, SPREAD_SECONDS, World, talk, types

SEED = 20_261_129

# When the edge has judged an answer with something of which the stream did not tell: 2 s after it, and a little to spare.
JUDGED_SECONDS = 3.0

Fault = Callable[[World], Awaitable[None]]


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
    # That was a late message: when the edge has judged so it parks nobody, and the next scene has to begin with that.
    await asyncio.sleep(JUDGED_SECONDS)


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
        "typing": (lambda: types(bob, room, True), [alice, bob]),
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
    await scene.row("typing after that", lambda: types(bob, room, True), [alice, bob])
    await scene.row("a message after that", lambda: alice.say(room, "hello"), [alice, bob])
    await world.close(scene, SPREAD_SECONDS + 3.0)


async def _restart_and_say(world: World, names: list[str], alice: Account, room: str) -> None:
    await world.processes.restart(names)
    await alice.say(room, "restarted")


FAULTS: dict[str, Fault] = {
    "delayed": delayed,
    "reordered": reordered,
    "slow-database": slow_database,
    "lost": lost,
    "cut": cut,
    "redis-restarted": redis_restarted,
    "edge-restarted": edge_restarted,
    "synapse-restarted": synapse_restarted,
}
# These take minutes on a stack with a dozen processes.
LONG_FAULTS: dict[str, Fault] = {"published-late": published_late}


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
