"""API keys: who may call, and for what. The secret itself is never stored."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from store.session import AnyRow, among
from store.tables import api_key

_COLUMNS = (
    api_key.c.id,
    api_key.c.name,
    api_key.c.scopes,
    api_key.c.created_at,
    api_key.c.expires_at,
    api_key.c.revoked_at,
    api_key.c.points_per_minute,
    api_key.c.calls_per_minute,
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it may be shown: everything but its secret."""

    id: str
    name: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    points_per_minute: int | None = None
    calls_per_minute: int | None = None


async def create(
    tx: AsyncConnection,
    id: str,
    name: str,
    secret_hash: str,
    scopes: Collection[str],
    expires_at: datetime | None,
    *,
    points_per_minute: int | None = None,
    calls_per_minute: int | None = None,
) -> ApiKey:
    """Keep a new key. `secret_hash` is the hexadecimal SHA-256 of its secret."""
    row = await tx.execute(
        insert(api_key)
        .values(
            id=id,
            name=name,
            secret_hash=secret_hash,
            scopes=sorted(scopes),
            expires_at=expires_at,
            points_per_minute=points_per_minute,
            calls_per_minute=calls_per_minute,
        )
        .returning(*_COLUMNS)
    )
    return _key(row.one())


async def by_hash(tx: AsyncConnection, secret_hash: str) -> ApiKey | None:
    """The key with that secret, unless it is revoked or expired."""
    rows = await tx.execute(select(*_COLUMNS).where(api_key.c.secret_hash == secret_hash, living()))
    row = rows.one_or_none()
    return None if row is None else _key(row)


async def all(tx: AsyncConnection) -> list[ApiKey]:
    """Every key, oldest first, revoked and expired ones too."""
    rows = await tx.execute(select(*_COLUMNS).order_by(api_key.c.created_at, api_key.c.id))
    return [_key(row) for row in rows]


async def scopes_of(tx: AsyncConnection, name: str) -> frozenset[str]:
    """What the living keys of that name may do, all together; nothing when none lives."""
    return (await scopes_by_name(tx, [name]))[name]


async def scopes_by_name(tx: AsyncConnection, names: Collection[str]) -> dict[str, frozenset[str]]:
    """The same of each of `names`."""
    found: dict[str, set[str]] = {name: set() for name in names}
    query = select(api_key.c.name, api_key.c.scopes).where(among(api_key.c.name, names), living())
    for row in await tx.execute(query):
        found[row.name].update(row.scopes)
    return {name: frozenset(scopes) for name, scopes in found.items()}


def living() -> ColumnElement[bool]:
    """Neither revoked nor expired."""
    return and_(api_key.c.revoked_at.is_(None), or_(api_key.c.expires_at.is_(None), api_key.c.expires_at > func.now()))


async def revoke(tx: AsyncConnection, id: str) -> bool:
    """Let the key open nothing any more; False when there is none or it was revoked before."""
    c = api_key.c
    done = await tx.execute(
        api_key.update().where(c.id == id, c.revoked_at.is_(None)).values(revoked_at=func.now()).returning(c.id)
    )
    return done.first() is not None


def _key(row: AnyRow) -> ApiKey:
    return ApiKey(
        row.id,
        row.name,
        frozenset(row.scopes),
        row.created_at,
        row.expires_at,
        row.revoked_at,
        row.points_per_minute,
        row.calls_per_minute,
    )
