"""Making, listing and revoking API keys."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from secrets import token_hex

from domain.errors import Invalid
from gateway import jwt
from gateway.auth import hash_secret, new_secret
from schema.scopes import ALL
from store import api_key
from store.api_key import ApiKey
from store.session import Store


def check_scopes(scopes: Collection[str]) -> frozenset[str]:
    """The scopes of a new key. Raises Invalid for none, or for one that does not exist."""
    unknown = sorted(set(scopes) - ALL)
    if unknown or not scopes:
        wrong = f"There is no scope {unknown[0]!r}. " if unknown else "Give at least one --scope. "
        raise Invalid(f"{wrong}The scopes are {', '.join(sorted(ALL))}.")
    return frozenset(scopes)


async def create(
    store: Store,
    name: str,
    scopes: Collection[str],
    valid_for: timedelta | None,
    *,
    points_per_minute: int | None = None,
    calls_per_minute: int | None = None,
) -> tuple[ApiKey, str]:
    """(the key, its secret). The secret is told here and never again. Without a budget of its own it has that of the settings.

    Keys of one name are one client: what they ask for is signed with the name, and they share idempotency keys. So a key is
    replaced by making a second one of its name and revoking the first.
    """
    if not name.strip() or not name.isprintable() or len(name) > 100:
        raise Invalid("A key's name must be 1 to 100 printable characters.")
    if name.startswith(jwt.NAME):
        raise Invalid(f"A key's name must not begin with {jwt.NAME!r}, as those of tokens do.")
    secret = new_secret()
    expires_at = None if valid_for is None else datetime.now(UTC) + valid_for
    async with store.begin() as tx:
        made = await api_key.create(
            tx,
            f"key_{token_hex(6)}",
            name,
            hash_secret(secret),
            check_scopes(scopes),
            expires_at,
            points_per_minute=points_per_minute,
            calls_per_minute=calls_per_minute,
        )
    return made, secret


async def list_all(store: Store) -> list[ApiKey]:
    """Every key there is, oldest first."""
    async with store.begin() as tx:
        return await api_key.all(tx)


async def revoke(store: Store, id: str) -> bool:
    """Whether there was such a key to revoke; gateways stop believing it within five seconds."""
    async with store.begin() as tx:
        return await api_key.revoke(tx, id)


def state_of(key: ApiKey, now: datetime) -> str:
    """In a word: is it good?"""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"
