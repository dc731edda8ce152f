"""A consent as its people meet it: from the command line or a link, over Amazon's page, back to the gateway."""

from __future__ import annotations

import asyncio
import html
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy import text

from adapters.amazon.consent import AmazonConsent
from domain.budget import Ask
from domain.channel import StreamName
from domain.errors import MissingRole, Unauthorized
from domain.grant import Source
from domain.ids import ChannelId
from gateway import consent, logs
from gateway.worker import deps_of
from resolvers import channel as channels
from sandbox.visit import serving
from store import channel, grant
from store.keyring import Keyring
from tests.conftest import emptied
from tests.gateway import visit as visits
from tests.gateway.conftest import Acorn, in_store, plain, served, settings_of
from tests.gateway.visit import KEY, RING
from workers.streams import sync_once

OTHER = Fernet.generate_key().decode()
EU = ChannelId("amazon-eu")
AMAZON = """
[[channels]]
id = "amazon-eu"
platform = "amazon"
name = "Amazon Europe"
region = "eu"
marketplaces = ["DE"]
seller_id = "A1SANDBOXEU"
client_id = "amzn1.application-oa2-client.sandbox"
client_secret = "sandbox-secret"
application_id = "amzn1.sellerapps.app.sandbox"
endpoint = "{endpoint}"
"""


class Visit(visits.Visit):
    """The one account of Amazon."""

    @property
    def account(self) -> AmazonConsent:
        account = self.gateway.app.standing.house.consents[EU]
        assert isinstance(account, AmazonConsent)
        return account

    async def good(self) -> str:
        """The refresh token that Amazon takes for the account."""
        shown = (await self.platform.get("/_sandbox/accounts")).json()["accounts"]
        return str(next(one["refreshToken"] for one in shown if one["sellerId"] == "A1SANDBOXEU"))

    async def token(self) -> str | None:
        return await self.kept(EU)


