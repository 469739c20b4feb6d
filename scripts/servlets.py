#!/usr/bin/env python3
"""Asks the installed Synapse which endpoints its main process and its workers serve.

Run it with the Python that Synapse is installed for. It builds real homeserver objects (a main process and a generic
worker, each without and with the Matrix Authentication Service), on an SQLite file in a temporary folder, and lets them
make the resource trees that they would listen with. Nothing listens, nothing is started, nothing is sent.

Printed is one JSON object a line, for each servlet and each plain resource:

    {"process": "main" | "worker",     which process serves it
     "resource": "client",             the part of the API: client, federation, keys, media, admin, mas, ...
     "servlet": "SyncRestServlet",     the name of Synapse's class
     "methods": ["GET"],               the methods that it takes
     "pattern": "^/_matrix/...",       the expression that the undecoded path is matched with, from its start on
     "flags": ""}                      "i" where the expression is not particular about case

The same endpoint of main and of a worker is two lines. A plain resource of Twisted's tree has a pattern made of its
mount point; one that takes everything below itself ends without "$".

What a Python package that is not installed would serve (SAML without pysaml2, OpenID Connect without authlib) does not
show.
"""

import importlib.util
import json
import logging
import os
import re
import sys
import tempfile

from netaddr import IPSet
from twisted.internet import reactor
from twisted.web.resource import Resource

import synapse.app._base
import synapse.app.generic_worker
import synapse.app.homeserver
from synapse.config.homeserver import HomeServerConfig
from synapse.http.server import JsonResource, OptionsResource, StaticResource, UnrecognizedRequestResource
from synapse.util.stringutils import random_string

SERVER_NAME = "example.org"
RESOURCES = ["client", "consent", "federation", "keys", "media", "metrics", "openid", "replication", "static"]
WORKER_RESOURCES = ["client", "federation", "keys", "media", "metrics", "openid", "replication"]
METHODS = ["GET", "PUT", "POST", "DELETE", "PATCH"]

# The part of the API that a path belongs to, by its prefix; the first that fits.
PARTS = [
    ("/_matrix/client", "client"),
    ("/_matrix/federation", "federation"),
    ("/_matrix/key", "keys"),
    ("/_matrix/media", "media"),
    ("/_synapse/admin", "admin"),
    ("/_synapse/mas", "mas"),
    ("/_synapse/client", "synapse-client"),
    ("/_synapse", "private"),
    ("/.well-known", "well-known"),
]


def settings(folder: str, delegated: bool, worker: bool) -> dict:
    """The homeserver.yaml: whatever gates an endpoint is switched on."""
    key = os.path.join(folder, "signing.key")
    if not os.path.exists(key):
        with open(key, "w", encoding="ascii") as file:
            file.write("ed25519 a_test 0WLpW2HlHfcSQsqKp0r9pQ3tTtR4mWtmCW7K4wY0JpE\n")
    names = WORKER_RESOURCES if worker else [name for name in RESOURCES if not (delegated and name == "consent")]
    listener = {"port": 1, "type": "http", "bind_addresses": ["127.0.0.1"], "resources": [{"names": names}]}
    config = {
        "server_name": SERVER_NAME,
        "public_baseurl": "https://example.org/",
        "signing_key_path": key,
        "pid_file": os.path.join(folder, "pid"),
        "media_store_path": os.path.join(folder, "media"),
        "report_stats": False,
        "trusted_key_servers": [],
        "database": {"name": "sqlite3", "args": {"database": os.path.join(folder, "homeserver.db")}},
        "listeners": [] if worker else [listener],
        "enable_metrics": True,
        "macaroon_secret_key": random_string(16),
        "form_secret": random_string(16),
        "worker_replication_secret": random_string(16),
        "federation_whitelist_endpoint_enabled": True,
        "federation_domain_whitelist": [SERVER_NAME],
        "max_event_delay_duration": "24h",
        "redis": {"enabled": True, "host": "127.0.0.1", "port": 1},
        "instance_map": {"main": {"host": "127.0.0.1", "port": 1}, "worker": {"host": "127.0.0.1", "port": 2}},
    }
    if not delegated:
        config |= plain_login(folder)
    else:
        config["matrix_authentication_service"] = {
            "enabled": True,
            "endpoint": "http://127.0.0.1:1/",
            "secret": random_string(16),
        }
    if worker:
        config |= {
            "worker_app": "synapse.app.generic_worker",
            "worker_name": "worker",
            "worker_listeners": [{**listener, "port": 2}],
        }
    return config


def consent(folder: str) -> dict:
    """A consent form, which the consent resource does not start without."""
    os.makedirs(os.path.join(folder, "consent", "en"), exist_ok=True)
    for name in ("1.0", "success"):
        with open(os.path.join(folder, "consent", "en", name + ".html"), "w", encoding="ascii"):
            pass
    return {"template_dir": os.path.join(folder, "consent"), "version": "1.0"}


