"""A table of Synapse's database that nobody can write to for a while: what Synapse would write there waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from http_client import require

ANSWER_SECONDS = 20.0


@asynccontextmanager
async def held(database: dict[str, Any], table: str) -> AsyncIterator[None]:
    """Holds a table until the end of the body. Whoever only reads it is not kept waiting."""
    psql = await asyncio.create_subprocess_exec(
        *("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"),
        *("--host", database["socket_folder"], "--port", str(database["port"])),
        *("--username", database["user"], "--dbname", database["name"]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    if psql.stdin is None or psql.stdout is None:
        raise RuntimeError("psql has no pipes")
    try:
        psql.stdin.write(f"begin; lock table {table} in exclusive mode; select 'held';\n".encode())
        said = await asyncio.wait_for(psql.stdout.readline(), ANSWER_SECONDS)
        require(said == b"held\n", f"{table} is not held: {said!r}")
        yield
    finally:
        # It ends with what it reads, and its transaction with it.
        psql.stdin.close()
        await psql.wait()
