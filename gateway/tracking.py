"""POST /tracking/<source>: a warehouse's or carrier's system tells of parcels, signed as Standard Webhooks are.

    {"parcels": [{"order", "channel", "carrier", "service", "trackingNumber", "shippedAt", "lines", "location"}],
     "events":  [{"trackingNumber", "status", "at", "order", "channel"}]}

What it says becomes rows, and the answer is given: 202 with what could not be read. Workers make confirmations of them. A
delivery that was taken before is answered 202 again and changes nothing; 409 says that its id was another delivery's. Any flaw
of a signature is 401, without a word on which.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from domain.errors import Conflict
from domain.tracking import MOST_ROWS, NewRow, RowKind, TrackingSource, read_row
from gateway.asgi import Receive, Scope, Send, unless_left
from gateway.body import BadRequest, parse_json
from gateway.deliveries import Reply, database_away, deliver, proven
from store import tracking
from store.session import UNAVAILABLE, Store

log = logging.getLogger(__name__)

PREFIX = "/tracking/"


class TrackingIn:
    """Answers POST /tracking/<source>."""

    def __init__(self, store: Store, sources: Mapping[str, TrackingSource]) -> None:
        self._store = store
        self._sources = sources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await deliver("/tracking", self._answer, scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] != "POST":
            raise BadRequest("Parcels are told by POST.", status=405, headers={"allow": "POST"})
        known = self._sources.get(scope["path"].removeprefix(PREFIX))
        source, delivery, body = await proven(known, "tracking", scope, receive)
        rows, contents = _read(source, body)
        try:
            first = await unless_left(receive, self._take(source, delivery, contents, rows))
        except Conflict as problem:
            raise BadRequest(problem.message, status=409) from None
        except UNAVAILABLE as problem:
            log.warning("tracking.database_away", extra={"source": source.id, "reason": type(problem).__name__})
            return database_away()
        unread = [one for one in rows if one.told is None]
        extra = {"source": source.id, "delivery": delivery, "rows": len(rows), "unread": len(unread)}
        log.info("tracking.taken", extra=extra | {"again": not first})
        return 202, _told(rows, unread, again=not first), {}

    async def _take(self, source: TrackingSource, delivery: str, contents: str, rows: list[NewRow]) -> bool:
        async with self._store.begin() as tx:
            return await tracking.take(tx, source, delivery, contents, rows)


def _read(source: TrackingSource, body: bytes) -> tuple[list[NewRow], str]:
    """(the rows of a body, a hash of what it says however it is written). Raises BadRequest."""
    told = parse_json(body)
    if not isinstance(told, dict) or told.keys() - {"parcels", "events"}:
        raise BadRequest('The body must be a JSON object such as {"parcels": […], "events": […]}, and nothing else.')
    parcels, events = told.get("parcels", []), told.get("events", [])
    if not isinstance(parcels, list) or not isinstance(events, list):
        raise BadRequest("`parcels` and `events` must be lists.")
    if not 1 <= len(parcels) + len(events) <= MOST_ROWS:
        raise BadRequest(f"Tell 1 to {MOST_ROWS} parcels and events at a time.")
    rows = [
        read_row(number, kind, one, source.locations)
        for kind, all_of_it in ((RowKind.PARCEL, parcels), (RowKind.EVENT, events))
        for number, one in enumerate(all_of_it, start=1)
    ]
    return rows, hashlib.sha256(json.dumps([parcels, events], sort_keys=True).encode()).hexdigest()


def _told(rows: list[NewRow], unread: list[NewRow], *, again: bool) -> dict[str, Any]:
    problems = [{"kind": one.kind.value, "row": one.number, "reason": one.reason} for one in unread]
    return {"accepted": len(rows) - len(unread), "problems": problems} | ({"again": True} if again else {})
