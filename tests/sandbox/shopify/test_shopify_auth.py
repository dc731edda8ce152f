"""The client-credentials grant."""

from typing import Any

GRANT = {"grant_type": "client_credentials", "client_id": "sandbox-client", "client_secret": "sandbox-secret"}
PATH = "/admin/oauth/access_token"


async def test_the_grant_gives_a_token_that_lives_86399_sandbox_seconds(shop: Any) -> None:
    response = await shop.http.post(PATH, data=GRANT)
    granted = response.json()
    assert response.status_code == 200
    assert granted["expires_in"] == 86399
    assert granted["access_token"].startswith("shpat_")
    assert "write_inventory" in granted["scope"].split(",")
    assert (await shop.post("{ shop { id } }", token=granted["access_token"])).status_code == 200
    await shop.control("clock", {"advance": 86398})
    assert (await shop.post("{ shop { id } }", token=granted["access_token"])).status_code == 200
    await shop.control("clock", {"advance": 1})
    assert (await shop.post("{ shop { id } }", token=granted["access_token"])).status_code == 401
    assert (await shop.post("{ shop { id } }")).status_code == 200


async def test_json_is_taken_too_and_asking_again_keeps_the_first_token(shop: Any) -> None:
    first = (await shop.http.post(PATH, json=GRANT)).json()["access_token"]
    second = (await shop.http.post(PATH, json=GRANT)).json()["access_token"]
    assert first != second
    assert (await shop.post("{ shop { id } }", token=first)).status_code == 200


async def test_wrong_credentials_and_other_grants_are_refused(shop: Any) -> None:
    wrong = await shop.http.post(PATH, data={**GRANT, "client_secret": "guess"})
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    other = await shop.http.post(PATH, data={**GRANT, "grant_type": "password"})
    assert (other.status_code, other.json()["error"]) == (400, "unsupported_grant_type")
    calls = (await shop.control("journal"))["calls"]
    assert [(call["operation"], call["status"]) for call in calls] == [("access_token", 401), ("access_token", 400)]


async def test_an_installation_lists_the_scopes_of_its_token(shop: Any) -> None:
    query = "{ currentAppInstallation { accessScopes { handle } } }"
    full = {scope["handle"] for scope in (await shop.data(query))["currentAppInstallation"]["accessScopes"]}
    read = (await shop.data(query, token="shpat_sandbox_readonly"))["currentAppInstallation"]["accessScopes"]
    assert {scope["handle"] for scope in read} == {
        "read_products",
        "read_inventory",
        "read_locations",
        "read_orders",
        "read_assigned_fulfillment_orders",
        "read_merchant_managed_fulfillment_orders",
        "read_third_party_fulfillment_orders",
    }
    assert {"read_all_orders", "write_merchant_managed_fulfillment_orders"} <= full
