"""What goes wrong where Synapse's processes publish: all of them hear of it as late as the edge, or never.

Synapse has a switch of its own for it, `replication_torture_level`. With 1.163.2 a process that has it on publishes
nothing at all (its wait fails, for want of a duration), so that a proxy does it, by which all processes reach Redis.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from http_client import require
from scene import Scene
from stage import Account
from world import POSITIONS_SECONDS, SPREAD_SECONDS, World, talk

# How late each row may be published, in turns.
LEVELS_SECONDS = (0.005, 0.2)
# Rooms are shared out among the writers: with so many, there is one of each but once in thirty times.
ROOMS = 6
# How long writers may take to commit.
COMMIT_SECONDS = 10.0
SEED = 20_261_129


async def published_late(world: World) -> None:
    """Synapse's processes publish late, and in any order among each other; then writers die before they publish."""
    async with _proxied(world):
        for level in LEVELS_SECONDS:
            await _tortured(world, level)
        await _writers_killed(world)


@asynccontextmanager
async def _proxied(world: World) -> AsyncIterator[None]:
    """All of Synapse's processes reach Redis by the proxy, until the end of the body."""
    world.processes.set(f"redis: {{enabled: true, path: {world.publishers.path}}}")
    await world.processes.restart(world.processes.names)
    try:
        yield
    finally:
        world.publishers.latency, world.publishers.silent = None, set()
        world.processes.set("")
        await world.processes.restart(world.processes.names)


async def _tortured(world: World, level: float) -> None:
    order = random.Random(SEED)
    world.publishers.latency = lambda _: order.uniform(0.0, level)
    scene, room = await world.scene(f"published up to {level * 1000:.0f} ms late")
    await talk(scene, room)
    await world.close(scene, level)
    world.publishers.latency = None


async def _writers_killed(world: World) -> None:
    """Both writers of events die when they have committed, and with them what they were about to publish."""
    writers = [name for name in world.processes.names if name.startswith("events")]
    if not writers:
        return
    scene, room = await world.scene("writers killed")
    alice, bob = scene.accounts
    rooms = [room, *[await _shared_room(alice, bob) for _ in range(ROOMS - 1)]]
    await world.until_parked(scene)
    scene.parks = False
    die = partial(_say_and_die, world, writers, alice, rooms)
    await scene.row("messages that were never published", die, [alice, bob])
    require(scene.rows[-1].items >= ROOMS, f"only {scene.rows[-1].items} of {ROOMS} messages came")
    await _parks_again(world, scene, alice, bob, room)
    await world.close(scene, POSITIONS_SECONDS + SPREAD_SECONDS)


async def _parks_again(world: World, scene: Scene, alice: Account, bob: Account, room: str) -> None:
    await world.until_parked(scene)
    scene.parks = True
    await scene.row("a message after that", lambda: alice.say(room, "hello"), [alice, bob])


async def _shared_room(alice: Account, bob: Account) -> str:
    room = await alice.create_room()
    await bob.join(room)
    return room


async def _say_and_die(world: World, writers: list[str], alice: Account, rooms: list[str]) -> None:
    restarts = {name: await world.processes.restarts_of(name) for name in writers}
    world.publishers.swallowed.clear()
    world.publishers.silent = set(writers)
    said = [asyncio.create_task(alice.say(room, "committed and not published")) for room in rooms]
    deadline = time.monotonic() + COMMIT_SECONDS
    # What would be published is committed.
    while sum(world.publishers.swallowed.values()) < len(rooms):
        require(time.monotonic() < deadline, f"about to be published were {dict(world.publishers.swallowed)}")
        await asyncio.sleep(0.005)
    await asyncio.gather(*(world.processes.kill(name) for name in writers))
    world.publishers.silent = set()
    for name in writers:
        await world.processes.until_ready(name, restarts[name])
    # Whoever was told of a failure was told wrong: it is in the database.
    await asyncio.gather(*said, return_exceptions=True)
