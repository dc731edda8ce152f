"""POST /webhooks/<platform>/<channel>: platforms tell us what has changed, each signed in its own way.

Answers: 200 once what was told is durable, also for what came before or cannot be read (it is in the quarantine); 401 for a
sender that is not proven, whatever the reason; 405, 413 and 503. Platforms repeat what was not answered with 200.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from redis.exceptions import RedisError

from adapters.notices import Delivery, Webhook
from domain.channel import Channel
from domain.ids import ChannelId
from domain.product import Rejected
from gateway import metrics
from gateway.asgi import Receive, Scope, Send, read_body
from gateway.body import BadRequest
from gateway.deliveries import Reply, database_away, deliver
from gateway.inbox import Inbox
from store.session import UNAVAILABLE
from workers.spill import Full

log = logging.getLogger(__name__)

PREFIX = "/webhooks/"
NOWHERE: tuple[type[Exception], ...] = (*UNAVAILABLE, RedisError, Full)


class Webhooks:
    """Answers POST /webhooks/<platform>/<channel>."""

    def __init__(
        self, inbox: Inbox, channels: Mapping[ChannelId, Channel], webhooks: Mapping[ChannelId, Webhook]
    ) -> None:
        self._inbox = inbox
        self._webhooks = {f"{channels[id].platform.value.lower()}/{id}": one for id, one in webhooks.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await deliver("/webhooks", self._answer, scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] != "POST":
            raise BadRequest("Notifications are sent by POST.", status=405, headers={"allow": "POST"})
        webhook, delivery = await self._proven(scope, receive)
        told = webhook.understood(delivery)
        try:
            # Also for a client that leaves meanwhile: what is kept need not come again.
            await self._inbox.keep(told)
        except NOWHERE as problem:
            log.warning("webhook.nowhere_to_keep", extra={"reason": type(problem).__name__})
            return database_away()
        return 200, {"taken": sum(not isinstance(one, Rejected) for one in told)}, {}

    async def _proven(self, scope: Scope, receive: Receive) -> tuple[Webhook, Delivery]:
        """A delivery whose sender is who it says; the body of one that cannot be is not read. Raises BadRequest, without a word
        on what is wrong: a webhook that there is none of, an old delivery and a forged one look alike."""
        found = self._webhooks.get(scope["path"].removeprefix(PREFIX))
        # Of a header that comes twice, the first.
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        if found is not None and found.expected(headers):
            delivery = Delivery(headers, await read_body(scope, receive, found.limit), datetime.now(UTC))
            if found.proven(delivery):
                return found, delivery
        metrics.AUTH_FAILURES.labels("webhook").inc()
        raise BadRequest("The sender is not proven.", status=401)
