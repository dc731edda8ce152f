"""The page of consent, pairs of expiring tokens, and what ends a token."""

import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest

PATH = "/admin/oauth/access_token"
APP = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}
ASKED = "write_orders,read_products"
QUERY = "{ shop { id } }"


async def consent(shop: Any, **changes: str) -> Any:
    query = {"client_id": "sandbox-client", "scope": ASKED, "redirect_uri": "http://us/back?x=1", "state": "s 1"}
    return await shop.http.get("/admin/oauth/authorize", params=query | changes)


async def code(shop: Any, **changes: str) -> str:
    page = await consent(shop, **changes)
    assert page.status_code == 302
    return str(dict(parse_qsl(urlsplit(page.headers["location"]).query))["code"])


async def granted(shop: Any, **form: str) -> dict[str, Any]:
    answer = await shop.http.post(PATH, data=APP | form)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def pair(shop: Any) -> dict[str, Any]:
    return await granted(shop, code=await code(shop), expiring="1")


async def refreshed(shop: Any, token: str) -> dict[str, Any]:
    return await granted(shop, grant_type="refresh_token", refresh_token=token)


async def refused(shop: Any, **form: str) -> tuple[int, str]:
    answer = await shop.http.post(PATH, data=APP | form)
    return answer.status_code, answer.json().get("error")


async def status(shop: Any, token: str) -> int:
    return int((await shop.post(QUERY, token=token)).status_code)


async def test_a_consent_comes_back_signed(shop: Any) -> None:
    page = await consent(shop)
    told = parse_qsl(urlsplit(page.headers["location"]).query)
    rest = sorted((name, value) for name, value in told if name not in ("hmac", "x"))
    text = urlencode(rest, quote_via=quote)
    assert dict(told)["hmac"] == hmac.new(b"sandbox-secret", text.encode(), hashlib.sha256).hexdigest()
    assert (dict(told)["state"], dict(told)["shop"]) == ("s 1", "acorn-sandbox.myshopify.com")


@pytest.mark.parametrize(
    "wrong", [{"client_id": "other"}, {"redirect_uri": ""}, {"scope": "read_everything"}, {"redirect_uri": "http://no"}]
)
async def test_a_page_that_cannot_be_asked_for_says_so(shop: Any, wrong: dict[str, str]) -> None:
    await shop.control("app", {"redirectUris": ["http://us/back?x=1"]})
    assert (await consent(shop, **wrong)).status_code == 400
    assert (await consent(shop)).status_code == 302


async def test_a_code_is_good_once_and_gives_the_kind_that_was_asked_for(shop: Any) -> None:
    first = await code(shop)
    lasting = await granted(shop, code=first, expiring="0")
    assert set(lasting) == {"access_token", "scope"}
    assert lasting["scope"] == "read_products,write_orders"
    assert await refused(shop, code=first, expiring="0") == (400, "invalid_request")
    await shop.control("clock", {"advance": 400 * 86_400})
    assert await status(shop, lasting["access_token"]) == 200


async def test_a_pair_ends_with_the_hour_and_its_refresh_token_after_90_days(shop: Any) -> None:
    told = await pair(shop)
    assert (told["expires_in"], told["refresh_token_expires_in"]) == (3600, 7_776_000)
    await shop.control("clock", {"advance": 3599})
    assert await status(shop, told["access_token"]) == 200
    await shop.control("clock", {"advance": 1})
    assert await status(shop, told["access_token"]) == 401
    assert await status(shop, (await refreshed(shop, told["refresh_token"]))["access_token"]) == 200
    told = await pair(shop)
    await shop.control("clock", {"advance": 7_776_000})
    assert await refused(shop, grant_type="refresh_token", refresh_token=told["refresh_token"]) == (
        400,
        "invalid_grant",
    )


