"""Typing, receipts and presence."""

from __future__ import annotations

from functools import partial

from http_client import segment
from scene import Scene
from stage import Account

# Longer than Synapse takes to look for those who have ceased to type (it looks every five seconds).
TYPING_END_SECONDS = 15.0
# Longer than that: the poll that waits for the end is one and the same.
LONG_WAIT_MILLISECONDS = 25_000


async def typing(scene: Scene) -> None:
    """Bob types."""
    alice, bob = scene.accounts
    room = await alice.create_room()
    await bob.join(room)
    for device in scene.devices():
        device.long_milliseconds = LONG_WAIT_MILLISECONDS
    scene.begin()
    both = [alice, bob]
    who = f"typing/{segment(bob.id)}"
    types = {"typing": True, "timeout": 20_000}
    await scene.row("typing", lambda: bob.in_room("PUT", room, who, types), both)
    await scene.row("typing no more", lambda: bob.in_room("PUT", room, who, {"typing": False}), both)
    shortly = {"typing": True, "timeout": 6_000}
    await scene.row("typing for a while", lambda: bob.in_room("PUT", room, who, shortly), both)
    await scene.comes("the end of that while", both, TYPING_END_SECONDS)


async def receipts(scene: Scene) -> None:
    """Bob reads."""
    alice, bob = scene.accounts
    room = await alice.create_room()
    await bob.join(room)
    first, second = await alice.say(room, "first"), await alice.say(room, "second")
    aside = {"msgtype": "m.text", "body": "aside", "m.relates_to": {"rel_type": "m.thread", "event_id": first}}
    threaded = await alice.send(room, aside)
    scene.begin()
    both = [alice, bob]
    sources: list[tuple[str, str, str, dict[str, str], list[Account]]] = [
        ("a private receipt", "m.read.private", first, {}, [bob]),
        ("a receipt", "m.read", second, {}, both),
        ("a receipt in a thread", "m.read", threaded, {"thread_id": first}, both),
        ("a receipt in the main thread", "m.read", second, {"thread_id": "main"}, both),
        ("a private receipt in a thread", "m.read.private", threaded, {"thread_id": first}, [bob]),
    ]
    for source, kind, event, body, wakes in sources:
        path = f"receipt/{kind}/{segment(event)}"
        await scene.row(source, partial(bob.in_room, "POST", room, path, body), wakes)


async def presence(scene: Scene) -> None:
    """Bob comes and goes, as far as he says so himself. His devices say nothing of it."""
    alice, bob = scene.accounts
    room = await alice.create_room()
    await bob.join(room)
    scene.begin()
    status = f"presence/{segment(bob.id)}/status"
    for state in ("unavailable", "online"):
        change = {"presence": state, "status_msg": f"now {state}"}
        await scene.row(f"presence {state}", partial(bob.do, "PUT", status, change), [alice, bob])
