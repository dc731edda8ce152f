"""What purchasable_offer takes, and which price holds when."""

from typing import Any

import httpx
import pytest

from sandbox.amazon.visit import EU, FE, Seller
from sandbox.visit import advance, world

US, DE, JP = "ATVPDKIKX0DER", "A1PA6795UKMFR9", "A1VC38T7YXB528"


def priced(amount: object, **dates: str) -> list[dict[str, Any]]:
    return [{"schedule": [{"value_with_tax": amount, **dates}]}]


def offer(**members: Any) -> dict[str, Any]:
    return {"marketplace_id": US, "currency": "USD", "audience": "ALL", "our_price": priced(20), **members}


def body(*entries: dict[str, Any], op: str = "replace") -> dict[str, Any]:
    patch = {"op": op, "path": "/attributes/purchasable_offer", "value": list(entries)}
    return {"productType": "PRODUCT", "patches": [patch]}


async def sku_of(client: httpx.AsyncClient, place: int = 9) -> str:
    return str((await world(client))["skus"][place]["sku"])


async def shown(seller: Seller, sku: str, marketplace: str = "US") -> dict[str, Any]:
    # Days may have passed, and a token lives for an hour.
    seller.token = (await Seller.login(seller.client, f"Atzr|sandbox-{seller.id[-2:].lower()}")).token
    included = "summaries,attributes,offers,issues"
    item: dict[str, Any] = (await seller.listing(marketplace, sku, includedData=included)).json()
    return item


def amounts(item: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["offerType"], one["price"]["amount"]) for one in item["offers"]]


async def test_a_sale_holds_from_its_start_until_its_end(client: httpx.AsyncClient, na: Seller) -> None:
    sku = await sku_of(client)
    # The clock of these tests begins at 2026-03-01T12:00Z.
    sale = priced(15, start_at="2026-03-01T05:00:00-08:00", end_at="2026-03-01T14:00:00.000Z")
    await na.patch("US", sku, body(offer(discounted_price=sale)))
    await advance(client, 3)
    assert amounts(await shown(na, sku)) == [("B2C", "20.00")]
    await advance(client, 3600)
    assert amounts(await shown(na, sku)) == [("B2C", "15.00")]
    bought = {"marketplace": "US", "lines": [{"sku": sku, "quantity": 1}]}
    assert (await client.post("/_sandbox/buy", json=bought)).status_code == 200
    await advance(client, 3600)
    assert amounts(await shown(na, sku)) == [("B2C", "20.00")]


async def test_a_mere_date_is_a_day_of_the_marketplace(client: httpx.AsyncClient, na: Seller) -> None:
    sku = await sku_of(client)
    sale = priced(15, start_at="2026-03-02", end_at="2026-03-02")
    await na.patch("US", sku, body(offer(discounted_price=sale)))
    # Midnight in Los Angeles is 08:00 UTC in winter.
    seen = []
    for seconds in (20 * 3600 - 60, 120, 24 * 3600 - 120, 120):
        await advance(client, seconds)
        seen.append(amounts(await shown(na, sku))[0][1])
    assert seen == ["20.00", "15.00", "15.00", "20.00"]


async def test_a_replaced_offer_has_lost_what_was_not_sent_again(client: httpx.AsyncClient, na: Seller) -> None:
    sku = await sku_of(client)
    limits = {"minimum_seller_allowed_price": priced(10), "maximum_seller_allowed_price": priced(30)}
    business = offer(audience="B2B", our_price=priced(18))
    await na.patch("US", sku, body(offer(**limits), business))
    await advance(client, 3)
    before = (await shown(na, sku))["attributes"]["purchasable_offer"]
    assert before == [offer(**limits), business]
    await na.patch("US", sku, body({**offer(our_price=priced(21))}, op="merge"))
    await advance(client, 3)
    merged = await shown(na, sku)
    assert merged["attributes"]["purchasable_offer"] == [offer(our_price=priced(21), **limits), business]
    assert amounts(merged) == [("B2C", "21.00"), ("B2B", "18.00")]
    await na.patch("US", sku, body(offer(our_price=priced(22))))
    await advance(client, 3)
    assert (await shown(na, sku))["attributes"]["purchasable_offer"] == [offer(our_price=priced(22))]


