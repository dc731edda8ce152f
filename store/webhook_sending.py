"""Sending what outgoing webhooks are told: deliveries are claimed, and every try of them is noted.

A delivery is under way while its `due_at` lies ahead by a lease; whoever outlives it delivers once more, under the same id. Locks
come in one order: webhooks' rows by their ids, then deliveries'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.webhook import TEST, Attempt, Delivery, Verdict, next_try_s
from store.session import AnyRow, among, as_table, storable
from store.tables import webhook, webhook_delivery
from store.webhook import WORDS, pause, remove
from store.webhook_delivery import delivery_of

w, d = webhook.c, webhook_delivery.c


async def claim(tx: AsyncConnection, asked: Mapping[str, tuple[int, bool]], lease_s: float) -> list[Delivery]:
    """Take the next deliveries of webhooks: those of so many objects at most for each, and only tests where that is said. What
    others have is passed over."""
    given = {
        "webhooks": list(asked),
        "limits": [limit for limit, _ in asked.values()],
        "testing": [testing for _, testing in asked.values()],
        "lease_s": lease_s,
        "test": TEST,
    }
    return [delivery_of(row) for row in await tx.execute(CLAIM, given)] if asked else []


async def keep_data(tx: AsyncConnection, data: Mapping[tuple[str, str], str]) -> None:
    """What deliveries tell, by their webhooks and ids; from now on at every try."""
    if data:
        told = as_table(webhook=[key[0] for key in data], id=[key[1] for key in data], data=list(data.values()))
        these = and_(d.webhook == told.c.webhook, d.id == told.c.id)
        await tx.execute(update(webhook_delivery).where(these).values(data=told.c.data))


async def unreadable(tx: AsyncConnection, these: Sequence[Delivery]) -> None:
    """Whoever made the webhook may not read this any more: it is given up."""
    if these:
        told = as_table(webhook=[one.webhook for one in these], id=[one.id for one in these])
        wanted = and_(d.webhook == told.c.webhook, d.id == told.c.id)
        await tx.execute(update(webhook_delivery).where(wanted).values(state="FAILED"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a try. After a failure it is tried again by the schedule, which `share` stretches (0 to 1), and not before
    `wait_s`; the whole endpoint rests for `rest_s`."""

    delivery: Delivery
    attempt: Attempt
    verdict: Verdict
    share: float = 0.0
    wait_s: float = 0.0
    rest_s: float = 0.0


async def record(tx: AsyncConnection, outcomes: Sequence[Outcome]) -> None:
    """Note tries, those of one webhook in the order in which they ended.

    After a day of failures a webhook is paused; where it took others meanwhile, the delivery is given up instead. One that wants
    nothing more is paused, or forgotten where a tool subscribed by itself. Of a delivery that somebody else has had since only
    the try is noted.
    """
    ids = {one.delivery.webhook for one in outcomes}
    locked = select(webhook).where(among(w.id, ids)).order_by(w.id).with_for_update()
    books = {row.id: _Book(row) for row in await tx.execute(locked)}
    await tx.execute(_NOTE, _tries(outcomes))
    held = {(row.webhook, row.id): row for row in await tx.execute(_HOLD, _named(outcomes))}
    ours = [one for one in outcomes if (one.delivery.webhook, one.delivery.id) in held]
    for one in ours:
        if one.verdict is Verdict.TAKEN:
            books[one.delivery.webhook].took = True
    for one in ours:
        books[one.delivery.webhook].enter(one, held[one.delivery.webhook, one.delivery.id])
    changed = [book for book in books.values() if book.changes]
    if not changed:
        return
    await tx.execute(_SETTLE, _changes(changed))
    await tx.execute(_BALANCE, _balances(changed))
    for book in changed:
        if book.gone and book.row.hook:
            await remove(tx, book.row.id)
        elif book.reason is not None:
            await pause(tx, book.row.id, book.reason)


class _Book:
    """What tries come to for one webhook. `changes` are those of deliveries: id, state, seconds until the next try."""

    def __init__(self, row: AnyRow) -> None:
        self.row = row
        self.took = False
        self.failures: int = row.failures
        self.error: str | None = row.last_error
        self.rest_s = 0.0
        self.gone = False
        self.reason: str | None = None
        self.changes: list[tuple[str, str, float | None]] = []

    def enter(self, one: Outcome, held: AnyRow) -> None:
        """One more try, of a delivery that was tried first at `first_at`, `age_s` ago."""
        id = one.delivery.id
        match one.verdict:
            case Verdict.TAKEN:
                self.failures, self.error = 0, None
                self.changes.append((id, "DELIVERED", None))
            case Verdict.GONE:
                self.gone, self.reason = True, "It answered 410: nothing more is wanted there."
                self.changes.append((id, "PENDING", 0.0))
            case _:
                self.failures += 1
                self.error = storable(one.attempt.problem or f"It answered {one.attempt.status}.")[:WORDS]
                self.rest_s = max(self.rest_s, one.rest_s)
                self.changes.append((id, *self._next(one, held)))

    def _next(self, one: Outcome, held: AnyRow) -> tuple[str, float | None]:
        after_s = next_try_s(float(held.age_s), one.share)
        if after_s is not None:
            return "PENDING", max(after_s, one.wait_s)
        last = self.row.last_success_at
        if one.delivery.type == TEST or self.took or (last is not None and last > held.first_at):
            return "FAILED", None
        self.reason = self.reason or f"Nothing was taken for a day. {self.error}"
        return "PENDING", 0.0


