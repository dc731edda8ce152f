"""The one way in for prices: whoever wants them changed comes here, and everything is judged before it is kept.

A wish becomes an item of an operation UPDATE_PRICES. One that a guard refuses is kept as FAILED with the reason; one that a guard
holds keeps the whole operation waiting for a second person. What is released takes the place of all that was asked for the same
listings before and has not left the house yet. Statements are as many for one row as for 100,000.

Channels are held as briefly as can be: of what is large all is judged and written down first, and then only what has moved
meanwhile is judged again.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import orjson
from sqlalchemy import BigInteger, Numeric, Select, cast, exists, func, insert, literal_column, select, union, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Conflict, Forbidden, Throttled
from domain.ids import ChannelId, ListingId, OperationId
from domain.money import parse_money
from domain.operation import (
    WAITING_FOR_PEOPLE,
    Capability,
    ItemError,
    ItemStatus,
    Kind,
    NewItem,
    Operation,
    OperationStatus,
)
from domain.price import Action, Hit, JudgedWish, Judgment, Origin, PriceFacts, PriceWish, read_price
from domain.price_change import Change, Lane, Summary
from domain.price_guard import PriceGuards
from domain.price_judge import judge, judge_whole
from domain.product import PRODUCT_REF
from store import agenda, locks, operation, price, price_canary, price_guard, price_rules
from store.session import AnyRow, among, as_table
from store.tables import listing, listing_price, operation_item, price_request
from store.tables import operation as operation_table
from store.tables import price_canary as canary

i = operation_item.c

GUARD = "GUARD"
"""The code of an item that a guard keeps from being sent."""
MOVED = "MOVED"
"""The code of an item whose facts are others than those of its preview."""
APPROVAL = "APPROVAL"
"""The guard that wants a second person for what is large (`domain.price_approval`)."""

PATIENCE_S = 3.0
"""So long somebody waits for a channel whose prices another one changes; then it is said to come again."""
FEW = 500
"""So many rows are judged while their channels are held; of more, only those that have moved since they were judged."""

PROMPT_ROWS = 100
PROMPT = timedelta(minutes=5)
"""Within this the rows of a request with so few are to be at their channels: they do not wait behind a file of thousands."""
SEEN_LATELY = timedelta(days=1)
BY_THE_THOUSAND = frozenset({Origin.FILE, Origin.RULE})
"""Whose rows are not sent where the channel was seen to show the price within a day."""


@dataclass(frozen=True, slots=True)
class Request:
    """Who wants prices changed, and how. `requested_by` is the caller's name, or that of what works by itself."""

    requested_by: str
    request_hash: str
    at: datetime
    idempotency_key: str | None = None
    dry_run: bool = False
    correlation_id: str | None = None
    reverts: OperationId | None = None


def resource(listing: ListingId) -> str:
    """What the items of one listing's price wait in line under."""
    return f"price:{listing}"


async def keep(tx: AsyncConnection, request: Request, wishes: Sequence[PriceWish]) -> tuple[Operation, bool]:
    """Judge the wishes and keep them as an operation; or the one that the caller's key made before (False).

    At most one wish for each listing. Raises Conflict when the key was used with other contents, Throttled where a channel is
    held by others for long. Ring the lanes of PRICES afterwards.
    """
    if len(wishes) <= FEW and not request.dry_run:
        await lock(tx, {one.channel for one in wishes})
    first = await operation.by_key(tx, request.requested_by, request.idempotency_key, request.request_hash)
    if first is not None:
        return first, False
    id = operation.new_id()
    judged, status, items = await _decided(tx, id, request, wishes)
    made, created = await operation.create(
        tx,
        id=id,
        kind=Kind.UPDATE_PRICES,
        requested_by=request.requested_by,
        idempotency_key=request.idempotency_key,
        request_hash=request.request_hash,
        dry_run=request.dry_run,
        status=status,
        items=items,
        correlation_id=request.correlation_id,
        reverts=request.reverts,
    )
    if created:
        await price_guard.note(tx, judged.all_hits)
    if created and judged.hits:
        await tx.execute(insert(price_request).values(operation=made.id, hits=_hits_told(judged.hits)))
    if created and not request.dry_run and any(one.origin is Origin.RULE for one in wishes):
        await _withdraw(tx, made)
    if not created or status is not OperationStatus.QUEUED:
        return made, created
    places = {place for place, row in enumerate(judged.rows) if _shown(row, request.at)}
    # Items have their ids in the order of the wishes.
    ids = select(i.id).where(i.operation_id == made.id).order_by(i.id)
    shown = [id for place, id in enumerate(await tx.scalars(ids)) if place in places] if places else []
    return await _release(tx, made.id, shown), True


