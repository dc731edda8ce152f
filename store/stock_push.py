"""Numbers on their way to the channels: who sends which, and what came of it.

A claim holds a number under a lease; its fence refuses whoever comes too late. The intent to send is a row of `stock_push`, made
before anything leaves the house. `attempts` of a number are sends since the channel last took one: while there are any, what it
shows is in doubt and the target is sent again, which does no harm.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Interval,
    Select,
    and_,
    bindparam,
    case,
    extract,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.sql.expression import FromClause
from sqlalchemy.types import Text

from domain.channel import StreamName
from domain.errors import OutcomeUnknown
from domain.ids import ChannelId, ChannelSku, Sku
from store import channel_numbers, ledger, marks
from store import channel_stock as numbers
from store.channel import not_paused
from store.channel_stock import NumberKey
from store.session import AnyRow, among, as_table, storable
from store.tables import channel_stock, stock_push, sync_stream

c = channel_stock.c
p = stock_push.c

UNSEEN_SALE = "UNSEEN_SALE"
"""The error of a number that waits until the channel's orders have been read: it would be raised over what may be a sale."""

# An older send that nobody saw is of no interest any more.
_SEEN_TOGETHER = timedelta(hours=1)


class Errand(Enum):
    """What is to be done with a number: tell the channel, or look what it shows."""

    TELL = "tell"
    LOOK = "look"


class Cause(Enum):
    """Why a number is sent: it changed, the channel was seen to show another one, or it took one and did nothing."""

    CHANGE = "CHANGE"
    REPAIR = "REPAIR"
    AGAIN = "AGAIN"


