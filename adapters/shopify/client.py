"""One document to one shop: token, points, request, and what the answer means.

Source: Shopify Admin GraphQL API. The bucket holds the cost that a document asks for (`requestedQueryCost`) before it runs and
gets back what it did not use, so that is how ours is spent and refunded.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson
from pydantic import BaseModel, PositiveFloat

from adapters.budget import Budgets
from adapters.port import BeforeSend
from adapters.shopify.config import ShopifyConfig
from adapters.shopify.cost import Cost, cost_of
from adapters.shopify.document import Document
from adapters.shopify.errors import graphql_failure, http_failure, login_failure, refusal, search_warning
from adapters.tokens import TokenStore
from adapters.transport import Answer, Call, Transport, Unreadable, lost
from adapters.wire import Unclear, read
from domain.budget import Ask, Plan
from domain.errors import HouseError, Throttled, Transient

log = logging.getLogger(__name__)

# The standard plan; what a shop really grants is adopted from its first answer.
PLAN = Plan("graphql", rate=100, burst=2000)

Json = Mapping[str, Any]


class Granted(BaseModel):
    """What the token endpoint gives."""

    access_token: str
    expires_in: PositiveFloat


@dataclass(frozen=True, slots=True)
class Reply:
    """The `data` of an answer without any error in it, `userErrors` of itemized documents excepted, and the platform's name for
    the call."""

    data: Json
    request_id: str | None


class ShopClient:
    """All documents of one shop share one bucket, `PLAN.operation`; the bill tells them apart by their root fields."""

    def __init__(self, config: ShopifyConfig, transport: Transport, tokens: TokenStore, budgets: Budgets) -> None:
        self.config = config
        self._channel = config.channel.id
        self._transport = transport
        self._budgets = budgets
        self._tokens = tokens
        self._costs: dict[str, float] = {}
        self._warned = False

    async def run(self, document: Document, variables: Json, ask: Ask, before_send: BeforeSend | None = None) -> Reply:
        """Send `document` once. `before_send` is awaited when points and token are at hand.

        A token that has run out is renewed and the document sent again, since a 401 carries nothing out. Raises Throttled,
        Unauthorized, Refused; Transient, or for a document that writes OutcomeUnknown.
        """
        content = orjson.dumps({"query": document.text, "variables": variables, "operationName": document.name})
        token = await self._token()
        answer, paid = await self._exchange(document, content, token, ask, before_send)
        if answer.status == 401 and self.config.access_token is None:
            await self._settle(paid, None)
            await self._tokens.forget(self._channel, token)
            answer, paid = await self._exchange(document, content, await self._token(), ask, before_send)
        return await self._read(document, answer, paid, ask)

    async def _exchange(
        self, document: Document, content: bytes, token: str, ask: Ask, before_send: BeforeSend | None
    ) -> tuple[Answer, float]:
        """The answer, and the points that were paid for it."""
        cost = self._costs.get(document.name, document.cost)
        asked_at = time.monotonic()
        await self._budgets.spend(self._channel, PLAN, ask, cost)
        call = Call(self._channel, document.operation, time.monotonic() - asked_at, ask.about)
        if before_send is not None:
            try:
                await before_send()
            except BaseException:
                await self._settle(cost, None)
                raise
        line = ask.bill.line(self._channel, document.operation)
        line.calls += 1
        headers = {"Content-Type": "application/json", "Accept": "application/json", "X-Shopify-Access-Token": token}
        try:
            answer = await self._transport.send(
                "POST",
                self.config.api,
                write=document.write,
                headers=headers,
                content=content,
                call=call,
            )
        except Transient:
            # Of a write it means that nothing left the house; a read may have reached the shop and cost its points.
            if document.write:
                line.calls -= 1
                await self._settle(cost, None)
            raise
        return answer, cost

    async def _read(self, document: Document, answer: Answer, paid: float, ask: Ask) -> Reply:
        shop, write, request_id = self.config.shop, document.write, answer.request_id
        try:
            body = answer.json()
        except Unreadable:
            body = None
        extensions = (body.get("extensions") if isinstance(body, dict) else None) or {}
        cost = cost_of(extensions)
        if cost is not None:
            self._costs[document.name] = cost.requested
            ask.bill.line(self._channel, document.operation).tokens += cost.actual or 0
        problem = http_failure(answer, body, shop, write=write)
        if problem is None and not isinstance(body, dict):
            problem = lost(write, f"{shop} answered 200 with something else than JSON", request_id)
        if problem is None:
            problem = self._content_failure(document, body, extensions, cost, request_id)
        await self._settle(paid, cost, throttled=isinstance(problem, Throttled))
        if problem is not None:
            raise problem
        self._check_version(answer)
        return Reply(body["data"], request_id)

    def _content_failure(
        self, document: Document, body: Json, extensions: Json, cost: Cost | None, request_id: str | None
    ) -> HouseError | None:
        shop, write = self.config.shop, document.write
        problem = graphql_failure(body.get("errors"), cost, shop, request_id, write=write)
        if problem is not None:
            return problem
        data = body.get("data")
        if not isinstance(data, dict) or any(root not in data for root in document.operation.split("+")):
            return lost(write, f"{shop} answered without data", request_id)
        if not write:
            return search_warning(extensions, shop, request_id)
        return None if document.itemized else refusal(data, request_id)

    async def _settle(self, paid: float, cost: Cost | None, *, throttled: bool = False) -> None:
        """Bring our bucket in line with theirs. Without a `cost` nothing was carried out that costs points."""
        channel, operation = self._channel, PLAN.operation
        if throttled:
            await self._budgets.drain(channel, operation)
        else:
            await self._budgets.refund(channel, operation, paid - ((cost.actual or 0) if cost else 0))
        if cost is not None and cost.rate:
            await self._budgets.adopt(channel, operation, rate=cost.rate, burst=cost.burst, remaining=cost.remaining)

    def _check_version(self, answer: Answer) -> None:
        """A version that is no longer supported is answered by the oldest one that is, in silence but for this header."""
        told = answer.headers.get("X-Shopify-API-Version")
        if told and told != self.config.api_version and not self._warned:
            self._warned = True
            log.warning(
                "shop.other_api_version",
                extra={"channel": self._channel, "asked": self.config.api_version, "answered": told},
            )

    async def _token(self) -> str:
        if self.config.access_token is not None:
            return self.config.access_token
        return await self._tokens.token(self._channel, self.config.client_secret or "", self._login)

    async def _login(self) -> tuple[str, float]:
        """A new access token and the seconds it lives: the client-credentials grant, which has no refresh token."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.config.client_id,
            "client_secret": self.config.client_secret,
        }
        answer = await self._transport.send(
            "POST",
            self.config.login,
            write=False,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            content=urlencode(form).encode(),
            call=Call(self._channel, "login"),
        )
        if answer.status != 200:
            raise login_failure(answer, self.config.shop)
        try:
            granted = read(Granted, answer.json())
        except (Unreadable, Unclear) as problem:
            raise Transient(f"{self.config.shop} gave no access token: {problem}.") from problem
        return granted.access_token, granted.expires_in
