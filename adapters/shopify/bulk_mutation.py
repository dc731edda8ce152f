"""One mutation, carried out for each line of a file: upload the lines, start, wait, and read what became of each.

Source: stagedUploadsCreate, bulkOperationRunMutation. The result's lines come in no promised order and name theirs by
`__lineNumber`; that an operation is COMPLETED says nothing about any of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import orjson
from pydantic import BaseModel

from adapters.port import BeforeSend
from adapters.shopify import bulk
from adapters.shopify.bulk import Operation
from adapters.shopify.client import Json, Reply, ShopClient
from adapters.shopify.document import Document
from adapters.shopify.errors import graphql_failure, refusal
from adapters.shopify.paging import answered
from adapters.transport import lost
from adapters.wire import Wire
from domain.budget import Ask
from domain.errors import HouseError, Invalid, OutcomeUnknown, Transient

log = logging.getLogger(__name__)

FILE_BYTES = 100 * 1024 * 1024  # what the platform's upload policy takes

BULK_STAGE = Document(
    "BulkStage",
    "stagedUploadsCreate",
    11,
    """mutation BulkStage {
  stagedUploadsCreate(input: [
    { resource: BULK_MUTATION_VARIABLES, filename: "rows.jsonl", mimeType: "text/jsonl", httpMethod: POST }
  ]) { stagedTargets { url parameters { name value } } userErrors { field message } }
}""",
    write=True,
)

BULK_RUN_MUTATION = Document(
    "BulkRunMutation",
    "bulkOperationRunMutation",
    10,
    f"""mutation BulkRunMutation($mutation: String!, $path: String!, $tag: String!) {{
  bulkOperationRunMutation(mutation: $mutation, stagedUploadPath: $path, clientIdentifier: $tag) {{
    bulkOperation {{ {bulk.STATE} }} userErrors {{ code field message }}
  }}
}}""",
    write=True,
    itemized=True,
)


class _Parameter(BaseModel):
    name: str
    value: str


class _Target(Wire):
    url: str
    parameters: list[_Parameter]


Outcome = Reply | HouseError


async def run_mutation(
    client: ShopClient,
    document: Document,
    rows: Sequence[Json],
    ask: Ask,
    before_send: BeforeSend,
    *,
    file_bytes: int = FILE_BYTES,
) -> list[Outcome]:
    """Carry `document` out once for each of `rows`, the complete variables of one call; one answer per row, in their order.

    A row's answer is what `ShopClient.run` would have given or raised: `userErrors` of itemized documents are left to the caller.
    A row of which the result tells nothing is OutcomeUnknown. `before_send` is awaited right before each start; a start whose
    answer was lost is looked for by a tag of ours. Raises what stopped the first start, when nothing was changed.
    """
    outcomes: list[Outcome] = []
    # All of them first, so that a row that fits no file stops nothing halfway.
    for part in list(_files(rows, file_bytes)):
        try:
            outcomes += await _run(client, document, part, ask, before_send)
        except HouseError as problem:
            if not outcomes:
                raise
            outcomes += [problem] * (len(rows) - len(outcomes))
            break
    return outcomes


def _files(rows: Sequence[Json], file_bytes: int) -> Iterator[list[bytes]]:
    """The rows as lines, as many to a file as it may hold. Raises Invalid for one that no file could."""
    part: list[bytes] = []
    size = 0
    for row in rows:
        line = orjson.dumps(row) + b"\n"
        if len(line) > file_bytes:
            raise Invalid(f"One row alone has {len(line)} bytes; {file_bytes} are the most of a file.")
        if size + len(line) > file_bytes:
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line)
    if part:
        yield part


async def _run(
    client: ShopClient, document: Document, part: list[bytes], ask: Ask, before_send: BeforeSend
) -> list[Outcome]:
    path = await _uploaded(client, b"".join(part), ask)
    tag = f"{document.name}_{uuid4().hex}"
    text = document.text.replace(f"mutation {document.name}", f"mutation {tag}", 1)
    variables = {"mutation": text, "path": path, "tag": tag}
    try:
        operation = await bulk.start(client, BULK_RUN_MUTATION, variables, tag, ask, before_send)
    except OutcomeUnknown as problem:
        return [problem] * len(part)
    return await _outcomes(client, document, operation, len(part), ask)


async def _uploaded(client: ShopClient, content: bytes, ask: Ask) -> str:
    """Where the file lies now, as the start wants to know it. Raises Transient: nothing of the shop has changed."""
    try:
        reply = await client.run(BULK_STAGE, {}, ask)
    except OutcomeUnknown as problem:
        raise Transient(f"No place for an upload was given: {problem.message}") from problem
    staged = reply.data[BULK_STAGE.operation] or {}
    target = answered(_Target, next(iter(staged.get("stagedTargets") or ()), None))
    fields = {one.name: one.value for one in target.parameters}
    if "key" not in fields:
        raise Transient("The place for an upload has no key.", upstream_request_id=reply.request_id)
    status = await client.upload(target.url, fields, "rows.jsonl", content, ask)
    if status not in (200, 201, 204):
        raise Transient(f"The upload of a bulk operation's rows was answered with {status}.")
    return fields["key"]


async def _outcomes(
    client: ShopClient, document: Document, operation: Operation, count: int, ask: Ask
) -> list[Outcome]:
    """What became of each row. What the result does not tell, or tells twice, is unknown."""
    told: dict[int, list[Outcome]] = {}
    why = "the result does not tell of it once"
    try:
        operation = await bulk.ended(client, operation, ask)
        if operation.ended:
            async for row in bulk.rows(client, operation, ask):
                number = row.get("__lineNumber")
                if type(number) is not int or not 0 <= number < count or number in told:
                    extra = {"channel": client.channel, "id": operation.id, "line": repr(number)[:40]}
                    log.warning("bulk.row_of_no_line", extra=extra)
                if type(number) is int:
                    told.setdefault(number, []).append(_outcome(client, document, row, operation.id))
        else:
            why = f"the operation is still {operation.status}"
    except HouseError as problem:
        why = problem.message
    unknown = OutcomeUnknown(
        f"What became of this row of a bulk operation is unknown: {why}.", upstream_request_id=operation.id
    )
    return [told[number][0] if len(told.get(number, ())) == 1 else unknown for number in range(count)]


def _outcome(client: ShopClient, document: Document, row: dict[str, Any], gid: str) -> Outcome:
    shop = client.config.shop
    problem = graphql_failure(row.get("errors"), None, shop, gid, write=True)
    if problem is not None:
        return problem
    data = row.get("data")
    if not isinstance(data, dict) or not isinstance(data.get(document.operation), dict):
        return lost(True, f"{shop} told of a row without its data", gid)
    return Reply(data, gid) if document.itemized else refusal(data, gid) or Reply(data, gid)
