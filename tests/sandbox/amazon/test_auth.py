"""Login with Amazon at the sandbox: tokens, their hour, refusals."""

import httpx
import pytest

from sandbox.amazon.auth import CLIENT_ID, CLIENT_SECRET
from sandbox.amazon.consent import APPLICATION_ID
from sandbox.amazon.visit import EU, NA, Seller, details, error, form
from sandbox.visit import advance, calls

BACK = "https://acorn.test/channels/authorized"


async def test_a_refresh_token_buys_an_access_token_for_an_hour(client: httpx.AsyncClient) -> None:
    answer = await client.post("/auth/o2/token", data=form(NA))
    body = answer.json()
    assert body["access_token"].startswith("Atza|")
    assert {**body, "access_token": ""} == {
        "access_token": "",
        "token_type": "bearer",
        "expires_in": 3600,
        "refresh_token": NA,
    }
    assert (await calls(client))[0]["operation"] == "getToken"


@pytest.mark.parametrize(
    ("changed", "status", "name"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "amzn1.application-oa2-client.other"}, 401, "invalid_client"),
        ({"refresh_token": "Atzr|nobody"}, 400, "invalid_grant"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"refresh_token": ""}, 400, "invalid_request"),
        ({"grant_type": "authorization_code", "code": "ANspent"}, 400, "invalid_grant"),
        ({"grant_type": "client_credentials", "scope": "everything"}, 400, "invalid_scope"),
    ],
)
async def test_the_token_endpoint_refuses(
    client: httpx.AsyncClient, changed: dict[str, str], status: int, name: str
) -> None:
    answer = await client.post("/auth/o2/token", data=form(NA, **changed))
    assert (answer.status_code, answer.json()["error"]) == (status, name)
    assert answer.json()["error_description"]


async def test_the_token_endpoint_wants_a_form(client: httpx.AsyncClient) -> None:
    answer = await client.post("/auth/o2/token", json=form(NA))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_grantless_token_speaks_for_no_seller(client: httpx.AsyncClient) -> None:
    scope = "sellingpartnerapi::notifications"
    fields = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    body = (await client.post("/auth/o2/token", data={**fields, "scope": scope})).json()
    assert body["scope"] == scope
    assert "refresh_token" not in body
    assert error(await Seller(client, "A1SANDBOXNA", body["access_token"]).inventory("US")) == (403, "Unauthorized")


async def test_an_access_token_dies_after_its_hour_with_403(client: httpx.AsyncClient, na: Seller) -> None:
    await advance(client, 3599)
    assert (await na.inventory("US")).status_code == 200
    await advance(client, 1)
    answer = await na.inventory("US")
    assert error(answer) == (403, "Unauthorized")
    assert details(answer) == "The access token you provided has expired."
    assert (await (await Seller.login(client, NA)).inventory("US")).status_code == 200


async def test_a_revoked_consent_ends_both_tokens_until_it_is_restored(client: httpx.AsyncClient, na: Seller) -> None:
    shown = await client.post("/_sandbox/accounts", json={"refreshToken": NA, "revoked": True})
    assert [one["revoked"] for one in shown.json()["accounts"]] == [True, False, False]
    answer = await client.post("/auth/o2/token", data=form(NA))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert "revoked" in answer.json()["error_description"]
    assert error(await na.inventory("US")) == (403, "Unauthorized")
    await client.post("/_sandbox/accounts", json={"refreshToken": NA, "revoked": False})
    assert (await na.inventory("US")).status_code == 200


async def test_a_rotated_secret_refuses_the_old_one(client: httpx.AsyncClient) -> None:
    await client.post("/_sandbox/accounts", json={"clientSecret": "new"})
    assert (await client.post("/auth/o2/token", data=form(NA))).status_code == 401
    assert (await client.post("/auth/o2/token", data=form(NA, client_secret="new"))).status_code == 200


async def test_a_missing_or_malformed_token_is_401_and_a_strange_one_403(client: httpx.AsyncClient) -> None:
    path = "/sellers/v1/marketplaceParticipations"
    assert error(await client.get(path)) == (401, "Unauthorized")
    assert error(await client.get(path, headers={"x-amz-access-token": "Bearer abc"})) == (401, "Unauthorized")
    assert error(await client.get(path, headers={"x-amz-access-token": "Atza|stolen"})) == (403, "Unauthorized")


