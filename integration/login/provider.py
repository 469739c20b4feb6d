"""A module of Synapse's that knows other passwords than its database, and whom not to let in.

- The user ``provided`` has the password ``hush-provided``, and is made at the first login.
- ``provided@example.org`` is an address of that user's, with the same password.
- Nobody whose device is named ``SPAM`` gets in.
"""

from __future__ import annotations

from typing import Any

from synapse.module_api import NOT_SPAM, ModuleApi, errors

PASSWORD = "hush-provided"


class Provider:
    """The module."""

    def __init__(self, _config: dict[str, Any], api: ModuleApi) -> None:
        self._api = api
        api.register_password_auth_provider_callbacks(
            auth_checkers={("m.login.password", ("password",)): self._by_name},
            check_3pid_auth=self._by_address,
        )
        api.register_spam_checker_callbacks(check_login_for_spam=self._is_spam)

    async def _by_name(self, user: str, _kind: str, login: dict[str, Any]) -> tuple[str, None] | None:
        if user.lower() not in ("provided", "@provided:localhost") or login["password"] != PASSWORD:
            return None
        return await self._user(), None

    async def _by_address(self, _medium: str, address: str, password: str) -> tuple[str, None] | None:
        if address != "provided@example.org" or password != PASSWORD:
            return None
        return await self._user(), None

    async def _user(self) -> str:
        user = self._api.get_qualified_user_id("provided")
        return await self._api.check_user_exists(user) or await self._api.register_user("provided")

    async def _is_spam(self, _user: str, device: str | None, *_more: Any) -> Any:
        return errors.Codes.FORBIDDEN if device == "SPAM" else NOT_SPAM
