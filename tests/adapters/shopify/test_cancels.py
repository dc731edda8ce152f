"""Canceling orders: by a job that is waited for, once, and not after a parcel has left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from adapters.port import OrderKey, Receipt
from adapters.shopify import cancels
from adapters.shopify.platform import ShopifyPort
from adapters.storefront import Cancels
from domain.budget import Ask
from domain.errors import (
    Conflict,
    HouseError,
    Invalid,
    MissingRole,
    NotFound,
    OutcomeUnknown,
    Refused,
    Transient,
    Unauthorized,
)
from domain.order import OrderStatus
from tests.adapters.shopify.bench import OpenPort, Sandbox, Script, key_of, parcel_of

GID = "gid://shopify/Order/1"


async def nothing() -> None:
    """Nobody minds that it is sent."""


async def bought(sandbox: Sandbox, offset: int, quantity: int = 2, **order: Any) -> dict[str, Any]:
    row = (await sandbox.get("world", limit=1, offset=offset))["skus"][0]
    return await sandbox.place_order({"sku": row["sku"], "quantity": quantity, "location": "Berlin"}, **order)


async def cancel(port: ShopifyPort, order: Mapping[str, Any], reason: str = "CUSTOMER", **more: bool) -> Receipt:
    return await port.cancel_order(key_of(order), reason, Ask(), nothing, **({"restock": True, "refund": True} | more))


async def berlin(sandbox: Sandbox, offset: int) -> tuple[int, int]:
    """Units (available, committed)."""
    level = (await sandbox.get("world", limit=1, offset=offset))["skus"][0]["stock"]["Berlin"]
    return level["available"], level["committed"]


async def test_a_shop_can_cancel(port: ShopifyPort) -> None:
    assert isinstance(port, Cancels)


@pytest.mark.parametrize(("restock", "refund"), [(True, True), (True, False), (False, True), (False, False)])
async def test_an_order_is_canceled_when_its_job_is_done(
    sandbox: Sandbox, port: ShopifyPort, restock: bool, refund: bool
) -> None:
    order = await bought(sandbox, 500)
    available, committed = await berlin(sandbox, 500)
    journal = await sandbox.journal()
    receipt = await cancel(port, order, "INVENTORY", restock=restock, refund=refund)
    assert (receipt.reference or "").startswith("gid://shopify/Job/")
    assert receipt.upstream_request_id
    effects = await journal.effects()
    (effect,) = [each for each in effects if each["operation"] == "orderCancel"]
    assert (effect["key"], effect["detail"]["reason"]) == (order["id"], "INVENTORY")
    assert [
        each["detail"]["lines"][0]["quantity"] for each in effects if each["operation"] == "orderCancel.refund"
    ] == ([2] if refund else [])
    assert await berlin(sandbox, 500) == (available + 2 * restock, committed - 2)
    now = await port.order(key_of(order), Ask())
    assert now.status is OrderStatus.CANCELLED
    assert now.channel_status == f"UNFULFILLED/{'REFUNDED' if refund else 'PAID'}"


async def test_one_that_is_canceled_already_is_fine(sandbox: Sandbox, port: ShopifyPort) -> None:
    order = await bought(sandbox, 501)
    await cancel(port, order)
    journal = await sandbox.journal()
    assert isinstance(await cancel(port, order), Receipt)
    assert await journal.calls() == ["order"]
    assert await journal.effects() == []


async def test_after_a_lost_answer_the_order_is_read_and_canceled_once(sandbox: Sandbox, port: ShopifyPort) -> None:
    order = await bought(sandbox, 502)
    journal = await sandbox.journal()
    await sandbox.faults({"operation": "orderCancel", "kind": "apply_then_reset", "count": 1})
    with pytest.raises(OutcomeUnknown):
        await cancel(port, order)
    await sandbox.show()
    await cancel(port, order)
    assert [each["operation"] for each in await journal.effects()].count("orderCancel") == 1
    assert (await journal.calls()).count("orderCancel") == 1


async def test_what_has_begun_to_ship_is_refused_with_where_it_stands(sandbox: Sandbox, port: ShopifyPort) -> None:
    order = await bought(sandbox, 503)
    await port.confirm_shipment(key_of(order), parcel_of("C-1", (order["lines"][0]["id"], 1)), Ask(), nothing)
    await sandbox.show()
    journal = await sandbox.journal()
    with pytest.raises(Conflict, match=r"1 parcel has left .it is PARTIALLY_FULFILLED"):
        await cancel(port, order)
    assert "orderCancel" not in await journal.calls()


async def test_a_parcel_that_does_not_show_yet_stops_it_at_the_platform(sandbox: Sandbox, port: ShopifyPort) -> None:
    order = await bought(sandbox, 504)
    await port.confirm_shipment(key_of(order), parcel_of("C-2", (order["lines"][0]["id"], 2)), Ask(), nothing)
    with pytest.raises(Refused, match="outstanding fulfillments") as caught:
        await cancel(port, order)
    assert caught.value.upstream_code == "INVALID"
    await sandbox.show()


async def test_a_parcel_that_leaves_while_it_is_canceled_is_told_as_where_the_order_stands(
    sandbox: Sandbox, port: ShopifyPort
) -> None:
    order = await bought(sandbox, 507)
    journal = await sandbox.journal()

    async def shipped() -> None:
        await port.confirm_shipment(key_of(order), parcel_of("C-3", (order["lines"][0]["id"], 1)), Ask(), nothing)
        await sandbox.show()

    with pytest.raises(Conflict, match=r"1 parcel has left .it is PARTIALLY_FULFILLED"):
        await port.cancel_order(key_of(order), "OTHER", Ask(), shipped, restock=True, refund=True)
    assert (await journal.calls()).count("orderCancel") == 1
    assert [each["operation"] for each in await journal.effects()] == ["fulfillmentCreate"]


async def test_reasons_and_orders_that_there_are_not(sandbox: Sandbox, port: ShopifyPort) -> None:
    order = await bought(sandbox, 505)
    journal = await sandbox.journal()
    with pytest.raises(Invalid, match="WHIM"):
        await cancel(port, order, "WHIM")
    assert await journal.calls() == []
    with pytest.raises(NotFound):
        await cancel(port, {"id": "gid://shopify/Order/7"})
    with pytest.raises(Transient):
        await port.cancel_order(key_of(order), "OTHER", Ask(), fenced, restock=True, refund=True)
    assert "orderCancel" not in await journal.calls()


async def fenced() -> None:
    raise Transient("Somebody else has it.")


async def test_no_scope(sandbox: Sandbox, open_port: OpenPort, port: ShopifyPort) -> None:
    order = await bought(sandbox, 506)
    with pytest.raises(Unauthorized, match="write_orders"):
        await cancel(open_port(sandbox.url, access_token="shpat_sandbox_readonly"), order)


def test_every_reason_of_the_protocol_has_the_platforms_name() -> None:
    assert set(cancels.REASONS) == {"CUSTOMER", "FRAUD", "INVENTORY", "DECLINED", "OTHER"}


def shop(
    *looks: str | httpx.Response | None, answer: Any = None, done: bool = True, job: Any = None, parcels: int = 0
) -> Script:
    """A shop whose order is canceled at the instants of `looks`, and has `parcels` from the second on; `answer` is that of
    orderCancel."""
    stands = iter(looks)
    left = iter([0])

    def told(name: str, given: dict[str, Any]) -> Any:
        if name == "OrderStands":
            at = next(stands)
            if isinstance(at, httpx.Response):
                return at
            sent = [{"id": f"gid://shopify/Fulfillment/{n}", "status": "SUCCESS"} for n in range(next(left, parcels))]
            return {
                "order": {
                    "id": GID,
                    "name": "#1",
                    "cancelledAt": at,
                    "displayFulfillmentStatus": "UNFULFILLED",
                    "fulfillments": sent,
                }
            }
        if name == "Job":
            return {"job": job}
        return {"orderCancel": answer or payload({"id": "gid://shopify/Job/1", "done": done})}

    return Script(told)


def payload(job: Any, *problems: tuple[str | None, str]) -> dict[str, Any]:
    errors = [{"field": ["orderId"], "message": words, "code": code} for code, words in problems]
    return {"job": job, "orderCancelUserErrors": errors, "userErrors": errors}


async def asked(open_port: OpenPort, script: Script) -> Receipt:
    port = open_port(wire=script.wire())
    return await port.cancel_order(OrderKey(GID, None), "FRAUD", Ask(), nothing, restock=False, refund=False)


async def test_what_is_sent(open_port: OpenPort) -> None:
    script = shop(None, "2026-11-20T08:00:00Z")
    await asked(open_port, script)
    assert [name for name, _ in script.asked] == ["OrderStands", "CancelOrder", "OrderStands"]
    assert script.asked[1][1] == {
        "id": GID,
        "reason": "FRAUD",
        "restock": False,
        "method": {"originalPaymentMethodsRefund": False},
    }


async def test_a_job_that_is_forgotten_is_over(open_port: OpenPort) -> None:
    assert isinstance(await asked(open_port, shop(None, "2026-11-20T08:00:00Z", done=False)), Receipt)


@pytest.mark.parametrize("answer", [None, payload(None), {"job": "?"}])
async def test_a_job_that_leaves_the_order_as_it_was_or_is_not_there_is_unknown(
    open_port: OpenPort, answer: Any
) -> None:
    with pytest.raises(OutcomeUnknown):
        await asked(open_port, shop(None, None, answer=answer))


async def test_a_job_that_found_a_parcel_gone_has_left_the_order_as_it_was(open_port: OpenPort) -> None:
    with pytest.raises(Conflict, match="2 parcels have left"):
        await asked(open_port, shop(None, None, parcels=2))


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
@pytest.mark.parametrize("refused", [None, ("INTERNAL_ERROR", "No."), ("INVALID", "No.")])
async def test_an_order_that_cannot_be_read_after_it_was_sent_is_unknown(
    open_port: OpenPort, status: int, refused: tuple[str, str] | None
) -> None:
    answer = payload(None, refused) if refused else None
    with pytest.raises(OutcomeUnknown, match="cannot be read"):
        await asked(open_port, shop(None, httpx.Response(status), answer=answer))


async def test_a_job_that_outlasts_our_patience_is_unknown(
    open_port: OpenPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancels, "PATIENCE_S", 0.0)
    working = {"id": "gid://shopify/Job/1", "done": False}
    with pytest.raises(OutcomeUnknown, match="still at work"):
        await asked(open_port, shop(None, done=False, job=working))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("INVALID", Refused),
        ("NOT_FOUND", NotFound),
        ("NO_REFUND_PERMISSION", MissingRole),
        ("INTERNAL_ERROR", OutcomeUnknown),
    ],
)
async def test_a_refusal_is_what_its_code_means_unless_the_order_is_canceled_by_now(
    open_port: OpenPort, code: str, kind: type[HouseError]
) -> None:
    refused = payload(None, (code, "No."))
    with pytest.raises(kind, match="#1 is not canceled: No") as caught:
        await asked(open_port, shop(None, None, answer=refused))
    assert type(caught.value) is kind
    assert isinstance(await asked(open_port, shop(None, "2026-11-20T08:00:00Z", answer=refused)), Receipt)
