"""Who comes to a room and goes: every way, and who is told."""

from __future__ import annotations

from http_client import segment
from scene import Scene


async def membership(scene: Scene) -> None:
    """Alice has a room, Bob comes and goes."""
    alice, bob = scene.accounts
    room = await alice.create_room(room_alias_name=alice.id[1:].split(":")[0])
    scene.begin()
    both, target = [alice, bob], {"user_id": bob.id}
    await scene.row("an invite", lambda: alice.in_room("POST", room, "invite", target), both)
    await scene.row("a rejected invite", lambda: bob.in_room("POST", room, "leave"), both)
    await scene.row("an invite again", lambda: alice.in_room("POST", room, "invite", target), both)
    await scene.row("a withdrawn invite", lambda: alice.in_room("POST", room, "kick", target), both)
    alias = f"#{alice.id[1:]}"
    await scene.row("a join by alias", lambda: bob.do("POST", f"join/{segment(alias)}"), both)
    await scene.row("the first message after a join", lambda: alice.say(room, "welcome"), both)
    name = f"profile/{segment(bob.id)}/displayname"
    await scene.row("a new name", lambda: bob.do("PUT", name, {"displayname": "Bobby"}), both)
    await scene.row("a kick", lambda: alice.in_room("POST", room, "kick", target), both)
    await scene.row("a message behind one's back", lambda: alice.say(room, "gone"), [alice])
    await scene.row("a join", lambda: bob.join(room), both)
    await scene.row("a ban", lambda: alice.in_room("POST", room, "ban", target), both)
    await scene.row("an unban", lambda: alice.in_room("POST", room, "unban", target), [alice])
    await scene.row("a join after all", lambda: bob.join(room), both)
    await scene.row("a leave", lambda: bob.in_room("POST", room, "leave"), both)
    await scene.row("forgetting a room", lambda: bob.in_room("POST", room, "forget"), [])


async def knocking(scene: Scene) -> None:
    """A room where one knocks, and a room of one's own that nobody else sees."""
    alice, bob = scene.accounts
    knock = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room = await alice.create_room(preset="private_chat", initial_state=[knock])
    scene.begin()
    both = [alice, bob]
    await scene.row("a knock", lambda: bob.do("POST", f"knock/{segment(room)}"), both)
    await scene.row("a withdrawn knock", lambda: bob.in_room("POST", room, "leave"), both)
    await scene.row("a knock again", lambda: bob.do("POST", f"knock/{segment(room)}"), both)
    await scene.row(
        "an invite after a knock", lambda: alice.in_room("POST", room, "invite", {"user_id": bob.id}), both
    )
    await scene.row("a join after a knock", lambda: bob.join(room), both)
    await scene.row("a new room", lambda: alice.create_room(), [alice])
    await scene.row(
        "a new room with an invite",
        lambda: alice.create_room(preset="private_chat", invite=[bob.id], is_direct=True),
        both,
    )
    picture = f"profile/{segment(bob.id)}/avatar_url"
    await scene.row("a new picture", lambda: bob.do("PUT", picture, {"avatar_url": "mxc://a.example/b"}), both)
