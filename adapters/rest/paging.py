"""Lists to their end.

All lists are sorted by (updated_at, id), and a cursor is a place in that order. A row that changes moves to the end, so it is
told again and none is left out, whatever is made or changed meanwhile. A shop may do otherwise: what it tells is taken all the
same, but nothing is concluded from its order, and a list that leads nowhere is given up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field, ValidationError

from adapters.rest.client import Operation, RestClient, answered
from adapters.rest.errors import INVALID_CURSOR
from adapters.rest.wire import Body, Instant, stamp
from domain.budget import Ask
from domain.errors import Invalid, Transient

# How many pages in a row may bring nothing but what was on a page before.
IDLE = 10


class Rows(Body):
    """One page, whose rows are read one by one, so that a bad one spoils no other. A page that says nothing of the next one, or
    nothing that leads to it, must not pass for the last."""

    data: list[Any]
    next_cursor: Annotated[str, Field(min_length=1)] | None


class _Changed(Body):
    updated_at: Instant


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as they came, whether these were the last, and the shop's name for the call. `newest` is the latest change up to which
    everything has been told with these rows; None where that is not known."""

    rows: list[Any]
    last: bool
    request_id: str | None
    newest: datetime | None

    def until(self, since: datetime | None) -> datetime | None:
        """Up to when a walk that was asked for changes since then has been told everything; None where that is not known."""
        if self.newest is None:
            return since if self.last else None
        return self.newest if since is None else max(since, self.newest)


async def pages(
    client: RestClient, operation: Operation, query: Mapping[str, str], ask: Ask, *, size: int
) -> AsyncIterator[Batch]:
    """Pages of a list, of at most `size` rows, which is the shop's `limits.page`.

    A cursor that the shop does not take any more (a long walk, a restart there) is replaced by the instant up to which rows have
    been told: those of that instant come twice. Raises Invalid where that brings the walk no further, and where the shop has
    shown that its rows do not come in their order. Raises Transient for a list that goes on without anything new.
    """
    wanted = {"limit": str(size), **query}
    started = datetime.now(UTC)
    cursor: str | None = None
    newest: datetime | None = None
    resumed: datetime | None = None
    ordered = True
    met: set[int] = set()
    idle = 0
    while True:
        try:
            reply = await client.call(operation, ask, query=wanted | ({"cursor": cursor} if cursor else {}))
        except Invalid as problem:
            known = problem.upstream_code == INVALID_CURSOR and cursor is not None and ordered
            if not known or newest is None or newest == resumed:
                raise
            resumed, cursor = newest, None
            wanted["updated_since"] = stamp(newest)
            continue
        page = answered(Rows, reply)
        last = page.next_cursor is None
        page_met = hash(repr(page.data))
        idle = idle + 1 if page_met in met else 0
        if idle == IDLE and not last:
            words = (
                f"{client.config.shop}'s {operation.name} does not end: its cursors lead to rows that were told before."
            )
            raise Transient(words, upstream_request_id=reply.request_id)
        met.add(page_met)
        for changed in filter(None, map(_changed_at, page.data)):
            ordered = ordered and (newest is None or newest <= changed)
            newest = changed if newest is None else max(newest, changed)
        # A row that says it was changed next year would hide all others until then.
        told = min(newest, started) if newest is not None and (ordered or last) else None
        yield Batch(page.data, last, reply.request_id, told)
        if page.next_cursor is None:
            return
        cursor = page.next_cursor


def _changed_at(row: object) -> datetime | None:
    try:
        return _Changed.model_validate(row).updated_at
    except ValidationError:
        return None
