"""Requests to one address, over TCP or a unix socket: no retries, nothing added, every failure seen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

# Longer than any poll of these programs.
PATIENCE_SECONDS = 90


class Failure(Exception):
    """Something is not as it must be; the text is the reason shown to the reader."""


def require(condition: bool, reason: str) -> None:
    """Fails with `reason` unless `condition` holds. Unlike `assert` it is not removed by `python -O`."""
    if not condition:
        raise Failure(reason)


def segment(value: str) -> str:
    """One path segment, with everything encoded that may not stand in it."""
    return quote(value, safe="")


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Failure(f"{self.status} without JSON: {self.body[:200]!r}") from error

    def header(self, name: str) -> str:
        """A header's value, empty if there is none."""
        return self.headers.get(name, "")


class Server:
    """One address: `http://HOST:PORT` or `unix:PATH`."""

    def __init__(self, address: str) -> None:
        self.address = address
        unix = address.removeprefix("unix:") if address.startswith("unix:") else None
        self._base = "http://localhost" if unix else address.rstrip("/")
        # A connection of its own for each poll that is under way, as clients have.
        connector = aiohttp.UnixConnector(unix, limit=0) if unix else aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)

    async def close(self) -> None:
        """Closes every connection."""
        await self._session.close()

    async def send(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Sends one request and returns its answer, with any status."""
        headers = {"Authorization": f"Bearer {token}", **(headers or {})} if token else dict(headers or {})
        # The URL is marked as encoded, so that `%21` in a room id reaches the server as it was written.
        url = URL(self._base + path, encoded=True)
        async with self._session.request(method, url, json=body, headers=headers) as response:
            named = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, named, await response.read())

    async def call(self, method: str, path: str, token: str | None = None, body: Any = None) -> Any:
        """Sends one request that must succeed, and returns what it says."""
        answer = await self.send(method, path, token, body)
        require(answer.status == 200, f"{method} {path} gave {answer.status} {answer.body[:300]!r}")
        return answer.json
