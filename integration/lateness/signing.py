"""Keys that sign JSON as Matrix does ("Signing JSON" in the specification's appendices)."""

from __future__ import annotations

import base64
import json
from typing import Any

from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

Json = dict[str, Any]


class SigningKey:
    """A fresh Ed25519 key."""

    def __init__(self) -> None:
        self._key = ECC.generate(curve="ed25519")
        self.public = _base64(self._key.public_key().export_key(format="raw"))

    def sign(self, user: str, key_id: str, message: Json) -> Json:
        """The message with this key's signature."""
        signed = {name: value for name, value in message.items() if name not in ("signatures", "unsigned")}
        canonical = json.dumps(signed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        signature = _base64(eddsa.new(self._key, "rfc8032").sign(canonical))
        known = message.get("signatures", {})
        own = {**known.get(user, {}), f"ed25519:{key_id}": signature}
        return {**message, "signatures": {**known, user: own}}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")
