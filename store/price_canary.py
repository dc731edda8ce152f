"""Canaries: the rows of a change that go first, what is seen of them, and what becomes of the rest."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Numeric, cast, func, insert, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import OutcomeUnknown, Transient
from domain.ids import ChannelId, OperationId, Sku
from domain.operation import ItemStatus
from domain.price import Action, Hit, Origin, PriceWish, read_price
from domain.price_canary import (
    Canary,
    CanaryState,
    Move,
    Radius,
    Signals,
    Sold,
    moved,
    reaches_far,
    read_radius,
    sample,
)
from store.product import WITHDRAWN
from store.session import AnyRow, among
from store.tables import listing, operation_item, price_canary, price_event

i = operation_item.c
c = price_canary.c

LATELY = timedelta(hours=1)
"""What moved so long before reaches as far as if it moved now."""
NORMAL = timedelta(days=28)
"""What a SKU usually sells is what it sold in so long before."""

_SOLD = text(
    """
    select line.sku,
           coalesce(sum(line.quantity) filter (where sale.placed_at >= :began), 0) as units,
           coalesce(sum(line.quantity) filter (where sale.placed_at < :began), 0) as before
    from unnest(cast(:channels as text[]), cast(:skus as text[])) as wanted (channel, sku)
    join order_line line on line.sku = wanted.sku
    join "order" sale on sale.id = line.order_id and sale.channel = wanted.channel
    where sale.placed_at >= :since and sale.status <> 'CANCELLED'
    group by line.sku
    order by line.sku
    """
)


async def send_first(tx: AsyncConnection, id: OperationId, radius: Radius) -> None:
    """Where the released rows of an operation reach far, keep back all but those of a canary, and begin to watch these.

    What takes a change back, or begins a sale that was asked for before, is no new change.
    """
    # Most changes are small, and nobody reads thousands of small rows to find that out.
    far = moved(radius, [_move(row) for row in await tx.execute(_moving(id).where(_may_go_far(radius)))])
    if not far or not reaches_far(radius, far, await _lately(tx, id, radius, far), await _listed(tx, far)):
        return
    moves = [_move(row) for row in await tx.execute(_moving(id))]
    chosen = sample(radius, moves, id)
    first = [one.listing for one in moves if one.item in chosen]
    issues = {listing: codes for listing, codes in (await _issues(tx, first)).items() if codes}
    await tx.execute(
        insert(price_canary).values(
            operation=id,
            radius=radius.told(),
            items=sorted(chosen),
            total=len(moves),
            issues=issues,
            until=func.now() + radius.watch,
        )
    )
    later = (i.operation_id == id, i.status == ItemStatus.PENDING.value, ~among(i.id, chosen))
    await tx.execute(update(operation_item).where(*later).values(released=False))


async def distrusted(tx: AsyncConnection, wishes: Sequence[PriceWish]) -> tuple[Hit, ...]:
    """Why prices by a set of rules want a second person of which a canary has done badly: its next price may do no better."""
    versions = {f"{one.rules_version}" for one in wishes if one.origin is Origin.RULE and one.rules_version is not None}
    if not versions:
        return ()
    version = i.payload["rules_version"].astext
    rows = await tx.execute(
        select(version.label("version"), c.operation)
        .join(operation_item, i.id == cast(c["items"][0].astext, BigInteger))
        .where(
            c.state == CanaryState.HALTED.value,
            i.payload["origin"].astext == Origin.RULE.value,
            among(version, versions),
        )
        .order_by(c.operation)
        .limit(1)
    )
    words = "A canary of prices by version {} of the rules was halted, see Operation:{}: mend the rules, or approve."
    return tuple(Hit("CANARY", Action.HOLD, words.format(row.version, row.operation)) for row in rows)


async def watching(tx: AsyncConnection) -> list[OperationId]:
    """The operations whose canaries nobody has decided about."""
    rows = await tx.execute(select(c.operation).where(c.state == CanaryState.WATCHING.value).order_by(c.operation))
    return [OperationId(row.operation) for row in rows]


async def by_operations(tx: AsyncConnection, ids: Collection[OperationId]) -> dict[OperationId, Canary]:
    """The canaries of those operations that had one."""
    rows = await tx.execute(select(price_canary).where(among(c.operation, ids)))
    return {one.operation: one for one in map(_canary, rows)}


async def held(tx: AsyncConnection, id: OperationId) -> Canary | None:
    """The operation's canary, which nobody else decides about until `tx` ends; None where it is decided already, or there is
    none. Its operation is locked."""
    undecided = (c.operation == id, c.state == CanaryState.WATCHING.value)
    row = (await tx.execute(select(price_canary).where(*undecided).with_for_update())).one_or_none()
    return None if row is None else _canary(row)


async def end(
    tx: AsyncConnection, id: OperationId, state: CanaryState, reasons: Sequence[str] = (), by: str | None = None
) -> None:
    """Keep what became of it; one that has ended stays as it is."""
    values = {"state": state.value, "reasons": list(reasons), "ended_by": by, "ended_at": func.now()}
    await tx.execute(
        update(price_canary).where(c.operation == id, c.state == CanaryState.WATCHING.value).values(**values)
    )


async def signals(tx: AsyncConnection, one: Canary) -> Signals:
    """What is seen of a canary now, by the database's clock."""
    columns = (i.status, i.channel, i.payload, i.sent_at, i.accepted_at, i.error_code)
    rows = (await tx.execute(select(*columns).where(among(i.id, one.items)))).all()
    # What was overtaken by something newer says nothing of this change.
    mine = [row for row in rows if row.status not in _OVERTAKEN]
    now: datetime = (await tx.execute(select(func.clock_timestamp()))).scalar_one()
    # What could not leave in time, as while its channel is away, has not been tried yet, nor has what left just now.
    early = any(
        row.sent_at is None or row.sent_at > now - one.radius.watch / 2 for row in mine if row.status in _UNSEEN
    )
    waits = early or any(row.status in _UNDECIDED for row in mine)
    unanswered = sum(map(_unanswered, mine))
    known = one.issues
    found = await _issues(tx, [row.payload["listing"] for row in mine])
    keys = {row.payload["listing"]: f"{row.channel}/{row.payload['channel_sku']}" for row in mine}
    return Signals(
        rows=len(mine),
        lost=sum(row.status in _LOST for row in mine) - unanswered,
        unanswered=unanswered,
        unseen=sum(row.status in _UNSEEN for row in mine),
        issues=sorted(keys[id] for id, codes in found.items() if set(codes) - set(known.get(id, ()))),
        sold=await _sold(tx, one, mine, now),
        over=now >= one.until and not waits,
    )


