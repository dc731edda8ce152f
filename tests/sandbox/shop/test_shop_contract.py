"""Every operation of the contract is met with every status that it describes, and all that is said keeps it."""

from __future__ import annotations

import asyncio
from typing import Any

from conformance.contract import contract
from tests.sandbox.shop.conftest import Client, Open

BULK_LINE = '{"sku":"none","location_id":"loc_1","quantity":1}\n'


async def samples(shop: Client) -> dict[str, tuple[str, dict[str, Any]]]:
    """A request of each operation that is carried out: its path, and what else is sent."""
    world = await shop.control("world")
    sku, orders = world["skus"][0]["sku"], [order for order in world["orders"] if order["status"] == "UNFULFILLED"]
    first, second, third = (order["id"] for order in orders[:3])
    line = {"line_id": orders[0]["lines"][0]["id"], "quantity": 1}
    parcel = {"carrier": "DHL", "tracking_number": "1", "shipped_at": "2026-11-25T12:00:00Z", "lines": [line]}
    price = {"amount": "9.00", "currency": "USD"}
    draft = {"title": "Draft", "variants": [{"sku": "NEW-1", "title": "One", "price": price}]}
    other = {"title": "Other", "variants": [{"sku": "NEW-2", "title": "Two", "price": price}]}
    shipment = (await shop.send("POST", f"/orders/{first}/shipments", parcel)).json()
    product = (await shop.send("POST", "/products", draft)).json()
    hook = {"url": "https://gateway.invalid/a", "events": ["product.created"]}
    endpoint = (await shop.send("POST", "/webhook-endpoints", hook)).json()["id"]
    await shop.control("webhooks", {"delay_s": 3600})
    ping = (await shop.ask("POST", f"/webhook-endpoints/{endpoint}/test")).json()["id"]
    lines: dict[str, Any] = {
        "content": BULK_LINE,
        "headers": {"Content-Type": "application/x-ndjson", "Idempotency-Key": '"job"'},
    }
    job = (await shop.ask("POST", "/jobs?kind=stock_set", **lines)).json()["id"]
    form = {"grant_type": "client_credentials", "client_id": "sandbox-client", "client_secret": "sandbox-secret"}
    stock = {"mode": "set", "items": [{"sku": sku, "location_id": "loc_1", "quantity": 3}]}
    refund = {"lines": [], "amount": {"amount": "1.00", "currency": "USD"}}
    made, sent = f"/products/{product['id']}", f"/shipments/{shipment['id']}"
    return {
        "getShop": ("/", {}),
        "postToken": ("/oauth/token", {"data": form}),
        "getLive": ("/health/live", {}),
        "getReady": ("/health/ready", {}),
        "listProducts": ("/products", {}),
        "createProduct": ("/products", {"json": other}),
        "getProduct": (made, {}),
        "putProduct": (made, {"json": draft}),
        "patchProduct": (made, {"json": {"title": "Changed"}}),
        "deleteProduct": (made, {}),
        "listVariants": (f"/variants?sku={sku}", {}),
        "patchVariants": ("/variants:bulk", {"json": {"items": [{"sku": sku, "price": price}]}}),
        "listLocations": ("/locations", {}),
        "listStock": ("/stock", {}),
        "patchStock": ("/stock:bulk", {"json": stock}),
        "listOrders": ("/orders", {}),
        "getOrder": (f"/orders/{second}", {}),
        "acknowledgeOrder": (f"/orders/{second}/acknowledge", {"json": {"external_id": "ours"}}),
        "cancelOrder": (f"/orders/{third}/cancel", {"json": {"reason": "customer"}}),
        "createShipment": (f"/orders/{second}/shipments", {"json": {**parcel, "lines": [await _line(shop, second)]}}),
        "getShipment": (sent, {}),
        "patchShipment": (sent, {"json": {"carrier": "UPS"}}),
        "deleteShipment": (sent, {}),
        "listRefunds": (f"/orders/{second}/refunds", {}),
        "createRefund": (f"/orders/{second}/refunds", {"json": refund}),
        "listTransactions": ("/transactions", {}),
        "listPayouts": ("/payouts", {}),
        "createJob": (
            "/jobs?kind=stock_set",
            {"content": BULK_LINE, "headers": {"Content-Type": "application/x-ndjson"}},
        ),
        "getJob": (f"/jobs/{job}", {}),
        "getJobResult": (f"/jobs/{job}/result", {}),
        "listEndpoints": ("/webhook-endpoints", {}),
        "createEndpoint": ("/webhook-endpoints", {"json": {**hook, "url": "https://gateway.invalid/b"}}),
        "testEndpoint": (f"/webhook-endpoints/{endpoint}/test", {}),
        "listDeliveries": (f"/webhook-endpoints/{endpoint}/deliveries", {}),
        "replayDelivery": (f"/deliveries/{ping}/replay", {}),
        "deleteEndpoint": (f"/webhook-endpoints/{endpoint}", {}),
    }