@pytest.fixture(scope="module")
async def shared(
    new_database: Callable[[], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Visit]:
    """One gateway and one Amazon for the whole file."""
    folder = tmp_path_factory.mktemp("consent")
    settings = settings_of(new_database(), redis_url, folder, keys=(SecretStr(KEY),))
    async with serving("amazon", products=5, orders=5) as endpoint:
        settings.config.write_text(AMAZON.format(endpoint=endpoint), encoding="utf-8")
        async with (
            served(settings) as gateway,
            httpx.AsyncClient(base_url=endpoint, trust_env=False, timeout=30) as amazon,
        ):
            yield Visit(gateway, amazon, settings, folder)


@pytest.fixture
async def visit(shared: Visit, redis: object, monkeypatch: pytest.MonkeyPatch) -> Visit:
    """Nothing is kept anywhere, and the account is as it was at first."""
    monkeypatch.setattr(logs, "set_up", lambda level, form: None)
    monkeypatch.chdir(shared.folder)
    await emptied(shared.store)
    shared.gateway.keys.clear()
    shared.account._login._vault.forget(EU)
    back = f"{shared.gateway.url}/channels/authorized"
    page = {"seller": "A1SANDBOXEU", "refuse": False, "draft": False, "redirectUris": [back]}
    await shared.control("consent", page)
    shown = (await shared.platform.get("/_sandbox/accounts")).json()["accounts"][1]
    roles = dict.fromkeys(shown["roles"], True)
    await shared.control("accounts", {"sellerId": "A1SANDBOXEU", "revoked": False, "replace": False, "roles": roles})
    await shared.control("plans", {"getMarketplaceParticipations": {"rate": 100, "burst": 100}})
    return shared


async def test_the_command_line_asks_and_tells_what_became_of_it(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    port = visit.gateway.app.standing.house.ports[EU]
    with pytest.raises(Unauthorized, match="no consent of its account yet"):
        await port.check(Ask())
    page, told = await visit.authorize("amazon", EU, monkeypatch)
    assert "amazon-eu (Amazon Europe, account A1SANDBOXEU) is authorized" in page.text
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "is authorized. Its work goes on by itself." in told.stdout
    kept = await visit.token()
    assert kept is not None
    assert kept.startswith("Atzr|")
    # The running gateway, which has asked in vain a moment ago, takes it up.
    assert "sells in DE" in (await port.check(Ask())).said


async def test_a_link_works_once_and_comes_back_to_its_own_browser(visit: Visit) -> None:
    started = await consent.start_link(visit.store, RING, visit.account, visit.gateway.url)
    link = started.url
    assert link.startswith(f"{visit.gateway.url}/channels/amazon-eu/authorize?link=")
    async with visit.browser() as browser, visit.browser() as other:
        first = await browser.get(link, follow_redirects=False)
        assert first.status_code == 303
        assert "HttpOnly; SameSite=Lax" in first.headers["set-cookie"]
        assert (await other.get(link)).status_code == 410
        assert (await browser.get(first.headers["location"])).status_code == 200
    outcome = await consent.outcome(visit.store, started.id)
    assert outcome is not None
    assert outcome.granted
    assert await visit.token()


async def test_a_consent_that_comes_back_in_another_browser_is_refused_for_good(visit: Visit) -> None:
    headers = await visit.gateway.headers("admin")
    started = await visit.gateway.http.get("/channels/amazon-eu/authorize", headers=headers)
    assert started.status_code == 303
    async with visit.browser() as thief:
        page = await thief.get(started.headers["location"])
    assert (page.status_code, "another browser" in page.text) == (403, True)
    cookie = started.headers["set-cookie"].partition(";")[0]
    async with visit.browser() as owner:
        again = await owner.get(str(page.url), headers={"cookie": cookie})
    assert (again.status_code, "not expected" in again.text) == (400, True)
    assert await visit.token() is None


async def test_starting_wants_an_admin_key_or_a_link(visit: Visit) -> None:
    path = "/channels/amazon-eu/authorize"
    assert (await visit.gateway.http.get(path)).status_code == 401
    reader = await visit.gateway.headers("stock:read")
    assert (await visit.gateway.http.get(path, headers=reader)).status_code == 403
    assert (await visit.gateway.http.get(path, params={"link": "guessed"})).status_code == 410
    admin = await visit.gateway.headers("admin")
    assert (await visit.gateway.http.get("/channels/amazon-us/authorize", headers=admin)).status_code == 404
    assert (await visit.gateway.http.post(path, headers=admin)).status_code == 405


async def test_the_wrong_account_is_refused_by_name(visit: Visit) -> None:
    await visit.control("consent", {"seller": "A1SANDBOXFE"})
    started = await consent.start(visit.store, RING, visit.account)
    async with visit.browser() as browser:
        page = await browser.get(started.url)
    assert page.status_code == 409
    assert "The account that consented is A1SANDBOXFE; amazon-eu is set up for A1SANDBOXEU" in page.text
    outcome = await consent.outcome(visit.store, started.id)
    assert outcome is not None
    assert (outcome.granted, outcome.words) == (
        False,
        html.unescape(page.text.partition("<p>")[2].partition("</p>")[0]),
    )
    assert await visit.token() is None


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"state": "guessed", "selling_partner_id": "A1SANDBOXEU", "spapi_oauth_code": "AN1"},
        {"selling_partner_id": "A1SANDBOXEU", "spapi_oauth_code": "AN1"},
    ],
)
async def test_a_callback_that_nobody_waits_for_is_refused(visit: Visit, query: dict[str, str]) -> None:
    assert (await visit.gateway.http.get("/channels/authorized", params=query)).status_code == 400
    assert await visit.token() is None


async def test_a_code_is_used_once_and_a_spent_state_again_is_refused(visit: Visit) -> None:
    started = await consent.start(visit.store, RING, visit.account)
    async with visit.browser() as browser:
        page = await browser.get(started.url)
        assert page.status_code == 200
        kept = await visit.token()
        assert (await browser.get(str(page.url))).status_code == 400
    assert await visit.token() == kept


async def test_what_others_have_left_in_the_browser_is_in_nobodys_way(visit: Visit) -> None:
    started = await consent.start_link(visit.store, RING, visit.account, visit.gateway.url)
    async with visit.browser() as browser:
        first = await browser.get(started.url, follow_redirects=False)
        back = await browser.get(first.headers["location"], follow_redirects=False)
        ours = first.headers["set-cookie"].partition(";")[0]
        others = {"cookie": f'prefs={{"tab":1}}; utm[0]=x; {ours}; path=/'}
    async with visit.browser() as browser:
        assert (await browser.get(back.headers["location"], headers=others)).status_code == 200


