"""One request to one shop: token, budget, idempotency key, and what the answer means.

All requests of a shop share one bucket, `PLAN.operation`, whose rate and size are adopted from the RateLimit headers of its
answers; the bill tells them apart by their operations. A write carries a key made of our own reference, so that the shop carries
out once what is sent twice (docs/rest.md, "How each thing is written once").
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import orjson
from pydantic import BaseModel, Field

from adapters.budget import Budgets
from adapters.port import BeforeSend, OrderKey, Receipt
from adapters.rest.config import RestConfig
from adapters.rest.errors import IN_PROGRESS, failure, login_failure, problem_in, retry_after_s
from adapters.rest.limits import limit_of
from adapters.rest.wire import Body
from adapters.tokens import TokenStore
from adapters.transport import Answer, Call, NothingSent, Transport, Unreadable, lost
from adapters.wire import Unclear, W, read
from domain.budget import Ask, Plan
from domain.errors import NotFound, Transient
from domain.ids import derived_id

# What the contract proposes; what a shop really grants is adopted from its first answer.
PLAN = Plan("requests", rate=100 / 60, burst=100)

# How often a write is sent again whose first attempt is still being carried out, and how often under another key where the shop
# only repeats an old refusal.
WAITS, KEYS = 5, 5
# The longest wait for such an attempt: who waits holds a lease. What takes longer is asked for again under its key, later.
LONGEST_S = 10.0


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the contract: its id there, `path` with places such as {id}, and the part of a shop that it belongs to;
    one without a part every shop has."""

    name: str
    method: str
    path: str
    part: str = ""
    write: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A success: `body` is the parsed body, None where there is none. `etag` is as it came, quotes included; `replayed` says that
    it is the answer of an earlier attempt."""

    body: Any
    etag: str | None
    request_id: str | None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Sending:
    """What is sent, letter for letter, but for token and idempotency key."""

    operation: Operation
    url: str
    headers: Mapping[str, str]
    content: bytes | None


class Granted(BaseModel):
    """What the token endpoint gives."""

    access_token: Annotated[str, Field(pattern=r"^[\x21-\x7e]+$", max_length=16_384)]
    expires_in: Annotated[float, Field(gt=0, le=10**9)]


class RestClient:
    """Keeps nothing but what the token store keeps."""

    def __init__(self, config: RestConfig, transport: Transport, tokens: TokenStore, budgets: Budgets) -> None:
        self.config = config
        self.channel = config.channel.id
        self._transport = transport
        self._tokens = tokens
        self._budgets = budgets

    async def call(
        self,
        operation: Operation,
        ask: Ask,
        *,
        at: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: object = None,
        key: str | None = None,
        if_match: str | None = None,
        before_send: BeforeSend | None = None,
    ) -> Reply:
        """Send it; `at` fills the places of the path. `before_send` is awaited before each request that may change something.

        With a `key`, an attempt that is still being carried out is waited for, and an old refusal that the shop merely repeats is
        asked anew under the next key of a row that is the same in every process: a refusal has changed nothing, and what refused
        may be mended. Raises Throttled, Unauthorized, Refused; Transient, or for a write OutcomeUnknown.
        """
        sending = self._sending(operation, at or {}, query or {}, body, if_match)
        for turn in range(KEYS):
            turned = key if key is None or not turn else derived_id("again", key, str(turn))
            answer = await self._settled(sending, turned, ask, before_send)
            if not (turn < KEYS - 1 and key is not None and _old_refusal(answer)):
                break
        if answer.status >= 300:
            raise failure(answer, self.config.shop, operation.name, write=operation.write)
        return self._read(operation, answer)

    def _sending(
        self,
        operation: Operation,
        at: Mapping[str, str],
        query: Mapping[str, str],
        body: object,
        if_match: str | None,
    ) -> Sending:
        if any(value in ("", ".", "..") for value in at.values()):
            raise NotFound(f"{self.config.shop} can have nothing by such a name.")  # it would be another path
        path = operation.path.format(**{name: quote(value, safe="") for name, value in at.items()})
        url = self.config.home + path + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        headers = {"Accept": "application/json, application/problem+json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if if_match is not None:
            headers["If-Match"] = if_match
        return Sending(operation, url, headers, None if body is None else orjson.dumps(body))

    async def _settled(self, sending: Sending, key: str | None, ask: Ask, before_send: BeforeSend | None) -> Answer:
        """The answer under one key, once no earlier attempt of it is under way any more."""
        waits = 0
        while True:
            answer = await self._with_token(sending, key, ask, before_send)
            if answer.status != 409 or key is None or problem_in(answer.body).name != IN_PROGRESS:
                return answer
            wait_s = retry_after_s(answer.headers)
            late = ask.deadline is not None and time.monotonic() + wait_s > ask.deadline
            if waits == WAITS or late or wait_s > LONGEST_S:
                return answer
            waits += 1
            await asyncio.sleep(wait_s)

    async def _with_token(self, sending: Sending, key: str | None, ask: Ask, before_send: BeforeSend | None) -> Answer:
        """A token that has run out is renewed and the request sent again, since a 401 carries nothing out."""
        token = await self._token()
        answer = await self._exchange(sending, key, token, ask, before_send)
        if answer.status == 401 and self.config.token is None:
            await self._tokens.forget(self.channel, token)
            answer = await self._exchange(sending, key, await self._token(), ask, before_send)
        return answer

    async def _exchange(
        self, sending: Sending, key: str | None, token: str, ask: Ask, before_send: BeforeSend | None
    ) -> Answer:
        operation = sending.operation
        asked_at = time.monotonic()
        await self._budgets.spend(self.channel, PLAN, ask)
        call = Call(self.channel, operation.name, time.monotonic() - asked_at, ask.about)
        if before_send is not None:
            try:
                await before_send()
            except BaseException:
                await self._budgets.refund(self.channel, PLAN.operation, 1)
                raise
        headers = {**sending.headers, "Authorization": f"Bearer {token}"}
        if key is not None:
            headers["Idempotency-Key"] = f'"{key}"'
        line = ask.bill.line(self.channel, operation.name)
        line.calls += 1
        line.tokens += 1
        try:
            answer = await self._transport.send(
                operation.method,
                sending.url,
                write=operation.write,
                headers=headers,
                content=sending.content,
                call=call,
            )
        except NothingSent:
            line.calls -= 1
            line.tokens -= 1
            await self._budgets.refund(self.channel, PLAN.operation, 1)
            raise
        await self._adopt(answer)
        return answer

    async def _adopt(self, answer: Answer) -> None:
        """Bring our bucket in line with theirs."""
        if answer.status == 429:
            await self._budgets.drain(self.channel, PLAN.operation)
        limit = limit_of(answer.headers)
        if limit is not None:
            await self._budgets.adopt(
                self.channel,
                PLAN.operation,
                rate=limit.rate,
                # With less than one no call would be made any more, and nothing would bring a better word.
                burst=max(1.0, limit.quota) if limit.quota and limit.rate else None,
                remaining=limit.tokens,
            )

    def _read(self, operation: Operation, answer: Answer) -> Reply:
        etag, replayed = answer.headers.get("ETag"), _replayed(answer)
        if not answer.body:
            return Reply(None, etag, answer.request_id, replayed)
        try:
            return Reply(answer.json(), etag, answer.request_id, replayed)
        except Unreadable as problem:
            words = f"{self.config.shop}'s {operation.name} answered {answer.status} with {problem}"
            raise lost(operation.write, words, answer.request_id) from None

    async def _token(self) -> str:
        if self.config.token is not None:
            return self.config.token
        return await self._tokens.token(self.channel, self.config.client_secret or "", self._login)

    async def _login(self) -> tuple[str, float]:
        """A new access token and the seconds it lives: the client-credentials grant (RFC 6749, 4.4)."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.config.client_id,
            "client_secret": self.config.client_secret,
        }
        answer = await self._transport.send(
            "POST",
            f"{self.config.home}/oauth/token",
            write=False,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            content=urlencode(form).encode(),
            call=Call(self.channel, "login"),
        )
        if answer.status != 200:
            raise login_failure(answer, self.config.shop)
        try:
            granted = read(Granted, answer.json())
        except (Unreadable, Unclear) as problem:
            raise Transient(f"{self.config.shop} gave no access token: {problem}.") from problem
        return granted.access_token, granted.expires_in


