#!/usr/bin/env python3
"""Proves that two homeservers federate: what a user of A does is seen by a user of B, and the other way round.

    federation.py --a-url https://localhost:8448 --a-name localhost:8448 \\
                  --b-url https://localhost:8449 --b-name localhost:8449 --ca-file ca.pem

The program talks to each server only through its client API; everything that it checks has crossed the federation API
in between: joins, events both ways, encryption keys, to-device messages, typing, receipts, profiles, media, room
directories, aliases and history. Run it a second time with A and B exchanged to prove each endpoint on both servers.

Every step prints `ok STEP`; the last line is `N steps passed`. Any failure is explained on stderr, with exit code 1.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass

import nio

import conversation
from conversation import Conversation
from matrix_http import Json, MatrixHttp, segment
from nio_user import User, expect, fresh_name, register
from steps import Steps, eventually, require, run_program


@dataclass(frozen=True)
class Server:
    """One of the two homeservers, as its clients and its peers know it."""

    url: str
    name: str


@dataclass(frozen=True)
class Federation:
    """Both servers, a user on each, and plain requests to B, which is the one that asks A for things."""

    steps: Steps
    a: Server
    b: Server
    alice: User
    bob: User
    b_http: MatrixHttp


def main() -> int:
    """Reads the arguments, runs the program, returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for letter in ("a", "b"):
        parser.add_argument(f"--{letter}-url", required=True, help=f"base URL of the client API of {letter.upper()}")
        parser.add_argument(f"--{letter}-name", required=True, help=f"server name of {letter.upper()}")
    parser.add_argument("--password", default=secrets.token_urlsafe(12), help="password for the two new users")
    parser.add_argument("--ca-file", help="the only certificate authority to trust, for https URLs")
    arguments = parser.parse_args()
    a = Server(arguments.a_url, arguments.a_name)
    b = Server(arguments.b_url, arguments.b_name)
    return run_program(lambda steps: run(steps, a, b, arguments.password, arguments.ca_file))


async def run(steps: Steps, a: Server, b: Server, password: str, ca_file: str | None) -> None:
    """Makes a user on each server, runs everything, and closes what is open whatever happens."""
    async with AsyncExitStack() as stack:
        store = stack.enter_context(tempfile.TemporaryDirectory())
        b_http = await stack.enter_async_context(MatrixHttp(b.url, ca_file))
        with steps.step("register and log in on both servers"):
            alice = await _new_user(a, fresh_name("alice"), password, store, ca_file)
            stack.push_async_callback(alice.close)
            bob = await _new_user(b, fresh_name("bob"), password, store, ca_file)
            stack.push_async_callback(bob.close)
        await alice.start()
        await bob.start()
        both = Federation(steps, a, b, alice, bob, b_http)
        await _keys(both)
        await _profile(both)
        plain_room, encrypted_room = await conversation.open_rooms(steps, alice, bob)
        talk = Conversation(steps, b_http, alice, bob, plain_room, encrypted_room)
        await conversation.plain_messages(talk)
        await conversation.encrypted_messages(talk)
        await conversation.changes_to_messages(talk)
        await conversation.receipts_and_typing(talk)
        await conversation.media(talk)
        await _public_room(both)


async def _new_user(server: Server, name: str, password: str, store: str, ca_file: str | None) -> User:
    registered = await register(server.url, name, password, ca_file)
    expected = f"@{name}:{server.name}"
    require(registered.user_id == expected, f"{server.url} made {registered.user_id}, not {expected}")
    return await User.login(server.url, name, password, store, ca_file)


async def _keys(both: Federation) -> None:
    """B's client asks for the keys of A's user, who shares no room with it, so B's server must ask A's."""
    with both.steps.step("device keys over federation"):
        query: Json = {"device_keys": {both.alice.id: []}}
        found = await both.b_http.call("POST", "/_matrix/client/v3/keys/query", both.bob.token, query)
        require(not found["failures"], f"the key query has failures: {found['failures']}")
        devices = list(found["device_keys"].get(both.alice.id, {}))
        require(devices == [both.alice.client.device_id], f"the devices found are {devices}")


async def _profile(both: Federation) -> None:
    with both.steps.step("profile over federation"):
        expect(await both.alice.client.set_displayname("Alice of A"), nio.ProfileSetDisplayNameResponse)
        profile = expect(await both.bob.client.get_profile(both.alice.id), nio.ProfileGetResponse)
        require(profile.displayname == "Alice of A", f"the name is {profile.displayname!r}")


async def _public_room(both: Federation) -> None:
    """B's user finds a room of A's by directory and alias, joins it uninvited, and reads what was said before."""
    alice, bob, alias = both.alice, both.bob, fresh_name("market")
    room_id = await alice.create_room(visibility=nio.RoomVisibility.public, alias=alias, name=f"Market {alias}")
    before = [await alice.say(room_id, f"before {number}") for number in range(15)]
    with both.steps.step("the other server's public rooms"):

        async def listed() -> bool | None:
            answer = await bob.client.list_public_rooms(limit=10, server=both.a.name, filter_generic_search_term=alias)
            rooms = expect(answer, nio.responses.PublicRoomsResponse).public_rooms
            return True if [room.room_id for room in rooms] == [room_id] else None

        # Synapse lists what its statistics know, which follow the room in the background.
        await eventually("the room in the directory", listed)
    with both.steps.step("an alias is resolved over federation"):
        resolved = expect(await bob.client.room_resolve_alias(f"#{alias}:{both.a.name}"), nio.RoomResolveAliasResponse)
        require(resolved.room_id == room_id, f"the alias leads to {resolved.room_id}")
        require(both.a.name in resolved.servers, f"the servers to join by are {resolved.servers}")
    with both.steps.step("join by alias, without an invite"):
        alias_path = segment(f"#{alias}:{both.a.name}")
        joined = await both.b_http.call("POST", f"/_matrix/client/v3/join/{alias_path}", bob.token, {})
        require(joined["room_id"] == room_id, f"the room joined is {joined['room_id']}")
        await alice.wait_for_member(room_id, bob.id)
    with both.steps.step("history from before the join"):

        async def all_of_it() -> bool | None:
            found = await conversation.messages_backwards(bob, room_id, page_size=10)
            return True if [event_id for event_id in found if event_id in before] == before[::-1] else None

        # The server answers with what it has and fetches the rest, so the first reading may be short.
        await eventually("all earlier messages", all_of_it)
    with both.steps.step("leave over federation"):
        expect(await bob.client.room_leave(room_id), nio.RoomLeaveResponse)
        await alice.wait_for(
            "the leaving",
            lambda seen: (
                isinstance(seen.event, nio.RoomMemberEvent)
                and (seen.room_id, seen.event.state_key, seen.event.membership) == (room_id, bob.id, "leave")
            ),
        )


if __name__ == "__main__":
    sys.exit(main())
