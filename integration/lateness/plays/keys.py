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
    await sends(scene, alice, bob)


async def sends(scene: Scene, sender: Account, bob: Account) -> None:
    """Somebody sends to Bob's devices."""
    scene.begin()
    await scene.row("a message to devices", lambda: sender.send_to_device(bob.id, {"number": 0}), [bob])
    await scene.row("150 messages to devices", lambda: _many(sender, bob), [bob], at_least=MANY_MESSAGES)
    await scene.row("a message to devices behind many", lambda: sender.send_to_device(bob.id, {"number": "z"}), [bob])


async def _many(sender: Account, bob: Account) -> None:
    gate = asyncio.Semaphore(MESSAGES_AT_ONCE)

    async def send(number: int) -> None:
        async with gate:
            await sender.send_to_device(bob.id, {"number": number})

    await asyncio.gather(*(send(number) for number in range(1, MANY_MESSAGES + 1)))


async def devices(scene: Scene) -> None:
    """Bob's devices come, change and go, which concerns everybody who shares a room with him."""
    alice, bob = scene.accounts
    room = await alice.create_room()
    await bob.join(room)
    await changes_devices(scene, bob)


async def changes_devices(scene: Scene, owner: Account) -> None:
    """The devices of somebody who shares a room with everybody come, change and go."""
    asker, told = scene.accounts[0], scene.accounts
    scene.begin()
    await scene.row("a new device", lambda: owner.log_in("NEWDEVICE"), told)
    name = {"display_name": "renamed"}
    await scene.row("a renamed device", lambda: owner.do("PUT", "devices/NEWDEVICE", name), told)
    await scene.row("a deleted device", lambda: owner.prove_and_do("DELETE", "devices/NEWDEVICE", {}), told)
    keys = {"device_keys": device_keys(owner)}
    await scene.row("keys of a device", lambda: owner.do("POST", "keys/upload", keys), told)
    backup = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "abcdefg"}}
    await scene.row("a key backup, which concerns nobody", lambda: owner.do("POST", "room_keys/version", backup), [])
    query = {"device_keys": {owner.id: []}}
    await scene.row("a query of keys, which concerns nobody", lambda: asker.do("POST", "keys/query", query), [])


async def cross_signing(scene: Scene) -> None:
    """Bob's identity: made, used to sign a device of his, signed by Alice, and replaced."""
    alice, bob = scene.accounts
    room = await alice.create_room()
    await bob.join(room)
    await signs(scene, bob)


async def signs(scene: Scene, owner: Account) -> None:
    """The same of somebody who shares a room with everybody, of whom the first signs the other's identity."""
    signer, told = scene.accounts[0], scene.accounts
    device = device_keys(owner)
    await owner.do("POST", "keys/upload", {"device_keys": device})
    own, signed = Identity(signer), Identity(owner)
    await own.upload()
    scene.begin()
    await scene.row("cross-signing keys", signed.upload, told)
    signature = signed.self_signing.sign(owner.id, signed.self_signing.public, device)
    of_device = {owner.id: {owner.device_id: signature}}
    await scene.row(
        "a signature of one's own device", lambda: owner.do("POST", "keys/signatures/upload", of_device), told
    )
    master = own.user_signing.sign(signer.id, own.user_signing.public, signed.master_key)
    of_user = {owner.id: {signed.master.public: master}}
    await scene.row(
        "a signature of somebody else", lambda: signer.do("POST", "keys/signatures/upload", of_user), [signer]
    )
    await scene.row("new cross-signing keys", Identity(owner).upload, told)


async def key_counts(scene: Scene) -> None:
    """One-time keys of both of Bob's devices are uploaded, used up and claimed, and a fallback key after them."""
    alice, bob = scene.accounts
    room = await alice.create_room()
    await bob.join(room)
    await claims(scene, alice, bob)


async def claims(scene: Scene, claimant: Account, bob: Account) -> None:
    """The same, with somebody who claims them."""
    for device in scene.devices():
        device.long_milliseconds = SHORT_WAIT_MILLISECONDS
    scene.begin()
    await scene.row("one-time keys", lambda: _upload_one_time_keys(bob), [], counts=True)
    await scene.row("a fallback key", lambda: _upload_fallback_keys(bob), [], counts=True)
    for claimed in ("a claimed key", "the last key claimed", "the fallback key claimed"):
        await scene.row(claimed, partial(_claim, claimant, bob), [], counts=True)


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
        await account.server.call("POST", "/_matrix/client/v3/keys/upload", device.token, body)


async def _claim(claimant: Account, bob: Account) -> None:
    wanted = {device.device_id: "signed_curve25519" for device in bob.devices}
    await claimant.do("POST", "keys/claim", {"one_time_keys": {bob.id: wanted}})
