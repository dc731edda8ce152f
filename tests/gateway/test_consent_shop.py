"""A shop's owner lets the app in: from the command line or a link, over the shop's page, back to the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from adapters.consent import Consent
from adapters.shopify.platform import ShopifyPort
from domain.budget import Ask
from domain.errors import Unauthorized
from domain.ids import ChannelId
from gateway import consent, logs
from gateway.config import read_config
from gateway.wiring import build_consents
from gateway.worker import deps_of
from resolvers import channel as channels
from sandbox.visit import serving
from store import channel
from store.grant import Grants
from tests.conftest import emptied
from tests.gateway import visit as visits
from tests.gateway.conftest import served, settings_of
from tests.gateway.visit import KEY, RING
from workers.rights import AGAIN_S, EVERY_S, Rights
from workers.streams import sync_once

SHOP, CUSTOM, OWN = ChannelId("shop"), ChannelId("custom"), ChannelId("own")
SCOPES = [
    "write_products",
    "read_products",
    "write_inventory",
    "read_inventory",
    "read_locations",
    "write_orders",
    "read_orders",
    "read_all_orders",
    "write_merchant_managed_fulfillment_orders",
    "read_merchant_managed_fulfillment_orders",
    "read_shopify_payments_accounts",
    "read_shopify_payments_payouts",
]
FILE = """
[[channels]]
id = "shop"
platform = "shopify"
name = "Acorn"
shop = "acorn-sandbox.myshopify.com"
grant = "expiring"
client_id = "sandbox-client"
client_secret = "sandbox-secret"
redirect_uri = "{back}"
endpoint = "{endpoint}"

[[channels]]
id = "custom"
platform = "shopify"
name = "Acorn, by a token"
shop = "acorn-sandbox.myshopify.com"
grant = "token"
endpoint = "{endpoint}"