def answered(model: type[W], reply: Reply, *, write: bool = False) -> W:
    """The body as a `model`. Raises Transient, or for a write OutcomeUnknown, for what has not the contract's form."""
    try:
        return read(model, reply.body)
    except Unclear as problem:
        raise lost(write, f"an answer that has not the contract's form: {problem}", reply.request_id) from problem


class _Made(Body):
    id: str


async def make(
    client: RestClient,
    operation: Operation,
    order: OrderKey,
    reference: str,
    body: Mapping[str, Any],
    ask: Ask,
    before_send: BeforeSend,
) -> Receipt:
    """Make one thing of an order, once for a `reference` and a body, however often it is asked; the receipt names it."""
    key = derived_id(operation.name, client.channel, order.external_id, reference, str(body))
    sent = await client.call(operation, ask, at={"id": order.external_id}, body=body, key=key, before_send=before_send)
    return Receipt(sent.request_id, answered(_Made, sent, write=True).id)


def _old_refusal(answer: Answer) -> bool:
    """A refusal that is repeated from the shop's memory, and not made now."""
    return _replayed(answer) and 400 <= answer.status < 500


def _replayed(answer: Answer) -> bool:
    return answer.headers.get("Idempotency-Replayed", "").strip().lower() in ("true", "?1")