async def approve(client: httpx.AsyncClient, **query: str) -> httpx.Response:
    """The seller on the consent page."""
    asked = {"application_id": APPLICATION_ID, "state": "s 1", "redirect_uri": BACK, **query}
    return await client.get("/apps/authorize/consent", params=asked)


async def code_of(client: httpx.AsyncClient) -> str:
    """What the page gives for the account that is signed in."""
    return str(httpx.URL((await approve(client)).headers["location"]).params["spapi_oauth_code"])


def exchange(code: str, **changed: str) -> dict[str, str]:
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK}
    return {**fields, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **changed}


async def test_the_consent_page_sends_the_seller_back_with_a_code(client: httpx.AsyncClient) -> None:
    await client.post("/_sandbox/consent", json={"seller": "A1SANDBOXEU"})
    answer = await approve(client)
    assert answer.status_code == 302
    back = httpx.URL(answer.headers["location"])
    assert str(back.copy_with(query=None)) == BACK
    assert (back.params["state"], back.params["selling_partner_id"]) == ("s 1", "A1SANDBOXEU")
    tokens = (await client.post("/auth/o2/token", data=exchange(back.params["spapi_oauth_code"]))).json()
    assert tokens["refresh_token"].startswith("Atzr|")
    eu = await Seller.login(client, EU)
    by_consent = await client.post("/auth/o2/token", data=form(tokens["refresh_token"]))
    seller = Seller(client, eu.id, by_consent.json()["access_token"])
    assert (await seller.inventory("DE")).status_code == 200
    assert (await eu.inventory("DE")).status_code == 200


@pytest.mark.parametrize(
    ("setting", "query", "words"),
    [
        ({"draft": True}, {}, "MD1000"),
        ({}, {"application_id": "amzn1.sellerapps.app.other"}, "MD1000"),
        ({"redirectUris": ["https://acorn.test/elsewhere"]}, {}, "MD5101"),
        ({"refuse": True}, {}, "not authorized"),
    ],
)
async def test_the_consent_page_refuses(
    client: httpx.AsyncClient, setting: dict[str, object], query: dict[str, str], words: str
) -> None:
    if setting:
        (await client.post("/_sandbox/consent", json=setting)).raise_for_status()
    answer = await approve(client, **query)
    assert "location" not in answer.headers
    assert words in answer.text


async def test_a_draft_application_is_authorized_as_beta(client: httpx.AsyncClient) -> None:
    await client.post("/_sandbox/consent", json={"draft": True})
    assert (await approve(client, version="beta")).status_code == 302


async def test_a_code_works_once_for_five_minutes_and_with_its_redirect_uri(client: httpx.AsyncClient) -> None:
    spent = await code_of(client)
    assert (await client.post("/auth/o2/token", data=exchange(spent))).status_code == 200
    late = await code_of(client)
    await advance(client, 300)
    other = await code_of(client)
    for code, changed in ((spent, {}), (late, {}), (other, {"redirect_uri": "https://acorn.test/"})):
        answer = await client.post("/auth/o2/token", data=exchange(code, **changed))
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        assert ": code." in answer.json()["error_description"]
    in_time = await code_of(client)
    await advance(client, 299)
    assert (await client.post("/auth/o2/token", data=exchange(in_time))).status_code == 200


async def test_a_consent_ends_after_a_year_and_a_new_one_begins_another(client: httpx.AsyncClient) -> None:
    await advance(client, 365 * 86_400 - 1)
    assert (await client.post("/auth/o2/token", data=form(NA))).status_code == 200
    await advance(client, 1)
    answer = await client.post("/auth/o2/token", data=form(NA))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    new = (await client.post("/auth/o2/token", data=exchange(await code_of(client)))).json()["refresh_token"]
    assert (await client.post("/auth/o2/token", data=form(new))).status_code == 200
    assert (await client.post("/auth/o2/token", data=form(NA))).status_code == 400


