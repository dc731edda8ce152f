"""Words for money that no table of ours knows: what people say of them, and the lines that have them.

A line keeps its channel's words. When these come to mean something, by what people say or by a newer table, another line stands
for it that has their class; whoever asks for a sum as it was known before finds it unclassified.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Select, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Channel
from domain.errors import NotFound
from domain.ids import ChannelId, OrderId, derived_id, order_id
from domain.money import Money
from domain.money_class import Event, MoneyClass, part_of
from domain.money_line import Source
from domain.money_said import Said, Unclassified, Words
from domain.money_words import Classify, Dictionary, Key, Meaning, source_of
from store import locks, money_line, settlement
from store.money_match import clocks
from store.session import AnyRow, storable
from store.tables import money_line as line_table
from store.tables import money_word

c = money_word.c

AT_ONCE = 20_000
"""So many lines of the same words are classed by one statement."""


async def dictionary(tx: AsyncConnection) -> Dictionary:
    """What words mean now."""
    query = select(c.words, c.kind, c.amount_kind, c.description, c.event, c["class"])
    rows = await tx.execute(query.where(c.replaced_at.is_(None), c.event.is_not(None)))
    return Dictionary({(row.words, _words(row).key): (Event(row.event), MoneyClass(row[5])) for row in rows})


async def say(tx: AsyncConnection, words: Words, said: Said) -> bool:
    """Keep what somebody says of words that were seen and that no table knows; whether it is another than before. Lines follow
    (`reclass`). Raises NotFound for words that `note` has not told of."""
    row = (await tx.execute(_held(words).with_for_update())).one_or_none()
    if row is None:
        raise NotFound("No line of money with these words waits to be classed; unclassifiedMoney lists those that do.")
    if (row.event, row._mapping["class"]) == (said.event.value, said.money_class.value):
        return False
    first = row.event is None
    await tx.execute(update(money_word).where(c.id == row.id).values(replaced_at=func.now()))
    values = {
        "event": said.event.value,
        "class": said.money_class.value,
        "by": storable(said.by),
        "reason": storable(said.reason),
        "followed_at": func.now() if first else None,
    }
    await tx.execute(insert(money_word).values(**_row(words), **values))
    return True


async def all_said(tx: AsyncConnection) -> list[tuple[Words, Said]]:
    """What people say of words, the newest first."""
    query = select(money_word).where(c.replaced_at.is_(None), c.event.is_not(None)).order_by(c.id.desc())
    return [(_words(row), _said(row)) for row in await tx.execute(query)]


async def unclassified(tx: AsyncConnection, channels: Mapping[ChannelId, Channel]) -> list[Unclassified]:
    """The words of lines that stand unclassified, those first that were seen first, some thousands at most; spellings of the same
    ones together."""
    found: dict[tuple[str, Key], Unclassified] = {}
    for row in await tx.execute(_UNCLASSIFIED):
        words = _of_line(row, channels)
        if words is None:
            continue
        amounts = tuple(Money(amount, currency) for currency, amount in zip(row.currencies, row.amounts, strict=True))
        one = Unclassified(words, row.lines, amounts, row.since, (ChannelId(row.channel),))
        before = found.get((words.source, words.key))
        found[words.source, words.key] = one if before is None else _together(before, one)
    return sorted(found.values(), key=lambda one: (one.since, one.words.source, one.words.key))


async def note(tx: AsyncConnection, words: Iterable[Words]) -> list[Words]:
    """Remember that these words were seen; those that nobody has seen before."""
    rows = {(one.source, one.key): one for one in words}
    if not rows:
        return []
    fresh = (
        upsert(money_word)
        .on_conflict_do_nothing(index_elements=["words", "key"], index_where=c.replaced_at.is_(None))
        .returning(c.words, c.kind, c.amount_kind, c.description)
    )
    return [_words(row) for row in await tx.execute(fresh, [_row(one) for _, one in sorted(rows.items())])]


async def reclass(tx: AsyncConnection, channels: Mapping[ChannelId, Channel]) -> int:
    """Let other lines stand for those whose words have come to mean something; how many, at most AT_ONCE of each words. 0 while
    somebody else writes books."""
    found = await _known_now(tx, channels)
    otherwise = (await tx.execute(_held_otherwise())).all()
    if (not found and not otherwise) or not await _alone(tx, channels):
        return 0
    classed = sum([await _classed(tx, channels, row, None, meaning) for row, meaning in found])
    for row in otherwise:
        classed += await _follow(tx, channels, row)
    return classed


async def _known_now(tx: AsyncConnection, channels: Mapping[ChannelId, Channel]) -> list[tuple[AnyRow, Meaning]]:
    """The words of lines that stand unclassified and mean something by now."""
    rows = (await tx.execute(_UNCLASSIFIED)).all()
    if not rows:
        return []
    said = await dictionary(tx)
    classifies: dict[str, Classify] = {}
    found: list[tuple[AnyRow, Meaning]] = []
    for row in rows:
        words = _of_line(row, channels)
        if words is not None:
            means = classifies.setdefault(words.source, said.of(words.source))
            meaning = means(row.kind, row.amount_kind, row.description)
            if meaning[1] is not MoneyClass.UNCLASSIFIED:
                found.append((row, meaning))
    return found


async def _follow(tx: AsyncConnection, channels: Mapping[ChannelId, Channel], said: AnyRow) -> int:
    """Class the lines anew that were classed by what people had said of these words before."""
    words, now = _words(said), (Event(said.event), MoneyClass(said._mapping["class"]))
    classed, whole = 0, True
    for before in await tx.execute(_said_before(said)):
        meant = (Event(before.event), MoneyClass(before[1]))
        lines = await tx.execute(_MEANT, {"event": meant[0].value, "class": meant[1].value})
        for row in lines.all() if meant != now else ():
            of_line = _of_line(row, channels)
            if of_line is not None and (of_line.source, of_line.key) == (words.source, words.key):
                moved = await _classed(tx, channels, row, meant, now)
                classed, whole = classed + moved, whole and moved < AT_ONCE
    if whole:
        await tx.execute(update(money_word).where(c.id == said.id).values(followed_at=func.now()))
    return classed


async def _alone(tx: AsyncConnection, channels: Iterable[ChannelId]) -> bool:
    """Whether nobody else changes what stands of books or transactions until `tx` ends."""
    if not await settlement.alone(tx):
        return False
    for id in sorted(channels):
        if not await tx.scalar(select(func.pg_try_advisory_xact_lock(locks.TRANSACTIONS, func.hashtext(id)))):
            return False
    return True


async def _classed(
    tx: AsyncConnection, channels: Mapping[ChannelId, Channel], row: AnyRow, before: Meaning | None, meaning: Meaning
) -> int:
    """Class the lines with these words that are unclassified, or were classed so before."""
    channel = channels[ChannelId(row.channel)]
    event, money_class = meaning
    found = await tx.execute(
        _LINES,
        {
            **{name: row._mapping[name] for name in ("channel", "source", "kind", "amount_kind", "description")},
            "class": MoneyClass.UNCLASSIFIED.value if before is None else before[1].value,
            "event": None if before is None else before[0].value,
            "limit": AT_ONCE,
        },
    )
    lines = found.all()
    # First, as everybody who changes what stands of an order.
    await money_line.estimate(tx, _orders(channel.id, lines))
    moved = await tx.execute(
        _CLASSED,
        {
            "ids": [line.id for line in lines],
            "event": event.value,
            "class": money_class.value,
            "part": part_of(money_class, event).value,
            "why": f"its words are known to be {event.value} {money_class.value}",
            **clocks(channel),
        },
    )
    return len(moved.all())


def _orders(channel: ChannelId, lines: Sequence[AnyRow]) -> set[OrderId]:
    """The orders whose money is to be looked at anew: what is open of them, and how their payments are split."""
    return {
        OrderId(line.order_id) if line.order_id is not None else order_id(channel, line.order_external_id)
        for line in lines
        if line.order_id is not None or line.order_external_id is not None
    }


def _held(words: Words) -> Select[Any]:
    return select(money_word).where(c.words == words.source, c.key == _row(words)["key"], c.replaced_at.is_(None))


def _row(words: Words) -> dict[str, str]:
    return {
        "words": words.source,
        "key": derived_id(*words.key),
        "kind": storable(words.kind),
        "amount_kind": storable(words.amount_kind),
        "description": storable(words.description),
    }


def _held_otherwise() -> Select[Any]:
    """What people say of words that they said something else of before, as long as lines have not followed."""
    return (
        select(money_word)
        .where(c.replaced_at.is_(None), c.event.is_not(None), c.followed_at.is_(None))
        .order_by(c.id)
        .limit(1)
    )


def _said_before(said: AnyRow) -> Select[Any]:
    return (
        select(c.event, c["class"])
        .distinct()
        .where(c.words == said.words, c.key == said.key, c.id < said.id, c.event.is_not(None))
    )


def _said(row: AnyRow) -> Said:
    return Said(Event(row.event), MoneyClass(row._mapping["class"]), row.by, row.reason, row.known_at)


def _words(row: AnyRow) -> Words:
    return Words(row.words, row.kind, row.amount_kind, row.description)


def _of_line(row: AnyRow, channels: Mapping[ChannelId, Channel]) -> Words | None:
    """The words of lines; None where no table is for them."""
    channel = channels.get(ChannelId(row.channel))
    source = None if channel is None else source_of(channel.platform, Source(row.source))
    return None if source is None else Words(source, row.kind, row.amount_kind, row.description)


def _together(one: Unclassified, other: Unclassified) -> Unclassified:
    sums: dict[str, Decimal] = {}
    for amount in (*one.amounts, *other.amounts):
        sums[amount.currency] = sums.get(amount.currency, Decimal(0)) + amount.amount
    first = min(one, other, key=lambda each: each.since)
    return Unclassified(
        first.words,
        one.lines + other.lines,
        tuple(Money(amount, currency) for currency, amount in sorted(sums.items())),
        first.since,
        tuple(sorted({*one.channels, *other.channels})),
    )


_UNCLASSIFIED = text(
    """
    select channel, source, kind, amount_kind, description, sum(lines)::bigint lines, min(since) since,
        array_agg(currency order by currency) currencies, array_agg(amount order by currency) amounts
    from (
        select channel, source, kind, amount_kind, description, currency, count(*) lines, min(known_at) since, sum(amount) amount
        from money_line
        where class = 'UNCLASSIFIED' and replaced_at is null and source <> 'ESTIMATE'
        group by channel, source, kind, amount_kind, description, currency
    ) each
    group by channel, source, kind, amount_kind, description
    order by min(since), channel, kind, amount_kind, description limit 5000
    """
)

_MEANT = text(
    """
    select distinct channel, source, kind, amount_kind, description
    from money_line where event = :event and class = :class and replaced_at is null and source <> 'ESTIMATE'
    """
)

_ANOTHER = {"event": ":event", "class": ":class", "part": ":part"}
# A payment stays open until it is known what of: it is in no profit.
_ANOTHER["cause"] = """
    case when gone.cause <> 'UNCLASSIFIED' then gone.cause
        when cast(:class as text) = 'PAYMENT' and gone.settlement_id is not null
            then case when gone.order_id is null then 'ORDER_UNKNOWN' else 'UNAPPORTIONED' end
    end"""
_ANOTHER["day"] = """
    ((case when :event = 'SALE' then coalesce(kept.placed_at, gone.posted_at) else gone.posted_at end)
        at time zone coalesce(cast(:zones as jsonb) ->> gone.marketplace, :zone))::date
"""
_ITS_OWN = ("id", "known_at", "replaced_at", "replaced_why")
_COLUMNS = [one.name for one in line_table.columns if one.name not in _ITS_OWN]

_LINES = text(
    """
    select id, order_id, order_external_id from money_line
    where class = :class and event = coalesce(:event, event) and replaced_at is null and channel = :channel and source = :source
        and kind = :kind and amount_kind = :amount_kind and description = :description
    order by id limit :limit
    """
)
_CLASSED = text(
    f"""
    with gone as (
        update money_line set replaced_at = now(), replaced_why = :why
        where id = any(cast(:ids as bigint[])) and replaced_at is null
        returning *
    )
    insert into money_line ({", ".join(f'"{name}"' for name in _COLUMNS)})
    select {", ".join(_ANOTHER.get(name, f'gone."{name}"') for name in _COLUMNS)}
    from gone left join "order" kept on kept.id = gone.order_id
    order by gone.id
    returning id
    """  # noqa: S608 - names of ours
)
