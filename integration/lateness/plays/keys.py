"""Messages to devices, devices, and their keys."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from device import Device
from scene import Scene
from signing import SigningKey
from stage import Account

# More than Synapse hands out in one answer, which is a hundred.
MANY_MESSAGES = 150
# Fewer than connections can wait at a socket of Synapse's, which are fifty.
MESSAGES_AT_ONCE = 20
# In this play counts of keys are asked for again and again.
SHORT_WAIT_MILLISECONDS = 3_000


async def to_device(scene: Scene) -> None:
    """Alice sends to Bob's devices."""
    alice, bob = scene.accounts
    scene.begin()
    await scene.row("a message to devices", lambda: alice.send_to_device(bob.id, {"number": 0}), [bob])
    await scene.row("150 messages to devices", lambda: _many(alice, bob), [bob])
    await scene.row("a message to devices behind many", lambda: alice.send_to_device(bob.id, {"number": "z"}), [bob])


async def _many(alice: Account, bob: Account) -> None:
    gate = asyncio.Semaphore(MESSAGES_AT_ONCE)

    async def send(number: int) -> None:
        async with gate:
            await alice.send_to_device(bob.id, {"number": number})

    await asyncio.gather(*(send(number) for number in range(1, MANY_MESSAGES + 1)))


async def devices(scene: Scene) -> None:
    """Bob's devices come, change and go, which concerns everybody who shares a room with him."""
    alice, bob = scene.accounts
    room = await alice.create_room()
    await bob.join(room)
    scene.begin()
    both = [alice, bob]
    await scene.row("a new device", lambda: bob.log_in("NEWDEVICE"), both)
    name = {"display_name": "renamed"}
    await scene.row("a renamed device", lambda: bob.do("PUT", "devices/NEWDEVICE", name), both)
    await scene.row("a deleted device", lambda: bob.prove_and_do("DELETE", "devices/NEWDEVICE", {}), both)
    keys = {"device_keys": device_keys(bob)}
    await scene.row("keys of a device", lambda: bob.do("POST", "keys/upload", keys), both)
    backup = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "abcdefg"}}
    await scene.row("a key backup, which concerns nobody", lambda: bob.do("POST", "room_keys/version", backup), [])
    query = {"device_keys": {bob.id: []}}
    await scene.row("a query of keys, which concerns nobody", lambda: alice.do("POST", "keys/query", query), [])


async def cross_signing(scene: Scene) -> None:
    """Bob's identity: made, used to sign a device of his, signed by Alice, and replaced."""
    alice, bob = scene.accounts
    room = await alice.create_room()
    await bob.join(room)
    device = device_keys(bob)
    await bob.do("POST", "keys/upload", {"device_keys": device})
    hers, his = Identity(alice), Identity(bob)
    await hers.upload()
    scene.begin()
    both = [alice, bob]
    await scene.row("cross-signing keys", his.upload, both)
    signed = {bob.id: {bob.device_id: his.self_signing.sign(bob.id, his.self_signing.public, device)}}
    await scene.row("a signature of one's own device", lambda: bob.do("POST", "keys/signatures/upload", signed), both)
    master = hers.user_signing.sign(alice.id, hers.user_signing.public, his.master_key)
    signed_user = {bob.id: {his.master.public: master}}
    await scene.row(
        "a signature of somebody else", lambda: alice.do("POST", "keys/signatures/upload", signed_user), [alice]
    )
    await scene.row("new cross-signing keys", Identity(bob).upload, both)


async def key_counts(scene: Scene) -> None:
    """One-time keys of both of Bob's devices are uploaded, used up and claimed, and a fallback key after them."""
    alice, bob = scene.accounts
    room = await alice.create_room()
    await bob.join(room)
    for device in scene.devices():
        device.long_milliseconds = SHORT_WAIT_MILLISECONDS
    scene.begin()
    await scene.row("one-time keys", lambda: _upload_one_time_keys(bob), [], counts=True)
    await scene.row("a fallback key", lambda: _upload_fallback_keys(bob), [], counts=True)
    for claimed in ("a claimed key", "the last key claimed", "the fallback key claimed"):
        await scene.row(claimed, partial(_claim, alice, bob), [], counts=True)


def device_keys(account: Account) -> dict[str, Any]:
    """Keys of an account's acting device. Synapse looks at nobody's signature here."""
    own = account.device_id
    return {
        "user_id": account.id,
        "device_id": own,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": {f"ed25519:{own}": "a", f"curve25519:{own}": "b"},
        "signatures": {account.id: {f"ed25519:{own}": "c"}},
    }


class Identity:
    """The three keys of a user's cross-signing."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.master, self.self_signing, self.user_signing = SigningKey(), SigningKey(), SigningKey()
        self.master_key = self._public("master", self.master)

    async def upload(self) -> None:
        """Uploads them, in place of others if there are any."""
        signed = {
            f"{usage}_key": self.master.sign(self._account.id, self.master.public, self._public(usage, key))
            for usage, key in (("self_signing", self.self_signing), ("user_signing", self.user_signing))
        }
        body = {"master_key": self.master_key, **signed}
        await self._account.prove_and_do("POST", "keys/device_signing/upload", body)

    def _public(self, usage: str, key: SigningKey) -> dict[str, Any]:
        return {"user_id": self._account.id, "usage": [usage], "keys": {f"ed25519:{key.public}": key.public}}


async def _upload_one_time_keys(account: Account) -> None:
    keys = {
        f"signed_curve25519:AAAA{number}": {"key": f"k{number}", "signatures": {account.id: {"ed25519:X": "s"}}}
        for number in range(2)
    }
    await _upload_of_all(account.devices, account, {"one_time_keys": keys})


async def _upload_fallback_keys(account: Account) -> None:
    key = {"key": "f", "fallback": True, "signatures": {account.id: {"ed25519:X": "s"}}}
    await _upload_of_all(account.devices, account, {"fallback_keys": {"signed_curve25519:FFFF": key}})


async def _upload_of_all(devices: list[Device], account: Account, body: dict[str, Any]) -> None:
    for device in devices:
        await account.stage.acts.call("POST", "/_matrix/client/v3/keys/upload", device.token, body)


async def _claim(alice: Account, bob: Account) -> None:
    wanted = {device.device_id: "signed_curve25519" for device in bob.devices}
    await alice.do("POST", "keys/claim", {"one_time_keys": {bob.id: wanted}})
