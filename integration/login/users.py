"""Makes users of every kind that a login can meet, in the stack of a folder, and prints nothing.

Those that Synapse makes by itself it makes (its admin API); what it no longer makes, or only a history of years would,
is written into its database before Synapse has ever looked at it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import time
import unicodedata
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bcrypt
import psycopg2
import yaml

SERVER_NAME = "localhost"
# What the limits count on one way to Synapse must not count on the other.
WAYS = ("direct", "through")
# A longer one than bcrypt reads: it stops at 72 bytes.
LONG = "hush-long-" + "0123456789" * 8
# Its 72nd byte is the first of two.
LONG_UNICODE = "hush-uml-" + "x" * 62 + "äöü"
# Its normal form (NFKC) is another text.
UNICODE = "hush-ﬁnd ①Å"


class Stack:
    """What is needed of a running stack."""

    def __init__(self, folder: Path) -> None:
        facts = json.loads((folder / "stack.json").read_text())
        self.synapse = facts["synapse"]["processes"][0]["address"]
        self.registration_secret = Path(facts["synapse"]["registration_secret"]).read_text().strip()
        settings = yaml.safe_load(Path(facts["synapse"]["homeserver"]).read_text())
        self.pepper = settings["password_config"]["pepper"]
        found = facts["database"]
        self.database = psycopg2.connect(
            host=found["socket_folder"], port=found["port"], user=found["user"], dbname=found["name"]
        )

    def call(self, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        """Asks Synapse itself."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.synapse + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def register(self, name: str, password: str, admin: bool = False) -> str:
        """Makes a user; returns an access token. The signature is described in the manual of Synapse's admin API."""
        path = "/_synapse/admin/v1/register"
        nonce = self.call("GET", path)["nonce"]
        signed = "\0".join((nonce, name, password, "admin" if admin else "notadmin")).encode()
        mac = hmac.new(self.registration_secret.encode(), signed, hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": name, "password": password, "admin": admin, "mac": mac}
        return self.call("POST", path, body)["access_token"]

    def hash(self, password: str, rounds: int = 4, version: str = "2b") -> str:
        """A password's hash, as Synapse would keep it: normal form, pepper, the first 72 bytes."""
        text = unicodedata.normalize("NFKC", password).encode() + self.pepper.encode()
        made = bcrypt.hashpw(text[:72], bcrypt.gensalt(rounds)).decode()
        return made.replace("$2b$", f"${version}$", 1)

    def insert(self, name: str, password_hash: str | None, **columns: Any) -> None:
        """Writes a user into the database."""
        row = {"name": f"@{name}:{SERVER_NAME}", "password_hash": password_hash, "creation_ts": int(time.time())}
        row |= columns
        names, places = ", ".join(row), ", ".join(["%s"] * len(row))
        with self.database, self.database.cursor() as cursor:
            cursor.execute(f"INSERT INTO users ({names}) VALUES ({places})", list(row.values()))

    def address(self, name: str, medium: str, address: str) -> None:
        """Gives a user an e-mail address or a phone number."""
        with self.database, self.database.cursor() as cursor:
            cursor.execute(
                "INSERT INTO user_threepids (user_id, medium, address, validated_at, added_at)"
                " VALUES (%s, %s, %s, 1, 1)",
                (f"@{name}:{SERVER_NAME}", medium, address),
            )

    def hidden_device(self, name: str, device: str) -> None:
        """Takes a device id away, as a cross-signing key does that has this id."""
        with self.database, self.database.cursor() as cursor:
            cursor.execute(
                "INSERT INTO devices (user_id, device_id, display_name, hidden) VALUES (%s, %s, 'key', true)",
                (f"@{name}:{SERVER_NAME}", device),
            )


def made_by_synapse(stack: Stack) -> None:
    """Users in every state that the admin API can bring about."""
    admin = stack.register("l-admin", "hush-admin", admin=True)
    names = ["plain", "other", "locked", "deactivated", "suspended", "shadow"]
    names += [f"limit-{name}-{way}" for name in ("failed", "email", "mixed", "account") for way in WAYS]
    for name in names:
        stack.register(f"l-{name}", f"hush-{name}")
    stack.register("l-unicode", UNICODE)
    stack.register("l-long", LONG)
    stack.register("l-long-unicode", LONG_UNICODE)

    def path(version: str, name: str, rest: str = "") -> str:
        return f"/_synapse/admin/{version}/{quote(f'@l-{name}:{SERVER_NAME}', safe='')}{rest}"

    stack.call("PUT", path("v2/users", "locked"), {"locked": True}, admin)
    stack.call("POST", path("v1/deactivate", "deactivated"), {"erase": False}, admin)
    stack.call("PUT", path("v1/suspend", "suspended"), {"suspend": True}, admin)
    stack.call("POST", path("v1/users", "shadow", "/shadow_ban"), {}, admin)


def made_by_history(stack: Stack) -> None:
    """Users as older versions, other means and accidents have left them."""
    stack.insert("L-Upper", stack.hash("hush-upper"))
    # Two that differ by case alone, and have different passwords.
    stack.insert("L-Twin", stack.hash("hush-upper-twin"))
    stack.insert("l-twin", stack.hash("hush-lower-twin"))
    # Two of which neither is written as it is asked for.
    stack.insert("L-Pair", stack.hash("hush-pair"))
    stack.insert("L-PAIR", stack.hash("hush-pair"))
    stack.insert("l-dead", stack.hash("hush-dead"), deactivated=1)
    for way in WAYS:
        stack.insert(f"l-limit-locked-{way}", stack.hash(f"hush-limit-locked-{way}"), locked=True)
    stack.insert("l-guest", None, is_guest=1)
    stack.insert("l-guest-hash", stack.hash("hush-guest"), is_guest=1)
    stack.insert("l-nohash", None)
    stack.insert("l-emptyhash", "")
    stack.insert("l-empty", stack.hash(""))
    stack.insert("l-appservice", stack.hash("hush-appservice"), appservice_id="bridge")
    stack.insert("l-bot", stack.hash("hush-bot"), user_type="bot")
    stack.insert("l-unapproved", stack.hash("hush-unapproved"), approved=False)
    stack.insert("l-both", stack.hash("hush-both"), deactivated=1, locked=True)
    stack.insert("l-ünï", stack.hash("hush-uni"))
    stack.insert("l slash/plus+=", stack.hash("hush-slash"))
    # A user of another server's name, which only a renamed server could have.
    stack.insert("l-remote:elsewhere", stack.hash("hush-remote"))
    for version in ("2a", "2b", "2x", "2y"):
        stack.insert(f"l-{version}", stack.hash(f"hush-{version}", version=version))
    stack.insert("l-storm", stack.hash("hush-storm", rounds=12))
    stack.insert("l-slow", stack.hash("hush-slow", rounds=10))
    good = stack.hash("hush-malformed")
    broken = {
        "plain": "hush-malformed",
        "2c": good.replace("$2b$", "$2c$"),
        "short": good[:-1],
        "rounds": good.replace("$04$", "$03$"),
    }
    for name, text in broken.items():
        stack.insert(f"l-malformed-{name}", text)


def addresses(stack: Stack) -> None:
    """E-mail addresses and phone numbers."""
    limited = [f"limit-{name}-{way}" for name in ("email", "account") for way in WAYS]
    for name in ("plain", "locked", "nohash", *limited):
        stack.address(f"l-{name}", "email", f"{name}@example.org")
    stack.address("l-other", "email", "straße@example.org")
    stack.address("l-plain", "msisdn", "447700900000")
    # In a form that is no canonical one, so that it is never found.
    stack.address("l-other", "email", "Other@example.org")
    # One whose user there is no more.
    stack.address("l-gone", "email", "gone@example.org")
    stack.hidden_device("l-plain", "HIDDEN")


def main() -> None:
    """Makes them all."""
    stack = Stack(Path(sys.argv[1]))
    made_by_history(stack)
    made_by_synapse(stack)
    addresses(stack)


if __name__ == "__main__":
    main()
