"""Data Kiosk: sales, traffic and economics, asked for in GraphQL and read as lines of JSON. Source: Data Kiosk 2023-11-15."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal
from urllib.parse import quote
from uuid import uuid4

from graphql import (
    DocumentNode,
    GraphQLError,
    NameNode,
    OperationDefinitionNode,
    parse,
    print_ast,
    strip_ignored_characters,
)

from adapters.amazon.client import Client
from adapters.amazon.documents import Expired, decoded, opened
from adapters.amazon.listings import iso
from adapters.amazon.paging import Tokens
from adapters.amazon.reports import SKEW, Status
from adapters.amazon.waiting import LOOKS_S, PATIENCE_S, PAUSES_S, reason
from adapters.amazon.wire import Instant, Pagination
from adapters.port import BeforeSend
from adapters.transport import Unreadable, parse_json
from adapters.waiting import at_last, sought
from adapters.wire import Unclear, Wire
from domain.budget import Ask
from domain.errors import Invalid, OutcomeUnknown, Refused, Transient

log = logging.getLogger(__name__)

PATH = "/dataKiosk/2023-11-15/queries"
DOCUMENTS = "/dataKiosk/2023-11-15/documents"
QUERY_CHARS = 8000
PAGE = 100

ENDED: frozenset[Status] = frozenset({"DONE", "CANCELLED", "FATAL"})
JSON_LINES = "application/jsonl; charset=UTF-8"


class Asked(Wire):
    """One query. `pagination` leads on to the rest of its data, by another query of the same words."""

    query_id: str
    query: str
    created_time: Instant
    processing_status: Status
    processing_start_time: Instant | None = None
    processing_end_time: Instant | None = None
    data_document_id: str | None = None
    error_document_id: str | None = None
    pagination: Pagination = Pagination()


class Created(Wire):
    """The answer of createQuery."""

    query_id: str


class Listed(Wire):
    """One page of getQueries."""

    queries: tuple[Asked, ...]
    pagination: Pagination = Pagination()


class Address(Wire):
    """Where a document can be read, for five minutes."""

    document_id: str
    document_url: str


@dataclass(frozen=True, slots=True)
class NoData:
    """A query that has nothing to tell, or (`CANCELLED`) that somebody cancelled."""

    asked: Asked
    why: Literal["DONE", "CANCELLED"]


class Stuck(Transient):
    """The query is not answered after all patience; wait for `query_id` again instead of asking anew."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(f"Query {asked.query_id} is still {asked.processing_status}.")
        self.query_id = asked.query_id


async def run(
    client: Client,
    query: str,
    ask: Ask,
    before_send: BeforeSend,
    *,
    pauses_s: Sequence[float] = PAUSES_S,
    patience_s: float = PATIENCE_S,
) -> AsyncIterator[dict[str, Any]]:
    """The records of a query, each an object as Amazon writes it, numbers exact; nothing at all where there is no data.

    Data that fill more than one document are asked for page by page, each a query of its own. Raises Refused with Amazon's
    reason for a query that failed or was cancelled, Stuck for one that takes too long, Unclear for a line that is no object, and
    what `create` raises. Records told before an error are not the whole.
    """
    query = _named(query)
    token, tokens = None, Tokens("createQuery")
    while True:
        query_id = await create(client, query, ask, before_send, token=token)
        found = await wait(client, query_id, ask, pauses_s=pauses_s, patience_s=patience_s)
        if isinstance(found, NoData):
            if found.why == "CANCELLED":
                raise Refused(f"Query {query_id} was cancelled.")
        else:
            async for record in records(client, found, ask):
                yield record
        asked = found.asked if isinstance(found, NoData) else found
        token = tokens.next(asked.pagination.next_token)
        if token is None:
            return


async def create(
    client: Client,
    query: str,
    ask: Ask,
    before_send: BeforeSend,
    *,
    token: str | None = None,
    looks_s: Sequence[float] = LOOKS_S,
) -> str:
    """The id of a new query; `token` asks for a further page of one that was answered. Source: createQuery.

    When its answer is lost, the query is looked for by its words among those there are, and only one that is nowhere is asked
    once more. Pages of one query cannot be told apart in that list: a lost answer about one raises OutcomeUnknown, and whoever
    asks for pages has words that nobody else has (as `run` does).
    """
    words = _stripped(query)
    if len(words) > QUERY_CHARS:
        raise Invalid(f"A query has {QUERY_CHARS} characters at most; this one has {len(words)}.")
    body = {"query": words} if token is None else {"query": words, "paginationToken": token}
    sent_at = datetime.now(UTC)
    try:
        return await _create(client, body, ask, before_send)
    except OutcomeUnknown as problem:
        log.warning("query.outcome_unknown", extra={"channel": client.channel})
        if token is not None:
            raise
        found, told = await sought(partial(_made, client, words, sent_at, ask), looks_s)
        if found is not None:
            return found
        if not told:
            raise
        log.warning("query.asked_again", extra={"channel": client.channel, "why": problem.message})
    return await _create(client, body, ask, before_send)


