"""Calls to Amazon's Selling Partner API: token, budget, headers, and what an answer means."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import quote, urlencode

import orjson
from pydantic import ConfigDict, PositiveFloat

from adapters.amazon.config import AmazonConfig
from adapters.amazon.errors import expired, failure, login_failure
from adapters.budget import Budgets
from adapters.port import BeforeSend
from adapters.tokens import TokenStore
from adapters.transport import Answer, Call, NothingSent, Transport, Unreadable, lost
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask, Plan
from domain.errors import Transient

W = TypeVar("W", bound=Wire)


class Granted(Wire):
    """What Login with Amazon gives; it speaks in snake_case. The token dies in `expires_in` seconds."""

    model_config = ConfigDict(alias_generator=None)

    access_token: str
    expires_in: PositiveFloat


@dataclass(frozen=True, slots=True)
class Request:
    """One call to be made. What has a `before_send` changes something at Amazon."""

    plan: Plan
    method: str
    path: str
    ask: Ask
    content: bytes | None = None
    before_send: BeforeSend | None = None

    @property
    def write(self) -> bool:
        return self.before_send is not None


class Client:
    """One selling account's way to Amazon. Every call is made once; only an access token that has run out is renewed and the
    call repeated."""

    def __init__(
        self,
        config: AmazonConfig,
        plans: Mapping[str, Plan],
        transport: Transport,
        tokens: TokenStore,
        budgets: Budgets,
    ) -> None:
        self.channel = config.channel.id
        self._config = config
        self._plans = plans
        self._transport = transport
        self._tokens = tokens
        self._budgets = budgets

    async def get(
        self, operation: str, path: str, query: Mapping[str, str | Sequence[str]], ask: Ask, model: type[W]
    ) -> W:
        """The answer as a `model`. `path` comes percent-encoded; lists in `query` go out separated by commas."""
        found, _ = await self.get_with_id(operation, path, query, ask, model)
        return found

    async def get_with_id(
        self, operation: str, path: str, query: Mapping[str, str | Sequence[str]], ask: Ask, model: type[W]
    ) -> tuple[W, str | None]:
        """The answer and Amazon's id of the call. Raises Transient for an answer that is not what it should be."""
        whole = f"{path}?{encoded(query)}" if query else path
        answer = await self._call(Request(self._plans[operation], "GET", whole, ask))
        return _understood(operation, answer, model, write=False), answer.request_id

    async def post(
        self, operation: str, path: str, body: Mapping[str, object], ask: Ask, before_send: BeforeSend
    ) -> str | None:
        """Send a change; Amazon's id of the call. Raises OutcomeUnknown when nobody knows whether it was taken."""
        answer = await self._call(Request(self._plans[operation], "POST", path, ask, orjson.dumps(body), before_send))
        if answer.status != 204:
            # Success has no body here: whatever this says, it may come from something in between.
            raise lost(True, f"{operation}: {answer.status} instead of 204", answer.request_id)
        return answer.request_id

    async def patch(
        self,
        operation: str,
        path: str,
        query: Mapping[str, str | Sequence[str]],
        body: Mapping[str, object],
        ask: Ask,
        before_send: BeforeSend,
        model: type[W],
    ) -> tuple[W, str | None]:
        """Send a change that is answered; the answer as a `model`, and Amazon's id of the call. Raises as `post` does."""
        whole = f"{path}?{encoded(query)}"
        answer = await self._call(Request(self._plans[operation], "PATCH", whole, ask, orjson.dumps(body), before_send))
        return _understood(operation, answer, model, write=True), answer.request_id

    async def _call(self, request: Request) -> Answer:
        # The token first: while Amazon's login is down, waiting for a slot is of no use.
        token = await self._token()
        answer = await self._once(request, token)
        if expired(answer):
            await self._tokens.forget(self.channel, token)
            answer = await self._once(request, await self._token())
        if 200 <= answer.status < 300:
            return answer
        if answer.status == 429:
            await self._budgets.drain(self.channel, request.plan.operation)
        raise failure(answer, request.plan, write=request.write)

    async def _once(self, request: Request, token: str) -> Answer:
        """Pay, let the caller record its intent, and send."""
        plan = request.plan
        asked_at = time.monotonic()
        await self._budgets.spend(self.channel, plan, request.ask)
        call = Call(self.channel, plan.operation, time.monotonic() - asked_at)
        if request.before_send is not None:
            try:
                await request.before_send()
            except BaseException:
                await self._budgets.refund(self.channel, plan.operation, 1.0)
                raise
        sent = True
        try:
            answer = await self._transport.send(
                request.method,
                f"{self._config.api}{request.path}",
                write=request.write,
                headers=self._headers(request, token),
                content=request.content,
                call=call,
            )
        except NothingSent:
            sent = False
            await self._budgets.refund(self.channel, plan.operation, 1.0)
            raise
        finally:
            if sent:
                line = request.ask.bill.line(self.channel, plan.operation)
                line.calls += 1
                line.tokens += 1.0
        await self._adopt(plan, answer)
        return answer

    def _headers(self, request: Request, token: str) -> dict[str, str]:
        headers = {
            "x-amz-access-token": token,
            "x-amz-date": datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
            "user-agent": self._config.user_agent,
            "accept": "application/json",
        }
        # Amazon refuses a GET that announces a body.
        return headers if request.content is None else {**headers, "content-type": "application/json"}

    async def _adopt(self, plan: Plan, answer: Answer) -> None:
        """Amazon names its current rate on success and on most refusals; never how many tokens are left."""
        try:
            rate = float(answer.headers.get("x-amzn-ratelimit-limit", ""))
        except ValueError:
            return
        if 0 < rate < 1e6:
            await self._budgets.adopt(self.channel, plan.operation, rate=rate)

    async def _token(self) -> str:
        config = self._config
        secret = f"{config.client_id}\n{config.client_secret}\n{config.refresh_token}"
        return await self._tokens.token(self.channel, secret, self._login)

    async def _login(self) -> tuple[str, float]:
        """A new access token and the seconds it lives. Raises Unauthorized and Transient, saying which of both it is."""
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self._config.refresh_token,
            "client_id": self._config.client_id,
            "client_secret": self._config.client_secret,
        }
        answer = await self._transport.send(
            "POST",
            self._config.login,
            write=False,
            headers={"content-type": "application/x-www-form-urlencoded;charset=UTF-8", "accept": "application/json"},
            content=urlencode(form).encode(),
            call=Call(self.channel, "login"),
        )
        if answer.status != 200:
            raise login_failure(answer)
        try:
            granted = read(Granted, answer.json())
        except (Unreadable, Unclear) as problem:
            raise Transient(f"Login with Amazon gave no access token: {problem}.") from problem
        return granted.access_token, granted.expires_in


def _understood(operation: str, answer: Answer, model: type[W], *, write: bool) -> W:
    try:
        return read(model, answer.json())
    except (Unreadable, Unclear) as problem:
        raise lost(write, f"{operation}: {problem}", answer.request_id) from problem


def encoded(query: Mapping[str, str | Sequence[str]]) -> str:
    """A query string. The items of a list are encoded one by one, then joined with commas: a SKU may hold a comma."""
    return "&".join(
        f"{quote(name, safe='')}="
        + (quote(value, safe="") if isinstance(value, str) else ",".join(quote(item, safe="") for item in value))
        for name, value in query.items()
    )
