"""POST /feeds/<id>: a warehouse's own system tells us its counts, signed as the Standard Webhooks specification says.

Answers: 200 with what became of each row; 400 for what is no feed; 401 for a signature that is not good, whatever the reason;
409, 413 and 503. A delivery that was taken before is answered 200 again and changes nothing, so a sender repeats until it gets an
answer; 409 says that its id was another delivery's.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from domain.errors import Conflict, Invalid
from domain.feed import FeedIn, FeedKind, Row, read_rows
from gateway.asgi import Receive, Scope, Send, unless_left
from gateway.body import BadRequest, parse_json
from gateway.deliveries import Reply, database_away, deliver, proven
from store import feed as feed_store
from store.feed import Delivery, Taken
from store.session import UNAVAILABLE, Store

log = logging.getLogger(__name__)

PREFIX = "/feeds/"


class Feeds:
    """Answers POST /feeds/<id>."""

    def __init__(self, store: Store, feeds: Mapping[str, FeedIn]) -> None:
        self._store = store
        self._feeds = feeds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await deliver("/feeds", self._answer, scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] != "POST":
            raise BadRequest("Feeds are sent by POST.", status=405, headers={"allow": "POST"})
        known = self._feeds.get(scope["path"].removeprefix(PREFIX))
        feed, delivery_id, body = await proven(known, "feed", scope, receive)
        delivery = _read(feed, delivery_id, body)
        try:
            taken = await unless_left(receive, self._take(feed, delivery))
        except Invalid as problem:
            raise BadRequest(problem.message) from None
        except Conflict as problem:
            raise BadRequest(problem.message, status=409) from None
        except UNAVAILABLE as problem:
            log.warning("feed.database_away", extra={"feed": feed.id, "reason": type(problem).__name__})
            return database_away()
        log.info(
            "feed.taken",
            extra={
                "feed": feed.id,
                "delivery": delivery_id,
                "kind": delivery.kind.value,
                "accepted": taken.accepted,
                "changed": taken.changed,
                "rejected": len(taken.rejected),
                "again": taken.again,
            },
        )
        return 200, _told(taken), {}

    async def _take(self, feed: FeedIn, delivery: Delivery) -> Taken:
        async with self._store.begin() as tx:
            return await feed_store.take(tx, feed, delivery)


def _read(feed: FeedIn, id: str, body: bytes) -> Delivery:
    """What a body says. Raises BadRequest."""
    told = parse_json(body)
    if not isinstance(told, dict):
        raise BadRequest('The body must be a JSON object such as {"type": "stock.count", "lines": […]}.')
    kind = next((one for one in FeedKind if one.value == told.get("type")), None)
    if kind is None:
        raise BadRequest(f"`type` must be one of {', '.join(one.value for one in FeedKind)}.")
    lines = told.get("lines")
    if not isinstance(lines, list) or not lines:
        raise BadRequest("`lines` must be a list of at least one row.")
    if not all(isinstance(one, dict) for one in lines):
        raise BadRequest('Each of `lines` must be an object such as {"sku": "A", "location": "BER", "quantity": 5}.')
    confirm = told.get("confirm", False)
    if not isinstance(confirm, bool):
        raise BadRequest("`confirm` must be true or false.")
    rows = [Row(number, one) for number, one in enumerate(lines, start=1)]
    read, rejected = read_rows(rows, kind, feed.locations, default_reason=f"told by {feed.id}")
    # What it says, however it is written: a sender may render it anew each time.
    contents = json.dumps([kind.value, lines, confirm], sort_keys=True).encode()
    return Delivery(id, hashlib.sha256(contents).hexdigest(), kind, read, rejected, confirm)


def _told(taken: Taken) -> dict[str, Any]:
    rejected = [{"row": one.number, "sku": one.sku, "reason": one.reason} for one in taken.rejected]
    return {"accepted": taken.accepted, "changed": taken.changed, "rejected": rejected} | (
        {"again": True} if taken.again else {}
    )
