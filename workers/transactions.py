"""The stream TRANSACTIONS: what money moved, as a platform tells it before a settlement does.

What is younger than a few days may be told incompletely, so each run asks for it again; what is held back is told under another
date when it is released. Orders whose money has been held back for long are asked about by themselves, a few at a time, in case
that was missed.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from adapters.finances import Movements
from adapters.port import OrderKey, Page, Port
from domain.budget import Ask
from domain.channel import StreamName
from domain.errors import HouseError, Throttled, Unauthorized
from domain.finance import Transaction
from domain.money_words import AMAZON_TRANSACTION
from store import money_transaction, money_word, quarantine
from workers.deps import Deps

log = logging.getLogger(__name__)

# Amazon may leave out what is younger than 48 hours.
OVERLAP = timedelta(days=3)
# A settlement is written every week or two: what is older is in one.
FIRST = timedelta(days=60)
# Amazon holds back for some seven days behind delivery.
HELD_LONG = timedelta(days=14)
ASKED_AGAIN = timedelta(days=3)
HELD_AT_ONCE = 20
MATCHED_AT_ONCE = 200


def tells_of_transactions(port: Port) -> bool:
    """Whether there is anything to read."""
    return StreamName.TRANSACTIONS in port.every and isinstance(port, Movements)


async def changed(deps: Deps, port: Port, since: datetime, ask: Ask) -> AsyncIterator[Page[Transaction]]:
    """What moved since then, page by page, and what of the money that is held back was not told. To be kept by `keep`."""
    assert isinstance(port, Movements)
    async for page in port.transaction_pages(min(since, deps.clock() - OVERLAP), ask):
        yield page
    async with deps.store.begin() as tx:
        before, asked = deps.clock() - HELD_LONG, deps.clock() - ASKED_AGAIN
        held = await money_transaction.held(tx, port.channel.id, before, asked, HELD_AT_ONCE)
    for order, marketplace in held:
        moved: Page[Transaction] | None = None
        try:
            moved = await port.order_transactions(OrderKey(order, marketplace), ask)
        except (Unauthorized, Throttled):
            raise
        except HouseError as problem:
            # It holds up neither the stream nor the others that wait.
            extra = {"channel": port.channel.id, "order": order, "reason": problem.words}
            log.warning("transactions.not_told", extra=extra)
        async with deps.store.begin() as tx:
            await money_transaction.asked(tx, port.channel.id, order)
        if moved is not None:
            yield moved


async def keep(deps: Deps, port: Port, page: Page[Transaction]) -> None:
    """Keep a page, with the lines of money that it comes to."""
    async with deps.store.begin() as tx:
        await quarantine.keep(tx, page.rejected)
        meaning = (await money_word.dictionary(tx)).of(AMAZON_TRANSACTION)
        await money_transaction.keep(tx, port.channel, page.items, meaning)


async def match_again(deps: Deps, port: Port) -> None:
    """Tie to their orders what was told before these were."""
    found = MATCHED_AT_ONCE
    while found == MATCHED_AT_ONCE:
        async with deps.store.begin() as tx:
            meaning = (await money_word.dictionary(tx)).of(AMAZON_TRANSACTION)
            found = await money_transaction.match_again(tx, port.channel, meaning, MATCHED_AT_ONCE)