[[channels]]
id = "own"
platform = "shopify"
name = "Acorn, by credentials"
shop = "acorn-sandbox.myshopify.com"
client_id = "sandbox-client"
client_secret = "sandbox-secret"
endpoint = "{endpoint}"
"""


class Visit(visits.Visit):
    """The app in one shop."""

    @property
    def asked(self) -> Consent:
        return self.gateway.app.standing.house.consents[SHOP]

    async def app(self, **body: Any) -> None:
        await self.control("app", body)

    async def calls(self) -> int:
        return len((await self.platform.get("/_sandbox/journal")).json()["calls"])

    async def tokens(self, id: ChannelId = SHOP) -> list[str]:
        return (await self.kept(id) or "").split()

    async def consent(self) -> httpx.Response:
        """From start to end, in one browser."""
        started = await consent.start(self.store, RING, self.asked)
        async with self.browser() as browser:
            return await browser.get(started.url)


@pytest.fixture(scope="module")
async def shared(
    new_database: Callable[[], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Visit]:
    """One gateway and one shop for the whole file."""
    folder = tmp_path_factory.mktemp("consent")
    settings = settings_of(new_database(), redis_url, folder, keys=(SecretStr(KEY),))
    async with serving("shopify", products=5, orders=5) as endpoint:
        settings.config.write_text(FILE.format(endpoint=endpoint, back="http://127.0.0.1:9/"), encoding="utf-8")
        async with (
            served(settings) as gateway,
            httpx.AsyncClient(base_url=endpoint, trust_env=False, timeout=30) as shop,
        ):
            # The gateway's own port is known only now.
            back = f"{gateway.url}/channels/authorized"
            settings.config.write_text(FILE.format(endpoint=endpoint, back=back), encoding="utf-8")
            house = gateway.app.standing.house
            vault = Grants(house.store, house.ring)
            house.consents.update(build_consents(read_config(settings.config), house.transport, vault))
            yield Visit(gateway, shop, settings, folder)


@pytest.fixture
async def visit(shared: Visit, redis: object, monkeypatch: pytest.MonkeyPatch) -> Visit:
    """Nothing is kept anywhere, and the app is in the shop as at first."""
    monkeypatch.setattr(logs, "set_up", lambda level, form: None)
    monkeypatch.chdir(shared.folder)
    await emptied(shared.store)
    shared.gateway.keys.clear()
    house = shared.gateway.app.standing.house
    for port in house.ports.values():
        assert isinstance(port, ShopifyPort)
        port._vault.forget(port.channel.id)
    await shared.app(installed=False)
    await shared.app(installed=True, refuse=False, scopes=SCOPES, shop="acorn-sandbox.myshopify.com", redirectUris=[])
    return shared


async def test_the_command_line_asks_and_tells_what_became_of_it(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    port = visit.gateway.app.standing.house.ports[SHOP]
    with pytest.raises(Unauthorized, match="acorn channels authorize shopify shop"):
        await port.check(Ask())
    page, _ = await visit.authorize("shopify", SHOP, monkeypatch)
    assert "shop (Acorn, account acorn-sandbox.myshopify.com) is authorized" in page.text
    [kept] = await visit.tokens()
    assert kept.startswith("shprt_")
    # The running gateway, which has asked in vain a moment ago, takes it up.
    assert "answers" in (await port.check(Ask())).said


async def test_a_link_is_opened_once_and_finished_in_its_own_browser(visit: Visit) -> None:
    started = await consent.start_link(visit.store, RING, visit.asked, visit.gateway.url)
    async with visit.browser() as browser, visit.browser() as other:
        first = await browser.get(started.url, follow_redirects=False)
        assert (first.status_code, "On to Shopify" in first.text) == (303, True)
        assert (await other.get(started.url)).status_code == 410
        assert (await other.get(first.headers["location"])).status_code == 403
    assert await visit.tokens() == []


async def test_what_shopify_has_not_signed_is_refused_and_nothing_is_kept(visit: Visit) -> None:
    started = await consent.start(visit.store, RING, visit.asked)
    async with visit.browser() as browser:
        page = await browser.get(started.url, follow_redirects=False)
        back = httpx.URL(page.headers["location"])
        calls = await visit.calls()
        forged = await browser.get(back.copy_set_param("code", "of-another-account"))
        assert (forged.status_code, "does not come from Shopify" in forged.text) == (403, True)
        # Not even the right one is good after that: its state is spent.
        assert (await browser.get(back)).status_code == 400
    # Nobody has asked the shop for a token.
    assert await visit.calls() == calls
    outcome = await consent.outcome(visit.store, started.id)
    assert outcome is not None
    assert outcome.granted is False
    assert await visit.tokens() == []


async def test_another_shops_consent_is_refused_by_name(visit: Visit) -> None:
    await visit.app(shop="other.myshopify.com")
    page = await visit.consent()
    assert page.status_code == 409
    assert "The shop that consented is other.myshopify.com; shop is set up for acorn-sandbox.myshopify.com" in page.text
    assert await visit.tokens() == []


async def test_a_scope_that_is_not_granted_is_told_at_once_and_stays_told(visit: Visit) -> None:
    standing = visit.gateway.app.standing
    rights, port = Rights(deps_of(standing.house), lambda: None), standing.house.ports[SHOP]
    await visit.app(scopes=[one for one in SCOPES if not one.endswith("_orders") or "fulfillment" in one])
    page = await visit.consent()
    assert (page.status_code, "orders can be neither canceled nor refunded" in page.text) == (200, True)
    assert await rights.look(port) < EVERY_S
    assert await channels.ailments(standing.shelf, SHOP) == ["read_orders: Without read_orders, orders are not read."]
    told = (await visit.gateway.http.get("/metrics")).text
    assert 'acorn_channel_role_missing{channel="shop",operation="read_orders"} 1.0' in told
    # The owner grants it: the next look finds it there, without a new consent.
    await visit.app(scopes=SCOPES)
    assert await rights.look(port) == EVERY_S
    assert await channels.ailments(standing.shelf, SHOP) == []


async def test_an_uninstalled_app_pauses_the_shop_until_it_is_let_in_again(visit: Visit) -> None:
    standing = visit.gateway.app.standing
    deps = replace(deps_of(standing.house), ports={SHOP: standing.house.ports[SHOP]})
    assert (await visit.consent()).status_code == 200
    port = deps.ports[SHOP]
    rights = Rights(deps, lambda: None)
    assert await rights.look(port) == EVERY_S
    await visit.app(installed=False)
    assert await rights.look(port) == AGAIN_S
    [ailment] = await channels.ailments(standing.shelf, SHOP)
    assert ailment.startswith("paused: acorn-sandbox.myshopify.com gives no access token")
    assert "acorn channels authorize shopify shop" in ailment
    assert (await visit.consent()).status_code == 200
    async with visit.store.begin() as tx:
        assert await channel.states(tx) == {}
    assert await rights.look(port) == EVERY_S
    assert await sync_once(deps, lambda *_: None) == {}


async def test_a_pasted_token_is_tried_and_kept(visit: Visit) -> None:
    refused = await visit.command("channels", "token", "shopify", "custom", stdin="shpat_nobody\n")
    assert (refused.exit_code, "refuses the access token" in refused.stderr) == (1, True)
    told = await visit.command("channels", "token", "shopify", "custom", stdin="shpat_sandbox\n")
    assert (told.exit_code, await visit.tokens(CUSTOM)) == (0, ["shpat_sandbox"])
    assert "shpat_" not in told.output
    port = visit.gateway.app.standing.house.ports[CUSTOM]
    assert "answers" in (await port.check(Ask())).said


async def test_what_cannot_be_asked_for_is_told(visit: Visit) -> None:
    for arguments, words in (
        (("authorize", "shopify", "own"), "No channel of shopify that consents is called own; there is shop, custom"),
        (("authorize", "shopify", "custom"), "for which nobody consents. Run `acorn channels token shopify custom`"),
        (("rotate-secret", "shopify", "shop"), "Secrets of shopify are not changed here"),
    ):
        told = await visit.command("channels", *arguments)
        assert (told.exit_code, words in told.stderr) == (1, True), told.stderr


async def test_the_doctor_says_how_each_shop_is_let_in(visit: Visit) -> None:
    told = " ".join((await visit.command("doctor")).output.split())
    assert "FAIL consent shop: there is none, neither kept nor in the configuration" in told
    assert "→ Run `acorn channels authorize shopify shop`." in told
    assert "→ Run `acorn channels token shopify custom`." in told
    assert "consent own" not in told
    assert (await visit.consent()).status_code == 200
    assert "ok consent shop: kept since" in " ".join((await visit.command("doctor")).output.split())
