"""Each thing that can go wrong at a shop has exactly one policy, the wire meets it so, and the docs print it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from adapters.budget import Budgets
from adapters.policy import Again, Pauses, Policy, table
from adapters.shopify.client import ShopClient
from adapters.shopify.config import Kind, ShopifyConfig
from adapters.shopify.documents import CURRENCY, SHIP, SHOP
from adapters.shopify.errors import POLICIES
from adapters.tokens import TokenStore
from adapters.transport import Transport
from domain.budget import Ask
from domain.errors import HouseError, MissingRole, Refused, Unauthorized
from tests.adapters.shopify.bench import CHANNEL

PAGE = Path(__file__).parents[3] / "docs" / "shopify.md"
HTML = httpx.Response(200, content=b"<html>welcome</html>", headers={"content-type": "text/html"})
DATA = {"shop": {"name": "Acorn", "currencyCode": "EUR"}, "fulfillmentCreate": None, "currentAppInstallation": None}

Wire: TypeAlias = Sequence[httpx.Response | Exception]


def says(status: int, words: str = "No.") -> httpx.Response:
    return httpx.Response(status, json={"errors": words})


def error(code: str | None, message: str = "No.", data: Any = None) -> httpx.Response:
    told = {"message": message, "extensions": {"code": code} if code else {}}
    return httpx.Response(200, json={"errors": [told], "data": data})


EXPIRED = says(401, "[API] Invalid API key or access token (unrecognized login or wrong password)")
NO_APP = httpx.Response(400, json={"error": "app_not_installed"})
NO_CLIENT = httpx.Response(401, json={"error": "invalid_client"})

# What the wire says for each row, in order; the last answer stays.
WIRE: dict[str, Wire] = {
    "400": [says(400)],
    "401, the access token has run out": [EXPIRED, httpx.Response(200, json={"data": DATA})],
    "401 to a token that lasts, or to a new one: revoked": [EXPIRED],
    "401, then the login refuses: the app was uninstalled": [EXPIRED],
    "the login's `invalid_client`: a wrong secret": [EXPIRED],
    "402, the shop is frozen": [says(402)],
    "403, tokens without an end are no longer taken": [
        says(403, "[API] Non-expiring access tokens are no longer accepted for the Admin API")
    ],
    "403, anything else": [says(403)],
    "404, no such shop": [says(404)],
    "423, the shop is locked": [says(423)],
    "429": [says(429)],
    "430, turned away as a risk": [says(430)],
    "any other 4xx": [says(406)],
    "500": [says(500)],
    "502, with a page of HTML": [httpx.Response(502, content=b"<html>Bad Gateway</html>")],
    "any other status": [httpx.Response(301, headers={"location": "https://elsewhere.test"})],
    "200, `THROTTLED`": [error("THROTTLED")],
    "200, `ACCESS_DENIED`: a missing scope": [error("ACCESS_DENIED")],
    "200, `SHOP_INACTIVE`": [error("SHOP_INACTIVE")],
    "200, `RESOURCE_NOT_FOUND`": [error("RESOURCE_NOT_FOUND", "invalid id")],
    "200, the document or a variable is not taken": [error("undefinedField")],
    "200, `MAX_COST_EXCEEDED`, `MAX_INPUT_SIZE_EXCEEDED`": [error("MAX_COST_EXCEEDED")],
    "200, `INTERNAL_SERVER_ERROR`, with part of the data": [error("INTERNAL_SERVER_ERROR", data=DATA)],
    "200, `errors` is a string": [says(200)],
    "200, any other error": [error(None)],
    "200 without data": [httpx.Response(200, json={"data": None})],
    "200 with HTML instead of JSON": [HTML],
    "no connection": [httpx.ConnectError("refused")],
    "a timeout": [httpx.ReadTimeout("slow")],
    "a reset": [httpx.ReadError("reset by peer")],
}
LOGIN = {
    "401, then the login refuses: the app was uninstalled": NO_APP,
    "the login's `invalid_client`: a wrong secret": NO_CLIENT,
}


@dataclass
class Line:
    """The shop's end of the wire: `answers` to documents, the last one for ever; `login` from the second token on."""

    answers: list[httpx.Response | Exception] = field(default_factory=list)
    login: httpx.Response | None = None
    calls: int = 0
    logins: int = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/access_token"):
            self.logins += 1
            granted = {"access_token": f"shpat_{self.logins}", "expires_in": 86_399}
            return httpx.Response(200, json=granted) if self.logins == 1 or self.login is None else self.login
        self.calls += 1
        told = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(told, Exception):
            raise told
        return told


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
async def client(line: Line, tokens: TokenStore, budgets: Budgets) -> AsyncIterator[ShopClient]:
    app = {"client_id": "app", "client_secret": "hush"}
    config = ShopifyConfig(CHANNEL, "acorn.myshopify.com", endpoint="http://shop.test", **app)  # type: ignore[arg-type]
    assert config.kind is Kind.CLIENT_CREDENTIALS
    transport = Transport(wire=httpx.MockTransport(line))
    yield ShopClient(config, transport, tokens, budgets)
    await transport.close()


