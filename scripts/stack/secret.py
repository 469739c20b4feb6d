"""Keys and passwords of a stack: each is made once, and lies in a file of its own that only its owner can read."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

from .layout import Layout

# The files that Synapse reads, by the setting that names them.
SYNAPSE_SECRETS = {
    "registration_shared_secret_path": "registration",
    "worker_replication_secret_path": "replication",
    "macaroon_secret_key_path": "macaroon",
    "form_secret_path": "form",
}


def path_of(layout: Layout, name: str) -> Path:
    """The file of a secret."""
    return layout.secrets / name


def signing_key_path(layout: Layout) -> Path:
    """The file of the homeserver's signing key."""
    return layout.secrets / "signing.key"


def make_all(layout: Layout) -> None:
    """Makes every secret that Synapse needs and that is not there yet."""
    layout.secrets.mkdir(mode=0o700, exist_ok=True)
    for name in SYNAPSE_SECRETS.values():
        text(layout, name)
    _keep(signing_key_path(layout), _new_signing_key())


def text(layout: Layout, name: str, length_bytes: int = 32) -> str:
    """A secret by name, made now if it is not there yet."""
    return _keep(path_of(layout, name), secrets.token_urlsafe(length_bytes))


def _new_signing_key() -> str:
    # The file format of signedjson: algorithm, version, and the seed in base64 without padding.
    seed = base64.b64encode(os.urandom(32)).decode().rstrip("=")
    return f"ed25519 a_{secrets.token_hex(2)} {seed}"


def _keep(path: Path, value: str) -> str:
    """Writes the value unless the file exists, and returns what the file holds."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        file.write(value + "\n")
    return value