async def _decided(
    tx: AsyncConnection, id: OperationId, request: Request, wishes: Sequence[PriceWish]
) -> tuple[Judgment, OperationStatus, operation.Copied]:
    """What guards say of the wishes, where their operation stands by that, and its items. Where many are to be sent, their
    channels are held from here on."""
    weighed = await _weighed(tx, wishes, request.at)
    status = _status(request, weighed.judged)
    items = await _copied(id, request.at, weighed.judged.rows, status)
    if len(wishes) <= FEW or status is not OperationStatus.QUEUED:
        return weighed.judged, status, items
    await lock(tx, {one.channel for one in wishes})
    weighed, moved = await _again(tx, weighed)
    before, status = status, _status(request, weighed.judged)
    if moved:
        known = (items, moved) if status is before else None
        items = await _copied(id, request.at, weighed.judged.rows, status, known)
    return weighed.judged, status, items


async def weigh(tx: AsyncConnection, wishes: Sequence[PriceWish], at: datetime, *, single: bool = False) -> Judgment:
    """What the guards that hold now say of the wishes, by the facts as they stand; with `single` of each alone."""
    known = await price.facts(tx, {one.listing for one in wishes}, at)
    return await _judged(tx, await price_guard.current(tx), [(one, known[one.listing]) for one in wishes], at, single)


