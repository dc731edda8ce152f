"""Journals: looking at them, closing them, and files for accounting systems."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated

import strawberry

from domain import journal as domain
from domain.errors import Refused
from resolvers import journal
from resolvers.connection import Connection
from resolvers.journal import Document, Wanted
from schema.enums import JournalLayout
from schema.info import Info
from schema.journal import CloseJournalInput, CloseJournalPayload, Journal, JournalConnection, JournalDocument
from schema.payload import UserError, user_errors
from schema.roots.shared import channel_key


@dataclass(slots=True)
class Closing:
    """What closing a journal answers."""

    journal: domain.Journal | None
    fresh: bool
    user_errors: list[UserError]


@strawberry.type
class JournalQueries:
    @strawberry.field(
        graphql_type=Journal,
        description=(
            "What settlements come to on accounts, from `from` to and with `to` by the clock of the chart, as known now or at "
            "`knownAt`. Nothing is kept."
        ),
    )
    async def journal(
        self,
        info: Info,
        from_: Annotated[date, strawberry.argument(name="from")],
        to: date,
        channel_id: strawberry.ID | None = None,
        known_at: datetime | None = None,
    ) -> domain.Journal:
        return await journal.preview(info.context.shelf, Wanted(from_, to, channel_key(channel_id)), known_at)

    @strawberry.field(
        graphql_type=JournalConnection,
        description="Journals that were closed, the newest first; or the one of a number.",
    )
    async def journals(
        self, info: Info, first: int | None = 50, after: str | None = None, number: int | None = None
    ) -> Connection[domain.Journal]:
        return await journal.page(info.context.shelf, first, after, number)

    @strawberry.field(
        graphql_type=JournalDocument, description="A closed journal for others to read, by a link that ends."
    )
    async def journal_document(self, info: Info, number: int, layout: JournalLayout) -> Document:
        return await journal.document(info.context.shelf, number, layout)


@strawberry.type
class JournalMutations:
    @strawberry.mutation(
        graphql_type=CloseJournalPayload,
        description=(
            "Close the journal of some days under the next number. Where these days were closed before, what has changed since "
            "is closed, as a journal that adjusts the last one; where nothing has, nothing is."
        ),
    )
    async def close_journal(self, info: Info, input: CloseJournalInput) -> Closing:
        context = info.context
        try:
            wanted = Wanted(input.from_, input.to, channel_key(input.channel_id))
            closed = await journal.close(context.shelf, wanted, context.caller.name, input.booked_on)
        except Refused as problem:
            return Closing(None, False, user_errors([problem], ("input",)))
        return Closing(closed.journal, closed.fresh, [])
