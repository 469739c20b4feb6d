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
    await types(scene, bob, room)


async def types(scene: Scene, typist: Account, room: str) -> None:
    """Somebody types in a room that has everybody in it."""
    for device in scene.devices():
        device.long_milliseconds = LONG_WAIT_MILLISECONDS
    scene.begin()
    who = f"typing/{segment(typist.id)}"
    does = {"typing": True, "timeout": 20_000}
    await scene.row("typing", lambda: typist.in_room("PUT", room, who, does), scene.accounts)
    await scene.row("typing no more", lambda: typist.in_room("PUT", room, who, {"typing": False}), scene.accounts)
    shortly = {"typing": True, "timeout": 6_000}
    await scene.row("typing for a while", lambda: typist.in_room("PUT", room, who, shortly), scene.accounts)
    await scene.comes("the end of that while", scene.accounts, TYPING_END_SECONDS)


async def receipts(scene: Scene) -> None:
    """Bob reads."""
    alice, bob = scene.accounts
    room = await alice.create_room()
    await bob.join(room)
    await reads(scene, bob, alice, room)


async def reads(scene: Scene, reader: Account, writer: Account, room: str) -> None:
    """Somebody reads what another has written in a room that has everybody in it."""
    first, second = await writer.say(room, "first"), await writer.say(room, "second")
    aside = {"msgtype": "m.text", "body": "aside", "m.relates_to": {"rel_type": "m.thread", "event_id": first}}
    threaded = await writer.send(room, aside)
    scene.begin()
    all_of_them, oneself = scene.accounts, [account for account in scene.accounts if account is reader]
    sources: list[tuple[str, str, str, dict[str, str], list[Account]]] = [
        ("a private receipt", "m.read.private", first, {}, oneself),
        ("a receipt", "m.read", second, {}, all_of_them),
        ("a receipt in a thread", "m.read", threaded, {"thread_id": first}, all_of_them),
        ("a receipt in the main thread", "m.read", second, {"thread_id": "main"}, all_of_them),
        ("a private receipt in a thread", "m.read.private", threaded, {"thread_id": first}, oneself),
    ]
    for source, kind, event, body, wakes in sources:
        path = f"receipt/{kind}/{segment(event)}"
        await scene.row(source, partial(reader.in_room, "POST", room, path, body), wakes)


async def presence(scene: Scene) -> None:
    """Bob comes and goes, as far as he says so himself. His devices say nothing of it."""
    alice, bob = scene.accounts
    room = await alice.create_room()
    await bob.join(room)
    await comes_and_goes(scene, bob)


async def comes_and_goes(scene: Scene, account: Account) -> None:
    """Somebody who shares a room with everybody says so."""
    scene.begin()
    # Of both kinds of sync only this one tells it.
    told = [] if scene.sliding else scene.accounts
    status = f"presence/{segment(account.id)}/status"
    for state in ("unavailable", "online"):
        change = {"presence": state, "status_msg": f"now {state}"}
        await scene.row(f"presence {state}", partial(account.do, "PUT", status, change), told)