async def _judged(
    tx: AsyncConnection, guards: PriceGuards, known: Sequence[tuple[PriceWish, PriceFacts]], at: datetime, single: bool
) -> Judgment:
    # Thousands take a second, in which others shall be served.
    judged = await asyncio.to_thread(judge, guards, known, at, single=single)
    more = () if single else await price_canary.distrusted(tx, [wish for wish, _ in known])
    return replace(judged, hits=(*judged.hits, *more)) if more else judged


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A judgment, by which guards it was, and what can tell whether a listing has changed since: by its number, its row's
    versions."""

    at: datetime
    guards: PriceGuards
    judged: Judgment
    versions: Mapping[ListingId, str]


async def _weighed(tx: AsyncConnection, wishes: Sequence[PriceWish], at: datetime) -> _Weighed:
    """What the guards say; of more than a FEW so that it can be brought up to date."""
    ids = [one.listing for one in wishes]
    # What changes behind this statement is found to have changed, whether the facts hold it already or not.
    rows = await tx.execute(_versions(ids)) if len(ids) > FEW else ()
    versions = {ListingId(row.id): row.version for row in rows}
    guards = await price_guard.current(tx)
    known = await price.facts(tx, set(ids), at)
    judged = await _judged(tx, guards, [(one, known[one.listing]) for one in wishes], at, single=False)
    return _Weighed(at, guards, judged, versions)


async def _again(tx: AsyncConnection, before: _Weighed) -> tuple[_Weighed, set[int]]:
    """The same as of now, and the places of the rows that may be told otherwise than before; their channels are held."""
    rows, guards = before.judged.rows, await price_guard.current(tx)
    told = as_table(id=list(before.versions), version=list(before.versions.values())).c
    now = _versions(None).subquery()
    query = select(now.c.id).join_from(told.id.table, now, now.c.id == told.id).where(now.c.version != told.version)
    moved = {ListingId(row.id) for row in await tx.execute(query)}
    if guards != before.guards:
        changed = set(range(len(rows)))
    else:
        changed = {place for place, row in enumerate(rows) if row.wish.listing in moved}
    if not changed:
        return before, changed
    known = await price.facts(tx, moved, before.at) if moved else {}
    facts = [(row.wish, known.get(row.wish.listing, row.facts)) for row in rows]
    if len(changed) == len(rows):
        return replace(before, guards=guards, judged=await _judged(tx, guards, facts, before.at, single=False)), changed
    anew = await asyncio.to_thread(judge, guards, [facts[place] for place in sorted(changed)], before.at, single=True)
    renewed = dict(zip(sorted(changed), anew.rows, strict=True))
    all_rows = tuple(renewed.get(place, row) for place, row in enumerate(rows))
    more = await price_canary.distrusted(tx, [row.wish for row in all_rows])
    hits = await asyncio.to_thread(judge_whole, guards, all_rows, before.at)
    return replace(before, judged=Judgment(all_rows, (*hits, *more))), changed


def _versions(ids: Collection[ListingId] | None) -> Select[Any]:
    """Each listing with what is another text whenever its row, or that of its price, was written."""
    version = func.concat(literal_column("listing.xmin::text"), "/", literal_column("listing_price.xmin::text"))
    query = select(listing.c.id, version.label("version")).outerjoin(
        listing_price, listing_price.c.listing == listing.c.id
    )
    return query if ids is None else query.where(among(listing.c.id, ids))


def _status(request: Request, judged: Judgment) -> OperationStatus:
    if request.dry_run:
        return OperationStatus.PREVIEW
    return OperationStatus.AWAITING_APPROVAL if judged.held else OperationStatus.QUEUED


async def _copied(
    id: OperationId,
    at: datetime,
    rows: Sequence[JudgedWish],
    status: OperationStatus,
    before: tuple[operation.Copied, Collection[int]] | None = None,
) -> operation.Copied:
    """The rows as items. `before` is what was made of them, and the places of those that are told otherwise now."""
    released = status not in WAITING_FOR_PEOPLE
    item = partial(new_item, deadline_at=at + PROMPT if len(rows) <= PROMPT_ROWS else None)
    return await asyncio.to_thread(operation.copied, id, rows, item, released, before)


async def approve(tx: AsyncConnection, id: OperationId, by: str, at: datetime) -> Operation:
    """Release exactly the rows that were shown; those whose facts have moved since are refused by name, and so is what a guard
    says something new of.

    Raises NotFound, Conflict; Conflict too where nothing is left, or a guard says something new of all rows together. Forbidden
    for the author of what wants a second person.
    """
    known = (await operation.by_ids(tx, [id])).get(id)
    if known is None or known.status not in WAITING_FOR_PEOPLE:
        return await operation.approve(tx, id, by)  # which says why not
    channels = await _channels(tx, id)
    rows = await _rows(tx, id)
    if len(rows) <= FEW:
        await lock(tx, channels)
    # All rows, as when they were shown: guards look at shares of the whole.
    weighed = await _weighed(tx, [price.wish_of(row.payload) for row in rows], at)
    if len(rows) > FEW:
        await lock(tx, channels)
        weighed, _ = await _again(tx, weighed)
    one = await operation.lock(tx, id)
    if one.status not in WAITING_FOR_PEOPLE:
        return await operation.approve(tx, id, by)  # which says why not
    judged = weighed.judged
    waiting = [(row, now) for row, now in zip(rows, judged.rows, strict=True) if row.status == ItemStatus.PENDING.value]
    before = await _hits_of_all(tx, id)
    held = before or judged.hits or any(now.held or row.payload["hits"] for row, now in waiting)
    if held:
        await _check_second(tx, one, by)
    _check_whole(before, judged)
    rules = (await price_rules.newest(tx)).version
    refused = {
        row.id: error
        for row, now in waiting
        if (error := _moved(row, now, rules) or _over(now, one.created_at, at) or _refused(now) or _unseen(row, now))
        is not None
    }
    if len(refused) == len(waiting):
        first = next(iter(refused.values())).message if refused else "None of its rows may be sent."
        raise Conflict(f"{first} Ask for a new preview.", field=("id",))
    await _refuse(tx, refused)
    await operation.approve(tx, id, by)
    return await _release(tx, id, [row.id for row, now in waiting if row.id not in refused and _shown(now, at)])


async def check_author(tx: AsyncConnection, one: Operation, by: str) -> None:
    """Raises Forbidden for the author of what wanted a second person when it was shown."""
    hit = (
        i.operation_id == one.id,
        i.status == ItemStatus.PENDING.value,
        func.jsonb_array_length(i.payload["hits"]) > 0,
    )
    if await _hits_of_all(tx, one.id) or await tx.scalar(select(exists().where(*hit))):
        await _check_second(tx, one, by)


async def _check_second(tx: AsyncConnection, one: Operation, by: str) -> None:
    """Raises Forbidden for who has asked for these prices, or has written the rules that did."""
    ruled = select(exists().where(i.operation_id == one.id, i.payload["origin"].astext == Origin.RULE.value))
    if by == one.requested_by:
        how = "have asked for these prices yourself"
    elif (await price_rules.newest(tx)).made_by == by and await tx.scalar(ruled):
        how = "have written the rules that ask for these prices"
    else:
        return
    words = f"You {how}, and they want a second person: somebody else has to approve them."
    raise Forbidden(words, field=("id",))


async def retry(tx: AsyncConnection, id: OperationId) -> Operation:
    """Revive what failed at its channel or is parked, where nothing newer was asked for the same listing since; its price is
    judged again before it leaves. What a guard or a moved preview refused stays so: nobody has been shown it.

    Raises NotFound, Conflict.
    """
    await lock(tx, await _channels(tx, id))
    p = listing_price.c
    unpassed = ~exists().where(p.listing == i.payload["listing"].astext, p.wanted_item > i.id)
    revived = await operation.retry(
        tx,
        id,
        [func.coalesce(i.error_code, "").not_in([GUARD, MOVED]), unpassed],
        "Rows that a guard or a moved preview refused, or that something newer was asked for, are not tried again: ask anew.",
    )
    await price.asked(tx, id)
    return revived


async def hold(tx: AsyncConnection, id: OperationId) -> None:
    """Nobody else changes prices of the operation's channels until `tx` ends. It comes before all other locks."""
    await lock(tx, await _channels(tx, id))


