"""POST /webhooks/amazon/<channel>: an API destination of EventBridge brings us Amazon's notifications.

Answers: 200 once the hint is durable, also for one that came before or that we cannot read (it is in the quarantine); 401 for a
key that is not good, whatever the reason; 405, 413 and 503. EventBridge repeats what was not answered with 200, for a day.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from adapters.notices import Delivered, NewSecret
from domain.ids import ChannelId
from domain.product import Rejected
from gateway import metrics
from gateway.asgi import Receive, Scope, Send, header, read_body, unless_left
from gateway.body import BadRequest
from gateway.deliveries import Told, database_away, deliver
from store.session import UNAVAILABLE, Store
from workers.hints import take

log = logging.getLogger(__name__)

PREFIX = "/webhooks/amazon/"
# EventBridge sends no event that is larger.
BODY_LIMIT = 256 * 1024
# Compared with where there is no channel of that name: that takes as long.
NOBODY = (b"\x00" * 32,)


@dataclass(frozen=True, slots=True)
class Webhook:
    """What opens the webhook of a channel, the newest key first, and what a body says."""

    keys: tuple[bytes, ...] = field(repr=False)
    understood: Callable[[bytes], Delivered | None]


class Webhooks:
    """Answers POST /webhooks/amazon/<channel>."""

    def __init__(self, store: Store, webhooks: Mapping[ChannelId, Webhook]) -> None:
        self._store = store
        self._webhooks = webhooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await deliver("/webhooks", self._answer, scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Told:
        if scope["method"] != "POST":
            raise BadRequest("Notifications are sent by POST.", status=405, headers={"allow": "POST"})
        webhook = self._proven(scope)
        raw = await read_body(scope, receive, BODY_LIMIT)
        try:
            new = await unless_left(receive, self._take(webhook, raw))
        except UNAVAILABLE as problem:
            log.warning("webhook.database_away", extra={"reason": type(problem).__name__})
            return database_away()
        return 200, {"taken": new}, {}

    async def _take(self, webhook: Webhook, raw: bytes) -> int:
        told = webhook.understood(raw)
        if isinstance(told, NewSecret):
            # Amazon sends it to a queue. Whoever knows this key may make us ask, and not put a secret in the place of ours.
            told = Rejected(told.channel, "secret", told.client_id, "A new secret comes by the queue alone.", "")
        async with self._store.begin() as tx:
            return await take(tx, [told])

    def _proven(self, scope: Scope) -> Webhook:
        """The webhook whose key the request carries; its body is not read before. Raises BadRequest, without a word on what is
        wrong."""
        found = self._webhooks.get(ChannelId(scope["path"].removeprefix(PREFIX)))
        given = (header(scope, "x-api-key") or "").encode("latin-1", "replace")
        good = [hmac.compare_digest(given, key) for key in (NOBODY if found is None else found.keys)]
        if found is None or not any(good):
            metrics.AUTH_FAILURES.labels("webhook").inc()
            raise BadRequest("The key is not good.", status=401)
        return found
