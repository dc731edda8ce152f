"""One selling account's hand on the Amazon sandbox, for tests and benchmarks."""

from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

import httpx

from sandbox.amazon.auth import CLIENT_ID, CLIENT_SECRET
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.visit import world

NA, EU, FE = "Atzr|sandbox-na", "Atzr|sandbox-eu", "Atzr|sandbox-fe"


def form(account: str, **changed: str) -> dict[str, str]:
    """The token endpoint's form for a refresh token."""
    return {
        "grant_type": "refresh_token",
        "refresh_token": account,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        **changed,
    }


@dataclass(slots=True)
class Seller:
    """Calls with the account's access token."""

    client: httpx.AsyncClient
    id: str
    token: str

    @classmethod
    async def login(cls, client: httpx.AsyncClient, refresh_token: str = NA) -> Self:
        answer = await client.post("/auth/o2/token", data=form(refresh_token))
        answer.raise_for_status()
        return cls(client, f"A1SANDBOX{refresh_token[-2:].upper()}", answer.json()["access_token"])

    async def get(self, path: str, **query: object) -> httpx.Response:
        return await self.client.get(path, params=_text(query) or None, headers=self.headers)

    async def inventory(self, marketplace: str, *skus: str, **query: object) -> httpx.Response:
        place = MARKETPLACES[marketplace].id
        fixed = {"granularityType": "Marketplace", "granularityId": place, "marketplaceIds": place, "details": "true"}
        named = {"sellerSkus": ",".join(skus)} if skus else {}
        return await self.get("/fba/inventory/v1/summaries", **{**fixed, **named, **query})

    async def listing(self, marketplace: str, sku: str, **query: object) -> httpx.Response:
        path = f"/listings/2021-08-01/items/{self.id}/{quote(sku, safe='')}"
        return await self.get(path, marketplaceIds=MARKETPLACES[marketplace].id, **query)

    async def listings(self, marketplace: str, **query: object) -> httpx.Response:
        place = MARKETPLACES[marketplace].id
        return await self.get(f"/listings/2021-08-01/items/{self.id}", **{"marketplaceIds": place, **query})

    async def patch(self, marketplace: str, sku: str, body: object, **query: object) -> httpx.Response:
        return await self.client.patch(
            f"/listings/2021-08-01/items/{self.id}/{quote(sku, safe='')}",
            params=_text({"marketplaceIds": MARKETPLACES[marketplace].id, **query}),
            headers=self.headers,
            json=body,
        )

    async def orders(self, **query: object) -> httpx.Response:
        return await self.get("/orders/2026-01-01/orders", **query)

    async def order(self, order_id: str, *included: str) -> httpx.Response:
        named = {"includedData": ",".join(included)} if included else {}
        return await self.get(f"/orders/2026-01-01/orders/{order_id}", **named)

    async def confirm(self, order_id: str, body: object) -> httpx.Response:
        path = f"/orders/v0/orders/{order_id}/shipmentConfirmation"
        return await self.client.post(path, headers=self.headers, json=body)

    @property
    def headers(self) -> dict[str, str]:
        return {"x-amz-access-token": self.token}


def confirmation(order: dict[str, Any], **changed: object) -> dict[str, Any]:
    """The body that ships all that is unshipped of an open order of /_sandbox/world; `changed` of its package."""
    items = [{"orderItemId": line["id"], "quantity": line["unshipped"]} for line in order["lines"] if line["unshipped"]]
    detail = {
        "packageReferenceId": "1",
        "carrierCode": "UPS",
        "shippingMethod": "Ground",
        "trackingNumber": "1Z999AA10123456784",
        "shipDate": order["createdTime"],
        "orderItems": items,
    }
    return {"marketplaceId": MARKETPLACES[order["marketplace"]].id, "packageDetail": {**detail, **changed}}


def _text(query: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in query.items()}


async def to_ship(client: httpx.AsyncClient, status: str = "UNSHIPPED", units: int = 1) -> dict[str, Any]:
    """An order of the North American account that the merchant can ship, its first line of `units` or more."""
    for order in (await world(client))["orders"]:
        fits = (order["status"], order["fulfilledBy"], order["marketplace"]) == (status, "MERCHANT", "US")
        if fits and order["lines"][0]["unshipped"] >= units:
            found: dict[str, Any] = order
            return found
    raise LookupError(status)


def error(answer: httpx.Response) -> tuple[int, str]:
    """The status and the code of an error answer."""
    return answer.status_code, answer.json()["errors"][0]["code"]


def details(answer: httpx.Response) -> str:
    """The details of an error answer."""
    text: str = answer.json()["errors"][0]["details"]
    return text