def _unanswered(row: AnyRow) -> bool:
    """Has it ended without the channel's word: no call got through, or none of those that left was answered?"""
    if row.status not in _LOST or row.accepted_at is not None:
        return False
    parked = row.status == ItemStatus.PARKED.value
    return bool(row.error_code == Transient.code or (parked and row.error_code == OutcomeUnknown.code))


async def counts(tx: AsyncConnection) -> Mapping[CanaryState, int]:
    """How many there are in each state."""
    rows = await tx.execute(select(c.state, func.count().label("times")).group_by(c.state))
    found = {CanaryState(row.state): row.times for row in rows}
    return {state: found.get(state, 0) for state in CanaryState}


def _moving(id: OperationId) -> Any:
    told = i.payload
    return select(
        i.id,
        i.channel,
        told["listing"].astext.label("listing"),
        told["marketplace"].astext.label("marketplace"),
        told["price"].label("price"),
        func.coalesce(_known(told["facts"]["wanted"]), _known(told["facts"]["live"])).label("before"),
    ).where(
        i.operation_id == id,
        i.status == ItemStatus.PENDING.value,
        i.released,
        told["origin"].astext.not_in(_NO_CHANGE),
    )


def _may_go_far(radius: Radius) -> ColumnElement[bool]:
    """Leaves nothing out that moves by more than the step: where there is no sale, rows tell to a tenth how far they move."""
    step, facts = cast(i.payload["step"].astext, Numeric), i.payload["facts"]
    prices = (i.payload["price"], facts["wanted"], facts["live"])
    sale = [func.jsonb_typeof(one["sale"]) == "object" for one in prices]
    return or_(step.is_(None), func.abs(step) > radius.step - Decimal("0.1"), *sale)


