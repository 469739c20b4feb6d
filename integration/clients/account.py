"""What a user does with an account: profile, presence, tags, push rules, devices, key backup, directories.

matrix-nio has most of these; the few that it lacks are plain requests with the same access token.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import nio

from conversation import Conversation
from matrix_http import MatrixHttp, segment
from nio_user import Seen, expect, fresh_name
from steps import eventually, require


async def profile_and_presence(talk: Conversation) -> None:
    """A display name and an avatar that the other user reads, and a presence that arrives through `/sync`."""
    alice, bob = talk.alice, talk.bob
    with talk.steps.step("change the profile"):
        expect(await bob.client.set_displayname("Bob the Builder"), nio.ProfileSetDisplayNameResponse)
        expect(await bob.client.set_avatar("mxc://example.org/bob"), nio.ProfileSetAvatarResponse)
        profile = expect(await alice.client.get_profile(bob.id), nio.ProfileGetResponse)
        got = (profile.displayname, profile.avatar_url)
        require(got == ("Bob the Builder", "mxc://example.org/bob"), f"the profile is {got}")
        await alice.wait_for(
            "the new name in the room",
            lambda seen: (
                isinstance(seen.event, nio.RoomMemberEvent)
                and (seen.event.state_key, seen.event.content.get("displayname")) == (bob.id, "Bob the Builder")
            ),
        )
    with talk.steps.step("presence is seen"):
        expect(await bob.client.set_presence("online", "building"), nio.PresenceSetResponse)
        await alice.wait_for(
            "the presence",
            lambda seen: (
                isinstance(seen.event, nio.PresenceEvent)
                and (seen.event.user_id, seen.event.status_msg) == (bob.id, "building")
            ),
        )
        presence = expect(await alice.client.get_presence(bob.id), nio.PresenceGetResponse)
        require(presence.status_msg == "building", f"the status message is {presence.status_msg!r}")


async def account_data(talk: Conversation) -> None:
    """Room tags, room account data and global account data: written, seen through `/sync`, read back."""
    alice, http = talk.alice, talk.http
    base = f"/_matrix/client/v3/user/{segment(alice.id)}"
    room = f"{base}/rooms/{segment(talk.plain_room)}"
    with talk.steps.step("tag a room"):
        await http.call("PUT", f"{room}/tags/m.favourite", alice.token, {"order": 0.5})
        await alice.wait_for(
            "the tag", lambda seen: isinstance(seen.event, nio.TagEvent) and "m.favourite" in seen.event.tags
        )
        tags = await http.call("GET", f"{room}/tags", alice.token)
        require(tags == {"tags": {"m.favourite": {"order": 0.5}}}, f"the tags are {tags}")
    for name, address in (("room", room), ("global", base)):
        with talk.steps.step(f"{name} account data"):
            address = f"{address}/account_data/org.example.{name}"
            await http.call("PUT", address, alice.token, {"kept": name})
            await alice.wait_for("the account data", partial(_is_account_data, f"org.example.{name}", {"kept": name}))
            kept = await http.call("GET", address, alice.token)
            require(kept == {"kept": name}, f"the account data is {kept}")


async def push_rules(talk: Conversation) -> None:
    """A push rule is written, seen through `/sync`, read and deleted."""
    alice, address = talk.alice, "/_matrix/client/v3/pushrules/global/content/proxy-word"
    with talk.steps.step("write and read a push rule"):
        written = await alice.client.set_pushrule(
            "global", nio.PushRuleKind.content, "proxy-word", actions=[nio.PushNotify()], pattern="proxy"
        )
        expect(written, nio.SetPushRuleResponse)
        await alice.wait_for(
            "the push rule",
            lambda seen: (
                isinstance(seen.event, nio.PushRulesEvent)
                and any(rule.id == "proxy-word" for rule in seen.event.global_rules.content)
            ),
        )
        rule = await talk.http.call("GET", address, alice.token)
        require((rule["pattern"], rule["actions"]) == ("proxy", ["notify"]), f"the push rule is {rule}")
    with talk.steps.step("delete a push rule"):
        deleted = await alice.client.delete_pushrule("global", nio.PushRuleKind.content, "proxy-word")
        expect(deleted, nio.DeletePushRuleResponse)
        answer = await talk.http.request("GET", address, alice.token)
        require(answer.status == 404, f"the deleted push rule gave {answer.status}")


async def directories(talk: Conversation) -> None:
    """The user directory, the directory of public rooms, and a room alias."""
    alice, bob, http = talk.alice, talk.bob, talk.http
    with talk.steps.step("find a user in the directory"):

        async def search() -> object | None:
            term = {"search_term": bob.id.split(":")[0].removeprefix("@")}
            found = await http.call("POST", "/_matrix/client/v3/user_directory/search", alice.token, term)
            return next((user for user in found["results"] if user["user_id"] == bob.id), None)

        await eventually("the user in the directory", search)
    with talk.steps.step("publish a room, find it, resolve its alias"):
        alias = fresh_name("market")
        room_id = await alice.create_room(visibility=nio.RoomVisibility.public, alias=alias, name=f"Market {alias}")

        async def listed() -> bool | None:
            answer = await bob.client.list_public_rooms(limit=10, filter_generic_search_term=alias)
            rooms = expect(answer, nio.responses.PublicRoomsResponse).public_rooms
            return True if [room.room_id for room in rooms] == [room_id] else None

        # Synapse lists what its statistics know, which follow the room in the background.
        await eventually("the room in the directory", listed)
        full_alias = f"#{alias}:{alice.id.split(':', 1)[1]}"
        resolved = expect(await bob.client.room_resolve_alias(full_alias), nio.RoomResolveAliasResponse)
        require(resolved.room_id == room_id, f"the alias leads to {resolved.room_id}")
    with talk.steps.step("join by alias, leave and forget"):
        expect(await bob.client.join(full_alias), nio.JoinResponse)
        expect(await bob.client.room_leave(room_id), nio.RoomLeaveResponse)
        expect(await bob.client.room_forget(room_id), nio.RoomForgetResponse)


async def to_device(talk: Conversation) -> None:
    """A to-device message of an unknown type arrives at the one device that it names."""
    alice, bob = talk.alice, talk.bob
    with talk.steps.step("a to-device message is seen"):
        message = nio.ToDeviceMessage("org.example.ping", bob.id, bob.client.device_id, {"number": 1})
        expect(await alice.client.to_device(message), nio.ToDeviceResponse)
        seen = await bob.wait_for(
            "the to-device message", lambda seen: getattr(seen.event, "type", None) == "org.example.ping"
        )
        source = seen.event.source
        require((source["sender"], source["content"]) == (alice.id, {"number": 1}), f"it is altered: {source}")


async def key_backup(talk: Conversation) -> None:
    """A version of the server-side key backup: none at first, then made, read and deleted."""
    alice, http, address = talk.alice, talk.http, "/_matrix/client/v3/room_keys/version"
    with talk.steps.step("key backup version"):
        answer = await http.request("GET", address, alice.token)
        require((answer.status, answer.errcode) == (404, "M_NOT_FOUND"), f"before: {answer.status} {answer.errcode}")
        backup = {
            "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
            "auth_data": {"public_key": "abcdefg", "signatures": {}},
        }
        made = await http.call("POST", address, alice.token, backup)
        read = await http.call("GET", address, alice.token)
        require({key: read[key] for key in backup} == backup, f"the backup is {read}")
        require(read["version"] == made["version"], "the version read is not the one made")
        await http.call("DELETE", f"{address}/{segment(made['version'])}", alice.token)


async def devices(talk: Conversation, other_device: str, other_token: str) -> None:
    """The device list; another device is renamed, then deleted with a password, which ends its access token."""
    client = talk.alice.client
    with talk.steps.step("list and rename devices"):
        expect(await client.update_device(other_device, {"display_name": "renamed"}), nio.UpdateDeviceResponse)
        listed = expect(await client.devices(), nio.DevicesResponse).devices
        names = {device.id: device.display_name for device in listed}
        require(names == {client.device_id: "a fresh device", other_device: "renamed"}, f"the devices are {names}")
    with talk.steps.step("delete a device with a password, and its token with it"):
        asked = expect(await client.delete_devices([other_device]), nio.DeleteDevicesAuthResponse)
        proof = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": talk.alice.id},
            "password": talk.alice.password,
            "session": asked.session,
        }
        expect(await client.delete_devices([other_device], proof), nio.DeleteDevicesResponse)
        listed = expect(await client.devices(), nio.DevicesResponse).devices
        require([device.id for device in listed] == [client.device_id], "the device is still listed")
        await talk.http.require_refused(other_token)


async def server_facts(http: MatrixHttp, token: str) -> None:
    """The near-static answers that every client asks for when it starts."""
    versions = await http.call("GET", "/_matrix/client/versions")
    require("v1.11" in versions["versions"], f"authenticated media needs v1.11; the server has {versions['versions']}")
    flows = await http.call("GET", "/_matrix/client/v3/login")
    require({"type": "m.login.password"} in flows["flows"], f"the login flows are {flows}")
    capabilities = await http.call("GET", "/_matrix/client/v3/capabilities", token)
    require("m.room_versions" in capabilities["capabilities"], f"the capabilities are {capabilities}")
    config = await http.call("GET", "/_matrix/client/v1/media/config", token)
    require(config["m.upload.size"] > 0, f"the media configuration is {config}")


def _is_account_data(kind: str, content: dict[str, Any], seen: Seen) -> bool:
    return getattr(seen.event, "type", None) == kind and seen.event.content == content