async def release_rest(tx: AsyncConnection, id: OperationId) -> Operation:
    """What waited for the operation's canary goes, too. Its channels are held."""
    behind = (i.operation_id == id, i.status == ItemStatus.PENDING.value, ~i.released)
    await tx.execute(update(operation_item).where(*behind).values(released=True, due_at=func.now()))
    return await _want(tx, id)


async def changes(tx: AsyncConnection, items: Collection[int]) -> dict[int, Change]:
    """What each of these items changes; those that change no price are missing."""
    rows = await tx.execute(
        select(i.id, i.before, i.payload).where(among(i.id, items), i.capability == Capability.PRICES.value)
    )
    return {row.id: _change(row) for row in rows}


async def summaries(tx: AsyncConnection, ids: Collection[OperationId]) -> dict[OperationId, Summary]:
    """The rows of each of these operations, counted; those that change no prices are missing."""
    told, step = i.payload, cast(i.payload["step"].astext, Numeric)
    mine = (among(i.operation_id, ids), i.capability == Capability.PRICES.value)
    counted = await tx.execute(
        select(
            i.operation_id,
            func.count().label("rows"),
            func.count().filter(i.error_code.in_([GUARD, MOVED])).label("refused"),
            func.count().filter(told["held"].astext == "true").label("held"),
            func.count().filter(told["idle"].astext == "true").label("idle"),
            func.count().filter(told["step"].astext.is_(None)).label("unknown"),
            func.min(step).filter(step < 0).label("fall"),
            func.max(step).filter(step > 0).label("rise"),
        )
        .where(*mine)
        .group_by(i.operation_id)
    )
    place = told["marketplace"].astext
    part = func.coalesce(told[("refs", PRODUCT_REF)].astext, i.resource)
    waiting = await tx.execute(
        select(
            i.operation_id,
            i.channel,
            place.label("marketplace"),
            func.count().label("rows"),
            func.count(part.distinct()).label("parts"),
        )
        .where(*mine, i.status == ItemStatus.PENDING.value)
        .group_by(i.operation_id, i.channel, place)
        .order_by(i.channel, place)
    )
    lanes: defaultdict[str, list[Lane]] = defaultdict(list)
    for row in waiting:
        lanes[row.operation_id].append(Lane(ChannelId(row.channel), row.marketplace, row.rows, row.parts))
    r = price_request.c
    said = await tx.execute(select(r.operation, r.hits).where(among(r.operation, ids)))
    hits = {row.operation: _read_hits(row.hits) for row in said}
    return {
        OperationId(row.operation_id): Summary(
            rows=row.rows,
            refused=row.refused,
            held=row.held,
            idle=row.idle,
            unknown=row.unknown,
            fall=row.fall,
            rise=row.rise,
            hits=hits.get(row.operation_id, ()),
            lanes=tuple(lanes[row.operation_id]),
        )
        for row in counted
    }