def _known(told: Any) -> Any:
    """NULL for a JSON null."""
    return func.nullif(told, literal(None, JSONB))


def _move(row: AnyRow) -> Move:
    return Move(
        item=row.id,
        channel=ChannelId(row.channel),
        marketplace=row.marketplace,
        listing=row.listing,
        before=None if row.before is None else read_price(row.before),
        after=read_price(row.price),
    )


async def _lately(
    tx: AsyncConnection, id: OperationId, radius: Radius, channels: Collection[ChannelId]
) -> dict[ChannelId, int]:
    """How many listings of each channel other changes that were released within the last hour have moved by more than the step,
    those left out that a canary or a person has let pass."""
    passed = select(c.operation).where(c.state.in_([CanaryState.PASSED.value, CanaryState.RELEASED.value]))
    step = func.abs(cast(i.payload["step"].astext, Numeric))
    rows = await tx.execute(
        select(i.channel, func.count(i.resource.distinct()).label("listings"))
        .join(price_event, price_event.c.item == i.id)
        .where(
            price_event.c.what == "ASKED",
            price_event.c.at > func.now() - LATELY,
            i.operation_id != id,
            i.operation_id.not_in(passed),
            i.status.not_in(_IN_VAIN),
            among(i.channel, channels),
            i.payload["origin"].astext.not_in(_NO_CHANGE),
            or_(step > radius.step, step.is_(None)),
        )
        .group_by(i.channel)
    )
    return {ChannelId(row.channel): row.listings for row in rows}


async def _listed(tx: AsyncConnection, channels: Collection[ChannelId]) -> dict[ChannelId, int]:
    """How many listings with a price each of the channels has."""
    there = listing.c
    rows = await tx.execute(
        select(there.channel, func.count().label("listings"))
        .where(
            among(there.channel, channels),
            there.status != WITHDRAWN,
            there.price_amount.is_not(None),
        )
        .group_by(there.channel)
    )
    return {ChannelId(row.channel): row.listings for row in rows}


async def _issues(tx: AsyncConnection, ids: Collection[str]) -> dict[str, list[str]]:
    """The codes of what their platforms call errors of each listing."""
    rows = await tx.execute(select(listing.c.id, listing.c.issues).where(among(listing.c.id, ids)))
    return {row.id: sorted({one["code"] for one in row.issues if one["severity"].upper() == "ERROR"}) for row in rows}


async def _sold(tx: AsyncConnection, one: Canary, rows: Sequence[AnyRow], now: datetime) -> list[Sold]:
    pairs = sorted({(row.channel, row.payload["sku"]) for row in rows if row.payload["sku"] is not None})
    if not pairs:
        return []
    values = {
        "channels": [channel for channel, _ in pairs],
        "skus": [sku for _, sku in pairs],
        "began": one.began_at,
        "since": one.began_at - NORMAL,
    }
    share = (now - one.began_at) / NORMAL
    found = await tx.execute(_SOLD, values)
    return [Sold(Sku(row.sku), int(row.units), int(row.before) * share) for row in found]


def _canary(row: AnyRow) -> Canary:
    return Canary(
        operation=OperationId(row.operation),
        state=CanaryState(row.state),
        radius=read_radius(row.radius),
        items=tuple(row.items),
        total=row.total,
        issues=row.issues,
        began_at=row.began_at,
        until=row.until,
        ended_at=row.ended_at,
        ended_by=row.ended_by,
        reasons=tuple(row.reasons),
    )


_NO_CHANGE = [Origin.REVERT.value, Origin.SALE.value]
_IN_VAIN = [one.value for one in (ItemStatus.FAILED, ItemStatus.CANCELLED, ItemStatus.SUPERSEDED)]
_OVERTAKEN = {one.value for one in (ItemStatus.SUPERSEDED, ItemStatus.CANCELLED)}
_LOST = {one.value for one in (ItemStatus.FAILED, ItemStatus.PARKED)}
# Nobody knows yet whether it has left, or has come there.
_UNDECIDED = {one.value for one in (ItemStatus.PENDING, ItemStatus.SENT)}
_UNSEEN = {one.value for one in (ItemStatus.PENDING, ItemStatus.SENT, ItemStatus.ACCEPTED)}
