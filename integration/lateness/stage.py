"""Where everything happens: a stack whose Synapse is reached directly and through an edge, maybe another homeserver, and
the accounts there.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device import Device
from http_client import Failure, Server, require, segment

CLIENT = "/_matrix/client/v3"
PASSWORD = "correct horse battery staple"


class Homeserver:
    """A stack as its users know it, and as other homeservers call it."""

    def __init__(self, stack: dict[str, Any]) -> None:
        self.name: str = stack["server_name"]
        # Whatever is done goes through the stack's own dendron: only that knows which process writes what.
        self.acts = Server(stack["dendron"]["client_url"])

    async def close(self) -> None:
        """Closes every connection."""
        await self.acts.close()

    async def register(self, name: str) -> Account:
        """A new account with a session to act by."""
        # Scenes have names for people; a user's may have no blanks and no capitals.
        username = f"{name.lower().replace(' ', '-')}-{secrets.token_hex(4)}"
        body = {"username": username, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        made = await self.acts.call("POST", f"{CLIENT}/register", body=body)
        return Account(self.acts, made["user_id"], made["access_token"], made["device_id"])


class Stage:
    """A stack, as `stack.json` tells of it, the edge that is tested, and maybe a stack that federates with the first."""

    def __init__(self, stack: dict[str, Any], edge: str, other: dict[str, Any] | None = None) -> None:
        self.stack = stack
        self.home = Homeserver(stack)
        self.other = Homeserver(other) if other else None
        processes = {process["name"]: process["address"] for process in stack["synapse"]["processes"]}
        self.main = Server(processes["main"])
        # What asks Synapse directly for syncs: the processes that the edge asks, too.
        names = [name for name in processes if name.startswith("sync")] or ["main"]
        self.direct = [Server(processes[name]) for name in names]
        self.edge = Server(edge)
        self._turns = itertools.cycle(self.direct)
        self._admin: Account | None = None

    async def close(self) -> None:
        """Closes every connection."""
        for server in (self.main, *self.direct, self.edge, self.home, *([self.other] if self.other else [])):
            await server.close()

    async def account(self, name: str, sliding: bool = False) -> Account:
        """A new account with a session to act by, and two devices that watch: one directly, one through the edge."""
        account = await self.home.register(name)
        directly = await account.log_in()
        edge = await account.log_in()
        account.direct = Device(f"{name} directly", next(self._turns), *directly, sliding)
        account.edge = Device(f"{name} by the edge", self.edge, *edge, sliding)
        return account

    async def register_elsewhere(self, name: str) -> Account:
        """A new account of the other homeserver. None of its devices watch: that one has no edge that is tested."""
        if not self.other:
            raise Failure(f"{name} has no homeserver: none was named besides the first")
        return await self.other.register(name)

    async def admin(self) -> Account:
        """An administrator of the homeserver, made with its registration secret (Synapse's admin API)."""
        if self._admin is None:
            path = "/_synapse/admin/v1/register"
            nonce = (await self.main.call("GET", path))["nonce"]
            user = f"admin-{secrets.token_hex(4)}"
            key = Path(self.stack["synapse"]["registration_secret"]).read_bytes().strip()
            signed = "\0".join((nonce, user, PASSWORD, "admin")).encode()
            mac = hmac.new(key, signed, hashlib.sha1).hexdigest()
            body = {"nonce": nonce, "username": user, "password": PASSWORD, "admin": True, "mac": mac}
            made = await self.main.call("POST", path, body=body)
            self._admin = Account(self.main, made["user_id"], made["access_token"], made["device_id"])
        return self._admin


@dataclass
class Account:
    """An account. Its own session acts; its two devices only watch."""

    # Through what it acts.
    server: Server
    id: str
    token: str
    device_id: str
    direct: Device | None = None
    edge: Device | None = None
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def devices(self) -> list[Device]:
        """The devices that watch."""
        return [device for device in (self.direct, self.edge) if device]

    async def log_in(self, device_id: str | None = None) -> tuple[str, str]:
        """A further session: its token and its device."""
        body: dict[str, Any] = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.id},
            "password": PASSWORD,
        }
        if device_id:
            body["device_id"] = device_id
        made = await self.server.call("POST", f"{CLIENT}/login", body=body)
        return made["access_token"], made["device_id"]

    async def do(self, method: str, path: str, body: Any = None) -> Any:
        """A request of the client-server API that must succeed."""
        if body is None and method in ("PUT", "POST"):
            body = {}
        return await self.server.call(method, f"{CLIENT}/{path}", self.token, body)

    async def do_at(self, prefix: str, method: str, path: str, body: Any = None) -> Any:
        """The same below another prefix than the stable one."""
        return await self.server.call(method, f"{prefix}/{path}", self.token, body)

    async def prove_and_do(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """A request that Synapse wants to have proved by the password (user-interactive authentication)."""
        asked = await self.server.send(method, f"{CLIENT}/{path}", self.token, body)
        if asked.status == 200:
            return asked.json
        require(asked.status == 401 and "session" in asked.json, f"{path} gave {asked.status} {asked.body[:200]!r}")
        proof = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.id},
            "password": PASSWORD,
            "session": asked.json["session"],
        }
        return await self.do(method, path, {**body, "auth": proof})

    # -- What is done so often that it has a name --

    async def create_room(self, **settings: Any) -> str:
        """Makes a room."""
        room: str = (await self.do("POST", "createRoom", {"preset": "public_chat", **settings}))["room_id"]
        return room

    async def in_room(self, method: str, room: str, path: str, body: Any = None) -> Any:
        """A request below a room."""
        return await self.do(method, f"rooms/{segment(room)}/{path}", body)

    async def join(self, room: str, via: str | None = None) -> None:
        """Joins a room, with the help of a homeserver that has it if one's own may not have it."""
        await self.do("POST", f"join/{segment(room)}" + (f"?via={segment(via)}" if via else ""))

    async def send(self, room: str, content: dict[str, Any], kind: str = "m.room.message") -> str:
        """Sends an event, and returns its id."""
        sent = await self.in_room("PUT", room, f"send/{kind}/{self.transaction()}", content)
        event: str = sent["event_id"]
        return event

    async def say(self, room: str, text: str) -> str:
        """Sends a message, and returns its id."""
        return await self.send(room, {"msgtype": "m.text", "body": text})

    async def set_state(self, room: str, kind: str, content: dict[str, Any], key: str = "") -> str:
        """Sets a state, and returns its event's id."""
        event: str = (await self.in_room("PUT", room, f"state/{kind}/{segment(key)}", content))["event_id"]
        return event

    async def send_to_device(self, user: str, content: dict[str, Any]) -> None:
        """Sends a message to all devices of a user."""
        path = f"sendToDevice/org.example.ping/{self.transaction()}"
        await self.do("PUT", path, {"messages": {user: {"*": content}}})

    def own(self, path: str) -> str:
        """A path below the account itself."""
        return f"user/{segment(self.id)}/{path}"

    def transaction(self) -> str:
        """A transaction that was not used before."""
        return f"t{next(self._numbers)}"

    def watches(self) -> tuple[Device, Device]:
        """Both devices that watch."""
        if not self.direct or not self.edge:
            raise Failure(f"{self.id} does not watch")
        return self.direct, self.edge