@dataclass(frozen=True, slots=True)
class Sent:
    """The last send of a number. `settled`: the channel took it, or was seen to show it. `in_doubt`: it may have been taken."""

    id: int
    quantity: int
    expected: int | None
    cause: Cause
    settled: bool
    in_doubt: bool
    caused_at: datetime | None
    noticed_at: datetime | None
    accepted_s_ago: float | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A number in hand. `told`, `shown` and `confirmed` as in `store.channel_stock`, `last` the last send."""

    key: NumberKey
    sku: Sku
    refs: Mapping[str, str]
    target: int
    told: int | None
    confirmed: bool
    shown: int | None
    shown_at: datetime | None
    attempts: int
    looks: int
    error_code: str | None
    fence: int
    last: Sent | None

    @property
    def cause(self) -> Cause:
        """Why it is to be sent."""
        if self.told != self.target or self.last is None:
            return Cause.CHANGE
        if not self.last.settled:
            return self.last.cause
        return Cause.AGAIN if self.looks else Cause.REPAIR

    @property
    def expected(self) -> int | None:
        """What the channel should show before the write; None where nothing is known.

        What it took is there, seen or not; what was seen to be lower since may be a sale that we have not seen. Only where a
        send has come to nothing, what was seen counts.
        """
        if self.last is not None and self.last.in_doubt and self.last.quantity == self.target:
            return self.last.expected
        asked_for = self.attempts > 0 and self.last is not None and self.last.settled
        seen = asked_for or self.error_code in _SEEN
        first, second = (self.shown, self.told) if seen else (self.told, self.shown)
        return second if first is None else first


@dataclass(frozen=True, slots=True)
class Write:
    """A number to be sent, and the id of its send: that of the last one where this is the same write once more. `few`: its SKU's
    last units are given to one channel after the other."""

    claimed: Claimed
    id: int
    quantity: int
    expected: int | None
    cause: Cause
    few: bool


class Outcome(Enum):
    """What came of a number in hand.

    TAKEN: accepted, not seen. IN_DOUBT: may have been taken. UNCHANGED: nothing was changed. CONFIRMED: seen. DIFFERENT: seen to
    be another. LOST: taken without effect, and to be sent again. WAITING: nothing was done.
    """

    TAKEN = "TAKEN"
    IN_DOUBT = "IN_DOUBT"
    UNCHANGED = "UNCHANGED"
    CONFIRMED = "CONFIRMED"
    DIFFERENT = "DIFFERENT"
    LOST = "LOST"
    WAITING = "WAITING"


@dataclass(frozen=True, slots=True)
class Record:
    """What came of a number in hand: `quantity` is what was sent or looked for, `push` the send it concerns. It is due again in
    `due_in_s`, unless its target has moved on: then at once. Not `counted`: the send costs no attempt."""

    claimed: Claimed
    outcome: Outcome
    quantity: int
    push: int | None = None
    due_in_s: float = 0.0
    shown: int | None = None
    shown_at: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None
    upstream_request_id: str | None = None
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Seen:
    """A send whose number was seen, and how long after its cause."""

    key: NumberKey
    push: int
    quantity: int
    lag_s: float | None


_SEEN = ("OTHER_NUMBER", UNSEEN_SALE)


async def due(tx: AsyncConnection) -> list[tuple[ChannelId, Errand]]:
    """What can be claimed now."""
    rows = await tx.execute(_due())
    return [(ChannelId(row.channel), Errand(row.errand)) for row in rows]


async def claim(
    tx: AsyncConnection, channel: ChannelId, errand: Errand, *, limit: int, lease_s: float
) -> list[Claimed]:
    """Take at most `limit` due numbers of a channel under a lease: first those that become smaller, then those of which there
    are fewest."""
    asked = {"of_channel": channel, "most": limit, "lease": timedelta(seconds=lease_s)}
    rows = await tx.execute(_claim(errand), asked)
    found = sorted(rows, key=lambda row: (row.rank, row.target, row.due_at))
    pushes = await _pushes(tx, [row.push_id for row in found if row.push_id is not None])
    return [_claimed(row, pushes.get(row.push_id)) for row in found]


# Asked many times a second, and costly to put together: each is made once.
@cache
def _due() -> Select[Any]:
    errand = case((_to_tell(), Errand.TELL.value), else_=Errand.LOOK.value).label("errand")
    return select(c.channel, errand).where(*_claimable()).distinct()


@cache
def _claim(errand: Errand) -> ReturningUpdate[Any]:
    which = _to_tell() if errand is Errand.TELL else ~_to_tell()
    order = (case((c.target < c.told, 0), else_=1), c.target, c.due_at)
    # A CTE that locks runs once; as a subquery of IN it might run again for each row, and lock more than the limit.
    ready = (
        select(*_KEY)
        .where(c.channel == bindparam("of_channel"), which, *_claimable())
        .order_by(*order)
        .limit(bindparam("most", type_=Integer))
        .with_for_update(skip_locked=True)
        .cte("ready")
    )
    until = func.clock_timestamp() + bindparam("lease", type_=Interval)
    return (
        update(channel_stock)
        .where(*(column == ready.c[column.name] for column in _KEY))
        .values(fence=c.fence + 1, lease_until=until)
        .returning(channel_stock, order[0].label("rank"))
    )


def _claimable() -> list[ColumnElement[bool]]:
    """Due, nobody's, its channel not paused and its orders read at least once: what was sold before would be offered again."""
    o = sync_stream.c
    read = select(o.channel).where(o.name == StreamName.ORDERS.value, o.last_success_at.is_not(None))
    return [
        # Not clock_timestamp(): no index would be of use.
        c.due_at <= func.now(),
        or_(c.lease_until.is_(None), c.lease_until <= func.now()),
        or_(_to_tell(), c.confirmed_at.is_(None)),
        not_paused(c.channel),
        c.channel.in_(read),
    ]


def _to_tell() -> ColumnElement[bool]:
    return or_(c.told.is_distinct_from(c.target), c.attempts > 0)


async def _pushes(tx: AsyncConnection, ids: Collection[int]) -> dict[int, Sent]:
    age_s = extract("epoch", func.clock_timestamp() - p.accepted_at).label("age_s")
    return {row.id: _sent(row) for row in await tx.execute(select(stock_push, age_s).where(among(p.id, ids)))}


