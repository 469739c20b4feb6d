"""What an account keeps for itself, and reads on its other devices."""

from __future__ import annotations

from functools import partial

from http_client import segment
from scene import Scene


async def own_data(scene: Scene) -> None:
    """Bob changes what is his; Alice is told nothing of it."""
    alice, bob = scene.accounts
    room = await alice.create_room()
    await bob.join(room)
    event = await alice.say(room, "read this")
    scene.begin()
    data = {
        "org.example.note": {"a": 1},
        "m.direct": {alice.id: [room]},
        "m.ignored_user_list": {"ignored_users": {alice.id: {}}},
    }
    for kind, content in data.items():
        await scene.row(f"account data {kind}", partial(bob.do, "PUT", bob.own(f"account_data/{kind}"), content), [bob])
    await scene.row("a message of somebody ignored", lambda: alice.say(room, "unheard"), [alice])
    nobody = {"ignored_users": {}}
    ignored = bob.own("account_data/m.ignored_user_list")
    await scene.row("ignoring nobody any more", lambda: bob.do("PUT", ignored, nobody), [bob])
    in_room = f"rooms/{segment(room)}"
    note = bob.own(f"{in_room}/account_data/org.example.note")
    await scene.row("account data of a room", lambda: bob.do("PUT", note, {"a": 1}), [bob])
    tag = bob.own(f"{in_room}/tags/u.work")
    await scene.row("a tag", lambda: bob.do("PUT", tag, {"order": 0.5}), [bob])
    await scene.row("a tag less", lambda: bob.do("DELETE", tag), [bob])
    marker = {"m.fully_read": event}
    await scene.row("a fully-read marker", lambda: bob.in_room("POST", room, "read_markers", marker), [bob])
    await _push_rules(scene)


async def _push_rules(scene: Scene) -> None:
    _, bob = scene.accounts
    rule = "pushrules/global/content/lunch"
    content = {"actions": ["notify"], "pattern": "lunch"}
    await scene.row("a push rule", lambda: bob.do("PUT", rule, content), [bob])
    await scene.row("a push rule off", lambda: bob.do("PUT", f"{rule}/enabled", {"enabled": False}), [bob])
    await scene.row("a push rule's actions", lambda: bob.do("PUT", f"{rule}/actions", {"actions": []}), [bob])
    await scene.row("a push rule less", lambda: bob.do("DELETE", rule), [bob])
