"""Plain Matrix requests over HTTP, for the endpoints that matrix-nio does not have.

It adds nothing to a request that the caller did not ask for: no retries, no waiting out of rate limits. A wrong answer
must reach the test as it was.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from steps import Failure, eventually, require

Json = dict[str, Any]

# How long an ended token may still be taken: Synapse's workers remember tokens until the process that ended one has told
# them, which takes a moment.
TOKEN_END_SECONDS = 3.0


@dataclass(frozen=True)
class Answer:
    """A status and the JSON object that came with it."""

    status: int
    body: Json

    @property
    def errcode(self) -> str | None:
        """The Matrix error code, when the answer is a Matrix error."""
        return self.body.get("errcode")


def tls_context(ca_file: str | None) -> ssl.SSLContext | bool:
    """Trusts `ca_file` alone when one is given, else the machine's own authorities. Verification is never off."""
    return ssl.create_default_context(cafile=ca_file) if ca_file else True


def segment(value: str) -> str:
    """One path segment, with everything encoded that may not stand in it (`!`, `:`, `/`, `#`, `@`)."""
    return quote(value, safe="")


class MatrixHttp:
    """One homeserver's base URL, and a pool of connections to it."""

    def __init__(self, base_url: str, ca_file: str | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._tls = tls_context(ca_file)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> MatrixHttp:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=40))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    async def request(self, method: str, path: str, token: str | None = None, body: Json | None = None) -> Answer:
        """Sends one request and returns whatever JSON object comes back, with any status."""
        if self._session is None:
            raise Failure("MatrixHttp is used outside its `async with`")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # The URL is marked as encoded, so that `%21` in a room id reaches the server as it was written here.
        url = URL(self._base_url + path, encoded=True)
        async with self._session.request(method, url, json=body, headers=headers, ssl=self._tls) as response:
            try:
                decoded = await response.json(content_type=None)
            except ValueError as error:
                raise Failure(f"{method} {path} gave {response.status} and no JSON") from error
        require(isinstance(decoded, dict), f"{method} {path} gave {response.status} and JSON that is no object")
        return Answer(response.status, decoded)

    async def call(self, method: str, path: str, token: str | None = None, body: Json | None = None) -> Json:
        """Sends one request that must succeed."""
        answer = await self.request(method, path, token, body)
        require(answer.status == 200, f"{method} {path} gave {answer.status} {answer.errcode}")
        return answer.body

    async def require_refused(self, token: str) -> None:
        """Fails unless the server soon says that it does not know `token` (client-server API, "Soft logout" aside)."""

        async def refused() -> bool | None:
            answer = await self.request("GET", "/_matrix/client/v3/account/whoami", token)
            known = answer.status == 200
            unknown = (answer.status, answer.errcode) == (401, "M_UNKNOWN_TOKEN")
            require(known or unknown, f"an ended token gave {answer.status} {answer.errcode}, not 401 M_UNKNOWN_TOKEN")
            return unknown or None

        await eventually("an ended token is refused", refused, TOKEN_END_SECONDS)