async def _line(shop: Client, order: str) -> dict[str, Any]:
    return {"line_id": (await shop.json(f"/orders/{order}"))["lines"][0]["id"], "quantity": 1}


def described() -> set[tuple[str, int]]:
    return {
        (each.id, int(status))
        for each in contract().operations
        for status in contract().document["paths"][each.path][each.method.lower()]["responses"]
    }


async def every_request(shop: Client, chosen: dict[str, tuple[str, dict[str, Any]]], **changed: Any) -> None:
    """Each operation once, in the order of the contract's table, under keys and revisions that fit."""
    for each in contract().operations:
        if each.id not in chosen:
            continue
        path, more = chosen[each.id]
        headers = {"Idempotency-Key": f'"{each.id}"', **more.get("headers", {})}
        if each.method in ("PUT", "PATCH", "DELETE") and "{id}" in each.path and "webhook" not in path and not changed:
            headers["If-Match"] = (await shop.get(path)).headers["ETag"]
        await shop.ask(each.method, path, **{**more, "headers": headers, **changed})


async def test_every_operation_is_met_with_every_status_it_describes(open_shop: Open) -> None:
    shop = await open_shop()
    chosen = await samples(shop)
    assert sorted(chosen) == sorted(each.id for each in contract().operations)
    last = ("deleteProduct", "deleteShipment", "deleteEndpoint")
    await every_request(shop, {id: one for id, one in chosen.items() if id not in last})
    await refused_ones(shop, chosen)
    await every_request(shop, chosen, token="nobody")
    await shop.control("tokens", {"token": "narrow", "scopes": ["finance:read"]})
    await every_request(
        shop, {id: one for id, one in chosen.items() if id not in ("listPayouts", "listTransactions")}, token="narrow"
    )
    await shop.control("tokens", {"token": "narrow", "scopes": ["catalog:read"]})
    await every_request(shop, {id: chosen[id] for id in ("listPayouts", "listTransactions")}, token="narrow")
    for status in (404, 500, 503):
        await shop.control("faults", {"faults": [{"operation": "*", "kind": "status", "status": status}]})
        # What is described nowhere is not asked for either: a process that is there says so or nothing.
        await every_request(
            shop, {id: one for id, one in chosen.items() if (id, status) in described()}, token="st_sandbox"
        )
    await shop.control("faults", {"faults": []})
    await shop.control("plans", {"q": 1, "w": 60, "remaining": 0})
    await every_request(shop, chosen, token="st_sandbox")
    await shop.control("plans", {"q": 1000, "w": 60})
    await every_request(shop, {id: chosen[id] for id in last})
    bare = await open_shop(without=("token", "products", "stock", "orders", "payouts", "webhooks"))
    await every_request(bare, chosen, token="st_sandbox")
    met = {key for client in (shop, bare) for key in client.wire.met}
    assert described() - met == set()


