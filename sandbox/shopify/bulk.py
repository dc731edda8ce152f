"""Bulk operations: queries and mutations that run in the sandbox's own time and leave a file of JSON lines."""

import random
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from email.message import Message
from typing import Any

from graphql import DocumentNode, GraphQLError, GraphQLSchema, OperationDefinitionNode, parse
from starlette.requests import Request
from starlette.responses import Response

from sandbox.shopify import bulk_mutations, bulk_queries, errors, ids, validation
from sandbox.shopify.bulk_desk import Course, Kind, Operation
from sandbox.shopify.call import Call, Info, Resolvers, searched
from sandbox.shopify.paging import Connection
from sandbox.shopify.search import Field, Fields
from sandbox.shopify.state import Shop

UPLOAD_PATH, FILE_PATH = "/staged-uploads/", "/bulk-results/"
LARGEST_FILE = 104_857_600
_XML = "application/xml"


def settle(shop: Shop) -> None:
    """Let whatever is due happen."""
    now = shop.now()
    for one in shop.bulk.operations:
        if one.status == "CANCELING":
            one.status, one.completed_at = "CANCELED", now
        if one.status == "CREATED" and now >= one.created_at + timedelta(seconds=shop.bulk.course.created_s):
            _work(shop, one)
        if one.status == "RUNNING" and one.done_at is not None and now >= one.done_at:
            _end(shop, one)


def _work(shop: Shop, one: Operation) -> None:
    course = shop.bulk.course
    found = one.found = one.work()
    if one.type == "MUTATION":
        found.lines, course.omit = found.lines[course.omit :], max(0, course.omit - len(found.lines))
    if course.shuffle:
        random.Random(one.place).shuffle(found.lines)  # the same each time
    started_at = one.created_at + timedelta(seconds=course.created_s)
    one.status = "RUNNING"
    one.done_at = started_at + timedelta(seconds=course.run_s + course.object_s * len(found.lines))


def _end(shop: Shop, one: Operation) -> None:
    assert one.found is not None
    ending = shop.bulk.course.endings.pop(0) if shop.bulk.course.endings else {}
    one.error_code = ending.get("errorCode", one.found.error)
    one.status = ending.get("status", "FAILED" if one.error_code else "COMPLETED")
    one.whole = one.status == "COMPLETED"
    one.completed_at = one.done_at
    if not one.whole:
        kept = int(len(one.found.lines) * float(ending.get("share", 0)))
        one.found.lines = one.found.lines[:kept]


def set_course(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """How operations go from now on; {"forgetAddresses": true} lets every address of a file die."""
    names = {"createdSeconds": "created_s", "runSeconds": "run_s", "objectSeconds": "object_s"}
    plain = ("places", "shuffle", "omit", "endings")
    if unknown := [name for name in body if name not in (*names, *plain, "forgetAddresses")]:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join((*names, *plain))}, forgetAddresses")
    if body.get("forgetAddresses"):
        for one in shop.bulk.operations:
            one.secret = secrets.token_hex(16)
    changed = {names.get(name, name): value for name, value in body.items() if name != "forgetAddresses"}
    shop.bulk.course = replace(shop.bulk.course, **changed)
    return course(shop)


def course(shop: Shop) -> dict[str, Any]:
    """How operations go, and which there are."""
    settle(shop)
    now: Course = shop.bulk.course
    return {
        "createdSeconds": now.created_s,
        "runSeconds": now.run_s,
        "objectSeconds": now.object_s,
        "places": now.places,
        "shuffle": now.shuffle,
        "omit": now.omit,
        "endings": now.endings,
        "operations": [
            {"id": one.id, "type": one.type, "status": one.status, "query": one.query} for one in shop.bulk.operations
        ],
    }


# files


