"""API keys open until they are revoked or expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from store import api_key
from store.session import Store


async def test_a_key_is_found_by_its_secret_until_it_is_revoked(store: Store) -> None:
    async with store.begin() as tx:
        made = await api_key.create(tx, "k1", "Storefront", "hash-1", ["stock:read", "product:read"], None)
        assert (made.id, made.name, made.scopes) == ("k1", "Storefront", frozenset({"stock:read", "product:read"}))
        assert await api_key.by_hash(tx, "hash-1") == made
        assert await api_key.by_hash(tx, "hash-2") is None
        assert await api_key.revoke(tx, "k1")
        assert not await api_key.revoke(tx, "k1")
        assert not await api_key.revoke(tx, "none")
        assert await api_key.by_hash(tx, "hash-1") is None
        (listed,) = await api_key.all(tx)
        assert listed.revoked_at is not None


async def test_a_key_expires(store: Store) -> None:
    now = datetime.now(UTC)
    async with store.begin() as tx:
        await api_key.create(tx, "old", "Old", "hash-1", [], now - timedelta(minutes=1))
        await api_key.create(tx, "new", "New", "hash-2", [], now + timedelta(minutes=1))
        assert await api_key.by_hash(tx, "hash-1") is None
        found = await api_key.by_hash(tx, "hash-2")
        assert found is not None
        assert found.id == "new"
        assert {key.id for key in await api_key.all(tx)} == {"old", "new"}


async def test_no_two_keys_share_a_secret(store: Store) -> None:
    async with store.begin() as tx:
        await api_key.create(tx, "k1", "One", "hash", [], None)
        with pytest.raises(IntegrityError):
            await api_key.create(tx, "k2", "Two", "hash", [], None)
