"""Who bought, and where it goes: for those alone who may know it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from domain.order import Order
from domain.person import Person
from resolvers.context import Context
from resolvers.loaders import load_each

log = logging.getLogger(__name__)

SCOPE = "orders:pii"


async def read(context: Context, orders: Sequence[Order], what: str) -> list[Person | BaseException | None]:
    """The person of each order; None where nobody is known, and for all of them without the scope. Who reads `what` of which
    orders is told in the log."""
    if SCOPE not in context.caller.scopes:
        return [None] * len(orders)
    context.personal = True
    ids = [one.id for one in orders]
    told = {"caller": context.caller.name, "what": what, "orders": ids, "request": context.request_id}
    log.info("person.read", extra=told)
    return await load_each(context.loaders.person_by_order, ids)