async def test_a_refresh_token_is_replaced_when_asked_for(client: httpx.AsyncClient) -> None:
    await client.post("/_sandbox/accounts", json={"sellerId": "A1SANDBOXNA", "replace": True})
    new = (await client.post("/auth/o2/token", data=form(NA))).json()["refresh_token"]
    assert new != NA
    assert (await client.post("/auth/o2/token", data=form(NA))).status_code == 400
    assert (await client.post("/auth/o2/token", data=form(new))).json()["refresh_token"] == new


async def test_a_role_that_is_taken_away_closes_its_operations_alone(client: httpx.AsyncClient, na: Seller) -> None:
    places = "/sellers/v1/marketplaceParticipations"
    taken = {"sellerId": "A1SANDBOXNA", "roles": {"Selling Partner Insights": False}}
    await client.post("/_sandbox/accounts", json=taken)
    assert error(await na.get(places)) == (403, "Unauthorized")
    assert (await na.inventory("US")).status_code == 200
    await client.post("/_sandbox/accounts", json={**taken, "roles": {"Selling Partner Insights": True}})
    assert (await na.get(places)).status_code == 200


async def test_any_one_of_several_roles_opens_orders(client: httpx.AsyncClient, na: Seller) -> None:
    roles = ["Inventory and Order Tracking", "Direct-to-Consumer Delivery (Restricted)", "Tax Invoicing (Restricted)"]
    asked = {"sellerId": "A1SANDBOXNA", "roles": dict.fromkeys(roles, False)}
    await client.post("/_sandbox/accounts", json=asked)
    assert (await na.orders(createdAfter="2026-01-01T00:00:00Z")).status_code == 200
    asked["roles"] = {"Tax Remittance (Restricted)": False}
    await client.post("/_sandbox/accounts", json=asked)
    assert error(await na.orders(createdAfter="2026-01-01T00:00:00Z")) == (403, "Unauthorized")


@pytest.mark.parametrize(
    "body",
    [
        {"sellerId": "A1NOBODY", "revoked": True},
        {"revoked": True},
        {"sellerId": "A1SANDBOXNA", "roles": {"Gardener": False}},
        {"sellerId": "A1SANDBOXNA", "roles": {"Pricing": 0}},
        {"sellerId": "A1SANDBOXNA", "replace": "yes"},
    ],
)
async def test_a_wrong_change_of_an_account_changes_nothing(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    before = (await client.get("/_sandbox/accounts")).json()
    assert (await client.post("/_sandbox/accounts", json=body)).status_code == 400
    assert (await client.get("/_sandbox/accounts")).json() == before


async def rotated(client: httpx.AsyncClient) -> httpx.Response:
    fields = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    scope = "sellingpartnerapi::client_credential:rotation"
    token = (await client.post("/auth/o2/token", data={**fields, "scope": scope})).json()["access_token"]
    return await client.post("/applications/2023-11-30/clientSecret", headers={"x-amz-access-token": token})


async def test_a_rotation_sends_the_new_secret_to_the_queue_and_lets_the_old_one_live_on(
    client: httpx.AsyncClient,
) -> None:
    answer = await rotated(client)
    assert error(answer) == (400, "InvalidInput")
    assert "not enrolled" in answer.json()["errors"][0]["message"]
    await client.post("/_sandbox/rotation", json={"enrolled": True})
    await advance(client, 60)
    answer = await rotated(client)
    assert (answer.status_code, answer.content) == (204, b"")
    [sent] = (await client.get("/_sandbox/rotation")).json()["rotations"]
    assert sent["clientId"] == CLIENT_ID
    new = sent["newClientSecret"]
    for secret in (new, CLIENT_SECRET):
        assert (await client.post("/auth/o2/token", data=form(NA, client_secret=secret))).status_code == 200
    await advance(client, 7 * 86_400)
    assert (await client.post("/auth/o2/token", data=form(NA))).status_code == 401
    assert (await client.post("/auth/o2/token", data=form(NA, client_secret=new))).status_code == 200


async def test_the_seller_cannot_rotate_the_applications_secret(client: httpx.AsyncClient, na: Seller) -> None:
    await client.post("/_sandbox/rotation", json={"enrolled": True})
    answer = await client.post("/applications/2023-11-30/clientSecret", headers=na.headers)
    assert error(answer) == (403, "Unauthorized")