async def writes(tx: AsyncConnection, claimed: Sequence[Claimed]) -> list[Write]:
    """What is to be sent for each, in their order."""
    again = [_same_write(one) for one in claimed]
    fresh = len(claimed) - sum(again)
    new_id = func.nextval(func.pg_get_serial_sequence(stock_push.name, "id"))
    ids = iter((await tx.scalars(select(new_id).select_from(func.generate_series(1, fresh)))).all() if fresh else ())
    few = await channel_numbers.arbitrated(tx, {one.sku for one in claimed})
    return [
        Write(one, one.last.id if same and one.last else next(ids), one.target, one.expected, one.cause, one.sku in few)
        for one, same in zip(claimed, again, strict=True)
    ]


def _same_write(one: Claimed) -> bool:
    last = one.last
    return last is not None and last.in_doubt and (last.quantity, last.expected) == (one.target, one.expected)


async def intend(tx: AsyncConnection, sending: Sequence[Write], lease_s: float) -> bool:
    """Record the intent: from when `tx` commits, these numbers may have left the house. The leases run for `lease_s` from now.

    False, and then none may be sent: somebody else claimed one since, or one of the last units was given to another channel.
    """
    rows = await _held(tx, [write.claimed for write in sending])
    few = await channel_numbers.arbitrated(tx, {write.claimed.sku for write in sending})
    for write in sending:
        row = rows.get(write.claimed.key)
        if row is None or row.lease_until <= row.now:
            return False
        if row.target < write.quantity and (write.few or write.claimed.sku in few):
            return False
    fresh = insert(stock_push)
    await tx.execute(
        fresh.on_conflict_do_update(
            index_elements=["id"],
            set_={
                "caused_at": func.least(p.caused_at, fresh.excluded.caused_at),
                "noticed_at": func.least(p.noticed_at, fresh.excluded.noticed_at),
                "error_code": None,
                "error_message": None,
            },
        ),
        [
            {
                "id": write.id,
                **write.claimed.key._asdict(),
                "sku": write.claimed.sku,
                "quantity": write.quantity,
                "expected": write.expected,
                "cause": write.cause.value,
                "caused_at": rows[write.claimed.key].caused_at,
                "noticed_at": rows[write.claimed.key].noticed_at,
            }
            for write in sorted(sending, key=lambda write: write.id)
        ],
    )
    await tx.execute(
        _INTEND,
        [
            {**_where(write.claimed), "new_push_id": write.id, "new_lease_s": timedelta(seconds=lease_s)}
            for write in sending
        ],
    )
    return True


async def _held(tx: AsyncConnection, claimed: Sequence[Claimed]) -> dict[NumberKey, AnyRow]:
    """The rows of those that nobody has claimed since, locked in the order of their keys."""
    fences = {one.key: one.fence for one in claimed}
    rows = await tx.execute(
        select(channel_stock, func.clock_timestamp().label("now"))
        .where(tuple_(*_KEY).in_(select(*_asked(list(fences)).c)))
        .order_by(*_KEY)
        .with_for_update()
    )
    found = {NumberKey(row.channel, row.channel_sku, row.place): row for row in rows}
    return {key: row for key, row in found.items() if row.fence == fences[key]}


async def record(tx: AsyncConnection, records: Sequence[Record]) -> list[Seen]:
    """Write what came of claimed numbers and end their leases; returns the sends that were seen by it. Left out are numbers that
    somebody claimed since.

    Told is of each SKU with a number that was seen. Where what one channel shows matters to the others, it is computed anew.
    """
    rows = await _held(tx, [one.claimed for one in records])
    ours = [one for one in records if one.claimed.key in rows]
    if not ours:
        return []
    failed = await _pushes(tx, [one.push for one in ours if one.push is not None and one.outcome in _FAILED])
    await tx.execute(_RECORD, [_values(rows[one.claimed.key], one, failed.get(one.push or 0)) for one in ours])
    pushed = [_push_values(one) for one in ours if one.push is not None and one.outcome in _SENDING]
    if pushed:
        await tx.execute(_PUSHED, pushed)
    seen = [one for one in ours if one.outcome is Outcome.CONFIRMED]
    if not seen:
        return []
    marked = await _mark_seen(tx, seen, rows)
    skus = {one.claimed.sku for one in seen}
    await ledger.tell(tx, skus)
    few = await channel_numbers.arbitrated(tx, skus)
    await marks.mark(tx, few)
    return marked