def plain_login(folder: str) -> dict:
    """What Synapse allows only where it authenticates users by itself."""
    config: dict = {
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "registration_requires_token": True,
        "registrations_require_3pid": [],
        "email": {
            "smtp_host": "127.0.0.1",
            "notif_from": "Test <test@example.org>",
            "enable_notifs": True,
        },
        "cas_config": {"enabled": True, "server_url": "https://cas.example.org"},
        "account_validity": {"enabled": True, "period": "6w", "renew_at": "1w"},
        "login_via_existing_session": {"enabled": True},
        "user_consent": consent(folder),
    }
    if importlib.util.find_spec("authlib"):
        config["oidc_providers"] = [
            {
                "idp_id": "test",
                "idp_name": "Test",
                "discover": False,
                "issuer": "https://idp.example.org/",
                "client_id": "synapse",
                "client_secret": "unused",
                "authorization_endpoint": "https://idp.example.org/auth",
                "token_endpoint": "https://idp.example.org/token",
                "userinfo_endpoint": "https://idp.example.org/userinfo",
                "jwks_uri": "https://idp.example.org/jwks",
                "backchannel_logout_enabled": True,
            }
        ]
    return config


def root_resource(folder: str, delegated: bool, worker: bool) -> Resource:
    """The tree that the process would listen with."""
    config = HomeServerConfig()
    config.parse_config_dict(settings(folder, delegated, worker), folder, folder)
    # Set on the parsed object, not in the file: when parsed, some flags ask for others, for one way to log in, or for
    # a package, though none of these decides whether the endpoint is there.
    config.media.url_preview_enabled = True
    config.media.url_preview_ip_range_blocklist = IPSet(["127.0.0.0/8"])
    config.media.url_preview_ip_range_allowlist = IPSet()
    config.media.url_preview_url_blocklist = []
    config.media.url_preview_accept_language = ["en"]
    for name, value in vars(config.experimental).items():
        if isinstance(value, bool):
            setattr(config.experimental, name, True)
    config.experimental.msc4108_enabled = not config.experimental.msc4108_delegation_endpoint

    module = synapse.app.generic_worker if worker else synapse.app.homeserver
    homeserver = module.create_homeserver(config, reactor)
    homeserver.setup()
    roots: list = []

    def record(_homeserver: object, _listener: object, root: Resource, *_rest: object, **_named: object) -> list:
        roots.append(root)
        return []

    # Each application module calls the function under its own name.
    if worker:
        module._base.listen_http = record
        homeserver._listen_http(config.worker.worker_listeners[0])
    else:
        module.listen_http = record
        homeserver._listener_http(config, config.server.listeners[0])
    return roots[0]


def walk(resource: Resource, path: str):
    """Yields (servlet, methods, pattern, flags) for everything that the tree serves."""
    if isinstance(resource, JsonResource):
        for pattern, entries in resource._routes.items():
            names = dict.fromkeys(entry.servlet_classname for entry in entries.values())
            for name in names:
                methods = sorted(method.decode() for method, entry in entries.items() if entry.servlet_classname == name)
                yield name, methods, pattern.pattern, "i" if pattern.flags & re.IGNORECASE else ""
        return
    methods = plain_methods(resource)
    if methods and not isinstance(resource, (UnrecognizedRequestResource, OptionsResource)):
        below = bool(resource.isLeaf) or isinstance(resource, StaticResource) or hasattr(resource, "_getChild")
        pattern = "^" + re.escape(path) + ("(/.*)?$" if below else "$")
        yield type(resource).__name__, methods, pattern, ""
    for name, child in getattr(resource, "children", {}).items():
        yield from walk(child, path + "/" + name.decode())


def plain_methods(resource: Resource) -> list:
    """The methods that a resource without routes of its own has a handler for."""
    prefixes = ("render_", "_async_render_")
    return [method for method in METHODS if any(hasattr(resource, prefix + method) for prefix in prefixes)]


def main() -> None:
    # Several homeservers in one Python process make Synapse warn of metrics that exist already.
    logging.disable(logging.CRITICAL)
    seen = set()
    for delegated in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            # Main first: only it makes the tables that a worker wants to find.
            for worker in (False, True):
                process = "worker" if worker else "main"
                root = root_resource(folder, delegated, worker)
                for servlet, methods, pattern, flags in walk(root, ""):
                    plain = pattern.removeprefix("^").replace("\\", "")
                    part = next((part for prefix, part in PARTS if plain.startswith(prefix)), "other")
                    line = {
                        "process": process,
                        "resource": part,
                        "servlet": servlet,
                        "methods": methods,
                        "pattern": pattern,
                        "flags": flags,
                    }
                    text = json.dumps(line)
                    if text not in seen:
                        seen.add(text)
                        print(text)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