def _named(query: str) -> str:
    """The query under a name that no other has: the further pages of an earlier run cannot be taken for it. Raises Invalid."""
    document = _parsed(query)
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    if len(operations) != 1:
        raise Invalid(f"A query has one operation; this one has {len(operations)}.")
    (operation,) = operations
    name = operation.name.value if operation.name else "acorn"
    named = replace(operation, name=NameNode(value=f"{name}_{uuid4().hex[:12]}"))
    others = (one for one in document.definitions if one is not operation)
    return print_ast(replace(document, definitions=(named, *others)))


def _parsed(query: str) -> DocumentNode:
    try:
        return parse(query, no_location=True)
    except GraphQLError as problem:
        raise Invalid(f"The query is not GraphQL: {problem.message}") from problem


def _stripped(query: str) -> str:
    """Without the blanks that mean nothing. Raises Invalid for what is no GraphQL."""
    _parsed(query)
    return strip_ignored_characters(query)


async def _create(client: Client, body: Mapping[str, str], ask: Ask, before_send: BeforeSend) -> str:
    created, _ = await client.change("createQuery", "POST", PATH, ask, before_send, Created, body=body)
    return created.query_id


async def _made(client: Client, words: str, sent_at: datetime, ask: Ask) -> str | None:
    async for asked in listed(client, ask, since=sent_at - SKEW):
        if asked.query == words and asked.processing_status not in ("CANCELLED", "FATAL"):
            return asked.query_id
    return None


async def status(client: Client, query_id: str, ask: Ask) -> Asked:
    """How a query stands. Source: getQuery."""
    return await client.get("getQuery", f"{PATH}/{quote(query_id, safe='')}", {}, ask, Asked)


async def wait(
    client: Client,
    query_id: str,
    ask: Ask,
    *,
    pauses_s: Sequence[float] = PAUSES_S,
    patience_s: float = PATIENCE_S,
) -> Asked | NoData:
    """Look at a query, less and less often, until it has ended. Raises Refused with Amazon's reason when it failed, Stuck when it
    has not ended in time."""
    asked = await at_last(
        partial(status, client, query_id, ask),
        lambda seen: seen.processing_status in ENDED,
        pauses_s=pauses_s,
        patience_s=patience_s,
        deadline=ask.deadline,
    )
    if asked.processing_status not in ENDED:
        raise Stuck(asked)
    if asked.processing_status == "FATAL":
        raise Refused(f"Amazon could not answer query {query_id}: {await _reason(client, asked, ask)}")
    if asked.processing_status == "CANCELLED":
        return NoData(asked, "CANCELLED")
    return NoData(asked, "DONE") if asked.data_document_id is None else asked


async def _reason(client: Client, asked: Asked, ask: Ask) -> str:
    if asked.error_document_id is None:
        return "no reason given."
    return await reason(_lines(client, asked.error_document_id, ask))


async def records(client: Client, asked: Asked, ask: Ask) -> AsyncIterator[dict[str, Any]]:
    """The records in the document of a query, in little memory. Raises Unclear for a line that is no object, with its number, and
    Transient for a document that was cut."""
    if asked.data_document_id is None:
        raise Invalid(f"Query {asked.query_id} has no data.")
    number = 0
    async for line in _lines(client, asked.data_document_id, ask):
        number += 1
        if not line.strip():
            continue
        try:
            record = parse_json(line.encode())
        except Unreadable as problem:
            raise Unclear(f"line {number} is {problem}") from problem
        if not isinstance(record, dict):
            raise Unclear(f"line {number} is no object")
        yield record


async def cancel(client: Client, query_id: str, ask: Ask, before_send: BeforeSend) -> None:
    """Cancel a query that waits or is being answered. Source: cancelQuery."""
    path = f"{PATH}/{quote(query_id, safe='')}"
    await client.change_unanswered("cancelQuery", "DELETE", path, ask, before_send)


async def listed(
    client: Client,
    ask: Ask,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    statuses: Sequence[Status] = (),
) -> AsyncIterator[Asked]:
    """The queries there are. Source: getQueries, whose token goes along with what was asked first."""
    query: dict[str, str | Sequence[str]] = {"pageSize": str(PAGE)}
    if statuses:
        query["processingStatuses"] = statuses
    if since is not None:
        query["createdSince"] = iso(since)
    if until is not None:
        query["createdUntil"] = iso(until)
    tokens = Tokens("getQueries")
    while True:
        page = await client.get("getQueries", PATH, query, ask, Listed)
        for asked in page.queries:
            yield asked
        if (token := tokens.next(page.pagination.next_token)) is None:
            return
        query["paginationToken"] = token


async def _lines(client: Client, document_id: str, ask: Ask) -> AsyncIterator[str]:
    """The lines of a document, by a new address. It is not asked for before it is needed, so it lives."""
    path = f"{DOCUMENTS}/{quote(document_id, safe='')}"
    address = await client.get("getDocument", path, {}, ask, Address)
    try:
        async with opened(client, address.document_url, gzipped=False, ask=ask) as body:
            async for line in decoded(body.chunks, JSON_LINES):
                yield line
    except Expired as problem:
        raise Transient("The address of a document died before it was read.") from problem