def _change(row: AnyRow) -> Change:
    told, wish = row.payload, price.wish_of(row.payload)
    margin, step = told["margin"], told["step"]
    return Change(
        wish=wish,
        before=None if row.before is None else read_price(orjson.loads(row.before)),
        hits=_read_hits(told["hits"]),
        margin=None if margin is None else parse_money(margin, wish.price.regular.currency),
        step=None if step is None else Decimal(step),
        idle=told["idle"],
    )


def news(payload: Mapping[str, Any], now: JudgedWish) -> list[Hit]:
    """What guards say of an item now that said nothing of it when it was shown."""
    known = {hit.guard for hit in _read_hits(payload["hits"])}
    return [hit for hit in now.hits if hit.guard not in known]


async def lock(tx: AsyncConnection, channels: Collection[ChannelId]) -> None:
    """One after the other, so that each sees what was asked for before. It comes before all other locks.

    Raises Throttled where others have one of the channels for longer than PATIENCE_S.
    """
    for id in sorted(channels):
        if not await try_lock(tx, id):
            await _wait(tx, id)


async def _wait(tx: AsyncConnection, channel: ChannelId) -> None:
    await tx.execute(select(func.set_config("lock_timeout", f"{PATIENCE_S:g}s", True)))
    try:
        await tx.execute(select(func.pg_advisory_xact_lock(locks.PRICES, func.hashtext(channel))))
    except DBAPIError as problem:
        if getattr(problem.orig, "sqlstate", None) != _NOT_IN_TIME:
            raise
        words = f"Other prices of {channel} are being changed just now. Nothing of yours was; try again in a moment."
        raise Throttled(words, retry_after_s=PATIENCE_S) from problem
    await tx.execute(select(func.set_config("lock_timeout", "0", True)))


_NOT_IN_TIME = "55P03"
"""The SQLSTATE of a lock that was not to be had in time."""


async def try_lock(tx: AsyncConnection, channel: ChannelId) -> bool:
    """The same of one channel, where nobody else has it: whoever can come again need not wait."""
    return bool(await tx.scalar(select(func.pg_try_advisory_xact_lock(locks.PRICES, func.hashtext(channel)))))


async def _channels(tx: AsyncConnection, id: OperationId) -> set[ChannelId]:
    return {channel for channel, _ in await agenda.lanes(tx, id)}


async def _rows(tx: AsyncConnection, id: OperationId) -> list[AnyRow]:
    rows = await tx.execute(select(i.id, i.status, i.payload).where(i.operation_id == id).order_by(i.id))
    return list(rows)


