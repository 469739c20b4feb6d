#!/usr/bin/env python3
"""Proves that matrix-nio, a real client library with end-to-end encryption, works on a homeserver's client API.

    nio_client.py --url http://127.0.0.1:8080

Two users register, log in, talk in a plain and in an encrypted room through real `/sync` long-polls, use most of what a
client uses, and log out. Every step prints `ok STEP`; the last line is `N steps passed`. Any failure is explained on
stderr and ends the program with exit code 1. What the homeserver must allow is written in README.md beside this file.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from contextlib import AsyncExitStack

import nio

import account
import conversation
from conversation import Conversation
from matrix_http import Json, MatrixHttp
from nio_user import User, expect, fresh_name, register
from sliding_sync import sliding_sync
from steps import Steps, require, run_program

# How long the poll lasts that is meant to end with nothing.
QUIET_MILLISECONDS = 2_000


def main() -> int:
    """Reads the arguments, runs the program, returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="base URL of the homeserver's client API")
    parser.add_argument("--password", default=secrets.token_urlsafe(12), help="password for the two new users")
    parser.add_argument("--ca-file", help="the only certificate authority to trust, for an https URL")
    arguments = parser.parse_args()
    return run_program(lambda steps: run(steps, arguments.url, arguments.password, arguments.ca_file))


async def run(steps: Steps, url: str, password: str, ca_file: str | None) -> None:
    """Runs everything, and closes what is open whatever happens."""
    async with AsyncExitStack() as stack:
        store = stack.enter_context(tempfile.TemporaryDirectory())
        http = await stack.enter_async_context(MatrixHttp(url, ca_file))
        alice_name, bob_name = fresh_name("alice"), fresh_name("bob")
        with steps.step("register two users"):
            registered = await register(url, alice_name, password, ca_file)
            await register(url, bob_name, password, ca_file)
        with steps.step("log in by password on fresh devices"):
            alice = await User.login(url, alice_name, password, store, ca_file)
            stack.push_async_callback(alice.close)
            bob = await User.login(url, bob_name, password, store, ca_file)
            stack.push_async_callback(bob.close)
            require(alice.client.device_id != registered.device_id, "the login did not make a new device")
        with steps.step("a wrong password is refused"):
            await _require_wrong_password_refused(http, alice)
        with steps.step("versions, login flows, capabilities, media configuration"):
            await account.server_facts(http, alice.token)
        with steps.step("the first sync, and the upload of device keys"):
            await alice.start()
            await bob.start()
        plain_room, encrypted_room = await conversation.open_rooms(steps, alice, bob)
        talk = Conversation(steps, http, alice, bob, plain_room, encrypted_room)
        await _converse(talk)
        await account.devices(talk, registered.device_id, registered.access_token)
        await _end(talk)


async def _converse(talk: Conversation) -> None:
    await conversation.plain_messages(talk)
    await conversation.encrypted_messages(talk)
    await conversation.after_quiet(talk)
    await conversation.changes_to_messages(talk)
    await conversation.receipts_and_typing(talk)
    await conversation.media(talk)
    await conversation.history(talk)
    await account.profile_and_presence(talk)
    await account.account_data(talk)
    await account.push_rules(talk)
    await account.directories(talk)
    await account.to_device(talk)
    await account.key_backup(talk)
    await sliding_sync(talk)


async def _end(talk: Conversation) -> None:
    alice, bob = talk.alice, talk.bob
    await alice.stop()
    await bob.stop()
    with talk.steps.step("a quiet sync is held until its timeout"):
        await _require_quiet_sync_is_held(bob)
    with talk.steps.step("log out, and the tokens are refused"):
        for user in (alice, bob):
            token = user.token
            await talk.http.call("GET", "/_matrix/client/v3/account/whoami", token)
            expect(await user.client.logout(), nio.LogoutResponse)
            await talk.http.require_refused(token)


async def _require_quiet_sync_is_held(user: User) -> None:
    # Presence changes by itself when loops stop; without it nothing concerns this user any more.
    without_presence: Json = {"presence": {"types": []}}
    expect(await user.client.sync(timeout=0, sync_filter=without_presence), nio.SyncResponse)
    started = time.monotonic()
    expect(await user.client.sync(timeout=QUIET_MILLISECONDS, sync_filter=without_presence), nio.SyncResponse)
    held = time.monotonic() - started
    require(held >= QUIET_MILLISECONDS / 1000 * 0.9, f"the poll was answered after {held:.2f} s")
    require(held < QUIET_MILLISECONDS / 1000 + 5, f"the poll was answered only after {held:.2f} s")


async def _require_wrong_password_refused(http: MatrixHttp, user: User) -> None:
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user.id},
        "password": user.password + " but wrong",
    }
    answer = await http.request("POST", "/_matrix/client/v3/login", body=login)
    got = (answer.status, answer.errcode)
    require(got == (403, "M_FORBIDDEN"), f"expected 403 M_FORBIDDEN, got {got}")


if __name__ == "__main__":
    sys.exit(main())
