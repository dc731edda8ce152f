"""One document to one shop: token, points, request, and what the answer means.

Source: Shopify Admin GraphQL API. The bucket holds the cost that a document asks for (`requestedQueryCost`) before it runs and
gets back what it did not use, so that is how ours is spent and refunded.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import orjson

from adapters.budget import Budgets, Hold
from adapters.port import BeforeSend
from adapters.shopify.config import ShopifyConfig
from adapters.shopify.cost import Cost, Costs, cost_of
from adapters.shopify.document import Document
from adapters.shopify.errors import graphql_failure, http_failure, refusal, search_warning
from adapters.shopify.login import Login
from adapters.together import Together
from adapters.tokens import TokenStore
from adapters.transport import Answer, Call, NothingSent, Stream, Transport, Unreadable, lost
from adapters.vault import OwnMemory, Vault
from domain.budget import Ask, Plan
from domain.errors import HouseError, MissingRole, Throttled
from domain.grant import Kept

log = logging.getLogger(__name__)

# The standard plan; what a shop really grants is adopted from its first answer.
PLAN = Plan("graphql", rate=100, burst=2000)
# Among what hinders the channel, an API version that is not served goes by this name, and is told anew each day.
VERSION = "API version"
VERSION_S = 86_400.0

# Ids in a call that several callers share: `nodes` costs the same for one and for many.
TOGETHER = 50

DOWNLOAD, UPLOAD = "download", "upload"
UPLOAD_S = 600.0  # for a file of the largest size at 200 kB a second

NOTHING_TOLD = Cost(0.0, None, None, None, None)

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """The `data` of an answer without any error in it, `userErrors` of itemized documents excepted, and the platform's name for
    the call."""

    data: Json
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Node:
    """One object of a document over `nodes`, None where there is none, and the platform's name for the call."""

    told: Any
    request_id: str | None