async def _hits_of_all(tx: AsyncConnection, id: OperationId) -> tuple[Hit, ...]:
    told = await tx.scalar(select(price_request.c.hits).where(price_request.c.operation == id))
    return _read_hits(told or ())


async def _release(tx: AsyncConnection, id: OperationId, shown: Collection[int]) -> Operation:
    """What the operation asks for is wanted from now on; what was asked for the same listings before and has not left is not.
    What is `shown` already has come about."""
    if shown:
        ended = {"status": ItemStatus.VERIFIED.value, "ended_at": func.now()}
        await tx.execute(update(operation_item).where(among(i.id, shown)).values(**ended))
    await price_canary.send_first(tx, id, (await price_guard.current(tx)).radius)
    return await _want(tx, id)


async def _want(tx: AsyncConnection, id: OperationId) -> Operation:
    await _supersede(tx, id)
    await price.asked(tx, id)
    await operation.refresh(tx, [id])
    return (await operation.by_ids(tx, [id]))[id]


async def _supersede(tx: AsyncConnection, id: OperationId) -> None:
    mine = select(i.resource).where(i.operation_id == id, i.status == ItemStatus.PENDING.value, i.released)
    older = operation_item.alias("older")
    unsent = (
        older.c.capability == Capability.PRICES.value,
        older.c.status == ItemStatus.PENDING.value,
        older.c.operation_id != id,
        older.c.resource.in_(mine),
    )
    # The rest behind a canary waits unreleased; previews do too, and nobody has decided about them. A sale that begins or ends
    # tells what is wanted already, and is nothing newer than what waits there.
    retold = exists().where(i.operation_id == id, i.payload["origin"].astext == Origin.SALE.value)
    behind = select(canary.c.operation).where(canary.c.state == "WATCHING", ~retold)
    found = union(
        select(older.c.id).where(*unsent, older.c.released),
        select(older.c.id).where(*unsent, older.c.operation_id.in_(behind)),
    ).subquery()
    locked = await tx.execute(
        select(i.id, i.operation_id).where(i.id.in_(select(found.c.id))).order_by(i.id).with_for_update()
    )
    replaced = locked.all()
    if not replaced:
        return
    await tx.execute(
        update(operation_item)
        # Whom a lane claimed and sent while we waited for its lock has left.
        .where(among(i.id, [one.id for one in replaced]), i.status == ItemStatus.PENDING.value)
        .values(status=ItemStatus.SUPERSEDED.value, ended_at=func.now(), lease_until=None)
    )
    await operation.refresh(tx, {OperationId(one.operation_id) for one in replaced})


async def _withdraw(tx: AsyncConnection, made: Operation) -> None:
    """What rules proposed for the same listings before, and nobody has decided about, gives way to what they propose now."""
    by_rule, older = Origin.RULE.value, operation_item.alias("older")
    mine = select(i.resource).where(i.operation_id == made.id, i.payload["origin"].astext == by_rule)
    found = await tx.execute(
        select(older.c.id, older.c.operation_id)
        .join(operation_table, operation_table.c.id == older.c.operation_id)
        .where(
            operation_table.c.status == OperationStatus.AWAITING_APPROVAL.value,
            operation_table.c.requested_by == made.requested_by,
            operation_table.c.id != made.id,
            older.c.capability == Capability.PRICES.value,
            older.c.status == ItemStatus.PENDING.value,
            older.c.payload["origin"].astext == by_rule,
            older.c.resource.in_(mine),
        )
        .order_by(older.c.id)
        .with_for_update()
    )
    replaced = found.all()
    if replaced:
        gone = {"status": ItemStatus.SUPERSEDED.value, "ended_at": func.now()}
        await tx.execute(update(operation_item).where(among(i.id, [one.id for one in replaced])).values(**gone))
        await operation.withdrawn(tx, {OperationId(one.operation_id) for one in replaced})


