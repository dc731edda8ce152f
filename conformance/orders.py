"""Checks that write to orders. No money is moved, nothing is cancelled that may be, and the one parcel that is told
is taken back."""

from __future__ import annotations

from typing import Any

from conformance.kit import Failed, Shop, Skipped, body, check, left, new_key, refused, shipment_of, told
from conformance.reads import amount

SHIP = ("orders", "shipments")


@check(
    "orders.acknowledge",
    "POST …/acknowledge",
    "acknowledges an order twice",
    "Answer 200 each time.",
    parts=("orders", "acknowledge"),
    write=True,
)
async def acknowledged(shop: Shop) -> None:
    order = await shop.order()
    sent = {"external_id": order.get("external_id") or f"check:{order['id']}"}
    for _ in range(2):
        answer = await shop.send("POST", f"/orders/{order['id']}/acknowledge", sent, key=None)
        if body(answer, 200).get("external_id") != sent["external_id"]:
            raise Failed("external_id is not kept")


@check(
    "shipments.over",
    "POST …/shipments",
    "ships more than is left",
    "Answer 409 `over-shipment`, and ship nothing.",
    parts=SHIP,
    write=True,
)
async def over(shop: Shop) -> None:
    order = await shop.order()
    line = next(line for line in order["lines"] if left(line) > 0)
    answer = await shop.send("POST", f"/orders/{order['id']}/shipments", shipment_of(line, left(line) + 1))
    if answer.status_code == 201:
        path = f"/shipments/{answer.json()['id']}"
        await shop.send("DELETE", path, {}, key=None, rev=answer.json()["rev"])
    refused(answer, 409, "over-shipment")


@check(
    "shipments.taken",
    "POST …/shipments",
    "ships one unit and reads the order",
    "Answer 201 with Location, and show the parcel with its reference on the order at once.",
    parts=SHIP,
    write=True,
)
async def taken(shop: Shop) -> None:
    made = await shop.shipment()
    path = f"/orders/{made['order']['id']}"
    faults = [fault for fault in shop.faults("POST", f"{path}/shipments", made["answer"]) if fault.at == "Location"]
    if faults:
        raise Failed(str(faults[0]))
    shown = [parcel for parcel in (await shop.json(path))["shipments"] if parcel["id"] == made["id"]]
    if not shown:
        raise Failed("the order does not show the parcel")
    wrong = [
        name
        for name in ("carrier", "tracking_number", "lines", "reference")
        if shown[0].get(name) != made["sent"][name]
    ]
    if wrong:
        raise Failed(f"sent {wrong[0]} {made['sent'][wrong[0]]!r}, read {shown[0].get(wrong[0])!r}")


@check(
    "shipments.once",
    "Once",
    "tells one parcel twice with the same key",
    "Keep the answer of a key; make no second parcel.",
    parts=SHIP,
    write=True,
)
async def once(shop: Shop) -> None:
    await shop.take_back()
    order = await shop.order()
    path, before = f"/orders/{order['id']}/shipments", len(order["shipments"])
    sent, key = shipment_of(next(line for line in order["lines"] if left(line) > 0)), new_key()
    answers = [await shop.send("POST", path, sent, key=key) for _ in range(2)]
    after = (await shop.json(f"/orders/{order['id']}"))["shipments"]
    for parcel in [parcel for parcel in after if parcel["id"] not in {each["id"] for each in order["shipments"]}]:
        gone = await shop.send("DELETE", f"/shipments/{parcel['id']}", {}, key=None, rev=parcel["rev"])
        if not gone.is_success:
            shop.astray.add(f"parcel {parcel['id']} of order {order['id']}")
    if answers[0].status_code != 201:
        raise Failed(f"the parcel was answered with {told(answers[0])}")
    if (answers[0].status_code, answers[0].content) != (answers[1].status_code, answers[1].content):
        raise Failed(
            f"the parcel was answered with {told(answers[0])}, and then with {told(answers[1])}, or another body"
        )
    if len(after) != before + 1:
        raise Failed(f"one parcel was told twice with one key, and {len(after) - before} are there")


@check(
    "orders.cancel",
    "POST …/cancel",
    "cancels an order with a parcel",
    "Answer 409 `already-shipped`.",
    parts=(*SHIP, "cancel"),
    write=True,
)
async def cancelled(shop: Shop) -> None:
    made = await shop.shipment()
    sent = {"reason": "other", "restock": True, "refund": False}
    refused(await shop.send("POST", f"/orders/{made['order']['id']}/cancel", sent, key=None), 409, "already-shipped")


@check(
    "shipments.tracking",
    "PATCH /shipments/{id}",
    "corrects the tracking",
    "Keep the new carrier and number, and show them.",
    parts=SHIP,
    write=True,
)
async def tracking(shop: Shop) -> None:
    path = f"/shipments/{(await shop.shipment())['id']}"
    change = {"carrier": "UPS", "tracking_number": "1ZACORN"}
    body(await shop.send("PATCH", path, change, key=None, rev=(await shop.json(path))["rev"]), 200)
    shown = await shop.json(path)
    if {name: shown[name] for name in change} != change:
        raise Failed(f"sent {change['tracking_number']}, read {shown['tracking_number']}")


@check(
    "shipments.taken-back",
    "DELETE /shipments/{id}",
    "takes the parcel back",
    "Answer 204; its units are to be shipped again.",
    parts=SHIP,
    write=True,
)
async def taken_back(shop: Shop) -> None:
    made = await shop.shipment()
    answer = await shop.take_back()
    if answer is None or answer.status_code != 204:
        raise Failed(f"DELETE answered {'nothing' if answer is None else told(answer)}")
    now = _line(await shop.json(f"/orders/{made['order']['id']}"), made["line"]["id"])
    if now["shipped"] != made["line"]["shipped"]:
        raise Failed(f"the line had {made['line']['shipped']} units shipped before, and has {now['shipped']} now")


@check(
    "refunds.exceeds",
    "POST …/refunds",
    "asks for more than was paid",
    "Answer 422 `exceeds-captured`, and give nothing.",
    parts=("orders", "refunds"),
    write=True,
)
async def exceeds(shop: Shop) -> None:
    order = await shop.order()
    grand = order["totals"]["grand"]
    if order.get("payment_status") != "paid":
        raise Skipped(f"order {order['id']} is not paid")
    money = {"amount": f"{amount(grand) * 10:.2f}", "currency": grand["currency"]}
    refused(
        await shop.send("POST", f"/orders/{order['id']}/refunds", {"lines": [], "amount": money}),
        422,
        "exceeds-captured",
    )


def _line(order: dict[str, Any], id: str) -> dict[str, Any]:
    found: dict[str, Any] = next(line for line in order["lines"] if line["id"] == id)
    return found