async def test_a_refresh_token_stays_good_until_the_new_pair_is_used(shop: Any) -> None:
    first = await pair(shop)
    await refreshed(shop, first["refresh_token"])
    third = await refreshed(shop, first["refresh_token"])
    assert await status(shop, third["access_token"]) == 200
    assert await refused(shop, grant_type="refresh_token", refresh_token=first["refresh_token"]) == (
        400,
        "invalid_grant",
    )
    fourth = await refreshed(shop, third["refresh_token"])
    # To use its refresh token is to use the pair.
    await refreshed(shop, fourth["refresh_token"])
    assert await refused(shop, grant_type="refresh_token", refresh_token=third["refresh_token"]) == (
        400,
        "invalid_grant",
    )


async def test_there_is_one_pair_at_a_time(shop: Any) -> None:
    first = await pair(shop)
    second = await pair(shop)
    assert await status(shop, first["access_token"]) == 401
    assert await refused(shop, grant_type="refresh_token", refresh_token=first["refresh_token"]) == (
        400,
        "invalid_grant",
    )
    assert await status(shop, second["access_token"]) == 200


async def test_uninstalling_ends_every_token_until_the_owner_consents_again(shop: Any) -> None:
    told = await pair(shop)
    await shop.control("app", {"installed": False})
    for token in (told["access_token"], "shpat_sandbox"):
        assert await status(shop, token) == 401
    for form in (
        {"grant_type": "refresh_token", "refresh_token": told["refresh_token"]},
        {"grant_type": "client_credentials"},
    ):
        assert await refused(shop, **form) == (400, "app_not_installed")
    again = await pair(shop)
    assert [await status(shop, token) for token in (again["access_token"], "shpat_sandbox")] == [200, 200]
    assert await status(shop, told["access_token"]) == 401


async def test_the_owner_grants_what_he_likes_and_takes_it_back(shop: Any) -> None:
    await shop.control("app", {"scopes": ["write_orders", "read_products"]})
    told = await granted(shop, code=await code(shop, scope="write_orders,write_products,read_products"), expiring="1")
    assert told["scope"] == "read_products,write_orders"
    query = "{ currentAppInstallation { accessScopes { handle } } }"

    async def held() -> set[str]:
        data = await shop.data(query, token=told["access_token"])
        return {one["handle"] for one in data["currentAppInstallation"]["accessScopes"]}

    assert await held() == {"read_products", "read_orders", "write_orders"}
    await shop.control("app", {"scopes": ["read_products"]})
    assert await held() == {"read_products"}
    assert "lasting" not in await shop.control("app", {"refuse": True})
    page = await consent(shop)
    assert (page.status_code, "not installed" in page.text) == (200, True)


async def test_the_app_is_told_of_both(shop: Any) -> None:
    hook = """mutation($topic: WebhookSubscriptionTopic!) {
        webhookSubscriptionCreate(topic: $topic, webhookSubscription: {uri: "https://us.test/hook"}) { userErrors { message } }
    }"""
    for topic in ("APP_UNINSTALLED", "APP_SCOPES_UPDATE"):
        await shop.data(hook, {"topic": topic})
    await shop.control("webhooks", {"held": True})
    await shop.control("app", {"scopes": ["read_orders"]})
    await shop.control("app", {"scopes": ["read_orders"]})
    await shop.control("app", {"installed": False})
    await shop.control("app", {"installed": False})
    assert (await shop.control("webhooks"))["counts"]["made"] == 2
    await shop.control("app", {"installed": True})
    await shop.control("app", {"installed": False})
    # Its subscriptions ended with the app.
    assert (await shop.control("webhooks"))["counts"]["made"] == 2


async def test_a_token_without_an_end_can_be_refused(shop: Any) -> None:
    told = await pair(shop)
    await shop.control("app", {"mustExpire": True})
    answer = await shop.post(QUERY)
    assert (answer.status_code, "Non-expiring" in answer.json()["errors"]) == (403, True)
    assert await status(shop, told["access_token"]) == 200


@pytest.mark.parametrize(
    "body", [{}, {"instaled": True}, {"installed": "no"}, {"scopes": ["all"]}, {"scopes": "read_orders"}]
)
async def test_a_wrong_change_of_the_app_changes_nothing(shop: Any, body: dict[str, Any]) -> None:
    assert (await shop.http.post("/_sandbox/app", json=body)).status_code == 400
    assert await status(shop, "shpat_sandbox") == 200
