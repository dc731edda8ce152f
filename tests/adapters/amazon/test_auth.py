"""Tokens and consents: told apart, renewed, shared, and taken up again without a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from adapters.amazon.client import Client, Restricted
from adapters.amazon.consent import AmazonConsent
from adapters.amazon.platform import AmazonPort
from adapters.amazon.rotation import rotate_secret
from adapters.port import StockKey
from adapters.vault import OwnMemory
from adapters.wire import Wire
from domain.budget import Ask
from domain.channel import Channel
from domain.errors import Invalid, MissingRole, Transient, Unauthorized
from domain.grant import Kept
from domain.ids import ChannelId, ChannelSku
from tests.adapters.amazon.bench import Desk, Line, Sandbox, make_config, make_desk, make_pool

SHIPMENT = Restricted("GET", "/mfn/v0/shipments/{shipmentId}")
ORDERS = Restricted("GET", "/orders/v0/orders", ("buyerInfo", "shippingAddress"))


class Anything(Wire):
    """Any answer."""


class Vault(OwnMemory):
    """What the database would keep, put here by the test; `looks` counts how often somebody wanted to look anew."""

    def __init__(self, kept: Kept | None = None) -> None:
        super().__init__()
        self.now = self.seen = kept or Kept()
        self.looks = 0

    async def kept(self, channel: ChannelId, client_id: str) -> Kept:
        own = await super().kept(channel, client_id)
        return replace(self.seen, barred=own.barred, lacking=own.lacking)

    def forget(self, channel: ChannelId) -> None:
        self.looks += 1
        self.seen = self.now

    async def renew(
        self, channel: ChannelId, account: str, used: str, new: str, *, lives: timedelta | None = None
    ) -> bool:
        self.now = self.seen = replace(self.now, refresh_token=new)
        return True


def client_of(desk: Desk) -> Client:
    port = desk.port
    assert isinstance(port, AmazonPort)
    return port._client


def answered(body: Any) -> httpx.Response:
    return httpx.Response(200, json=body)


def denied() -> httpx.Response:
    error = {"code": "Unauthorized", "message": "Access to requested resource is denied.", "details": ""}
    return httpx.Response(403, json={"errors": [error]})


async def stock(desk: Desk) -> None:
    await desk.port.stock([make_pool(desk.config)], [StockKey(ChannelSku("A1"))], Ask())


async def test_a_403_to_an_older_token_is_asked_again_with_a_new_one(
    redis: Redis, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.amazon.client.FRESH_S", 0.0)
    desk = make_desk(redis, make_config(), httpx.MockTransport(line))
    line.answers.extend([denied(), answered({"payload": {"inventorySummaries": []}})])
    await stock(desk)
    assert [one.headers["x-amz-access-token"] for one in line.calls] == ["Atza|1", "Atza|2"]
    await desk.close()


async def test_a_new_refresh_token_in_an_answer_is_kept_and_used(redis: Redis, line: Line) -> None:
    vault = Vault()
    desk = make_desk(redis, make_config(), httpx.MockTransport(line), vault=vault)
    token = {"access_token": "Atza|1", "expires_in": 3600, "refresh_token": "Atzr|new"}
    line.login = lambda number: answered(token)
    line.answers.append(answered({"payload": []}))
    await desk.port.check(Ask())
    assert vault.now.refresh_token == "Atzr|new"
    await desk.port.check(Ask())
    assert [one["refresh_token"] for one in line.logins] == [["Atzr|sandbox-na"], ["Atzr|new"]]
    await desk.close()


async def test_the_kept_consent_goes_before_the_configured_one(redis: Redis, line: Line) -> None:
    desk = make_desk(redis, make_config(), httpx.MockTransport(line), vault=Vault(Kept("Atzr|kept")))
    line.answers.append(answered({"payload": []}))
    await desk.port.check(Ask())
    assert line.logins[0]["refresh_token"] == ["Atzr|kept"]
    await desk.close()


async def test_without_any_consent_nobody_is_asked(redis: Redis, line: Line) -> None:
    desk = make_desk(redis, make_config(refresh_token=None), httpx.MockTransport(line))
    with pytest.raises(Unauthorized, match="acorn channels authorize amazon"):
        await desk.port.check(Ask())
    assert (line.calls, line.logins) == ([], [])
    await desk.close()


async def test_a_consent_given_anew_is_found_when_the_old_one_is_refused(redis: Redis, line: Line) -> None:
    vault = Vault(Kept("Atzr|old"))
    vault.now = Kept("Atzr|new")
    desk = make_desk(redis, make_config(), httpx.MockTransport(line), vault=vault)

    def login(number: int) -> httpx.Response:
        if line.logins[-1]["refresh_token"] == ["Atzr|old"]:
            return httpx.Response(400, json={"error": "invalid_grant", "error_description": "No."})
        return answered({"access_token": "Atza|2", "expires_in": 3600})

    line.login = login
    line.answers.append(answered({"payload": []}))
    await desk.port.check(Ask())
    assert vault.looks == 1
    await desk.close()


async def test_the_newest_secret_that_amazon_takes_is_used(redis: Redis, line: Line) -> None:
    vault = Vault(Kept(secrets=("newest", "previous")))
    desk = make_desk(redis, make_config(), httpx.MockTransport(line), vault=vault)
    good = {"previous"}

    def login(number: int) -> httpx.Response:
        if line.logins[-1]["client_secret"][0] not in good:
            return httpx.Response(401, json={"error": "invalid_client", "error_description": "No."})
        return answered({"access_token": f"Atza|{number}", "expires_in": 3600})

    line.login = login
    line.answers.append(answered({"payload": []}))
    await desk.port.check(Ask())
    assert [one["client_secret"][0] for one in line.logins] == ["newest", "previous"]
    good.clear()
    await redis.flushdb()
    with pytest.raises(Unauthorized, match="does not know this client id and secret") as caught:
        await desk.port.check(Ask())
    assert caught.value.pauses
    assert [one["client_secret"][0] for one in line.logins[2:]] == ["newest", "previous", "sandbox-secret"]
    await desk.close()


@pytest.fixture
async def amazon(sandbox: Sandbox) -> AsyncIterator[Sandbox]:
    """The sandbox with all consents and roles, and after the test with its first tokens again."""
    await sandbox.post("plans", {"createRestrictedDataToken": {"rate": 1, "burst": 10}})
    yield sandbox
    for region in ("NA", "EU", "FE"):
        roles = (await sandbox.get("accounts"))["accounts"][0]["roles"]
        body = {"sellerId": f"A1SANDBOX{region}", "revoked": False, "roles": dict.fromkeys(roles, True)}
        await sandbox.post("accounts", body)
    await sandbox.post("accounts", {"clientSecret": "sandbox-secret"})
    await sandbox.post("rotation", {"enrolled": False})


async def lose(amazon: Sandbox, role: str, held: bool = False) -> None:
    await amazon.post("accounts", {"sellerId": "A1SANDBOXNA", "roles": {role: held}})


async def test_a_missing_role_holds_up_its_operation_alone_and_ends_by_itself(
    amazon: Sandbox, open_desk: Callable[..., Desk]
) -> None:
    desk = open_desk(amazon, role_pause_s=0.2)
    await stock(desk)
    await lose(amazon, "Selling Partner Insights")
    mark = await amazon.mark()
    for _ in range(3):
        with pytest.raises(
            MissingRole, match="Amazon refuses getMarketplaceParticipations although the token is fresh"
        ):
            await desk.port.check(Ask())
    assert 1 <= len(await amazon.calls(mark)) <= 3
    await stock(desk)
    await lose(amazon, "Selling Partner Insights", held=True)
    async with asyncio.timeout(30):
        while True:
            try:
                await desk.port.check(Ask())
                break
            except MissingRole:
                await asyncio.sleep(0.02)
    assert not (await client_of(desk)._login.kept()).lacking


async def test_nobody_asks_again_for_what_lacks_a_role(amazon: Sandbox, open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(amazon, role_pause_s=3600.0)
    await stock(desk)
    await lose(amazon, "Selling Partner Insights")
    mark = await amazon.mark()
    for _ in range(5):
        with pytest.raises(MissingRole):
            await desk.port.check(Ask())
    assert len(await amazon.calls(mark)) == 1


async def test_a_revoked_consent_is_told_from_a_missing_role_although_both_are_403(
    amazon: Sandbox, open_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = open_desk(amazon)
    await stock(desk)
    monkeypatch.setattr("adapters.amazon.client.FRESH_S", 0.0)
    await amazon.post("accounts", {"sellerId": "A1SANDBOXNA", "revoked": True})
    with pytest.raises(Unauthorized, match="withdrawn the consent") as caught:
        await stock(desk)
    assert (caught.value.pauses, caught.value.upstream_code) == (True, "invalid_grant")
    await amazon.post("accounts", {"sellerId": "A1SANDBOXNA", "revoked": False})
    await stock(desk)


async def test_a_consent_revoked_while_its_token_is_fresh_looks_like_a_missing_role_at_first_and_leaves_nothing_behind(
    amazon: Sandbox, open_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = open_desk(amazon, role_pause_s=0.1)

    async def ends() -> Exception | None:
        """What comes of it once the operation is tried again."""
        async with asyncio.timeout(30):
            while True:
                try:
                    await stock(desk)
                except MissingRole:
                    await asyncio.sleep(0.02)
                except Unauthorized as problem:
                    return problem
                else:
                    return None

    await stock(desk)
    await amazon.post("accounts", {"sellerId": "A1SANDBOXNA", "revoked": True})
    with pytest.raises(MissingRole):
        await stock(desk)
    monkeypatch.setattr("adapters.amazon.client.FRESH_S", 0.0)  # the minute is over
    problem = await ends()
    assert isinstance(problem, Unauthorized)
    assert (problem.pauses, problem.upstream_code) == (True, "invalid_grant")
    await amazon.post("accounts", {"sellerId": "A1SANDBOXNA", "revoked": False})
    assert await ends() is None
    assert not (await client_of(desk)._login.kept()).lacking


async def test_a_new_token_that_cannot_be_kept_costs_no_call(
    redis: Redis, line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(*_: object) -> None:
        raise Transient("The database does not answer.")

    vault = Vault()
    monkeypatch.setattr(vault, "renew", away)
    desk = make_desk(redis, make_config(), httpx.MockTransport(line), vault=vault)
    line.login = lambda number: answered({"access_token": "Atza|1", "expires_in": 3600, "refresh_token": "Atzr|new"})
    line.answers.append(answered({"payload": []}))
    await desk.port.check(Ask())
    assert [one.message for one in caplog.records if one.levelname == "ERROR"] == ["grant.not_kept"]
    await desk.close()


async def seal(desk: Desk, kind: Restricted) -> str:
    """The token that a call for this resource goes out with."""
    client = client_of(desk)
    _, token = await client._shared(
        (kind.method, kind.path, ",".join(kind.data_elements)), "m", lambda: client._restricted(kind, Ask())
    )
    return token


async def test_concurrent_calls_buy_one_restricted_data_token_for_each_resource(
    amazon: Sandbox, open_desk: Callable[..., Desk]
) -> None:
    desk = open_desk(amazon)
    mark = await amazon.mark()
    tokens = await asyncio.gather(*(seal(desk, kind) for kind in (SHIPMENT, ORDERS) for _ in range(10)))
    assert len(set(tokens)) == 2
    assert all(token.startswith("Atz.sprdt|") for token in tokens)
    assert len(await amazon.calls(mark, "createRestrictedDataToken")) == 2


async def test_a_restricted_data_token_that_runs_out_is_bought_anew(desk: Desk, line: Line) -> None:
    sealed = iter([{"restrictedDataToken": f"Atz.sprdt|{n}", "expiresIn": 3600} for n in (1, 2)])
    old = {"code": "Unauthorized", "message": "Access denied.", "details": "The access token you provided has expired."}
    answers = iter([httpx.Response(403, json={"errors": [old]}), answered({})])

    def answer(request: httpx.Request) -> httpx.Response:
        return answered(next(sealed)) if "restrictedDataToken" in request.url.path else next(answers)

    line.answers.append(answer)
    await client_of(desk).get("getShipment", "/mfn/v0/shipments/1", {}, Ask(), Anything, restricted=SHIPMENT)
    used = [one.headers["x-amz-access-token"] for one in line.calls]
    assert used == ["Atza|1", "Atz.sprdt|1", "Atza|1", "Atz.sprdt|2"]


async def test_a_missing_restricted_role_is_named_and_holds_up_who_wanted_it_alone(
    amazon: Sandbox, open_desk: Callable[..., Desk]
) -> None:
    desk = open_desk(amazon, role_pause_s=3600.0)
    await lose(amazon, "Direct-to-Consumer Delivery (Restricted)")
    client, mark = client_of(desk), await amazon.mark()
    for _ in range(2):
        with pytest.raises(MissingRole, match=r"no restricted data token for GET /mfn/v0/shipments/\{shipmentId\}"):
            await client.get("getShipment", "/mfn/v0/shipments/1", {}, Ask(), Anything, restricted=SHIPMENT)
    assert [one["operation"] for one in await amazon.calls(mark)] == ["createRestrictedDataToken"]
    await stock(desk)


async def test_a_grantless_call_goes_out_with_the_applications_own_token(desk: Desk, line: Line) -> None:
    line.answers.append(httpx.Response(204))
    assert await rotate_secret(client_of(desk), Ask()) is None
    [login] = line.logins
    assert (login["grant_type"], login["scope"]) == (
        ["client_credentials"],
        ["sellingpartnerapi::client_credential:rotation"],
    )


async def test_a_secret_is_rotated_and_the_old_one_goes_on_until_the_new_one_has_come(
    amazon: Sandbox, redis: Redis
) -> None:
    await amazon.post("plans", {"rotateApplicationClientSecret": {"rate": 1, "burst": 5}})
    vault = Vault()
    desk = make_desk(redis, make_config("na", amazon.url), vault=vault)
    with pytest.raises(Invalid, match="not enrolled"):
        await rotate_secret(client_of(desk), Ask())
    await amazon.post("rotation", {"enrolled": True})
    await rotate_secret(client_of(desk), Ask())
    await redis.flushdb()
    await stock(desk)
    new = (await amazon.get("rotation"))["rotations"][-1]["newClientSecret"]
    vault.now = vault.seen = Kept(secrets=(new,))
    await amazon.post("accounts", {"clientSecret": new})  # the old one has run out
    await redis.flushdb()
    await stock(desk)
    await desk.close()


@pytest.mark.parametrize("sandbox", [False, True])
@pytest.mark.parametrize("region", ["na", "eu", "fe"])
async def test_calls_go_to_the_regions_host_and_tokens_come_from_one_for_all(
    redis: Redis, line: Line, region: str, sandbox: bool
) -> None:
    config = make_config(region, endpoint=None)
    config = replace(config, channel=replace(config.channel, sandbox=sandbox))
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return line(request)

    line.answers.append(answered({"payload": []}))
    desk = make_desk(redis, config, httpx.MockTransport(answer))
    await desk.port.check(Ask())
    login, call = asked
    assert str(login) == "https://api.amazon.com/auth/o2/token"
    assert call.host == f"{'sandbox.' if sandbox else ''}sellingpartnerapi-{region}.amazon.com"
    assert {"authorization", "x-amz-security-token"}.isdisjoint(line.calls[0].headers)
    await desk.close()


def consent(region: str = "eu", **changes: Any) -> AmazonConsent:
    desk: Any = None
    return AmazonConsent(make_config(region, **({"endpoint": None} | changes)), desk, OwnMemory())


def channel(*codes: str) -> Channel:
    return replace(make_config().channel, marketplaces=codes)


APP = {"application_id": "amzn1.sellerapps.app.1"}


@pytest.mark.parametrize(
    ("region", "codes", "host"),
    [
        ("na", ("US", "CA"), "sellercentral.amazon.com"),
        ("na", ("CA",), "sellercentral.amazon.ca"),
        ("eu", ("DE",), "sellercentral-europe.amazon.com"),
        ("eu", ("GB",), "sellercentral-europe.amazon.com"),
        ("eu", ("IE", "PL"), "sellercentral.amazon.pl"),
        ("fe", ("JP",), "sellercentral.amazon.co.jp"),
    ],
)
def test_the_consent_page_is_that_of_the_accounts_first_marketplace(
    region: str, codes: tuple[str, ...], host: str
) -> None:
    url = httpx.URL(consent(region, channel=channel(*codes), **APP).url("s"))
    assert (url.scheme, url.host, url.path) == ("https", host, "/apps/authorize/consent")
    assert dict(url.params) == {"application_id": "amzn1.sellerapps.app.1", "state": "s"}


def test_a_draft_application_and_a_redirect_uri_are_told() -> None:
    back = "https://acorn.test/channels/authorized"
    url = httpx.URL(consent(**APP, draft=True, redirect_uri=back).url("s"))
    assert (url.params["version"], url.params["redirect_uri"]) == ("beta", back)


def test_what_the_page_needs_is_asked_for() -> None:
    with pytest.raises(Invalid, match="names no application_id"):
        consent().url("s")
    with pytest.raises(Invalid, match="No address of a consent page is known for IE"):
        consent(**APP, channel=channel("IE")).url("s")
