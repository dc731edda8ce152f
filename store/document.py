"""Trusted documents: what clients may ask for by name, in the strict profile nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from store.tables import trusted_document


@dataclass(frozen=True, slots=True)
class Document:
    """`id` is the SHA-256 of the text, hexadecimal, or a name that the manifest gave it."""

    id: str
    text: str
    registered_at: datetime


async def register(tx: AsyncConnection, texts: Mapping[str, str]) -> Collection[str]:
    """Keep texts by id; the ids that are new. A text that is kept stays as it is."""
    if not texts:
        return ()
    rows = [{"id": id, "text": text} for id, text in sorted(texts.items())]
    made = await tx.execute(insert(trusted_document).on_conflict_do_nothing().returning(trusted_document.c.id), rows)
    return set(made.scalars())


async def texts(tx: AsyncConnection, ids: Collection[str]) -> dict[str, str]:
    """The texts of those that are kept."""
    c = trusted_document.c
    rows = await tx.execute(select(c.id, c.text).where(c.id.in_(ids)))
    return {row.id: row.text for row in rows}


async def all(tx: AsyncConnection) -> list[Document]:
    """Every document, the oldest first."""
    c = trusted_document.c
    rows = await tx.execute(select(c.id, c.text, c.registered_at).order_by(c.registered_at, c.id))
    return [Document(row.id, row.text, row.registered_at) for row in rows]


async def remove(tx: AsyncConnection, ids: Collection[str]) -> Collection[str]:
    """Forget documents; the ids of those that were kept."""
    c = trusted_document.c
    gone = await tx.execute(delete(trusted_document).where(c.id.in_(ids)).returning(c.id))
    return set(gone.scalars())
