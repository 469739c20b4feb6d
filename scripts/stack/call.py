"""Requests to the processes of a stack, over TCP or a unix socket. Standard library only."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import socket
from typing import Any

from .layout import StackError

TIMEOUT_SECONDS = 30.0


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path
        self._timeout_seconds = timeout_seconds

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self._timeout_seconds)
        self.sock.connect(self._path)


def call(
    address: str, method: str, path: str, body: Any = None, timeout_seconds: float = TIMEOUT_SECONDS
) -> tuple[int, bytes]:
    """Sends one request to `http://HOST:PORT` or `unix:PATH`, and returns the answer's status and body."""
    if address.startswith("unix:"):
        connection: http.client.HTTPConnection = _UnixConnection(address.removeprefix("unix:"), timeout_seconds)
    else:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=timeout_seconds)
    headers = {"Host": "localhost", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http"}
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def answers_ok(address: str, path: str) -> bool:
    """Whether a GET is answered with 200, now."""
    try:
        return call(address, "GET", path, timeout_seconds=2.0)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def register(address: str, shared_secret: str, user: str, password: str) -> None:
    """Makes a user with the homeserver's shared secret, unless there is one of that name.

    The rule is in the manual of Synapse's admin API, "Shared-Secret Registration": an HMAC over nonce, name, password
    and the word for the kind of user, with zeros between.
    """
    path = "/_synapse/admin/v1/register"
    status, answer = call(address, "GET", path)
    if status != 200:
        raise StackError(f"Synapse gives no nonce for the demo user: {status} {answer!r}")
    nonce = json.loads(answer)["nonce"]
    signed = "\0".join((nonce, user, password, "notadmin")).encode()
    mac = hmac.new(shared_secret.encode(), signed, hashlib.sha1).hexdigest()
    body = {"nonce": nonce, "username": user, "password": password, "admin": False, "mac": mac}
    status, answer = call(address, "POST", path, body)
    if status != 200 and b"M_USER_IN_USE" not in answer:
        raise StackError(f"Synapse does not make the demo user: {status} {answer!r}")