async def _refuse(tx: AsyncConnection, refused: Mapping[int, ItemError]) -> None:
    if not refused:
        return
    told = as_table(
        id=[str(one) for one in refused],
        code=[error.code for error in refused.values()],
        words=[error.message for error in refused.values()],
    )
    await tx.execute(
        update(operation_item)
        .where(i.id == cast(told.c.id, BigInteger))
        .values(status=ItemStatus.FAILED.value, error_code=told.c.code, error_message=told.c.words, ended_at=func.now())
    )


def new_item(row: JudgedWish, deadline_at: datetime | None = None) -> NewItem:
    """The item that carries a wish, as it was judged."""
    wish, before, margin = row.wish, row.facts.basis, row.margin
    return NewItem(
        channel=wish.channel,
        capability=Capability.PRICES,
        resource=resource(wish.listing),
        key=wish.key,
        payload=price.payload(wish, row.facts)
        | {
            "hits": _hits_told(row.hits),
            "held": row.held,
            "idle": row.idle,
            "margin": None if margin is None else f"{margin.amount:f}",
            "step": None if row.step is None else f"{row.step:f}",
        },
        before=None if before is None else json.dumps(before.told()),
        after=json.dumps(wish.price.told()),
        deadline_at=deadline_at,
        refused=_refused(row),
    )


def _hits_told(hits: Iterable[Hit]) -> list[list[str]]:
    return [[hit.guard, hit.action.value, hit.words] for hit in hits]


def _read_hits(told: Iterable[Any]) -> tuple[Hit, ...]:
    return tuple(Hit(guard, Action(action), words) for guard, action, words in told)


def _shown(row: JudgedWish, at: datetime) -> bool:
    """Need it not be sent, because its channel was seen to show it not long ago, and nothing else is asked for? What a person
    asks for one by one is always sent: there may be a reason."""
    facts = row.facts
    return (
        row.wish.origin in BY_THE_THOUSAND
        and not row.refused
        and row.idle
        and facts.live == row.wish.price
        and facts.live_at is not None
        and facts.live_at >= at - SEEN_LATELY
    )


def _check_whole(before: Sequence[Hit], now: Judgment) -> None:
    """Raises Conflict for what guards say of all rows now and did not say when they were shown."""
    known = {hit.guard for hit in before} | {APPROVAL}  # who approves just now is the second person
    words = [hit.words for hit in now.hits if hit.guard not in known]
    if words:
        raise Conflict(f"{' '.join(words)} Ask for a new preview.", field=("id",))


def _refused(row: JudgedWish) -> ItemError | None:
    return ItemError(GUARD, row.words) if row.refused else None


def _moved(row: AnyRow, now: JudgedWish, rules: int) -> ItemError | None:
    """Is something else so by now than what was shown with it? `rules` is the version that holds."""
    told, key = row.payload, now.wish.key
    if told["facts"] != now.facts.told():
        return ItemError(MOVED, f"What {key} was judged by has changed since the preview was made.")
    if told["margin"] is not None and now.margin is not None and now.margin.amount < Decimal(told["margin"]):
        return ItemError(MOVED, f"Less would be left of {key} than was shown: the channel takes more of it by now.")
    if now.wish.origin is Origin.RULE and now.wish.rules_version not in (None, rules):
        words = f"Version {now.wish.rules_version} of the rules made the price of {key}; version {rules} holds by now."
        return ItemError(MOVED, words)
    return None


def _over(now: JudgedWish, made_at: datetime, at: datetime) -> ItemError | None:
    """Has its sale ended since it was asked for?"""
    sale = now.wish.price.sale
    if sale is None or sale.ends_at is None or not made_at < sale.ends_at <= at:
        return None
    return ItemError(MOVED, f"The sale of {now.wish.key} is over by now.")


def _unseen(row: AnyRow, now: JudgedWish) -> ItemError | None:
    new = news(row.payload, now)
    return ItemError(GUARD, " ".join(hit.words for hit in new)) if new else None
