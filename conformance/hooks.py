"""Checks of webhooks: the kit listens, and takes its endpoints away again."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from conformance.kit import Failed, Shop, Skipped, body, check, listed, told
from conformance.listener import Listener

HOOKS = ("webhooks",)
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint of ours at the shop. `name` is the last part of its address."""

    id: str
    name: str
    secret: str
    listener: Listener


@asynccontextmanager
async def _endpoint(shop: Shop, *events: str) -> AsyncIterator[Endpoint]:
    name = f"acorn-{secrets.token_hex(6)}"
    address = f"{(shop.wanted.hook or 'https://gateway.invalid').rstrip('/')}/{name}"
    made = body(await shop.send("POST", "/webhook-endpoints", {"url": address, "events": list(events)}, key=None), 201)
    shop.touched.add("a webhook endpoint of its own")
    try:
        # Without a listener nothing is waited for.
        yield Endpoint(made["id"], name, made["secret"], shop.wanted.listener or Listener(0))
    finally:
        await shop.ask("DELETE", f"/webhook-endpoints/{made['id']}")


async def _pinged(shop: Shop, endpoint: Endpoint) -> None:
    answer = await shop.ask("POST", f"/webhook-endpoints/{endpoint.id}/test")
    if answer.status_code != 202:
        raise Failed(f"…/test answered {told(answer)}")


@check(
    "webhooks.secret",
    "POST /webhook-endpoints",
    "makes an endpoint and reads the list",
    "Show the secret where the endpoint is made, and nowhere else.",
    parts=HOOKS,
    write=True,
)
async def secret(shop: Shop) -> None:
    async with _endpoint(shop, "ping") as endpoint:
        faults = shop.contract.value_faults("EndpointMade", {"secret": endpoint.secret})
        if any(fault.at == "secret" for fault in faults):
            raise Failed("the secret is not whsec_ and the base64 of 24 bytes or more")
        row = next(row for row in listed(await shop.get("/webhook-endpoints")) if row["id"] == endpoint.id)
        if "secret" in row:
            raise Failed("the list shows the secret")


@check(
    "webhooks.signed",
    "Webhooks",
    "lets itself be sent a ping",
    "Sign `{id}.{timestamp}.{body}` as Standard Webhooks says.",
    parts=HOOKS,
    write=True,
    listens=True,
)
async def signed(shop: Shop) -> None:
    async with _endpoint(shop, "ping") as endpoint:
        await _pinged(shop, endpoint)
        came = await endpoint.listener.wait(endpoint.name, bool, shop.wanted.patience_s)
        if not came:
            raise Failed(f"nothing came within {shop.wanted.patience_s:g} s")
        if not came[0].signed(endpoint.secret):
            raise Failed("webhook-signature is missing, or not made with the secret")


@check(
    "webhooks.event",
    "Webhooks",
    "writes a level, and waits to be told",
    "Tell `stock.updated` with sku and location_id when a level changes.",
    parts=(*HOOKS, "stock", "stock_write"),
    write=True,
    listens=True,
)
async def event(shop: Shop) -> None:
    async with _endpoint(shop, "stock.updated") as endpoint, shop.level() as level:
        await shop.set_stock(level, quantity=8)
        words = level["sku"].encode()
        came = await endpoint.listener.wait(
            endpoint.name, lambda told: any(words in one.body for one in told), shop.wanted.patience_s
        )
        if not any(words in one.body for one in came):
            raise Failed(f"nothing was told of {level['sku']} within {shop.wanted.patience_s:g} s")


@check(
    "webhooks.retried",
    "Webhooks",
    "answers a ping with 503 once",
    "Send again after 5 s, with the same webhook-id.",
    parts=HOOKS,
    write=True,
    listens=True,
)
async def retried(shop: Shop) -> None:
    async with _endpoint(shop, "ping") as endpoint:
        endpoint.listener.order(endpoint.name, 503)
        await _pinged(shop, endpoint)
        came = await endpoint.listener.wait(endpoint.name, lambda told: len(told) > 1, shop.wanted.patience_s)
        if len(came) < 2:
            raise Failed(f"a ping that failed did not come again within {shop.wanted.patience_s:g} s")
        if came[0].id != came[1].id:
            raise Failed("the second attempt has another webhook-id")


@check(
    "webhooks.gone",
    "Webhooks",
    "answers a ping with 410",
    "Send nothing more to an endpoint that answers 410, and show enabled: false.",
    parts=HOOKS,
    write=True,
    listens=True,
)
async def gone(shop: Shop) -> None:
    async with _endpoint(shop, "ping") as endpoint:
        endpoint.listener.order(endpoint.name, *[410] * 10)
        await _pinged(shop, endpoint)
        if not await endpoint.listener.wait(endpoint.name, bool, shop.wanted.patience_s):
            raise Skipped("nothing came; see webhooks.signed")
        try:
            async with asyncio.timeout(shop.wanted.patience_s):
                while await _enabled(shop, endpoint):  # noqa: ASYNC110  the shop tells nobody
                    await asyncio.sleep(_POLL_S)
        except TimeoutError as problem:
            raise Failed("the endpoint is still enabled") from problem


async def _enabled(shop: Shop, endpoint: Endpoint) -> bool:
    rows = listed(await shop.get("/webhook-endpoints"))
    return any(row["enabled"] for row in rows if row["id"] == endpoint.id)
