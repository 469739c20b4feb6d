"""What happens to whole rooms: upgrades, threads that somebody follows, notices of the server, and the ends of rooms."""

from __future__ import annotations

import asyncio
import time

from http_client import require, segment
from scene import Scene
from stage import Account

UNSTABLE_THREADS = "/_matrix/client/unstable/io.element.msc4306"
ADMIN = "/_synapse/admin"
# How long Synapse may take to purge or delete in the background.
BACKGROUND_SECONDS = 20.0


async def rooms(scene: Scene) -> None:
    """A room with Alice and Bob is upgraded, its history purged, and another one deleted."""
    alice, bob = scene.accounts
    room, doomed = await alice.create_room(), await alice.create_room()
    await bob.join(room)
    await bob.join(doomed)
    admin = await scene.stage.admin()
    scene.begin()
    both = [alice, bob]
    await scene.row("a room's upgrade", lambda: alice.in_room("POST", room, "upgrade", {"new_version": "11"}), both)
    await scene.row("the last message before a purge", lambda: alice.say(room, "all before this is gone"), both)
    await scene.row("a purged history", lambda: _purge(admin, room), [])
    # In two steps: whose answer is made while a room is being purged may find only a part of it.
    await scene.row("a room's deletion", lambda: _delete(admin, doomed, purge=False), both)
    await scene.row("a deleted room's purge", lambda: _delete(admin, doomed, purge=True), [])
    await scene.row("a notice of the server", lambda: _notice(admin, bob), [bob])


async def threads(scene: Scene) -> None:
    """Bob follows a thread, and a message sticks to the room for a while."""
    alice, bob = scene.accounts
    room = await alice.create_room()
    await bob.join(room)
    root = await alice.say(room, "a thread")
    scene.begin()
    path = f"rooms/{segment(room)}/thread/{segment(root)}/subscription"
    # Of both kinds of sync only the other one tells it.
    told = [bob] if scene.sliding else []
    await scene.row("following a thread", lambda: bob.do_at(UNSTABLE_THREADS, "PUT", path, {}), told)
    await scene.row("following no more", lambda: bob.do_at(UNSTABLE_THREADS, "DELETE", path), told)
    sticky = "send/m.room.message/sticky?org.matrix.msc4354.sticky_duration_ms=60000"
    content = {"msgtype": "m.text", "body": "this sticks"}
    await scene.row("a sticky message", lambda: alice.in_room("PUT", room, sticky, content), [alice, bob])


async def _purge(admin: Account, room: str) -> None:
    path = f"{ADMIN}/v1/purge_history/{segment(room)}"
    body = {"purge_up_to_ts": int(time.time() * 1000), "delete_local_events": True}
    purge = (await admin.server.call("POST", path, admin.token, body))["purge_id"]
    await _until_over(admin, f"{ADMIN}/v1/purge_history_status/{purge}")


async def _delete(admin: Account, room: str, purge: bool) -> None:
    path = f"{ADMIN}/v2/rooms/{segment(room)}"
    delete = (await admin.server.call("DELETE", path, admin.token, {"purge": purge}))["delete_id"]
    await _until_over(admin, f"{ADMIN}/v2/rooms/delete_status/{delete}")


async def _until_over(admin: Account, status: str) -> None:
    deadline = time.monotonic() + BACKGROUND_SECONDS
    # Synapse's own deletion fails now and then, at the table that sliding sync is made from; everybody has left by then.
    while (told := await admin.server.call("GET", status, admin.token))["status"] not in ("complete", "failed"):
        require(time.monotonic() < deadline, f"{status}: {told}")
        await asyncio.sleep(0.1)


async def _notice(admin: Account, bob: Account) -> None:
    body = {"user_id": bob.id, "content": {"msgtype": "m.text", "body": "the server says"}}
    await admin.server.call("POST", f"{ADMIN}/v1/send_server_notice", admin.token, body)
