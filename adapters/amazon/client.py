"""Calls to Amazon's Selling Partner API: token, budget, headers, and what an answer means."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TypeAlias, TypeVar
from urllib.parse import quote

import orjson
from pydantic import PositiveFloat

from adapters.amazon.config import AmazonConfig
from adapters.amazon.errors import expired, failure
from adapters.amazon.login import Login
from adapters.budget import Budgets
from adapters.port import BeforeSend
from adapters.tokens import Refresh, TokenStore
from adapters.transport import Answer, Call, NothingSent, Transport, Unreadable, lost
from adapters.vault import OwnMemory, Vault
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask, Plan
from domain.errors import Invalid, MissingRole

log = logging.getLogger(__name__)

W = TypeVar("W", bound=Wire)
Query: TypeAlias = Mapping[str, str | Sequence[str]]


SEAL = "createRestrictedDataToken"
# A token that this process has bought so long ago at most cannot be why it is refused.
FRESH_S = 60.0


class Sealed(Wire):
    """A restricted data token, which dies in `expires_in` seconds."""

    restricted_data_token: str
    expires_in: PositiveFloat


@dataclass(frozen=True, slots=True)
class Restricted:
    """Buyers' data that a call reads: one restricted resource, as it is written in Amazon's model of it, e.g.
    ("GET", "/mfn/v0/shipments/{shipmentId}"), with the names of the data elements where the operation has any."""

    method: str
    path: str
    data_elements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One call to be made. What has a `before_send` changes something at Amazon.

    It goes out with the seller's access token; with that of the application alone where `scope` names what Amazon calls a
    grantless scope; or with a restricted data token for `restricted`. `extra` names data sets that can be left out of the
    question: where they are refused, they alone wait for their role.
    """

    plan: Plan
    method: str
    path: str
    ask: Ask
    content: bytes | None = None
    before_send: BeforeSend | None = None
    scope: str | None = None
    restricted: Restricted | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()

    @property
    def needs(self) -> str:
        """What a missing role is noted for."""
        return self.plan.operation + (f" with {', '.join(self.extra)}" if self.extra else "")

    @property
    def write(self) -> bool:
        return self.before_send is not None


