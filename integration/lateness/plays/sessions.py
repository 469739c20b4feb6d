"""What ends a session. The edge's poll must end at once; Synapse's own ends when it would have anyway."""

from __future__ import annotations

from http_client import Server, segment
from scene import Scene
from stage import CLIENT, PASSWORD, Account

ADMIN = "/_synapse/admin"


async def sessions(scene: Scene) -> None:
    """Five accounts lose their sessions, each in another way."""
    left, deleted, changed, locked, deactivated = scene.accounts
    admin = await scene.stage.admin()
    for account in scene.accounts:
        # Synapse looks at a session only at the beginning of a poll.
        account.watches()[0].long_milliseconds = 2_000
    scene.begin()
    await scene.ends("a logout", lambda: _log_out(scene.stage.home.acts, left), left, left.devices[1:])
    ids = {"devices": [device.device_id for device in deleted.devices]}
    await scene.ends(
        "deleted devices", lambda: deleted.prove_and_do("POST", "delete_devices", ids), deleted, deleted.devices
    )
    await scene.ends("a new password", lambda: _change_password(changed), changed, changed.devices)
    await scene.ends("a locked account", lambda: _lock(admin, locked), locked, locked.devices)
    await scene.ends("a deactivated account", lambda: _deactivate(admin, deactivated), deactivated, deactivated.devices)


async def _log_out(acts: Server, account: Account) -> None:
    await acts.call("POST", f"{CLIENT}/logout", account.watches()[1].token, {})


async def _change_password(account: Account) -> None:
    body = {"new_password": PASSWORD + "!", "logout_devices": True}
    await account.prove_and_do("POST", "account/password", body)


async def _lock(admin: Account, account: Account) -> None:
    path = f"{ADMIN}/v2/users/{segment(account.id)}"
    await admin.server.call("PUT", path, admin.token, {"locked": True})


async def _deactivate(admin: Account, account: Account) -> None:
    await admin.server.call("POST", f"{ADMIN}/v1/deactivate/{segment(account.id)}", admin.token, {})
