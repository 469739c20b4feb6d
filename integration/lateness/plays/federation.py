"""What a user of another homeserver does in rooms of this one. All of it comes by the homeserver's transactions."""

from __future__ import annotations

import asyncio
from functools import partial

from http_client import segment
from neighbours import Neighbours
from plays import ephemeral, keys
from plays.messages import talk, ten
from scene import Scene
from stage import Account


async def messages(scene: Scene) -> None:
    """Rita talks with Alice and Bob."""
    alice, bob = scene.accounts
    neighbours = await Neighbours.of(scene)
    rita, room = neighbours.rita, await neighbours.shared_room()
    scene.begin()
    both = [alice, bob]
    event = await talk(scene, rita, rita, room)
    for kind, content in {"m.room.name": {"name": "a room"}, "org.example.state": {"a": 1}}.items():
        await scene.row(f"state {kind}", partial(rita.set_state, room, kind, content), both)
    await scene.row("ten messages", lambda: ten(rita, room), both, at_least=10)
    # Each homeserver makes its own the next event, and then both have to say which of the two holds.
    topics = [partial(account.set_state, room, "m.room.topic", {"topic": account.id}) for account in (alice, rita)]
    await scene.row("two states at once", lambda: asyncio.gather(*(topic() for topic in topics)), both, at_least=2)
    await scene.row("many things at once", lambda: _mixture(scene, rita, room, event), both, at_least=4)
    sticky = "send/m.room.message/sticky?org.matrix.msc4354.sticky_duration_ms=60000"
    content = {"msgtype": "m.text", "body": "this sticks"}
    await scene.row("a sticky message", lambda: rita.in_room("PUT", room, sticky, content), both)


async def _mixture(scene: Scene, rita: Account, room: str, event: str) -> None:
    """Different sources at once, some of which come in one transaction, and some meet what is done here meanwhile."""
    alice, bob = scene.accounts
    await asyncio.gather(
        rita.say(room, "one"),
        alice.say(room, "two"),
        rita.send_to_device(bob.id, {"number": "mixed"}),
        rita.in_room("POST", room, f"receipt/m.read/{segment(event)}"),
        rita.set_state(room, "m.room.topic", {"topic": "mixed"}),
        rita.log_in(),
        alice.send_to_device(bob.id, {"number": "mixed as well"}),
    )


async def guest(scene: Scene) -> None:
    """Rita comes to a room of Alice's and goes."""
    alice, bob = scene.accounts
    neighbours = await Neighbours.of(scene)
    rita, here = neighbours.rita, neighbours.here
    room = await alice.create_room()
    await bob.join(room)
    scene.begin()
    both, target = [alice, bob], {"user_id": rita.id}
    name = f"profile/{segment(rita.id)}/displayname"
    moved = partial(neighbours.moved, who=rita, room=room, wakes=both)
    await scene.row("an invite", lambda: alice.in_room("POST", room, "invite", target), both)
    await scene.row("a rejected invite", lambda: rita.in_room("POST", room, "leave"), both)
    await scene.row("an invite again", lambda: alice.in_room("POST", room, "invite", target), both)
    await scene.row("a withdrawn invite", lambda: alice.in_room("POST", room, "kick", target), both)
    await moved("a join", lambda: rita.join(room, here))
    await scene.row("the first message after a join", lambda: rita.say(room, "thanks"), both)
    await moved("a new name", lambda: rita.do("PUT", name, {"displayname": "Rosie"}))
    await moved("a leave", lambda: rita.in_room("POST", room, "leave"))
    await moved("a join again", lambda: rita.join(room, here))
    await moved("a kick", lambda: alice.in_room("POST", room, "kick", target))
    await moved("a join after a kick", lambda: rita.join(room, here))
    await moved("a ban", lambda: alice.in_room("POST", room, "ban", target))
    await scene.row("an unban", lambda: alice.in_room("POST", room, "unban", target), both)
    await moved("a join after all", lambda: rita.join(room, here))