async def refused_ones(shop: Client, chosen: dict[str, tuple[str, dict[str, Any]]]) -> None:
    """What each operation refuses by itself."""
    sku = (await shop.control("world"))["skus"][0]["sku"]
    order = (await shop.json("/orders?status=open"))["data"][0]["id"]
    cancelled = (await shop.json("/orders?status=cancelled"))["data"][0]["id"]
    shipped = (await shop.json("/orders?fulfilment_status=fulfilled"))["data"][0]["id"]
    for path in ("/products", "/orders", "/stock", "/transactions", "/payouts"):
        assert (await shop.get(f"{path}?cursor=none")).status_code == 400
    assert (await shop.get("/variants")).status_code == 400
    deliveries, _ = chosen["listDeliveries"]
    assert (await shop.get(f"{deliveries}?limit=0")).status_code == 400
    for id in ("getProduct", "getOrder", "getShipment"):
        path = chosen[id][0]
        tag = (await shop.get(path)).headers["ETag"]
        assert (await shop.get(path, headers={"If-None-Match": tag})).status_code == 304
    for id in ("createProduct", "patchVariants", "patchStock", "createShipment", "createRefund", "createJob"):
        method = "PATCH" if id.startswith("patch") else "POST"
        path = chosen[id][0]
        big: dict[str, Any] = {"content": b" " * 16_000_001, "headers": {"Idempotency-Key": f'"big-{id}"'}}
        assert (await shop.ask(method, path, content="{}")).status_code == 400
        assert (await shop.ask(method, path, **big)).status_code == 413
        other: dict[str, Any] = {"content": "{}", "headers": {"Idempotency-Key": f'"{id}"'}}
        assert (await shop.ask(method, path, **other)).status_code == 422
        await under_way(shop, method, path)
    for id in ("putProduct", "patchProduct", "deleteProduct", "patchShipment", "deleteShipment"):
        method, path = {"put": "PUT", "pat": "PATCH", "del": "DELETE"}[id[:3]], chosen[id][0]
        assert (await shop.ask(method, path, content='{"title":"x","carrier":"x"}')).status_code == 428
        assert (await shop.send(method, path, {}, rev="none")).status_code == 412
    for id in ("putProduct", "patchProduct", "patchShipment"):
        method, path = {"put": "PUT", "pat": "PATCH"}[id[:3]], chosen[id][0]
        rev = (await shop.json(path))["rev"]
        assert (await shop.send(method, path, {"title": 1, "carrier": 1}, rev=rev)).status_code == 422
        assert (await shop.ask(method, path, content="no", headers={"If-Match": f'"{rev}"'})).status_code == 400
        assert (await shop.ask(method, path, content=b" " * 16_000_001)).status_code == 413
    taken = {"title": "x", "variants": [{"sku": sku, "title": "x", "price": {"amount": "1.00", "currency": "USD"}}]}
    for method in ("PUT", "PATCH"):
        path = chosen["putProduct"][0]
        assert (await shop.send(method, path, taken, rev=(await shop.json(path))["rev"])).status_code == 409
    bought = {line["sku"] for row in (await shop.json("/orders?limit=250"))["data"] for line in row["lines"]}
    rows = (await shop.json("/products"))["data"]
    seeded = next(row for row in rows if bought & {one["sku"] for one in row["variants"]})
    assert (await shop.send("DELETE", f"/products/{seeded['id']}", {}, rev=seeded["rev"])).status_code == 409
    for path in (f"/orders/{order}/acknowledge", f"/orders/{order}/cancel", "/webhook-endpoints"):
        assert (await shop.ask("POST", path, content="no")).status_code == 400
        assert (await shop.send("POST", path, {})).status_code == 422
    assert (await shop.send("POST", f"/orders/{cancelled}/acknowledge", {"external_id": "x"})).status_code == 409
    assert (await shop.send("POST", f"/orders/{shipped}/cancel", {"reason": "other"})).status_code == 409
    hook = {"url": "https://gateway.invalid/a", "events": ["ping"]}
    assert (await shop.send("POST", "/webhook-endpoints", hook)).status_code == 409
    assert (await shop.ask("POST", "/oauth/token", data={"client_id": "nobody"})).status_code == 401
    form = {"grant_type": "none", "client_id": "sandbox-client", "client_secret": "sandbox-secret"}
    assert (await shop.ask("POST", "/oauth/token", data=form)).status_code == 400
    await jobs(shop)


async def under_way(shop: Client, method: str, path: str) -> None:
    """A second request with a key whose first one has not ended."""
    await shop.control("moods", {"slow": 0.02})
    headers = {"Content-Type": "application/x-ndjson"} if path.startswith("/jobs") else {}
    twice = (shop.send(method, path, {"at": "once"}, key=f"slow{path}", headers=headers) for _ in range(2))
    answers = await asyncio.gather(*twice)
    await shop.control("moods", {})
    assert 409 in [answer.status_code for answer in answers]


async def jobs(shop: Client) -> None:
    await shop.control("moods", {"job": 60})
    more: dict[str, Any] = {
        "content": BULK_LINE,
        "headers": {"Content-Type": "application/x-ndjson", "Idempotency-Key": '"later"'},
    }
    path = f"/jobs/{(await shop.ask('POST', '/jobs?kind=stock_set', **more)).json()['id']}"
    assert (await shop.get(path)).json()["state"] == "queued"
    assert (await shop.get(f"{path}/result")).status_code == 409
    await shop.control("clock", {"advance": 61})
    ended = await shop.get(path)
    assert (ended.status_code, ended.json()["state"]) == (303, "failed")
    await shop.control("clock", {"advance": 25 * 3600})
    assert (await shop.get(f"{path}/result")).status_code == 410
    await shop.control("moods", {})