class ShopClient:
    """All documents of one shop share one bucket, `PLAN.operation`; the bill tells them apart by their root fields.

    `other_version` says, for people, that another version of the API answered last than the one that was asked.
    """

    def __init__(
        self,
        config: ShopifyConfig,
        transport: Transport,
        tokens: TokenStore,
        budgets: Budgets,
        vault: Vault | None = None,
    ) -> None:
        self.config = config
        self.other_version: str | None = None
        self.channel = self._channel = config.channel.id
        self.budgets = budgets
        self.costs = Costs(budgets.usual, config.channel.id)
        self._transport = transport
        self._budgets = budgets
        self._vault = vault or OwnMemory()
        self._login = Login(config, transport, tokens, self._vault)
        self._nodes: dict[str, Together[Node]] = {}

    async def run(self, document: Document, variables: Json, ask: Ask, before_send: BeforeSend | None = None) -> Reply:
        """Send `document` once. `before_send` is awaited when points and token are at hand.

        A token that has run out is renewed and the document sent again, since a 401 carries nothing out. A document that was
        refused a moment ago for want of a scope is not sent. Raises Throttled, Unauthorized and its MissingRole, Refused;
        Transient, or for a document that writes OutcomeUnknown.
        """
        kept = await self._login.kept()
        if document.name in kept.barred:
            raise MissingRole(kept.barred[document.name])
        content = orjson.dumps({"query": document.text, "variables": variables, "operationName": document.name})
        token = await self._login.token()
        answer, hold = await self._exchange(document, content, token, ask, before_send)
        if answer.status == 401:
            await self._budgets.reckon(hold, hold.tokens)
            if (other := await self._login.another(token)) is not None:
                answer, hold = await self._exchange(document, content, other, ask, before_send)
        try:
            reply = await self._read(document, answer, hold, ask)
        except MissingRole as problem:
            await self._bar(document, problem)
            raise
        await self._taken(document, answer, kept)
        return reply

    async def node(self, document: Document, gid: str, ask: Ask) -> Node:
        """What `document`, one over `nodes(ids: $ids)`, tells of `gid`: in one call with what others want of it meanwhile, which
        begins after this. Raises what `run` does."""
        together = self._nodes.get(document.name)
        if together is None:
            together = self._nodes[document.name] = Together(partial(self._read_nodes, document), TOGETHER)
        return await together.one(gid, ask) or Node(None, None)

    async def _read_nodes(self, document: Document, gids: Sequence[str], ask: Ask) -> Mapping[str, Node]:
        reply = await self.run(document, {"ids": list(gids)}, ask)
        return {gid: Node(told, reply.request_id) for gid, told in zip(gids, reply.data["nodes"], strict=True)}

    async def upload(self, url: str, fields: Mapping[str, str], name: str, content: bytes, ask: Ask) -> int:
        """The HTTP status that a staged target answers a file with. `fields` come first and the file last, as it wants them.

        Such a target takes neither token nor points. Nothing of the shop is changed. Raises Transient.
        """
        form = httpx.Request("POST", url, data=dict(fields), files={"file": (name, content, "text/jsonl")})
        ask.bill.line(self._channel, UPLOAD).calls += 1
        answer = await self._transport.send(
            "POST",
            url,
            write=False,
            headers={"Content-Type": form.headers["Content-Type"]},
            content=form.read(),
            timeout_s=UPLOAD_S,
            call=Call(self._channel, UPLOAD),
        )
        return answer.status

    @asynccontextmanager
    async def download(self, url: str, ask: Ask) -> AsyncIterator[Stream]:
        """A file that the platform has made, as it comes. Its address takes neither token nor points. Raises Transient."""
        ask.bill.line(self._channel, DOWNLOAD).calls += 1
        async with self._transport.stream(url, call=Call(self._channel, DOWNLOAD)) as stream:
            yield stream

    async def lacking(self) -> frozenset[str]:
        """What is known to hinder the channel: documents and scopes by name, and `VERSION`."""
        return (await self._login.kept()).lacking

    async def _exchange(
        self, document: Document, content: bytes, token: str, ask: Ask, before_send: BeforeSend | None
    ) -> tuple[Answer, Hold]:
        """The answer, and the points that are held for it."""
        cost = await self.costs.requested(document)
        asked_at = time.monotonic()
        hold = await self._budgets.hold(self._channel, PLAN, ask, cost)
        call = Call(self._channel, document.operation, time.monotonic() - asked_at, ask.about)
        if before_send is not None:
            try:
                await before_send()
            except BaseException:
                await self._budgets.reckon(hold, hold.tokens)
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
        except NothingSent:
            line.calls -= 1
            await self._budgets.reckon(hold, hold.tokens)
            raise
        except BaseException:
            # It may have reached the shop and cost its points.
            await self._budgets.reckon(hold, 0)
            raise
        return answer, hold

    async def _read(self, document: Document, answer: Answer, hold: Hold, ask: Ask) -> Reply:
        shop, write, request_id = self.config.shop, document.write, answer.request_id
        try:
            body = answer.json()
        except Unreadable:
            body = None
        extensions = (body.get("extensions") if isinstance(body, dict) else None) or {}
        cost = cost_of(extensions)
        if cost is not None:
            await self.costs.learn(document, cost)
            ask.bill.line(self._channel, document.operation).tokens += cost.actual or 0
        problem = http_failure(answer, body, shop, write=write)
        if problem is None and not isinstance(body, dict):
            problem = lost(write, f"{shop} answered 200 with something else than JSON", request_id)
        if problem is None:
            problem = self._content_failure(document, body, extensions, cost, request_id)
        await self._settle(hold, cost, throttled=isinstance(problem, Throttled))
        if problem is not None:
            raise problem
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

    async def _settle(self, hold: Hold, cost: Cost | None, *, throttled: bool) -> None:
        """Bring our bucket in line with theirs. Without a `cost` nothing was carried out that costs points."""
        told = cost or NOTHING_TOLD
        back = hold.tokens - (told.actual or 0)
        await self._budgets.reckon(hold, back, rate=told.rate, burst=told.burst, remaining=told.remaining)
        if throttled:
            await self._budgets.drain(self._channel, PLAN.operation, left=told.remaining)

    async def _bar(self, document: Document, problem: MissingRole) -> None:
        """Whoever wants the same document in the next minute is not sent to be refused."""
        if await self._vault.bar(self._channel, document.name, problem.message, self.config.scope_pause_s):
            extra = {"channel": self._channel, "document": document.name, "reason": problem.message}
            log.error("scope.missing", extra=extra | {"upstream_request_id": problem.upstream_request_id})

    async def _taken(self, document: Document, answer: Answer, kept: Kept) -> None:
        """What is right again, or not, by a document that was carried out.

        A version that is no longer supported is answered by the oldest one that is, in silence but for a header.
        """
        if document.name in kept.lacking:
            await self._vault.clear(self._channel, document.name)
            log.info("scope.regained", extra={"channel": self._channel, "document": document.name})
        told, asked = answer.headers.get("X-Shopify-API-Version") or self.config.api_version, self.config.api_version
        self.other_version = None if told == asked else _fallen(asked, told)
        if self.other_version is None:
            if VERSION in kept.lacking:
                await self._vault.clear(self._channel, VERSION)
        elif kept.barred.get(VERSION) != self.other_version and await self._vault.bar(
            self._channel, VERSION, self.other_version, VERSION_S
        ):
            log.warning("shop.other_api_version", extra={"channel": self._channel, "asked": asked, "answered": told})


def _fallen(asked: str, told: str) -> str:
    """Versions live for a year, and their names are in the order of their days."""
    why = "is retired" if asked < told else "is not there yet"
    return (
        f"version {asked} of the API {why}: the shop answers by {told}, whose answers may differ from what is expected"
    )
