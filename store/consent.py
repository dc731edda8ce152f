"""Consents under way: what was asked of whom, by hashes of secrets that were handed out, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId
from store.session import from_now, storable
from store.tables import consent_request

c = consent_request.c
KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """A consent that was asked for and has just come back. `browser_hash` is whose browser it must come back with."""

    id: str
    channel: ChannelId
    browser_hash: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it has come: asked (the page was opened), ended, and with which words; `granted` is None before the end."""

    asked: bool
    granted: bool | None
    words: str | None
    expired: bool


async def start(
    tx: AsyncConnection,
    id: str,
    channel: ChannelId,
    for_s: float,
    *,
    state_hash: str | None = None,
    link_hash: str | None = None,
    browser_hash: str | None = None,
) -> None:
    """A consent is asked for: at once, with the hash of its `state`, or by whoever opens the link, which works once."""
    await tx.execute(delete(consent_request).where(c.expires_at < func.now() - KEPT))
    await tx.execute(
        insert(consent_request).values(
            id=id,
            channel=channel,
            state_hash=state_hash,
            link_hash=link_hash,
            browser_hash=browser_hash,
            expires_at=from_now(for_s),
        )
    )


async def open_link(
    tx: AsyncConnection, channel: ChannelId, link_hash: str, *, state_hash: str, browser_hash: str
) -> bool:
    """Somebody has opened the link: it is used up, and the consent bound to this browser. False for one that is no good."""
    done = await tx.execute(
        update(consent_request)
        .where(c.channel == channel, c.link_hash == link_hash, c.state_hash.is_(None), _open())
        .values(link_hash=None, state_hash=state_hash, browser_hash=browser_hash)
        .returning(c.id)
    )
    return done.first() is not None


async def take(tx: AsyncConnection, state_hash: str) -> Asked | None:
    """The consent that comes back with this state, which is used up by it; None for one unknown, spent or too old."""
    row = (
        await tx.execute(
            update(consent_request)
            .where(c.state_hash == state_hash, c.used_at.is_(None), _open())
            .values(used_at=func.now())
            .returning(c.id, c.channel, c.browser_hash)
        )
    ).one_or_none()
    return None if row is None else Asked(row.id, ChannelId(row.channel), row.browser_hash)


async def end(tx: AsyncConnection, id: str, *, granted: bool, words: str) -> None:
    """What became of it."""
    await tx.execute(
        update(consent_request).where(c.id == id).values(ended_at=func.now(), granted=granted, words=storable(words))
    )


async def progress(tx: AsyncConnection, id: str) -> Progress | None:
    """How far it has come; None for none."""
    row = (
        await tx.execute(
            select(c.state_hash, c.granted, c.words, (c.expires_at <= func.now()).label("expired")).where(c.id == id)
        )
    ).one_or_none()
    return None if row is None else Progress(row.state_hash is not None, row.granted, row.words, row.expired)


def _open() -> ColumnElement[bool]:
    return and_(c.ended_at.is_(None), c.expires_at > func.now())
