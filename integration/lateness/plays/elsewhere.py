"""Rooms of another homeserver: what it takes to get into them, what of them comes then, and how they end."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from functools import partial

from http_client import segment
from locks import held
from neighbours import Neighbours, whole
from plays.messages import ten
from scene import Scene
from stage import Account

# In a play where polls must end by themselves.
SHORT_WAIT_MILLISECONDS = 3_000


async def invites(scene: Scene) -> None:
    """Rita has a room; Bob is invited and comes and goes. Nobody else of his homeserver is in it."""
    _, bob = scene.accounts
    neighbours = await Neighbours.of(scene)
    rita, there = neighbours.rita, neighbours.there
    room = await rita.create_room(preset="private_chat")
    scene.begin()
    target = {"user_id": bob.id}
    invite = partial(rita.in_room, "POST", room, "invite", target)
    await scene.row("an invite", invite, [bob])
    await scene.row("a rejected invite", lambda: bob.in_room("POST", room, "leave"), [bob])
    await scene.row("an invite again", invite, [bob])
    await scene.row("a withdrawn invite", lambda: rita.in_room("POST", room, "kick", target), [bob])
    await scene.row("a third invite", invite, [bob])
    await scene.row("a join", lambda: _join(scene, bob, room, there), [bob])
    await scene.row("the first message after a join", lambda: rita.say(room, "welcome"), [bob])
    await scene.row("a kick", lambda: rita.in_room("POST", room, "kick", target), [bob])
    await scene.row("a message behind one's back", lambda: rita.say(room, "gone"), [])
    await scene.row("an invite after a kick", invite, [bob])
    await scene.row("a join after a kick", lambda: _join(scene, bob, room, there), [bob])
    await scene.row("a ban", lambda: rita.in_room("POST", room, "ban", target), [bob])
    direct = {"preset": "private_chat", "invite": [bob.id], "is_direct": True}
    await scene.row("a new room with an invite", lambda: rita.create_room(**direct), [bob])


async def rooms(scene: Scene) -> None:
    """Rita has a public room with a history, which Alice and Bob join, read, leave, and follow when it is upgraded."""
    alice, bob = scene.accounts
    neighbours = await Neighbours.of(scene)
    rita, there = neighbours.rita, neighbours.there
    name = rita.id[1:].split(":")[0]
    room = await rita.create_room(room_alias_name=name)
    for _ in range(3):
        await ten(rita, room)
    scene.begin()
    both, alias = [alice, bob], f"#{name}:{there}"
    await scene.row("a join by alias", lambda: _join(scene, alice, alias, there, room), [alice])
    await scene.row("history from elsewhere, which concerns nobody", lambda: _read_back(alice, room), [])
    await scene.row("the first message after a join", lambda: rita.say(room, "welcome"), [alice])
    await scene.row("a second join", lambda: bob.join(room), both)
    await scene.row("ten messages", lambda: ten(rita, room), both, at_least=10)
    for kind, content in {"m.room.topic": {"topic": "talk"}, "m.room.pinned_events": {"pinned": []}}.items():
        await scene.row(f"state {kind}", partial(rita.set_state, room, kind, content), both)
    await scene.row("a leave", lambda: bob.in_room("POST", room, "leave"), both)
    await scene.row("the last one's leave", lambda: alice.in_room("POST", room, "leave"), [alice])
    await scene.row("messages that are not heard", lambda: ten(rita, room), [])
    await scene.row("a join after that", lambda: _join(scene, alice, room, there), [alice])
    await scene.row("a second join after that", lambda: bob.join(room), both)
    upgrade = {"new_version": "11"}
    upgraded = await scene.row("a room's upgrade", lambda: rita.in_room("POST", room, "upgrade", upgrade), both)
    new = upgraded["replacement_room"]
    await scene.row("a join of the room in its place", lambda: _join(scene, bob, new, there), [bob])
    await scene.row("a message in the room in its place", lambda: rita.say(new, "moved"), [bob])


async def knocking(scene: Scene) -> None:
    """Alice knocks at a room of Rita's."""
    alice, _ = scene.accounts
    neighbours = await Neighbours.of(scene)
    rita, there = neighbours.rita, neighbours.there
    rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room = await rita.create_room(preset="private_chat", initial_state=[rule])
    scene.begin()
    knocks, target = f"knock/{segment(room)}?via={segment(there)}", {"user_id": alice.id}
    await scene.row("a knock", lambda: alice.do("POST", knocks), [alice])
    await scene.row("a withdrawn knock", lambda: alice.in_room("POST", room, "leave"), [alice])
    await scene.row("a knock again", lambda: alice.do("POST", knocks), [alice])
    invite = partial(rita.in_room, "POST", room, "invite", target)
    await scene.row("an invite after a knock", invite, [alice])
    await scene.row("a join after a knock", lambda: _join(scene, alice, room, there), [alice])
    await scene.row("the first message after a join", lambda: rita.say(room, "welcome"), [alice])


async def parts(scene: Scene) -> None:
    """Alice joins a room of Rita's of which Synapse has only a part for a while, as it has of large ones."""
    alice, _ = scene.accounts
    neighbours = await Neighbours.of(scene)
    rita, there = neighbours.rita, neighbours.there
    room = await rita.create_room()
    for device in scene.devices():
        device.long_milliseconds = SHORT_WAIT_MILLISECONDS
    scene.begin()
    async with AsyncExitStack() as lock:
        # The last thing that Synapse writes of such a room is that the whole is there.
        await lock.enter_async_context(held(scene.stage.stack["database"], "un_partial_stated_room_stream"))
        await scene.row("a join of a part of it", lambda: alice.join(room, there), [])
        # The poll that this has woken waits at Synapse.
        await scene.rest(time.monotonic())
        await scene.row("the whole of the room", lock.aclose, [alice])
    await scene.row("the first message after that", lambda: rita.say(room, "welcome"), [alice])


async def _join(scene: Scene, account: Account, room_or_alias: str, via: str, room: str | None = None) -> None:
    """Joins a room of which Synapse has only a part at first. No sync tells of it before the whole is there."""
    await account.join(room_or_alias, via)
    await whole(account, room or room_or_alias)
    if scene.sliding:
        # Where a sliding sync has told of the room before the last row of it came, the empty ones behind it go on from
        # there (they end where they begin), and the edge keeps none of them until something else has come.
        await account.say(room or room_or_alias, "here I am")


async def _read_back(account: Account, room: str) -> None:
    """Reads what was said before one came, which one's homeserver does not have yet."""
    await account.in_room("GET", room, "messages?dir=b&limit=100")
