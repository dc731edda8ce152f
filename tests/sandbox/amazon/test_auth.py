"""Login with Amazon at the sandbox: tokens, their hour, refusals."""

import httpx
import pytest

from sandbox.amazon.auth import CLIENT_ID, CLIENT_SECRET
from sandbox.amazon.visit import NA, Seller, details, error, form
from sandbox.visit import advance, calls


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
