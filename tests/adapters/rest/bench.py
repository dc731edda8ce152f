"""What the tests of this adapter talk to and with: a scripted shop, short hands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson

from adapters.port import OrderKey, Parcel
from adapters.rest.offers import PARTS
from adapters.rest.platform import RestPort
from domain.channel import Channel, Location, LocationKind, Platform
from domain.ids import ChannelId, LocationCode
from tests.adapters.rest.contract import ROOT, Contract

CHANNEL = Channel(ChannelId("shop"), Platform.REST, "Acorn", sandbox=True)
LAG_S = 3.0
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
SCOPES = [
    "catalog:read",
    "catalog:write",
    "stock:read",
    "stock:write",
    "orders:read",
    "orders:write",
    "finance:read",
    "webhooks:write",
]
USUAL = {"X-Request-Id": "req_1", "RateLimit-Policy": '"default";q=6000;w=60', "RateLimit": '"default";r=6000;t=0'}


async def go() -> None:
    """Nothing stands in the way of sending."""


def location(code: str, id: str) -> Location:
    return Location(LocationCode(code), code.title(), LocationKind.WAREHOUSE, CHANNEL.id, id)


def offered(*parts: str, scopes: Sequence[str] = SCOPES, page: int = 250, bulk: int = 250) -> dict[str, Any]:
    """The answer of `GET /`; without `parts` all that we know of."""
    return {
        "contract": "1.0",
        "name": "Mugs and more",
        "currency": "EUR",
        "parts": list(parts or PARTS),
        "limits": {"page": page, "bulk": bulk},
        "scopes": list(scopes),
    }


def euros(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "EUR"}


def problem(status: int, name: str, **more: Any) -> httpx.Response:
    body = {"type": f"https://shop.example/problems/{name}", "title": name.replace("-", " "), "status": status, **more}
    headers = {**USUAL, "Content-Type": "application/problem+json"}
    if status in (429, 503):
        headers["Retry-After"] = "7"
    return httpx.Response(status, headers=headers, content=orjson.dumps(body))


def ok(body: Any = None, status: int = 200, headers: Mapping[str, str] | None = None) -> httpx.Response:
    told = {**USUAL, **(headers or {})}
    if body is None:
        return httpx.Response(status, headers=told)
    return httpx.Response(status, headers=told | {"Content-Type": "application/json"}, content=orjson.dumps(body))


def remembered() -> httpx.Response:
    """What became of writes for MUG-R and MUG-B, as the shop had answered them before: the second is refused."""
    stale = {"type": "https://shop.example/problems/stale-quantity", "title": "Changed", "status": 412, "current": 3}
    results = [
        {"index": 0, "sku": "MUG-R", "status": 200, "rev": "20"},
        {"index": 1, "sku": "MUG-B", "status": 412, "problem": stale},
    ]
    return ok({"results": results, "summary": {"ok": 1, "failed": 1}}, 207, {"Idempotency-Replayed": "true"})


@dataclass(frozen=True)
class Asked:
    """A request that came in."""

    operation: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


Answers = Callable[[Asked], Any]


@dataclass
class Script:
    """A shop that answers with what `answer` gives: a body, a whole httpx.Response, or an exception. `GET /` is answered by
    `shop`, and all of it is judged by the contract unless `loose`."""

    answer: Answers
    shop: dict[str, Any] = field(default_factory=offered)
    loose: bool = False
    contract: Contract = field(default_factory=Contract)
    asked: list[Asked] = field(default_factory=list)

    def wire(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._handle)

    def of(self, operation: str) -> list[Asked]:
        return [one for one in self.asked if one.operation == operation]

    def _handle(self, request: httpx.Request) -> httpx.Response:
        name = self.contract.judge_request(request)
        text = request.headers.get("content-type", "") == "application/json"
        asked = Asked(
            name,
            request.url.path.removeprefix(ROOT),
            dict(request.url.params),
            request.headers,
            orjson.loads(request.content) if text and request.content else request.content,
        )
        self.asked.append(asked)
        told = ok(self.shop) if name == "getShop" else self.answer(asked)
        if isinstance(told, Exception):
            raise told
        tag = {"ETag": f'"{told["rev"]}"'} if isinstance(told, dict) and "rev" in told else {}
        answer = told if isinstance(told, httpx.Response) else ok(told, headers=tag)
        if not self.loose:
            self.contract.judge_answer(name, answer)
        return answer


OpenPort = Callable[..., RestPort]


def parcel_of(number: str, *lines: tuple[str, int], reference: str = "7") -> Parcel:
    return Parcel(reference, "DHL", number, datetime.fromisoformat("2026-11-20T08:00:00+00:00"), lines)


def key_of(id: str) -> OrderKey:
    return OrderKey(id, None)


def shipment(id: str, number: str, *lines: tuple[str, int], reference: str | None = None) -> dict[str, Any]:
    return {
        "id": id,
        "order_id": "ord_1",
        "rev": "1",
        "carrier": "DHL",
        "tracking_number": number,
        "shipped_at": "2026-11-20T08:00:00Z",
        "updated_at": "2026-11-20T08:00:05Z",
        "lines": [{"line_id": line, "quantity": units} for line, units in lines],
        "reference": reference,
    }


def order(id: str = "ord_1", *, shipments: Sequence[Mapping[str, Any]] = (), **more: Any) -> dict[str, Any]:
    zero = euros("0.00")
    return {
        "id": id,
        "number": "1001",
        "rev": "3",
        "status": "open",
        "payment_status": "paid",
        "fulfilment_status": "unfulfilled",
        "placed_at": "2026-11-23T08:00:00Z",
        "updated_at": "2026-11-23T08:00:00Z",
        "totals": {"items": zero, "shipping": zero, "tax": zero, "discount": zero, "grand": euros("58.70")},
        "lines": [
            {
                "id": "lin_1",
                "sku": "MUG-R",
                "quantity": 3,
                "unit_price": euros("26.90"),
                "discount": euros("1.00"),
                "shipped": 0,
                "cancelled": 1,
                "refunded": 0,
            }
        ],
        "shipments": list(shipments),
        **more,
    }


def level(sku: str, place: str, available: int, **more: Any) -> dict[str, Any]:
    return {
        "sku": sku,
        "location_id": place,
        "available": available,
        "reserved": 0,
        "on_hand": available,
        "rev": "1",
        "updated_at": "2026-11-23T08:00:00Z",
        **more,
    }
