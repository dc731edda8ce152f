"""The rules of prices: every set there ever was, and the prices that they make of what is known."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import Select, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Channel
from domain.errors import version_passed
from domain.ids import ChannelId, ChannelSku, ListingId, Sku
from domain.price import Origin, Price, PriceWish
from domain.price_chain import Computed, compute
from domain.price_inputs import PriceInputs
from domain.price_rules import PriceRule, PriceRules, Subject
from domain.product import FulfilledBy
from store import locks, price_facts, sourcing
from store.product import WITHDRAWN
from store.session import AnyRow, among
from store.tables import listing, price_rules, product

BREATH = 50
"""So many prices are worked out before others have their turn."""

r = price_rules.c
k = listing.c

_RULES = TypeAdapter(tuple[PriceRule, ...])


async def newest(tx: AsyncConnection) -> PriceRules:
    """The newest set, which holds; version 0 while nobody has kept one."""
    row = (await tx.execute(select(price_rules).order_by(r.version.desc()).limit(1))).one_or_none()
    return PriceRules() if row is None else _rules(row)


async def current(tx: AsyncConnection) -> PriceRules | None:
    """The set that holds; None where no rule does."""
    found = await newest(tx)
    return found if found.rules else None


async def versions(tx: AsyncConnection, limit: int) -> list[PriceRules]:
    """The newest sets that were kept, newest first."""
    rows = await tx.execute(select(price_rules).order_by(r.version.desc()).limit(limit))
    return [_rules(row) for row in rows]


async def keep(tx: AsyncConnection, wanted: PriceRules, by: str) -> PriceRules:
    """Keep a set in place of the version that it names, and answer it; one equal to what holds is not kept again. Sets are to be
    checked before. Raises Conflict where another version holds by now."""
    # One after the other: of two who have read the same version one has to read again.
    await tx.execute(select(func.pg_advisory_xact_lock(locks.PRICE_RULES)))
    before = await newest(tx)
    if wanted.version != before.version:
        raise version_passed(wanted.version, before.version)
    if wanted.rules == before.rules:
        return before
    told = _RULES.dump_python(wanted.rules, mode="json", exclude_defaults=True)
    statement = insert(price_rules).values(version=before.version + 1, rules=told, made_by=by)
    return _rules((await tx.execute(statement.returning(price_rules))).one())


@dataclass(frozen=True, slots=True)
class Made:
    """What rules make of one listing, and what they made it from. `wish` asks for the price; None where they make none."""

    listing: ListingId
    channel: ChannelId
    marketplace: str | None
    channel_sku: ChannelSku
    sku: Sku | None
    inputs: PriceInputs
    computed: Computed
    wish: PriceWish | None

    @property
    def before(self) -> Price | None:
        """What it was asked to be sold for last, or else is."""
        return self.inputs.current

    @property
    def changes(self) -> bool:
        """Is another price made than the one that there is?"""
        return self.wish is not None and self.wish.price != self.before


async def work_out(
    tx: AsyncConnection,
    rules: PriceRules,
    ids: Collection[ListingId],
    channels: Mapping[ChannelId, Channel],
    at: datetime,
) -> list[Made]:
    """What the rules make of each of these listings at that instant, by listing id; the one function by which prices come from
    rules, whoever asks. Statements are as many for one listing as for all; give it some hundreds at a time.

    Listings that there are not, that are withdrawn, or whose channel is none of `channels` are missing. For the prices that are
    to be asked for take the `wish` of what `changes`, and hand them to `store.price_desk.keep`. Does not write.
    """
    rows = (await tx.execute(_subjects(ids, channels))).all()
    tags = await sourcing.tags(tx, {Sku(row.sku) for row in rows if row.sku is not None})
    known = await price_facts.inputs(tx, [ListingId(row.id) for row in rows], at)
    made = []
    for number, row in enumerate(rows):
        if number % BREATH == BREATH - 1:
            await asyncio.sleep(0)
        made.append(_made(row, rules, known[ListingId(row.id)], tags, channels, at))
    return made


async def listings(
    tx: AsyncConnection,
    channels: Collection[ChannelId],
    skus: Collection[Sku] | None,
    after: ListingId | None,
    limit: int,
) -> list[ListingId]:
    """The next `limit` listings of these channels that can have a price, by id; of `skus` alone where they are told."""
    query = select(k.id).where(among(k.channel, channels), k.status != WITHDRAWN)
    if skus is not None:
        query = query.where(among(k.sku, skus))
    if after is not None:
        query = query.where(k.id > after)
    return [ListingId(id) for id in await tx.scalars(query.order_by(k.id).limit(limit))]


async def unlisted(tx: AsyncConnection, channels: Collection[ChannelId], skus: Collection[Sku]) -> set[Sku]:
    """Those of `skus` that none of these listings is of."""
    query = select(k.sku).where(among(k.channel, channels), k.status != WITHDRAWN, among(k.sku, skus)).distinct()
    return set(skus) - {Sku(one) for one in await tx.scalars(query) if one is not None}


async def count(tx: AsyncConnection, channels: Collection[ChannelId], skus: Collection[Sku] | None) -> int:
    """How many of them there are in all."""
    query = select(func.count()).select_from(listing).where(among(k.channel, channels), k.status != WITHDRAWN)
    if skus is not None:
        query = query.where(among(k.sku, skus))
    return (await tx.scalars(query)).one()


def _subjects(
    ids: Collection[ListingId], channels: Collection[ChannelId]
) -> Select[tuple[str, str, str, str, str | None, dict[str, str], str, str | None]]:
    return (
        select(k.id, k.channel, k.marketplace, k.channel_sku, k.sku, k.refs, k.fulfilled_by, product.c.brand)
        .outerjoin(product, product.c.sku == k.sku)
        .where(among(k.id, ids), among(k.channel, list(channels)), k.status != WITHDRAWN)
        .order_by(k.id)
    )


def _made(
    row: AnyRow,
    rules: PriceRules,
    known: PriceInputs,
    tags: Mapping[Sku, frozenset[str]],
    channels: Mapping[ChannelId, Channel],
    at: datetime,
) -> Made:
    channel, marketplace = ChannelId(row.channel), row.marketplace or None
    sku = None if row.sku is None else Sku(row.sku)
    subject = Subject(
        listing=ListingId(row.id),
        channel=channel,
        marketplace=marketplace,
        sku=sku,
        zone=channels[channel].zone(marketplace),
        brand=row.brand,
        tags=frozenset() if sku is None else tags.get(sku, frozenset()),
        fulfilled_by=FulfilledBy(row.fulfilled_by),
    )
    if known.currency is None:
        # It has never shown a price. Where its channel has one currency for the marketplace, that is the one.
        known = replace(known, currency=channels[channel].currencies.get(row.marketplace))
    computed = compute(rules, subject, known, at)
    wish = None
    if computed.price is not None:
        wish = PriceWish(
            listing=subject.listing,
            channel=channel,
            marketplace=marketplace,
            channel_sku=ChannelSku(row.channel_sku),
            sku=sku,
            refs=row.refs,
            price=computed.price,
            origin=Origin.RULE,
            reason=computed.words,
            rules_version=rules.version or None,
            chain=computed.chain,
        )
    return Made(subject.listing, channel, marketplace, ChannelSku(row.channel_sku), sku, known, computed, wish)


def _rules(row: AnyRow) -> PriceRules:
    return PriceRules(_RULES.validate_python(row.rules, strict=False), row.version, row.made_by, row.made_at)
