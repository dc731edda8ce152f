"""The stream PAYOUTS: what shops have paid out, each payout with the movements that it is made of.

A payout is kept when its money is on its way to the bank for good; before, it is told again. One whose movements do not come to
it, or cannot be understood, stays out with the reason in the quarantine, and is asked for again as long as it is young. One whose
movements cannot be read holds up no other: what stopped it is told when all others are kept, and the cursor stays before it.

One that the bank has declined stays out, too: it may be paid after all, or its movements by another payout. Only where its sum
has come back as a movement of another one, nobody else tells what it was made of: it is kept as if it had been paid.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

from adapters.port import Page, Port
from adapters.storefront import Payouts
from domain.budget import Ask
from domain.channel import StreamName
from domain.errors import HouseError, NotFound, Refused, Throttled, Unauthorized
from domain.finance import Transaction
from domain.payout import Movement, Payout
from domain.payout_lines import AMOUNT, FEE
from domain.product import Rejected
from domain.settlement import SettlementKind, Statement
from store import payout, quarantine
from store.session import UNAVAILABLE
from workers.deps import Deps

log = logging.getLogger(__name__)

FIRST = timedelta(days=60)
# Those of one day, in several currencies, are not all told at once.
OVERLAP = timedelta(days=1)
WAITED_FOR = timedelta(days=30)
"""A payout that is not kept by then, for whatever reason, holds up the cursor no longer."""

PAID, FAILED, CANCELED = "paid", "failed", "canceled"
DECLINED = "The bank has declined it. Nothing of it is in the books before it is paid, by itself or by another payout."


def tells_of_payouts(port: Port) -> bool:
    """Whether there is anything to read."""
    return StreamName.PAYOUTS in port.every and isinstance(port, Payouts)


async def changed(deps: Deps, port: Port, since: datetime, ask: Ask) -> AsyncIterator[Page[str]]:
    """Keeps payouts, oldest first; the ids of those that are new in the books, page by page. Raises what stopped it."""
    if not isinstance(port, Payouts):
        return
    now = deps.clock()
    waits: list[datetime] = []
    problems: list[Exception] = []
    try:
        async for page in port.payout_pages(since - OVERLAP, ask):
            kept: list[str] = []
            # What failed may have come back in a later one.
            for one in sorted(page.items, key=lambda each: (each.status.casefold() == FAILED, each.issued_at)):
                try:
                    became = await _keep(deps, port, one, ask)
                except Exception as problem:
                    _put_off(one, problem)
                    problems.append(problem)
                    became = None
                if became is None:
                    waits.append(one.issued_at)
                elif became:
                    kept.append(one.id)
            async with deps.store.begin() as tx:
                await quarantine.keep(tx, page.rejected)
            yield Page(kept, until=page.until and _until(min(page.until, now), waits, now - WAITED_FOR))
    except NotFound:
        # A shop whose payments are taken by somebody else: this platform pays it nothing, or does not tell yet.
        yield Page([], until=max(since, now - FIRST))
    if problems:
        raise problems[0]


def _put_off(one: Payout, problem: Exception) -> None:
    """Tell of a payout that could not be read. Raises what would stop all others too."""
    if isinstance(problem, (Unauthorized, Throttled, *UNAVAILABLE)):
        raise problem
    words = problem.words if isinstance(problem, HouseError) else f"Unexpected {type(problem).__name__}."
    extra = {"channel": one.channel, "payout": one.id, "reason": words}
    log.warning("payout.put_off", extra=extra, exc_info=not isinstance(problem, HouseError))


def _until(told: datetime, waits: Sequence[datetime], oldest: datetime) -> datetime:
    """Up to when all is told that is to be kept: what waits is to be told again."""
    return min([told, *(at for at in waits if at > oldest)])


async def _keep(deps: Deps, port: Payouts, one: Payout, ask: Ask) -> bool | None:
    """Whether a payout is new in the books; None where it has to be looked at again."""
    if (status := one.status.casefold()) not in (PAID, FAILED):
        return False if status == CANCELED else None
    async with deps.store.begin() as tx:
        before = await payout.total(tx, one.channel, one.id)
        back = status == PAID or await payout.came_back(tx, deps.channels[one.channel], one.net, one.issued_at)
    if before is not None:
        if before != one.net:
            words = f"It is in the books with {before.amount} {before.currency}, and stays so. Ask its provider what was paid."
            await _stays_out(deps, one, [_rejected(one, words)])
        return False
    if not back:
        await _stays_out(deps, one, [_rejected(one, DECLINED)])
        return None
    movements, rejected = await _movements(port, one, ask)
    if not rejected:
        rejected = await _book(deps, one, movements)
    if not rejected:
        return True
    await _stays_out(deps, one, rejected)
    return None


async def _stays_out(deps: Deps, one: Payout, rejected: Sequence[Rejected]) -> None:
    async with deps.store.begin() as tx:
        await quarantine.keep(tx, rejected)
    extra = {"channel": one.channel, "payout": one.id, "reason": rejected[0].reason}
    log.warning("payout.not_kept", extra=extra)


async def _movements(port: Payouts, one: Payout, ask: Ask) -> tuple[list[Movement], list[Rejected]]:
    """Those of a payout, by time; movements of test orders move no money."""
    found: list[Movement] = []
    rejected: list[Rejected] = []
    async for page in port.movement_pages(one.id, ask):
        found += [_movement(each) for each in page.items if not _is_test(each)]
        rejected += page.rejected
    return sorted(found, key=lambda each: (each.at, each.id)), rejected


async def _book(deps: Deps, one: Payout, movements: Sequence[Movement]) -> list[Rejected]:
    """Keep a payout; why it is not kept."""
    if not movements:
        return [_rejected(one, "No movement of it is told.")]
    try:
        async with deps.store.begin() as tx:
            before = await payout.before(tx, one.channel, one.net.currency, one.issued_at)
            statement = Statement(
                channel=one.channel,
                kind=SettlementKind.PAYOUT,
                external_id=one.id,
                marketplace=None,
                starts_at=min(before or movements[0].at, one.issued_at),
                ends_at=one.issued_at,
                deposited_at=one.issued_at,
                total=one.net,
                reference=one.reference,
            )
            kept = await payout.keep(tx, deps.channels[one.channel], statement, movements)
    except Refused as problem:
        return [_rejected(one, problem.message)]
    log.info("payout.kept", extra={"channel": one.channel, "payout": one.id, "movements": kept.rows})
    return []


def _rejected(one: Payout, reason: str) -> Rejected:
    return Rejected(one.channel, "payout", one.id, reason, f"{one.net.amount} {one.net.currency} {one.status}")


def _is_test(one: Transaction) -> bool:
    return any(each.facts.get("test") == "true" for each in one.contexts)


def _movement(one: Transaction) -> Movement:
    """As both kinds of shops tell it: its breakdowns are the amount and, below zero, the fee."""
    parts = {each.kind: each.amount for each in one.breakdowns}
    reasons = [each.facts["adjustmentReason"] for each in one.contexts if "adjustmentReason" in each.facts]
    return Movement(
        id=one.id or one.key,
        kind=one.kind,
        amount=parts[AMOUNT],
        fee=-parts[FEE],
        at=one.posted_at,
        order=next(iter(one.values("ORDER_ID")), None),
        refund=next(iter(one.values("REFUND_ID")), None),
        reason=reasons[0] if reasons else "",
    )