async def test_only_hashes_of_what_was_handed_out_are_kept(visit: Visit) -> None:
    headers = await visit.gateway.headers("admin")
    started = await visit.gateway.http.get("/channels/amazon-eu/authorize", headers=headers)
    state = httpx.URL(started.headers["location"]).params["state"]
    async with visit.store.begin() as tx:
        [row] = (await tx.execute(text("select * from consent_request"))).all()
    assert state not in repr(row)
    assert started.headers["set-cookie"].partition("=")[2].partition(";")[0] not in repr(row)


async def test_a_pasted_token_is_tried_and_kept(visit: Visit) -> None:
    with pytest.raises(Unauthorized, match="refuses the consent"):
        await visit.account.prove("Atzr|nobody")
    told = await visit.command("channels", "token", "amazon", "amazon-eu", stdin=f"{await visit.good()}\n")
    assert (told.exit_code, await visit.token()) == (0, await visit.good())
    assert "Atzr|" not in told.output


async def test_of_a_pasted_token_that_is_replaced_at_once_the_new_one_is_kept(visit: Visit) -> None:
    await visit.control("accounts", {"sellerId": "A1SANDBOXEU", "replace": True})
    pasted = await visit.good()
    told = await visit.command("channels", "token", "amazon", "amazon-eu", stdin=f"{pasted}\n")
    kept = await visit.token()
    assert (told.exit_code, kept) == (0, await visit.good())
    assert kept != pasted


async def test_without_keys_no_consent_is_asked_for(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit.gateway.app.standing.house.ring, "_keys", [])
    headers = await visit.gateway.headers("admin")
    refused = await visit.gateway.http.get("/channels/amazon-eu/authorize", headers=headers)
    assert (refused.status_code, "acorn channels new-key" in refused.text) == (409, True)


async def keep(visit: Visit) -> None:
    token = await visit.good()
    async with visit.store.begin() as tx:
        await grant.keep_token(tx, RING, EU, "A1SANDBOXEU", token, Source.PASTED)


async def test_a_missing_role_is_an_ailment_and_a_metric_until_it_is_there(visit: Visit) -> None:
    await keep(visit)
    standing = visit.gateway.app.standing
    port = standing.house.ports[EU]
    await visit.control("accounts", {"sellerId": "A1SANDBOXEU", "roles": {"Selling Partner Insights": False}})
    with pytest.raises(MissingRole):
        await port.check(Ask())
    [ailment] = await channels.ailments(standing.shelf, EU)
    assert ailment.startswith("getMarketplaceParticipations: Amazon refuses getMarketplaceParticipations although")
    told = (await visit.gateway.http.get("/metrics")).text
    assert 'acorn_channel_role_missing{channel="amazon-eu",operation="getMarketplaceParticipations"} 1.0' in told
    assert 'acorn_channel_paused{channel="amazon-eu"} 0.0' in told
    # The seller consents again to an application that has the role now.
    await visit.control("accounts", {"sellerId": "A1SANDBOXEU", "roles": {"Selling Partner Insights": True}})
    await keep(visit)
    assert await channels.ailments(standing.shelf, EU) == []
    assert "acorn_channel_role_missing{" not in (await visit.gateway.http.get("/metrics")).text


async def test_a_withdrawn_consent_pauses_the_account_until_it_is_given_again(
    visit: Visit, caplog: pytest.LogCaptureFixture
) -> None:
    await keep(visit)
    standing = visit.gateway.app.standing
    deps = deps_of(standing.house)
    assert await sync_once(deps, lambda *_: None) == {}
    await visit.control("accounts", {"sellerId": "A1SANDBOXEU", "revoked": True})
    # As if the hour of the access token were over.
    await standing.house.redis.delete(*await standing.house.redis.keys("acorn:token:*"))
    problems = await sync_once(deps, lambda *_: None)
    assert "withdrawn the consent" in problems[EU, StreamName.LISTINGS]
    assert [one.levelname for one in caplog.records if one.message == "channel.paused"] == ["ERROR"] * len(problems)
    assert (await channels.ailments(standing.shelf, EU))[0].startswith("paused: Login with Amazon refuses the consent")
    started = await consent.start(visit.store, RING, visit.account)
    async with visit.browser() as browser:
        assert (await browser.get(started.url)).status_code == 200
    async with visit.store.begin() as tx:
        assert await channel.states(tx) == {}
    assert await sync_once(deps, lambda *_: None) == {}
    assert await channels.ailments(standing.shelf, EU) == []


async def test_a_paused_account_is_told_by_the_metrics(visit: Visit) -> None:
    async with visit.store.begin() as tx:
        await channel.pause(tx, EU, "revoked", 3600)
    assert 'acorn_channel_paused{channel="amazon-eu"} 1.0' in (await visit.gateway.http.get("/metrics")).text