async def upload(shop: Shop, request: Request) -> Response:
    """A form with all that was given out with the target, and the file as its last part."""
    parts = _parts(request.headers.get("Content-Type", ""), await request.body())
    if not parts or parts[-1][0] != "file":
        return Response("<Error><Code>InvalidPolicyDocument</Code></Error>", 400, media_type=_XML)
    fields = {name: content.decode() for name, content in parts[:-1]}
    key, content = fields.get("key", ""), parts[-1][1]
    if not key or shop.bulk.targets.get(key) != fields.get("policy"):
        return Response("<Error><Code>AccessDenied</Code></Error>", 403, media_type=_XML)
    if len(content) > LARGEST_FILE:
        return Response("<Error><Code>EntityTooLarge</Code></Error>", 400, media_type=_XML)
    shop.bulk.files[key] = content
    answer = f"<PostResponse><Key>{key}</Key></PostResponse>"
    return Response(answer, int(fields.get("success_action_status", "204")), media_type=_XML)


def file(shop: Shop, secret: str) -> Response:
    settle(shop)
    one = next((each for each in shop.bulk.operations if secrets.compare_digest(each.secret, secret)), None)
    if one is None or not one.ended:
        return Response("<Error><Code>ExpiredToken</Code></Error>", 403, media_type=_XML)
    return Response(one.file, media_type="application/jsonl")