async def waiting_for_orders(tx: AsyncConnection, channel: ChannelId, longer_than: timedelta) -> int:
    """How many of the channel's numbers have waited for longer than this for its orders to be read."""
    waits = (c.channel == channel, c.error_code == UNSEEN_SALE, c.shown_at < func.now() - longer_than)
    return await tx.scalar(select(func.count()).select_from(channel_stock).where(*waits)) or 0


async def release(tx: AsyncConnection, claimed: Sequence[Claimed]) -> None:
    """Give these back at once; nothing was sent."""
    await tx.execute(_RELEASE, [_where(one) for one in claimed])


async def _mark_seen(tx: AsyncConnection, seen: Sequence[Record], rows: Mapping[NumberKey, AnyRow]) -> list[Seen]:
    """The sends whose numbers were seen: the last one, and with it those before that had asked for no less."""
    marked: list[Seen] = []
    for one in seen:
        last = one.push if one.push is not None else -1
        sends = await tx.execute(
            update(stock_push)
            .where(
                p.sku == one.claimed.sku,
                tuple_(p.channel, p.channel_sku, p.place) == tuple_(*map(literal, one.claimed.key)),
                p.sent_at > func.now() - _SEEN_TOGETHER,
                p.confirmed_at.is_(None),
                or_(p.id == last, and_(p.id < last, p.accepted_at.is_not(None), p.quantity >= one.quantity)),
            )
            .values(confirmed_at=rows[one.claimed.key].now)
            .returning(p.id, p.quantity, extract("epoch", p.confirmed_at - p.caused_at).label("lag_s"))
        )
        marked += [
            Seen(one.claimed.key, row.id, row.quantity, None if row.lag_s is None else float(row.lag_s))
            for row in sends
        ]
    return marked


_KEY = (c.channel, c.channel_sku, c.place)
_FAILED = (Outcome.IN_DOUBT, Outcome.UNCHANGED)
_SENDING = (Outcome.TAKEN, *_FAILED)
_OURS = (*numbers.THIS, c.fence == bindparam("of_fence"))
# The send that makes way for this one, where the channel may show its number.
_BEFORE = (
    select(p.quantity)
    .where(
        p.id == c.push_id, p.id != bindparam("new_push_id"), p.confirmed_at.is_(None), channel_numbers.maybe_taken(p)
    )
    .correlate(channel_stock)
    .scalar_subquery()
)
_INTEND = (
    update(channel_stock)
    .where(*_OURS)
    .values(
        push_id=bindparam("new_push_id"),
        unseen=func.greatest(c.unseen, _BEFORE),
        attempts=c.attempts + 1,
        lease_until=func.clock_timestamp() + bindparam("new_lease_s"),
        # They go with the send, and come back if it comes to nothing.
        caused_at=None,
        noticed_at=None,
    )
)
_RELEASE = update(channel_stock).where(*_OURS).values(lease_until=None)
_RECORDED = (
    "told",
    "told_at",
    "confirmed_at",
    "shown",
    "shown_at",
    "unseen",
    "attempts",
    "looks",
    "due_at",
    "caused_at",
    "noticed_at",
    "error_code",
    "error_message",
)
_RECORD = (
    update(channel_stock)
    .where(*_OURS)
    .values(
        lease_until=None, **{name: bindparam(f"new_{name}", type_=channel_stock.c[name].type) for name in _RECORDED}
    )
)
_PUSHED = (
    update(stock_push)
    .where(p.id == bindparam("of_id"))
    .values(
        accepted_at=case((bindparam("new_accepted"), func.clock_timestamp()), else_=p.accepted_at),
        upstream_request_id=func.coalesce(bindparam("new_request_id", type_=Text()), p.upstream_request_id),
        error_code=bindparam("new_error_code"),
        error_message=bindparam("new_error_message"),
    )
)


