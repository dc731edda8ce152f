"""Files of prices over HTTP, with an API key that has the scope prices:write.

    POST /prices/files[?dryRun=true][&decimal=comma][&key=<a name of the caller's own>]
    GET /prices/files/<id>
    GET /prices/files/<id>/report.csv

The body is the file itself (`text/csv`, or `application/x-ndjson` for JSON Lines) or a form with it (`multipart/form-data`). It
is answered as soon as all of it is kept; workers make one operation of it, and GET tells how far that is. The same file again, or
the same key, answers the first.
"""

from __future__ import annotations

import csv
import logging
from http import HTTPStatus
from io import BytesIO, StringIO
from typing import Any

from domain.errors import Conflict, Forbidden
from gateway import metrics
from gateway.asgi import Receive, Scope, Send, address, header, read_body, request_id, start, unless_left
from gateway.auth import Keys
from gateway.body import BadRequest
from gateway.deliveries import Reply, database_away, deliver
from gateway.price_file import REPORT, Wanted, keep, report_row
from gateway.rows import FileProblem
from gateway.uploads import file_in, flag, parameters
from resolvers.context import Caller
from resolvers.shelf import Shelf
from schema.scopes import SCOPES
from store import operation, price_file
from store.price_file import FileState, PriceFile, Result
from store.session import UNAVAILABLE

log = logging.getLogger(__name__)

PATH = "/prices/files"
REPORT_NAME = "report.csv"
BODY_LIMIT = 24 * 1024 * 1024
REFUSALS: tuple[type[Exception], ...] = (BadRequest, *UNAVAILABLE)
MOST_TOLD = 1_000
BLOCK = 5_000
LONGEST_KEY = 200
_MEMBERS = ("row", "sku", "channel", "marketplace", "channelSku", "result", "reason")


class PriceFiles:
    """Answers at /prices/files and below."""

    def __init__(self, shelf: Shelf, keys: Keys) -> None:
        self._shelf = shelf
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        id, _, rest = scope["path"].removeprefix(PATH).removeprefix("/").partition("/")
        if id and rest == REPORT_NAME:
            await self._report(id, scope, receive, send)
        else:
            await deliver(PATH, self._answer, scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        caller = await self._caller(scope)
        id = scope["path"].removeprefix(PATH).removeprefix("/")
        try:
            if id:
                _check_method(scope, "GET", "Files are asked for by GET.")
                return 200, await self._told(await self._found(id)), {}
            _check_method(scope, "POST", "Files are sent by POST.")
            return await self._take(caller, scope, receive)
        except UNAVAILABLE as problem:
            log.warning("price_file.database_away", extra={"reason": type(problem).__name__})
            return database_away()

    async def _caller(self, scope: Scope) -> Caller:
        caller = await self._keys.caller(header(scope, "authorization"), address(scope))
        try:
            caller.needs(SCOPES["Mutation.updatePrices"])
        except Forbidden as problem:
            raise BadRequest(problem.message, status=403) from None
        return caller

    async def _take(self, caller: Caller, scope: Scope, receive: Receive) -> Reply:
        told = parameters(scope)
        dry_run, decimal, key = flag(told, "dryRun"), told.get("decimal", "point"), told.get("key")
        if decimal not in ("point", "comma"):
            raise BadRequest("`decimal` must be point or comma.")
        if key is not None and (len(key) > LONGEST_KEY or not key.isprintable()):
            raise BadRequest(f"`key` must be a text of 1 to {LONGEST_KEY} printable characters.")
        file, json_lines = file_in(header(scope, "content-type") or "", await read_body(scope, receive, BODY_LIMIT))
        wanted = Wanted(caller.name, key, dry_run, json_lines, comma=decimal == "comma")
        try:
            kept, fresh = await unless_left(receive, keep(self._shelf.store, BytesIO(file), wanted))
        except FileProblem as problem:
            raise BadRequest(str(problem)) from None
        except Conflict as problem:
            raise BadRequest(problem.message, status=409) from None
        if fresh:
            extra = {"file": kept.id, "actor": caller.name, "rows": kept.rows, "dry_run": dry_run}
            log.info("price_file.kept", extra=extra)
        status = 202 if kept.state is FileState.WAITING else 200
        return status, await self._told(kept), {"location": f"{PATH}/{kept.id}"}

    async def _found(self, id: str) -> PriceFile:
        async with self._shelf.store.begin() as tx:
            found = await price_file.by_id(tx, id)
        if found is None:
            raise BadRequest("There is no file of this id, or it is not kept any more.", status=404)
        return found

    async def _told(self, file: PriceFile) -> dict[str, Any]:
        """What is said of a file; of its rows the first 1,000 that were not simply taken."""
        async with self._shelf.store.begin() as tx:
            made = {} if file.operation is None else await operation.by_ids(tx, [file.operation])
            rows = await price_file.report(tx, file.id, limit=MOST_TOLD, taken=False)
        done = file.state is FileState.DONE
        return {
            "id": file.id,
            "state": file.state.value,
            "dryRun": file.dry_run,
            "rows": file.rows,
            "looked": file.looked,
            **{one.value.lower(): file.counts.get(one, 0) if done else None for one in Result},
            "operation": None if file.operation is None else f"Operation:{file.operation}",
            "status": next((one.status.value for one in made.values()), None),
            "problem": file.problem,
            "report": [dict(zip(_MEMBERS, report_row(row), strict=True)) for row in rows],
            "reportPath": f"{PATH}/{file.id}/{REPORT_NAME}",
        }

    async def _report(self, id: str, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._caller(scope)
            _check_method(scope, "GET", "Reports are asked for by GET.")
            file = _done(await self._found(id))
        except REFUSALS as problem:
            await self._refuse(problem, scope, receive, send)
            return
        metrics.REQUESTS.labels(PATH, HTTPStatus.OK.value).inc()
        headers = {
            "content-type": "text/csv; charset=utf-8",
            "content-disposition": f'attachment; filename="prices-{file.id}.csv"',
            "x-request-id": request_id(scope),
        }
        await start(send, 200, headers)
        await self._send_rows(file, send)

    async def _refuse(self, problem: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(scope: Scope, receive: Receive) -> Reply:
            if isinstance(problem, BadRequest):
                raise problem
            return database_away()

        await deliver(PATH, answer, scope, receive, send)

    async def _send_rows(self, file: PriceFile, send: Send) -> None:
        """The report, block by block: it is never held as a whole."""
        after, more = 0, True
        head: list[list[object]] = [list(REPORT)]
        while more:
            async with self._shelf.store.begin() as tx:
                rows = await price_file.report(tx, file.id, after=after, limit=BLOCK, taken=True)
            more = len(rows) == BLOCK
            after = rows[-1][0].number if rows else after
            out = StringIO()
            csv.writer(out, lineterminator="\n").writerows([*head, *(report_row(row) for row in rows)])
            head = []
            await send({"type": "http.response.body", "body": out.getvalue().encode(), "more_body": more})


def _check_method(scope: Scope, method: str, words: str) -> None:
    if scope["method"] != method:
        raise BadRequest(words, status=405, headers={"allow": method})


def _done(file: PriceFile) -> PriceFile:
    if file.state is FileState.DONE:
        return file
    raise BadRequest(f"The file is {file.state.value}; its report is written when it is DONE.", status=409)