async def test_a_price_outside_of_its_limits_takes_the_listing_down(client: httpx.AsyncClient, na: Seller) -> None:
    sku = await sku_of(client)
    fine = offer(minimum_seller_allowed_price=priced(10), maximum_seller_allowed_price=priced(30))
    for amount, down in ((20, False), (9.99, True), (30.01, True), (30, False)):
        await na.patch("US", sku, body({**fine, "our_price": priced(amount)}))
        await advance(client, 3)
        item = await shown(na, sku)
        actions = [action["action"] for one in item["issues"] for action in one["enforcements"]["actions"]]
        assert actions == (["LISTING_SUPPRESSED"] if down else [])
        assert (item["summaries"][0]["status"] == []) is down


async def test_a_price_in_one_marketplace_leaves_the_others(client: httpx.AsyncClient) -> None:
    eu = await Seller.login(client, EU)
    sku = await sku_of(client, 3)
    before = await shown(eu, sku, "FR")
    entry = {"marketplace_id": DE, "currency": "EUR", "audience": "ALL", "our_price": priced(44)}
    await eu.patch("DE", sku, body(entry))
    await advance(client, 3)
    assert amounts(await shown(eu, sku, "DE")) == [("B2C", "44.00")]
    assert await shown(eu, sku, "FR") == {**before, "summaries": (await shown(eu, sku, "FR"))["summaries"]}


LATE = {"start_at": "2026-03-02T00:00:00Z", "end_at": "2026-03-03T00:00:00Z"}


@pytest.mark.parametrize(
    ("members", "codes"),
    [
        ({"discounted_price": priced(15, **LATE)}, []),
        ({"discounted_price": priced(20, **LATE)}, ["99022"]),
        ({"discounted_price": priced(15, start_at="2026-03-02T00:00:00Z")}, ["90220"]),
        ({"discounted_price": priced(15, start_at=LATE["end_at"], end_at=LATE["start_at"])}, ["99022"]),
        ({"discounted_price": priced(15, start_at="tomorrow", end_at=LATE["end_at"])}, ["99022"]),
        ({"discounted_price": [{}]}, ["99022"]),
        ({"discounted_price": []}, ["99022"]),
        ({"our_price": [{"schedule": []}]}, ["99022"]),
        ({"our_price": [{"value_with_tax": 5}]}, ["99022"]),
        ({"our_price": priced("20")}, ["99022"]),
        ({"our_price": [*priced(20), 5]}, ["99022"]),
        ({"discounted_price": priced(15, start_at="9999-12-31", end_at="9999-12-31")}, ["99022"]),
        ({"our_price": priced(20.005)}, ["99022"]),
        ({"our_price": priced(20, **LATE)}, ["90000900"]),
        (
            {"minimum_seller_allowed_price": priced(25), "maximum_seller_allowed_price": priced(24)},
            ["99022"],
        ),
        ({"audience": "EVERYBODY"}, ["99022"]),
        ({"currency": "EUR"}, ["90220"]),
    ],
)
async def test_what_an_offer_may_say(
    client: httpx.AsyncClient, na: Seller, members: dict[str, Any], codes: list[str]
) -> None:
    answer = (await na.patch("US", await sku_of(client), body(offer(**members)))).json()
    assert (answer["status"], [issue["code"] for issue in answer["issues"]]) == (
        "INVALID" if codes else "ACCEPTED",
        codes,
    )


async def test_yen_have_no_decimals(client: httpx.AsyncClient) -> None:
    fe = await Seller.login(client, FE)
    sku = await sku_of(client, 3)
    for amount, status in ((1500, "ACCEPTED"), (1500.5, "INVALID")):
        entry = {"marketplace_id": JP, "currency": "JPY", "our_price": priced(amount)}
        assert (await fe.patch("JP", sku, body(entry))).json()["status"] == status


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"quantity": 3, "lead_time_to_ship_max_days": 5, "restock_date": "2026-04-01"}, "ACCEPTED"),
        ({"lead_time_to_ship_max_days": 31}, "INVALID"),
        ({"lead_time_to_ship_max_days": "5"}, "INVALID"),
        ({"restock_date": "soon"}, "INVALID"),
    ],
)
async def test_what_an_availability_may_say(
    client: httpx.AsyncClient, na: Seller, members: dict[str, Any], status: str
) -> None:
    value = [{"fulfillment_channel_code": "DEFAULT", **members}]
    patch = {"op": "merge", "path": "/attributes/fulfillment_availability", "value": value}
    answer = await na.patch("US", await sku_of(client), {"productType": "PRODUCT", "patches": [patch]})
    assert answer.json()["status"] == status