async def test_ctrl_c_stops_the_waiting_only(visit: Visit) -> None:
    # A signal and a pipe want a process of its own.
    pipe, environ = asyncio.subprocess.PIPE, {**os.environ, **visit.environ}
    arguments = ("-m", "gateway", "channels", "authorize", "amazon", "amazon-eu")
    environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        env=environ,
        # Whatever was started in the background of a script hears no Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        url = (await process.stdout.readline()).decode().strip()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert (process.returncode, b"No longer waiting" in err) == (130, True)
    async with visit.browser() as browser:
        assert (await browser.get(url)).status_code == 200
    assert await visit.token()


@pytest.fixture
def keyed(acorn: Acorn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Acorn:
    """`acorn` in a house of one Amazon account that nobody answers for."""
    (tmp_path / "acorn.toml").write_text(AMAZON.format(endpoint="http://127.0.0.1:9"), encoding="utf-8")
    monkeypatch.setenv("ACORN_KEYS", KEY)
    return acorn


def test_a_new_key_is_one_that_the_settings_take(keyed: Acorn, monkeypatch: pytest.MonkeyPatch) -> None:
    key = keyed("channels", "new-key").output.strip()
    Keyring([key])
    monkeypatch.setenv("ACORN_KEYS", f"{key},{KEY}")
    assert keyed("channels", "rotate-keys").output == "0 secrets are encrypted under the newest key.\n"
    monkeypatch.setenv("ACORN_KEYS", "short")
    refused = keyed("channels", "rotate-keys")
    assert "ACORN_KEYS cannot be used: A key must be 32 bytes" in refused.stderr
    assert "short" not in refused.stderr


def test_keys_are_rotated_and_a_lost_one_is_told(
    keyed: Acorn, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_store(database_url, lambda tx: grant.keep_token(tx, RING, EU, "A1SANDBOXEU", "Atzr|1", Source.PASTED))
    assert "ok  consent amazon-eu: kept since" in plain(keyed("doctor"))
    monkeypatch.setenv("ACORN_KEYS", OTHER)
    for arguments in (("serve",), ("work",)):
        refused = keyed(*arguments)
        assert (refused.exit_code, "amazon-eu cannot be opened with ACORN_KEYS" in refused.stderr) == (1, True)
    assert "FAIL  consent amazon-eu: what is kept of it cannot be opened" in plain(keyed("doctor"))
    assert "cannot be opened" in keyed("channels", "rotate-keys").stderr
    monkeypatch.setenv("ACORN_KEYS", f"{OTHER},{KEY}")
    assert keyed("channels", "rotate-keys").output == "1 secrets are encrypted under the newest key.\n"
    monkeypatch.setenv("ACORN_KEYS", OTHER)
    assert "ok  consent amazon-eu: kept since" in plain(keyed("doctor"))


def test_doctor_names_a_channel_without_any_consent_and_what_runs_out(keyed: Acorn, database_url: str) -> None:
    told = plain(keyed("doctor"))
    assert "FAIL  consent amazon-eu: there is none, neither kept nor in the configuration" in told
    assert "→ Run `acorn channels authorize amazon amazon-eu`." in told

    async def ending(tx: Any) -> None:
        soon = datetime.now(UTC) + timedelta(days=80)
        await grant.keep_token(tx, RING, EU, "A1SANDBOXEU", "Atzr|1", Source.CONSENT, soon)
        client_id = "amzn1.application-oa2-client.sandbox"
        await grant.keep_secret(tx, RING, client_id, "s", expires_at=soon, previous_expires_at=None)

    in_store(database_url, ending)
    told = plain(keyed("doctor"))
    assert "note  consent amazon-eu: it ends on" in told
    assert "note  secret amazon-eu: the application's secret ends on" in told
    assert "→ Run `acorn channels rotate-secret amazon amazon-eu`." in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("channels", "authorize", "shopify", "amazon-eu"),
            "No channel of shopify that consents is called amazon-eu; there is none",
        ),
        (
            ("channels", "authorize", "amazon", "nowhere"),
            "No channel of amazon that consents is called nowhere; there is amazon-eu",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_told(keyed: Acorn, arguments: tuple[str, ...], words: str) -> None:
    refused = keyed(*arguments)
    assert (refused.exit_code, words in refused.stderr) == (1, True)