def _parts(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """The parts of a form in their order, by name."""
    form = message_from_bytes(b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n" + body)
    found = form.get_payload() if form.is_multipart() else []
    parts = [part for part in found if isinstance(part, Message)] if isinstance(found, list) else []
    return [(_name(part), _content(part)) for part in parts]


def _name(part: Message) -> str:
    return str(part.get_param("name", "", "content-disposition"))


def _content(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


# documents


def _run_query(
    _: Any,
    info: Info,
    query: str,
    groupObjects: bool = False,  # noqa: N803  GraphQL names the argument
) -> Mapping[str, Any]:
    call, schema = info.context, info.schema
    document = _document(query, schema)
    problem = document if isinstance(document, str) else bulk_queries.broken_rule(schema, document, query)
    if problem is not None:
        return _refused(errors.user_error(["query"], problem, "INVALID"))
    assert not isinstance(document, str)
    if full := _full(call.shop, "QUERY"):
        return _refused(errors.user_error(None, full, "OPERATION_IN_PROGRESS"))
    return _begun(call, "QUERY", query, lambda: bulk_queries.run(schema, document, _now(call), grouped=groupObjects))


def _run_mutation(_: Any, info: Info, mutation: str, **args: Any) -> Mapping[str, Any]:
    call, schema = info.context, info.schema
    document = _document(mutation, schema)
    if isinstance(document, str):
        words = f"Failed to parse the mutation - {document}"
        return _refused(errors.user_error(["mutation"], words, "INVALID_MUTATION"))
    if problem := bulk_mutations.broken_rule(document):
        return _refused(errors.user_error(["mutation"], problem, "INVALID_MUTATION"))
    path = args["stagedUploadPath"]
    content = call.shop.bulk.files.get(path)
    if content is None:
        words = "The JSONL file could not be found. Try uploading the file again."
        return _refused(errors.user_error(["stagedUploadPath"], words, "NO_SUCH_FILE"))
    if not content.strip():
        words = "The input file is empty."
        return _refused(errors.user_error(["stagedUploadPath"], words, "INVALID_STAGED_UPLOAD_FILE"))
    if full := _full(call.shop, "MUTATION"):
        return _refused(errors.user_error(None, full, "OPERATION_IN_PROGRESS"))
    rows = [line for line in content.split(b"\n") if line.strip()]
    return _begun(call, "MUTATION", mutation, lambda: bulk_mutations.run(schema, document, rows, _now(call)))


def _document(text: str, schema: GraphQLSchema) -> DocumentNode | str:
    """The document, or what is wrong with it."""
    try:
        document = parse(text)
    except GraphQLError as problem:
        return problem.message
    wrong = validation.static_errors(schema, document)
    if wrong:
        return str(wrong[0]["message"])
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    return document if len(operations) == 1 else "exactly one operation is needed"


def _now(call: Call) -> Call:
    """The request's rights, at the instant at which the operation runs."""
    return replace(call, now=call.shop.now(), searches=[])


def _full(shop: Shop, kind: Kind) -> str:
    running = [one.id for one in shop.bulk.under_way(kind)]
    if len(running) < shop.bulk.course.places:
        return ""
    return f"A bulk {kind.lower()} operation for this app and shop is already in progress: {', '.join(running)}."


def _refused(problem: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"bulkOperation": None, "userErrors": [problem]}


def _begun(call: Call, kind: Kind, query: str, work: Any) -> Mapping[str, Any]:
    desk = call.shop.bulk
    one = Operation(len(desk.operations), kind, query, call.shop.now(), work, secrets.token_hex(16))
    desk.operations.append(one)
    return {"bulkOperation": one, "userErrors": []}


def _cancel(_: Any, info: Info, id: str) -> Mapping[str, Any]:
    one = _by_id(info.context, id)
    if one is None:
        return _refused(errors.user_error(["id"], "Bulk operation does not exist"))
    if one.ended:
        words = f"A bulk operation cannot be canceled when it is {one.status.lower()}"
        return {"bulkOperation": one, "userErrors": [errors.user_error(None, words)]}
    one.status = "CANCELING"
    return {"bulkOperation": one, "userErrors": []}


def _stage(_: Any, info: Info, input: list[dict[str, Any]]) -> Mapping[str, Any]:
    shop = info.context.shop
    targets = []
    for wanted in input:
        shop_number = ids.number("Shop", 0)
        key = f"tmp/{shop_number}/bulk/{secrets.token_hex(16)}/{wanted['filename']}"
        policy = shop.bulk.targets[key] = secrets.token_hex(24)
        fields = {
            "Content-Type": wanted["mimeType"],
            "success_action_status": "201",
            "acl": "private",
            "key": key,
            "x-goog-date": info.context.now.strftime("%Y%m%dT%H%M%SZ"),
            "x-goog-credential": "sandbox@acorn.example.test/auto/storage/goog4_request",
            "x-goog-algorithm": "GOOG4-RSA-SHA256",
            "x-goog-signature": secrets.token_hex(32),
            "policy": policy,
        }
        url = f"{shop.home}{UPLOAD_PATH}"
        parameters = [{"name": name, "value": value} for name, value in fields.items()]
        targets.append({"url": url, "resourceUrl": f"{url}{key}", "parameters": parameters})
    return {"stagedTargets": targets, "userErrors": []}


def _by_id(call: Call, given: str) -> Operation | None:
    place, operations = ids.place("BulkOperation", given), call.shop.bulk.operations
    return operations[place] if 0 <= place < len(operations) else None


def _operations(_: Any, info: Info, **args: Any) -> Connection:
    there = info.context.shop.bulk.operations
    fields: Fields = {
        "created_at": Field("time", lambda place: there[place].created_at),
        "id": Field("id", lambda place: ids.number("BulkOperation", place)),
        "operation_type": Field("string", lambda place: there[place].type.lower()),
        "status": Field("string", lambda place: there[place].status.lower()),
    }
    # Newest operations first, as documented; whatever the key.
    sorts = {"CREATED_AT": lambda place: -place, "COMPLETED_AT": lambda place: -place}
    return searched(info, args, fields, range(len(there)), there.__getitem__, sorts)


def _address(one: Operation, info: Info, *, whole: bool) -> str | None:
    if not one.ended or one.whole is not whole or not one.file:
        return None
    return f"{info.context.shop.home}{FILE_PATH}{one.secret}.jsonl"


RESOLVERS: Resolvers = {
    "QueryRoot": {
        "bulkOperation": lambda _, info, id: _by_id(info.context, id),
        "bulkOperations": _operations,
    },
    "Mutation": {
        "bulkOperationCancel": _cancel,
        "bulkOperationRunMutation": _run_mutation,
        "bulkOperationRunQuery": _run_query,
        "stagedUploadsCreate": _stage,
    },
    "BulkOperation": {
        "url": lambda one, info: _address(one, info, whole=True),
        "partialDataUrl": lambda one, info: _address(one, info, whole=False),
    },
}
