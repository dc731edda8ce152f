"""Bulk operations: the shop works through one document in its own time, for 10 points, and leaves a file of JSON lines.

Five queries and five mutations of an app may run in a shop at a time; who comes later is refused and waits. What is running is
told apart by the operation's name in the document's text, which holds a tag of ours: so a start whose answer was lost is found,
and what a dead process has left running is taken over. Source: bulkOperationRunQuery, bulkOperationRunMutation, bulkOperation.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import orjson

from adapters.port import BeforeSend
from adapters.shopify.client import Json, ShopClient
from adapters.shopify.document import Document
from adapters.shopify.paging import answered
from adapters.shopify.wire import Instant, quoted, stamp
from adapters.transport import lost
from adapters.waiting import at_last, sought
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask
from domain.errors import HouseError, Invalid, OutcomeUnknown, Throttled, Transient

log = logging.getLogger(__name__)

# Between two looks at an operation, each for a point; the last one again and again.
PAUSES_S = (0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 20.0, 30.0)
# The platform allows days. One that takes longer than this holds up more than the walk through the pages would.
PATIENCE_S = 2 * 3600.0
# How long a start may wait for one of the five places.
PLACE_PATIENCE_S = 900.0
# After a lost answer: when to look whether the operation was begun after all.
LOOKS_S = (0.5, 2.0)
# Between the platform's clock and ours.
SKEW = timedelta(minutes=5)
# A file that breaks off is asked for again and read on from there.
READS = 4
LINE_BYTES = 16 * 1024 * 1024

UNDER_WAY = frozenset({"CREATED", "RUNNING", "CANCELING"})
_BUSY = frozenset({"OPERATION_IN_PROGRESS", "LIMIT_REACHED"})
_NAME = re.compile(r"\s*(?:query|mutation)\s+(\w+)")

STATE = "id status errorCode createdAt completedAt objectCount url partialDataUrl"

BULK_POLL = Document(
    "BulkPoll", "bulkOperation", 1, f"query BulkPoll($id: ID!) {{ bulkOperation(id: $id) {{ {STATE} }} }}"
)

BULK_FIND = Document(
    "BulkFind",
    "bulkOperations",
    9,
    f"query BulkFind($query: String) {{ bulkOperations(first: 50, query: $query) {{ nodes {{ {STATE} query }} }} }}",
)

BULK_CANCEL = Document(
    "BulkCancel",
    "bulkOperationCancel",
    10,
    "mutation BulkCancel($id: ID!) { bulkOperationCancel(id: $id) { userErrors { field message } } }",
    write=True,
)


class Operation(Wire):
    """How one stands. `url` is None where there is nothing to tell; `query` is its document, where it was asked for."""

    id: str
    status: str
    error_code: str | None
    created_at: Instant
    completed_at: Instant | None
    object_count: int
    url: str | None
    partial_data_url: str | None
    query: str = ""

    @property
    def tag(self) -> str:
        """The name of the operation in its document."""
        named = _NAME.match(self.query)
        return named[1] if named else ""

    @property
    def ended(self) -> bool:
        return self.status not in UNDER_WAY


class _Found(Wire):
    nodes: list[Operation]


async def under_way(client: ShopClient, tag: str, ask: Ask) -> Operation | None:
    """The operation whose tag begins like this that is to run or runs, the oldest first. Source: bulkOperations."""
    found = await _found(client, "status:created OR status:running", tag, ask)
    return next((one for one in found if not one.ended), None)


async def start(
    client: ShopClient,
    document: Document,
    variables: Json,
    tag: str,
    ask: Ask,
    before_send: BeforeSend | None = None,
) -> Operation:
    """Begin an operation whose own document bears `tag`, as soon as there is a place for it.

    An answer that is lost is looked for. Raises OutcomeUnknown when it was not found; Throttled when no place became free,
    Invalid when the platform does not take it, Transient when it cannot just now: then nothing was begun.
    """
    until = min(time.monotonic() + PLACE_PATIENCE_S, ask.deadline or float("inf"))
    count = 0
    while True:
        asked_at = datetime.now(UTC)
        try:
            reply = await client.run(document, variables, ask, before_send)
            payload = reply.data[document.operation] or {}
            problem = _refused(payload.get("userErrors") or (), reply.request_id)
            if problem is None:
                return _begun(client, payload, reply.request_id)
        except OutcomeUnknown:
            since = f"created_at:>={quoted(stamp(asked_at - SKEW))}"
            found, _ = await sought(partial(_newest, client, since, tag, ask), LOOKS_S)
            if found is None:
                raise
            return found
        pause_s = PAUSES_S[min(count, len(PAUSES_S) - 1)]
        if not isinstance(problem, Throttled) or time.monotonic() + pause_s > until:
            raise problem
        log.info("bulk.waits_for_a_place", extra={"channel": client.channel, "tag": tag})
        await asyncio.sleep(pause_s)
        count += 1


async def ended(client: ShopClient, operation: Operation, ask: Ask) -> Operation:
    """The operation when it has ended, or as it was seen last when patience or the ask's deadline did."""
    if operation.ended:
        return operation
    return await at_last(
        partial(look, client, operation.id, ask),
        lambda seen: seen.ended,
        pauses_s=PAUSES_S,
        patience_s=PATIENCE_S,
        deadline=ask.deadline,
    )