async def moderator(scene: Scene) -> None:
    """Rita says who may be in a room of Alice's: Bob comes and goes."""
    alice, bob = scene.accounts
    neighbours = await Neighbours.of(scene)
    rita, room = neighbours.rita, await neighbours.shared_room()
    scene.begin()
    both, target = [alice, bob], {"user_id": bob.id}
    moved = partial(neighbours.moved, who=bob, room=room)
    await moved("a kick", lambda: rita.in_room("POST", room, "kick", target), wakes=both)
    await scene.row("a message behind one's back", lambda: rita.say(room, "gone"), [alice])
    await moved("a join after a kick", lambda: bob.join(room), wakes=both)
    await moved("a ban", lambda: rita.in_room("POST", room, "ban", target), wakes=both)
    await moved("an unban", lambda: rita.in_room("POST", room, "unban", target), wakes=[alice])
    await moved("an invite", lambda: rita.in_room("POST", room, "invite", target), wakes=both)
    await moved("a rejected invite", lambda: bob.in_room("POST", room, "leave"), wakes=both)
    await moved("an invite again", lambda: rita.in_room("POST", room, "invite", target), wakes=both)
    await moved("a withdrawn invite", lambda: rita.in_room("POST", room, "kick", target), wakes=both)
    await moved("a third invite", lambda: rita.in_room("POST", room, "invite", target), wakes=both)
    await moved("a join after an invite", lambda: bob.join(room), wakes=both)
    await scene.row("a message after a join", lambda: rita.say(room, "welcome"), both)
    await moved("a leave", lambda: bob.in_room("POST", room, "leave"), wakes=both)


async def knocking(scene: Scene) -> None:
    """Rita knocks at a room of Alice's, where Bob is as well."""
    alice, bob = scene.accounts
    neighbours = await Neighbours.of(scene)
    rita, here = neighbours.rita, neighbours.here
    knock = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room = await alice.create_room(preset="private_chat", initial_state=[knock], invite=[bob.id])
    await bob.join(room)
    scene.begin()
    both, target = [alice, bob], {"user_id": rita.id}
    knocks = f"knock/{segment(room)}?via={segment(here)}"
    await scene.row("a knock", lambda: rita.do("POST", knocks), both)
    await scene.row("a refusal", lambda: alice.in_room("POST", room, "kick", target), both)
    await scene.row("a knock again", lambda: rita.do("POST", knocks), both)
    await scene.row("an invite after a knock", lambda: alice.in_room("POST", room, "invite", target), both)
    await scene.row("a join after a knock", lambda: rita.join(room, here), both)


async def typing(scene: Scene) -> None:
    """Rita types."""
    neighbours = await Neighbours.of(scene)
    await ephemeral.types(scene, neighbours.rita, await neighbours.shared_room())


async def receipts(scene: Scene) -> None:
    """Rita reads what Alice has written."""
    neighbours = await Neighbours.of(scene)
    await ephemeral.reads(scene, neighbours.rita, scene.accounts[0], await neighbours.shared_room())


async def presence(scene: Scene) -> None:
    """Rita comes and goes, as far as she says so herself."""
    neighbours = await Neighbours.of(scene)
    await neighbours.shared_room()
    await ephemeral.comes_and_goes(scene, neighbours.rita)


async def to_device(scene: Scene) -> None:
    """Rita sends to Bob's devices; they share no room."""
    _, bob = scene.accounts
    await keys.sends(scene, (await Neighbours.of(scene)).rita, bob)


async def devices(scene: Scene) -> None:
    """Rita's devices come, change and go."""
    neighbours = await Neighbours.of(scene)
    await neighbours.shared_room()
    # A homeserver tells of changes only when it knows the devices of another one's user, and one of them had keys then.
    rita, alice = neighbours.rita, scene.accounts[0]
    older = keys.device_keys(rita) | {"algorithms": []}
    await rita.do("POST", "keys/upload", {"device_keys": older})
    await alice.do("POST", "keys/query", {"device_keys": {rita.id: []}})
    await keys.changes_devices(scene, rita)


async def cross_signing(scene: Scene) -> None:
    """Rita's identity: made, used to sign a device of hers, signed by Alice, and replaced."""
    neighbours = await Neighbours.of(scene)
    await neighbours.shared_room()
    await keys.signs(scene, neighbours.rita)


async def key_counts(scene: Scene) -> None:
    """Rita claims keys of Bob's devices."""
    neighbours = await Neighbours.of(scene)
    await neighbours.shared_room()
    await keys.claims(scene, neighbours.rita, scene.accounts[1])