def _named(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "webhooks": [one.delivery.webhook for one in outcomes],
        "ids": [one.delivery.id for one in outcomes],
        "attempts": [one.delivery.attempts for one in outcomes],
    }


def _tries(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    tries = [one.attempt for one in outcomes]
    return {
        "webhooks": [one.delivery.webhook for one in outcomes],
        "ids": [one.delivery.id for one in outcomes],
        "numbers": [one.number for one in tries],
        "ats": [one.at for one in tries],
        "milliseconds": [one.milliseconds for one in tries],
        "statuses": [one.status for one in tries],
        "problems": [None if one.problem is None else storable(one.problem)[:WORDS] for one in tries],
        "answers": [None if one.answer is None else storable(one.answer) for one in tries],
    }


def _changes(books: Sequence[_Book]) -> dict[str, Any]:
    rows = [(book.row.id, *change) for book in books for change in book.changes]
    return dict(zip(("webhooks", "ids", "states", "afters"), map(list, zip(*rows, strict=True)), strict=True))


def _balances(books: Sequence[_Book]) -> dict[str, Any]:
    return {
        "webhooks": [book.row.id for book in books],
        "failures": [book.failures for book in books],
        "errors": [book.error for book in books],
        "rests": [book.rest_s for book in books],
        "took": [book.took for book in books],
    }


# Of each object the first that waits, unless somebody has it. One pass over all that waits: a look for earlier ones row by row is
# quick only under one of several plans, and while statistics know nothing of a new backlog another may be taken.
CLAIM = text(
    """
    with asked as materialized (
        select * from unnest(cast(:webhooks as text[]), cast(:limits as integer[]), cast(:testing as boolean[]))
            as asked (webhook, most, testing)
    ),
    first as materialized (
        select found.*, row_number() over (partition by webhook order by due_at, place, id) as turn
        from (
            select asked.webhook, asked.most, head.id, head.due_at, head.place
            from asked cross join lateral (
                select distinct on (object) id, due_at, place from webhook_delivery
                where webhook = asked.webhook and state = 'PENDING' and (type = :test or not asked.testing)
                order by object, place, id
            ) head
        ) found
        where due_at <= clock_timestamp()
    ),
    taken as materialized (
        select locked.place from first cross join lateral (
            select ctid as place from webhook_delivery
            where webhook = first.webhook and id = first.id and state = 'PENDING' and due_at <= clock_timestamp()
            for update skip locked
        ) locked
        where first.turn <= first.most
    )
    update webhook_delivery set
        due_at = clock_timestamp() + make_interval(secs => cast(:lease_s as double precision)),
        first_at = coalesce(first_at, clock_timestamp()),
        attempts = attempts + 1
    where ctid = any(array(select place from taken))
    returning *
    """
)

# Each try once, and none of what has been forgotten since.
_NOTE = text(
    """
    insert into webhook_attempt (webhook, delivery, number, at, milliseconds, status, problem, answer)
    select told.* from unnest(
        cast(:webhooks as text[]), cast(:ids as text[]), cast(:numbers as integer[]), cast(:ats as timestamptz[]),
        cast(:milliseconds as integer[]), cast(:statuses as integer[]), cast(:problems as text[]), cast(:answers as text[])
    ) as told (webhook, delivery, number, at, milliseconds, status, problem, answer)
    join webhook_delivery d on d.webhook = told.webhook and d.id = told.delivery
    on conflict do nothing
    """
)

# Those that nobody has claimed since.
_HOLD = text(
    """
    select d.webhook, d.id, d.first_at, extract(epoch from clock_timestamp() - d.first_at) as age_s
    from unnest(cast(:webhooks as text[]), cast(:ids as text[]), cast(:attempts as integer[]))
        as told (webhook, id, attempts)
    join webhook_delivery d on d.webhook = told.webhook and d.id = told.id and d.attempts = told.attempts
    where d.state = 'PENDING'
    for update of d
    """
)

_SETTLE = text(
    """
    update webhook_delivery d set
        state = told.state,
        due_at = coalesce(clock_timestamp() + make_interval(secs => told.after), due_at)
    from unnest(
        cast(:webhooks as text[]), cast(:ids as text[]), cast(:states as text[]), cast(:afters as double precision[])
    ) as told (webhook, id, state, after)
    where d.webhook = told.webhook and d.id = told.id
    """
)

_BALANCE = text(
    """
    update webhook w set
        failures = told.failures,
        last_error = told.error,
        due_at = case when rest > 0 then greatest(due_at, clock_timestamp() + make_interval(secs => rest)) else due_at end,
        last_success_at = case when took then clock_timestamp() else last_success_at end
    from unnest(
        cast(:webhooks as text[]), cast(:failures as integer[]), cast(:errors as text[]),
        cast(:rests as double precision[]), cast(:took as boolean[])
    ) as told (webhook, failures, error, rest, took)
    where w.id = told.webhook
    """
)