async def look(client: ShopClient, gid: str, ask: Ask) -> Operation:
    """How it stands now. Raises Transient for one that there is none of. Source: bulkOperation."""
    reply = await client.run(BULK_POLL, {"id": gid}, ask)
    told = reply.data["bulkOperation"]
    if told is None:
        raise Transient(
            f"{client.config.shop} has no bulk operation {gid} any more.", upstream_request_id=reply.request_id
        )
    return answered(Operation, told)


async def cancel(client: ShopClient, operation: Operation, ask: Ask) -> None:
    """Free its place; what cannot be canceled ends by itself."""
    try:
        await client.run(BULK_CANCEL, {"id": operation.id}, ask)
    except HouseError as problem:
        log.warning("bulk.not_canceled", extra={"channel": client.channel, "id": operation.id, "reason": str(problem)})


async def rows(client: ShopClient, operation: Operation, ask: Ask) -> AsyncIterator[dict[str, Any]]:
    """What an operation that has ended tells, line by line as it comes over the wire.

    Of one that failed the part that there is, and then Transient. A file that breaks off, or whose address has died, is asked for
    again and read on from there. Raises Transient.
    """
    passed = failures = 0
    while address := operation.url or operation.partial_data_url:
        number = 0
        try:
            async for line in _lines(client, address, ask):
                number += 1
                if number > passed:
                    told = _object(line)
                    passed = number
                    yield told
            break
        except Transient:
            failures += 1
            if failures == READS:
                raise
        operation = await look(client, operation.id, ask)
    if operation.status != "COMPLETED":
        why = operation.error_code or "no reason given"
        raise Transient(
            f"The bulk operation {operation.id} of {client.config.shop} is {operation.status} ({why}).",
            upstream_code=operation.error_code,
        )


async def _lines(client: ShopClient, address: str, ask: Ask) -> AsyncIterator[bytes]:
    rest = bytearray()
    async with client.download(address, ask) as stream:
        if stream.status != 200:
            raise Transient(f"The file of a bulk operation answered {stream.status}.")
        announced, count = stream.headers.get("content-length"), 0
        async for chunk in stream.chunks:
            count += len(chunk)
            rest += chunk
            *whole, last = rest.split(b"\n")
            rest = last
            if len(rest) > LINE_BYTES:
                raise Transient(f"A line of a bulk operation's file is longer than {LINE_BYTES} bytes.")
            for line in whole:
                if line.strip():
                    yield bytes(line)
        if announced is not None and count != int(announced):
            raise Transient(f"The file of a bulk operation has {announced} bytes and came with {count}.")
    if rest.strip():
        yield bytes(rest)


def _object(line: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(line)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Transient("A line of a bulk operation's file is no JSON object.")
    return told


async def _found(client: ShopClient, search: str, tag: str, ask: Ask) -> list[Operation]:
    reply = await client.run(BULK_FIND, {"query": search}, ask)
    nodes = answered(_Found, reply.data["bulkOperations"]).nodes
    return sorted((one for one in nodes if one.tag.startswith(tag)), key=lambda one: one.created_at)


async def _newest(client: ShopClient, search: str, tag: str, ask: Ask) -> Operation | None:
    found = await _found(client, search, tag, ask)
    return found[-1] if found else None


def _begun(client: ShopClient, payload: Json, request_id: str | None) -> Operation:
    """Raises OutcomeUnknown for an answer that does not say what was begun."""
    try:
        return read(Operation, payload.get("bulkOperation"))
    except Unclear as problem:
        raise lost(True, f"{client.config.shop} does not say which bulk operation it began", request_id) from problem


def _refused(problems: Collection[Json], request_id: str | None) -> HouseError | None:
    """What the `userErrors` of a start say."""
    if not problems:
        return None
    first = next((one for one in problems if one.get("code") in _BUSY), next(iter(problems)))
    code = first.get("code")
    message = " ".join(str(first.get("message")).split())[:300]
    if code in _BUSY:
        return Throttled(message, retry_after_s=PAUSES_S[-1], upstream_request_id=request_id, upstream_code=code)
    if code == "INTERNAL_FILE_SERVER_ERROR":
        return Transient(message, upstream_request_id=request_id, upstream_code=code)
    return Invalid(message, upstream_request_id=request_id, upstream_code=code)