def _values(row: AnyRow, one: Record, failed: Sent | None) -> dict[str, Any]:
    """The row after the outcome, as `row` stands now: its target may have moved on since it was claimed. A `failed` send gives
    its cause back."""
    due_at = row.now if row.target != one.quantity else row.now + timedelta(seconds=one.due_in_s)
    new: dict[str, Any] = {name: getattr(row, name) for name in _RECORDED}
    new |= {"due_at": due_at, "error_code": one.error_code, "error_message": _storable(one.error_message)}
    if one.shown_at is not None:
        new |= {"shown": one.shown, "shown_at": one.shown_at}
    if failed is not None:
        new |= {"caused_at": _earlier(row.caused_at, failed.caused_at)}
        new |= {"noticed_at": _earlier(row.noticed_at, failed.noticed_at)}
    told_now = {"told": one.quantity, "told_at": row.now}
    match one.outcome:
        case Outcome.TAKEN:
            new |= {**told_now, "confirmed_at": None, "attempts": 0, "looks": 0}
        case Outcome.IN_DOUBT:
            new |= {**told_now, "confirmed_at": None}
        case Outcome.UNCHANGED if not one.counted:
            # At least one attempt stays of a send: it must not be forgotten.
            new |= {"attempts": max(1, row.attempts - 1) if one.push is not None else row.attempts}
        case Outcome.UNCHANGED if one.push is None:
            new |= {"attempts": row.attempts + 1}
        case Outcome.CONFIRMED:
            new |= told_now if row.told != one.quantity else {}
            new |= {"confirmed_at": row.now, "unseen": None, "attempts": 0, "looks": 0}
            new |= {"due_at": None if row.target == one.quantity else row.now}
        case Outcome.DIFFERENT:
            new |= {"looks": row.looks + 1}
        case Outcome.LOST:
            new |= {"attempts": max(1, row.attempts), "looks": row.looks + 1}
        case Outcome.WAITING:
            new |= {"error_code": row.error_code, "error_message": row.error_message}
    return {**_where(one.claimed), **{f"new_{name}": value for name, value in new.items()}}


def _push_values(one: Record) -> dict[str, Any]:
    return {
        "of_id": one.push,
        "new_accepted": one.outcome is Outcome.TAKEN,
        "new_request_id": one.upstream_request_id,
        "new_error_code": one.error_code,
        "new_error_message": _storable(one.error_message),
    }


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((at for at in (one, other) if at is not None), default=None)


def _storable(words: str | None) -> str | None:
    return None if words is None else storable(words)


def _where(one: Claimed) -> dict[str, Any]:
    return {**numbers.of(one.key), "of_fence": one.fence}


def _asked(keys: Sequence[NumberKey]) -> FromClause:
    """The keys as a table."""
    return as_table(**{column.name: [key[at] for key in keys] for at, column in enumerate(_KEY)})


def _claimed(row: AnyRow, last: Sent | None) -> Claimed:
    return Claimed(
        key=NumberKey(ChannelId(row.channel), ChannelSku(row.channel_sku), row.place),
        sku=Sku(row.sku),
        refs=row.refs,
        target=row.target,
        told=row.told,
        confirmed=row.confirmed_at is not None,
        shown=row.shown,
        shown_at=row.shown_at,
        attempts=row.attempts,
        looks=row.looks,
        error_code=row.error_code,
        fence=row.fence,
        last=last,
    )


def _sent(row: AnyRow) -> Sent:
    settled = row.accepted_at is not None or row.confirmed_at is not None
    return Sent(
        id=row.id,
        quantity=row.quantity,
        expected=row.expected,
        cause=Cause(row.cause),
        settled=settled,
        in_doubt=not settled and row.error_code in (None, OutcomeUnknown.code),
        caused_at=row.caused_at,
        noticed_at=row.noticed_at,
        accepted_s_ago=None if row.age_s is None else float(row.age_s),
    )
