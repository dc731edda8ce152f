"""getInventorySummaries of the sandbox against Amazon's own model: pages, and every refusal."""

import httpx
import pytest

from sandbox.amazon.visit import EU, FE, NA, Seller
from tests.contracts import spapi

pytestmark = spapi.published
NAME = "getInventorySummaries"


def checked(answer: httpx.Response, status: int) -> httpx.Response:
    assert answer.status_code == status, answer.text
    assert spapi.answer_faults(NAME, answer) == []
    return answer


@pytest.mark.parametrize(("account", "marketplace"), [(NA, "US"), (EU, "FR"), (FE, "JP")])
async def test_every_page_is_as_published(client: httpx.AsyncClient, account: str, marketplace: str) -> None:
    await client.post("/_sandbox/plans", json={NAME: {"rate": 1000, "burst": 1000}})
    seller = await Seller.login(client, account)
    first = checked(await seller.inventory(marketplace), 200).json()
    second = checked(await seller.inventory(marketplace, nextToken=first["pagination"]["nextToken"]), 200).json()
    assert len(first["payload"]["inventorySummaries"]) == 50
    assert second["payload"]["inventorySummaries"]
    checked(await seller.inventory(marketplace, details="false"), 200)
    checked(await seller.inventory(marketplace, sellerSkus="NO-SUCH"), 200)


async def test_every_refusal_is_as_published(client: httpx.AsyncClient) -> None:
    await client.post("/_sandbox/plans", json={NAME: {"rate": 0.001, "burst": 6}})
    seller = await Seller.login(client, NA)
    token = checked(await seller.inventory("US"), 200).json()["pagination"]["nextToken"]
    checked(await seller.inventory("US", sellerSkus=",".join(f"S{number}" for number in range(51))), 400)
    checked(await seller.inventory("US", nextToken="odd"), 400)
    checked(await seller.inventory("DE"), 403)
    await client.post("/_sandbox/clock", json={"advance": 31})
    checked(await seller.inventory("US", nextToken=token), 400)
    checked(await seller.inventory("US"), 200)
    checked(await seller.inventory("US"), 429)
