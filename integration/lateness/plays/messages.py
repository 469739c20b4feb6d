"""What happens in a room's timeline and state, and many things at once."""

from __future__ import annotations

import asyncio
import random
from functools import partial

from http_client import segment
from scene import Scene
from stage import Account

# The mixture is the same in every run.
SEED = 20_261_129


async def messages(scene: Scene) -> None:
    """A conversation of two, watched by both."""
    alice, bob = scene.accounts
    room = await alice.create_room()
    await bob.join(room)
    scene.begin()
    both = [alice, bob]
    await talk(scene, alice, bob, room)
    await _state(scene, alice, room, both)
    await scene.row("ten messages", lambda: ten(alice, room), both, at_least=10)
    await scene.row("many things at once", lambda: _mixture(alice, bob, room), both)


async def talk(scene: Scene, one: Account, other: Account, room: str) -> str:
    """A message, and what two can make of it, in a room that has everybody in it; returns the message's event."""
    everybody = scene.accounts
    event: str = await scene.row("a message", lambda: one.say(room, "hello"), everybody)
    relation = {"rel_type": "m.replace", "event_id": event}
    edit = {"msgtype": "m.text", "body": "* hi", "m.new_content": {"body": "hi"}, "m.relates_to": relation}
    await scene.row("an edit", lambda: one.send(room, edit), everybody)
    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": event, "key": "+"}}
    await scene.row("a reaction", lambda: other.send(room, reaction, "m.reaction"), everybody)
    threaded = {"msgtype": "m.text", "body": "aside", "m.relates_to": {"rel_type": "m.thread", "event_id": event}}
    await scene.row("a message in a thread", lambda: other.send(room, threaded), everybody)
    redact = f"redact/{segment(event)}/{one.transaction()}"
    await scene.row("a redaction", lambda: one.in_room("PUT", room, redact), everybody)
    sealed = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x", "session_id": "s"}
    await scene.row("an encrypted message", lambda: one.send(room, sealed, "m.room.encrypted"), everybody)
    return event


async def _state(scene: Scene, alice: Account, room: str, both: list[Account]) -> None:
    states = {
        "m.room.topic": {"topic": "talk"},
        "m.room.name": {"name": "a room"},
        "m.room.pinned_events": {"pinned": []},
        "m.room.history_visibility": {"history_visibility": "joined"},
        "org.example.state": {"a": 1},
    }
    for kind, content in states.items():
        await scene.row(f"state {kind}", partial(alice.set_state, room, kind, content), both)


async def ten(account: Account, room: str) -> None:
    """Ten messages, one after the other."""
    for number in range(10):
        await account.say(room, f"number {number}")


async def _mixture(alice: Account, bob: Account, room: str) -> None:
    """Different sources at once, so that what wakes a poll and what it finds come from different writers."""
    event = await alice.say(room, "mixed")
    deeds = [
        lambda: alice.say(room, "one"),
        lambda: bob.say(room, "two"),
        lambda: alice.send_to_device(bob.id, {"number": "mixed"}),
        lambda: bob.in_room("POST", room, f"receipt/m.read/{segment(event)}"),
        lambda: bob.do("PUT", bob.own("account_data/org.example.mixed"), {"a": 1}),
        lambda: bob.do("PUT", bob.own(f"rooms/{segment(room)}/tags/u.mixed"), {"order": 0.5}),
        lambda: alice.set_state(room, "m.room.topic", {"topic": "mixed"}),
    ]
    order = random.Random(SEED)
    order.shuffle(deeds)
    await asyncio.gather(*(deed() for deed in deeds))