async def read(client: ShopClient) -> None:
    await client.run(SHOP, {}, Ask())


async def go() -> None:
    """May be sent."""


async def write(client: ShopClient) -> None:
    await client.run(SHIP, {}, Ask(), go)


async def met(call: Any, client: ShopClient) -> HouseError | None:
    try:
        await call(client)
    except HouseError as problem:
        return problem
    return None


def lay(line: Line, policy: Policy) -> None:
    line.answers[:] = WIRE[policy.met]
    line.login = LOGIN.get(policy.met)


def test_each_failure_has_one_row_and_each_row_its_wire() -> None:
    assert Counter(one.met for one in POLICIES) == Counter(list(WIRE))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda one: one.met)
@pytest.mark.parametrize("call", [read, write], ids=["read", "write"])
async def test_a_call_ends_as_the_table_says(client: ShopClient, line: Line, policy: Policy, call: Any) -> None:
    lay(line, policy)
    problem = await met(call, client)
    if policy.again is Again.RENEWED:
        assert (problem, line.calls, line.logins) == (None, 2, 2)
    else:
        assert type(problem) is (policy.read if call is read else policy.write)
        # A token that is refused may have run out: it is renewed once before anybody is told.
        assert line.calls == (2 if WIRE[policy.met] == [EXPIRED] and policy.met not in LOGIN else 1)


@pytest.mark.parametrize("policy", [one for one in POLICIES if one.again is not Again.RENEWED], ids=lambda one: one.met)
async def test_what_waits_is_what_the_table_says(client: ShopClient, line: Line, policy: Policy) -> None:
    lay(line, policy)
    problem = await met(read, client)
    calls = line.calls
    assert (isinstance(problem, Unauthorized) and problem.pauses) == (policy.pauses is Pauses.ACCOUNT)
    assert isinstance(problem, MissingRole) == (policy.pauses is Pauses.OPERATION)
    assert isinstance(problem, Refused) == (policy.again is Again.NEVER)
    if policy.pauses is Pauses.OPERATION:
        # Its next caller is refused without a call; who needs another scope is not.
        assert isinstance(await met(read, client), MissingRole)
        assert line.calls == calls
        line.answers[:] = [httpx.Response(200, json={"data": DATA})]
        await client.run(CURRENCY, {}, Ask())


@pytest.mark.parametrize(
    ("met_by", "words"),
    [
        ("402, the shop is frozen", "is frozen until its owner pays"),
        ("403, tokens without an end are no longer taken", 'Set grant = "expiring"'),
        ("404, no such shop", "does not exist under this address"),
        ("423, the shop is locked", "is locked"),
        ("401, then the login refuses: the app was uninstalled", "Is the app still installed?"),
        ("the login's `invalid_client`: a wrong secret", "Check both"),
    ],
)
async def test_who_has_to_mend_it_is_told_how(client: ShopClient, line: Line, met_by: str, words: str) -> None:
    lay(line, next(one for one in POLICIES if one.met == met_by))
    problem = await met(read, client)
    assert problem is not None
    assert words in problem.message


def test_the_docs_print_the_table() -> None:
    assert table(POLICIES) in PAGE.read_text(encoding="utf-8")