class Client:
    """One selling account's way to Amazon. Every call is made once; only one that is refused for its access token, run out or
    older than a moment, is repeated with a new one. What is refused then lacks a role, and is left alone for a while."""

    def __init__(
        self,
        config: AmazonConfig,
        plans: Mapping[str, Plan],
        transport: Transport,
        tokens: TokenStore,
        budgets: Budgets,
        vault: Vault | None = None,
    ) -> None:
        self.channel = config.channel.id
        self._config = config
        self._plans = plans
        self._transport = transport
        self._tokens = tokens
        self._vault = vault or OwnMemory()
        self.buyers = config.buyers
        self._login = Login(config, transport, self._vault)
        # The last token that this process has bought under each name, and when.
        self._bought: dict[str, tuple[str, float]] = {}
        self._budgets = budgets

    @property
    def transport(self) -> Transport:
        """For addresses that Amazon has given out: they take neither token nor budget."""
        return self._transport

    async def get(
        self,
        operation: str,
        path: str,
        query: Query,
        ask: Ask,
        model: type[W],
        *,
        scope: str | None = None,
        restricted: Restricted | None = None,
    ) -> W:
        """The answer as a `model`. `path` comes percent-encoded; lists in `query` go out separated by commas."""
        found, _ = await self.get_with_id(operation, path, query, ask, model, scope=scope, restricted=restricted)
        return found

    async def get_with_id(
        self,
        operation: str,
        path: str,
        query: Query,
        ask: Ask,
        model: type[W],
        *,
        scope: str | None = None,
        restricted: Restricted | None = None,
        headers: Mapping[str, str] | None = None,
        extra: tuple[str, ...] = (),
    ) -> tuple[W, str | None]:
        """The answer and Amazon's id of the call. Raises Transient for an answer that is not what it should be, and MissingRole
        alone for what is refused of the data sets `extra`."""
        request = Request(
            self._plans[operation],
            "GET",
            _whole(path, query),
            ask,
            scope=scope,
            restricted=restricted,
            headers=headers or {},
            extra=extra,
        )
        answer = await self._call(request)
        return _understood(operation, answer, model, write=False), answer.request_id

    async def read(
        self,
        operation: str,
        path: str,
        body: object,
        ask: Ask,
        model: type[W],
        *,
        method: str = "POST",
        query: Query = {},  # noqa: B006  never changed
        restricted: Restricted | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[W, str | None]:
        """A question that Amazon wants to be sent as a POST (batches, estimates, rates, previews): nothing is changed by it."""
        request = Request(
            self._plans[operation],
            method,
            _whole(path, query),
            ask,
            orjson.dumps(body),
            restricted=restricted,
            headers=headers or {},
        )
        answer = await self._call(request)
        return _understood(operation, answer, model, write=False), answer.request_id

    async def change(
        self,
        operation: str,
        method: str,
        path: str,
        ask: Ask,
        before_send: BeforeSend,
        model: type[W],
        *,
        query: Query = {},  # noqa: B006  never changed
        body: object = None,
        scope: str | None = None,
        restricted: Restricted | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[W, str | None]:
        """Send a change that is answered; the answer as a `model`, and Amazon's id of the call. Raises OutcomeUnknown when
        nobody knows whether it was taken."""
        request = Request(
            self._plans[operation],
            method,
            _whole(path, query),
            ask,
            None if body is None else orjson.dumps(body),
            before_send,
            scope,
            restricted,
            headers or {},
        )
        answer = await self._call(request)
        return _understood(operation, answer, model, write=True), answer.request_id

    async def change_unanswered(
        self,
        operation: str,
        method: str,
        path: str,
        ask: Ask,
        before_send: BeforeSend,
        *,
        body: object = None,
        status: int = 204,
        scope: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str | None:
        """Send a change whose success has no body but `status` alone; Amazon's id of the call. Raises as `change` does."""
        content = None if body is None else orjson.dumps(body)
        plan = self._plans[operation]
        request = Request(plan, method, path, ask, content, before_send, scope, headers=headers or {})
        answer = await self._call(request)
        if answer.status != status:
            # Whatever this says, it may come from something in between.
            raise lost(True, f"{operation}: {answer.status} instead of {status}", answer.request_id)
        return answer.request_id

    async def pay(self, plan: Plan, ask: Ask) -> None:
        """Wait for a slot of a limit that Amazon has beside those of its operations. Raises Throttled."""
        await self._budgets.spend(self.channel, plan, ask)

    async def _call(self, request: Request) -> Answer:
        needs = request.needs
        kept = await self._login.kept()
        if (reason := kept.barred.get(needs)) is not None:
            raise MissingRole(reason)
        try:
            answer = await self._answered(request)
        except MissingRole as problem:
            await self._bar(needs, problem)
            raise
        except Invalid as problem:
            if not request.extra:
                raise
            # Some regions do not take every data set. What else may be wrong is told when it is asked for without them.
            refused = MissingRole(f"{needs}: {problem.message}", upstream_request_id=problem.upstream_request_id)
            await self._bar(needs, refused)
            raise refused from problem
        if needs in kept.lacking:
            await self._vault.clear(self.channel, needs)
            log.info("role.regained", extra={"channel": self.channel, "operation": needs})
        return answer

    async def _answered(self, request: Request) -> Answer:
        """A success. Everything else is raised."""
        # The token first: while Amazon's login is down, waiting for a slot is of no use.
        name, token = await self._token(request)
        answer = await self._once(request, token)
        if expired(answer) or (answer.status == 403 and not self._fresh(name, token)):
            await self._tokens.forget(name, token)
            # One that is refused for good, since its consent is gone, cannot be bought anew: the login says so.
            _, token = await self._token(request)
            answer = await self._once(request, token)
        if 200 <= answer.status < 300:
            return answer
        if answer.status == 429:
            await self._budgets.drain(self.channel, request.plan.operation)
        raise failure(answer, request.plan, write=request.write)

    def _fresh(self, name: str, token: str) -> bool:
        bought, at = self._bought.get(name, ("", 0.0))
        return bought == token and time.monotonic() - at < FRESH_S

    async def _bar(self, operation: str, problem: MissingRole) -> None:
        # What a restricted token is refused for is the role of who wanted it.
        if operation != SEAL and await self._vault.bar(
            self.channel, operation, problem.message, self._config.role_pause_s
        ):
            extra = {"channel": self.channel, "operation": operation, "reason": problem.message}
            log.error("role.missing", extra=extra | {"upstream_request_id": problem.upstream_request_id})

    async def _once(self, request: Request, token: str) -> Answer:
        """Pay, let the caller record its intent, and send."""
        plan = request.plan
        asked_at = time.monotonic()
        await self._budgets.spend(self.channel, plan, request.ask)
        call = Call(self.channel, plan.operation, time.monotonic() - asked_at, request.ask.about)
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
            **request.headers,
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

    async def _token(self, request: Request) -> tuple[str, str]:
        """(the name under which it is shared, the token)."""
        config, kept = self._config, await self._login.kept()
        if request.scope is not None:
            material = f"{config.client_id}\n{kept.secrets[0]}"
            return await self._shared((request.scope,), material, partial(self._login.grantless, request.scope))
        material = f"{config.client_id}\n{kept.refresh_token}"
        if request.restricted is None:
            return await self._shared((), material, self._login.seller)
        kind = request.restricted
        parts = (kind.method, kind.path, ",".join(kind.data_elements))
        return await self._shared(parts, material, partial(self._restricted, kind, request.ask))

    async def _shared(self, parts: tuple[str, ...], material: str, buy: Refresh) -> tuple[str, str]:
        # By what buys it: while some processes know of a new consent and others not yet, neither takes the other's away.
        mark = hashlib.sha256(material.encode()).hexdigest()[:12]
        name = ":".join((self.channel, mark, *parts))

        async def bought() -> tuple[str, float]:
            token, life_s = await buy()
            self._bought[name] = token, time.monotonic()
            return token, life_s

        return name, await self._tokens.token(name, material, bought)

    async def _restricted(self, kind: Restricted, ask: Ask) -> tuple[str, float]:
        """A restricted data token and the seconds it lives. Source: Tokens API 2021-03-01, createRestrictedDataToken.

        Raises MissingRole, naming the resource, when the role for any of its data is missing.
        """
        resource: dict[str, object] = {"method": kind.method, "path": kind.path}
        if kind.data_elements:
            resource["dataElements"] = list(kind.data_elements)
        path = "/tokens/2021-03-01/restrictedDataToken"
        try:
            given, _ = await self.read(SEAL, path, {"restrictedResources": [resource]}, ask, Sealed)
        except MissingRole as problem:
            elements = f" ({', '.join(kind.data_elements)})" if kind.data_elements else ""
            raise MissingRole(
                f"Amazon gives no restricted data token for {kind.method} {kind.path}{elements}: the application lacks the "
                "restricted role for these data. Give it the role and let the account consent again.",
                upstream_request_id=problem.upstream_request_id,
                upstream_code=problem.upstream_code,
            ) from problem
        return given.restricted_data_token, given.expires_in


def _whole(path: str, query: Query) -> str:
    return f"{path}?{encoded(query)}" if query else path


def _understood(operation: str, answer: Answer, model: type[W], *, write: bool) -> W:
    try:
        return read(model, answer.json())
    except (Unreadable, Unclear) as problem:
        raise lost(write, f"{operation}: {problem}", answer.request_id) from problem


def encoded(query: Query) -> str:
    """A query string. The items of a list are encoded one by one, then joined with commas: a SKU may hold a comma."""
    return "&".join(
        f"{quote(name, safe='')}="
        + (quote(value, safe="") if isinstance(value, str) else ",".join(quote(item, safe="") for item in value))
        for name, value in query.items()
    )
