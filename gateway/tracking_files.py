"""POST /tracking/files: a file of tracking numbers, with an API key that has the scope shipments:write.

The body is the file itself (`text/csv`, or `application/x-ndjson` for JSON Lines) or a form with it (`multipart/form-data`).
`?dryRun=true` only says what would happen. The answer counts what became of the rows and tells of those that were not confirmed.
A file that was taken before, whole or in part, may be sent again: each of its rows counts once.
"""

from __future__ import annotations

import logging
from io import BytesIO
from typing import Any

from domain.errors import Forbidden
from domain.operation import Capability
from gateway.asgi import Receive, Scope, Send, address, header, read_body, unless_left
from gateway.auth import Keys
from gateway.body import BadRequest
from gateway.deliveries import Reply, database_away, deliver
from gateway.rows import FileProblem
from gateway.tracking_file import Outcome, Result, Wanted, run
from gateway.uploads import file_in, flag, parameters
from resolvers.context import Caller
from resolvers.shelf import Shelf
from schema.scopes import SCOPES
from store.session import UNAVAILABLE

log = logging.getLogger(__name__)

PATH = "/tracking/files"
BODY_LIMIT = 8 * 1024 * 1024
MOST_TOLD = 1_000


class TrackingFiles:
    """Answers POST /tracking/files."""

    def __init__(self, shelf: Shelf, keys: Keys) -> None:
        self._shelf = shelf
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await deliver(PATH, self._answer, scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] != "POST":
            raise BadRequest("Files are sent by POST.", status=405, headers={"allow": "POST"})
        caller = await self._keys.caller(header(scope, "authorization"), address(scope))
        try:
            caller.needs(SCOPES["Mutation.confirmShipments"])
        except Forbidden as problem:
            raise BadRequest(problem.message, status=403) from None
        file, json_lines = file_in(header(scope, "content-type") or "", await read_body(scope, receive, BODY_LIMIT))
        wanted = Wanted(caller.name, flag(parameters(scope), "dryRun"), json_lines)
        try:
            return 200, await unless_left(receive, self._run(caller, file, wanted)), {}
        except FileProblem as problem:
            raise BadRequest(str(problem)) from None
        except UNAVAILABLE as problem:
            log.warning("tracking.database_away", extra={"source": "file", "reason": type(problem).__name__})
            return database_away()

    async def _run(self, caller: Caller, file: bytes, wanted: Wanted) -> dict[str, Any]:
        told: list[Outcome] = []

        def tell(one: Outcome) -> None:
            if one.result is not Result.CONFIRMED and len(told) < MOST_TOLD:
                told.append(one)

        shelf = self._shelf
        platforms = {id: one.platform for id, one in shelf.channels.items()}
        found = await run(shelf.store, platforms, BytesIO(file), wanted, tell)
        if found[Result.CONFIRMED] and not wanted.dry_run:
            for channel in sorted(shelf.channels):
                await shelf.bell.ring(channel, Capability.SHIPMENTS)
        counts = {one.value: found[one] for one in Result}
        log.info("tracking.file", extra={"actor": caller.name, "dry_run": wanted.dry_run, **counts})
        rows = [
            {
                "row": one.number,
                "order": one.order,
                "trackingNumber": one.tracking_number,
                "result": one.result.value,
                "reason": one.reason,
            }
            for one in told
        ]
        return {"dryRun": wanted.dry_run, "rows": found.total(), **counts, "report": rows}
