"""listTransactions, and the money of orders that it tells."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from sandbox.amazon.auth import Account
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.money_flow import period
from sandbox.amazon.visit import EU, FE, NA, Seller, confirmation, error, to_ship
from sandbox.visit import advance
from tests.sandbox.amazon.reads import FINANCES, LONG_AGO, cash, leaves, lift_plans, related, ship_all, transactions

DAY_S = 86_400


@pytest.fixture(autouse=True)
async def _plans(client: httpx.AsyncClient) -> None:
    await lift_plans(client)


def branches(tree: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [inner for one in tree for inner in (one, *branches(one.get("breakdowns", [])))]


async def test_every_branch_adds_up_to_the_cent(client: httpx.AsyncClient) -> None:
    kinds = set()
    for account in (NA, EU, FE):
        for one in await transactions(await Seller.login(client, account)):
            kinds.add(one["transactionType"])
            for whole in (one, *one["items"]):
                total = cash(whole["totalAmount"])
                assert sum(leaves(whole["breakdowns"]).values()) == total
                assert sum(cash(part["breakdownAmount"]) for part in whole["breakdowns"]) == total
                for branch in branches(whole["breakdowns"]):
                    if "breakdowns" in branch:
                        below = sum(cash(part["breakdownAmount"]) for part in branch["breakdowns"])
                        assert below == cash(branch["breakdownAmount"])
            assert sum(cash(item["totalAmount"]) for item in one["items"]) == cash(one["totalAmount"])
    assert kinds == {"Shipment", "Refund"}


@pytest.mark.parametrize("account", [NA, EU, FE])
async def test_shipments_are_the_orders_that_were_shipped_and_agree_with_their_amounts(
    client: httpx.AsyncClient, account: str
) -> None:
    seller = await Seller.login(client, account)
    query = {"createdAfter": LONG_AGO, "fulfillmentStatuses": "SHIPPED", "includedData": "PROCEEDS"}
    shipped = {one["orderId"]: one for one in (await seller.orders(**query)).json()["orders"]}
    paid = Counter[str]()
    for one in await transactions(seller):
        if one["transactionType"] == "Shipment" and one["transactionStatus"] != "DEFERRED_RELEASED":
            found, id = leaves(one["breakdowns"]), related(one, "ORDER_ID")
            assert id is not None
            paid[id] += found["ProductCharges"] + found["Tax"]  # type: ignore[assignment]  # sums of money
    late = [id for id in shipped if id not in paid]
    assert len(late) < len(shipped) / 2
    for id in set(shipped) & set(paid):
        assert paid[id] == Decimal(shipped[id]["proceeds"]["grandTotal"]["amount"]), id


async def test_a_line_in_several_parcels_is_paid_as_the_line(client: httpx.AsyncClient, na: Seller) -> None:
    order = await to_ship(client, units=2)
    line = order["lines"][0]
    for reference, units in (("1", 1), ("2", line["unshipped"] - 1)):
        items = [{"orderItemId": line["id"], "quantity": units}]
        body = confirmation(order, packageReferenceId=reference, orderItems=items)
        assert (await na.confirm(order["id"], body)).status_code == 204
    await advance(client, 3 * DAY_S)
    na = await Seller.login(client)
    posted = await transactions(na, relatedIdentifierName="ORDER_ID", relatedIdentifierValue=order["id"])
    assert [one["items"][0]["contexts"][0]["quantityShipped"] for one in posted] == [1, line["unshipped"] - 1]
    told = (await na.order(order["id"], "PROCEEDS")).json()["order"]["orderItems"]
    total = next(one["proceeds"]["proceedsTotal"]["amount"] for one in told if one["orderItemId"] == line["id"])
    paid = sum(leaves(one["breakdowns"])["ProductCharges"] + leaves(one["breakdowns"])["Tax"] for one in posted)
    assert paid == Decimal(total)


async def test_a_refund_takes_back_the_sale_and_keeps_a_part_of_the_fee(client: httpx.AsyncClient, na: Seller) -> None:
    order = await to_ship(client)
    assert (await na.confirm(order["id"], confirmation(order))).status_code == 204
    await advance(client, 60)
    line = order["lines"][0]
    wanted = {"order": order["id"], "lines": [{"id": line["id"], "quantity": line["quantity"]}]}
    assert (await client.post("/_sandbox/refunds", json=wanted)).status_code == 200
    assert (await client.post("/_sandbox/refunds", json=wanted)).status_code == 400
    await advance(client, 3 * DAY_S)
    na = await Seller.login(client)
    posted = await transactions(na, relatedIdentifierName="ORDER_ID", relatedIdentifierValue=order["id"])
    sale, refund = ({**leaves(one["items"][0]["breakdowns"])} for one in posted)
    assert [one["transactionType"] for one in posted] == ["Shipment", "Refund"]
    for name in ("ProductCharges", "Tax", "MarketplaceFacilitatorTax", "Commission"):
        assert refund[name] == -sale[name]
    assert refund["RefundCommission"] == max(Decimal(-5) * line["quantity"], refund["RefundCommission"]) < 0


async def test_what_is_held_back_is_released_once_and_each_names_the_other(client: httpx.AsyncClient) -> None:
    await ship_all(await Seller.login(client))
    await advance(client, 3 * DAY_S)
    before = await transactions(await Seller.login(client))
    held = {one["transactionId"] for one in before if one["transactionStatus"] == "DEFERRED"}
    assert held
    assert all(one["contexts"][0]["deferralReason"] in ("DD7", "B2B") for one in before if one["transactionId"] in held)
    await advance(client, 8 * DAY_S)
    after = {one["transactionId"]: one for one in await transactions(await Seller.login(client))}
    for id in held:
        release = after[related(after[id], "RELEASE_TRANSACTION_ID") or ""]
        assert (after[id]["transactionStatus"], release["transactionStatus"]) == ("DEFERRED_RELEASED", "RELEASED")
        assert related(release, "DEFERRED_TRANSACTION_ID") == id
        assert release["totalAmount"] == after[id]["totalAmount"]


async def test_some_transactions_show_late_and_keep_the_time_at_which_they_were_posted(
    client: httpx.AsyncClient,
) -> None:
    ready = set(await ship_all(await Seller.login(client)))
    shown: list[set[str | None]] = []
    for hours in (1, 41):
        await advance(client, hours * 3600)
        na = await Seller.login(client)
        found = await transactions(na, postedAfter="2026-03-01T11:00:00Z", postedBefore="2026-03-01T12:30:00Z")
        shown.append({related(one, "ORDER_ID") for one in found} & ready)
    assert shown[0] < shown[1] == ready


async def test_pages_repeat_nothing_and_may_be_empty(client: httpx.AsyncClient, na: Seller) -> None:
    await ship_all(na)
    await advance(client, 30 * DAY_S)
    na = await Seller.login(client)
    sizes, ids = [], []
    token: dict[str, object] = {}
    while True:
        payload = (await na.get(FINANCES, postedAfter=LONG_AGO, **token)).json()["payload"]
        sizes.append(len(payload["transactions"]))
        ids += [one["transactionId"] for one in payload["transactions"]]
        if "nextToken" not in payload:
            break
        token = {"nextToken": payload["nextToken"]}
    assert 0 in sizes[:-1]
    assert len(ids) == len(set(ids)) > 50
    other = {"postedAfter": "2026-02-01T00:00:00Z", **token}
    assert error(await na.get(FINANCES, **other)) == (400, "InvalidInput")
    assert (await client.post("/_sandbox/broken-page-tokens", json={"count": 1})).status_code == 200
    assert (await na.get(FINANCES, postedAfter=LONG_AGO, **token)).status_code == 500
    assert (await na.get(FINANCES, postedAfter=LONG_AGO, **token)).status_code == 200
    await advance(client, 3600)
    na = await Seller.login(client)
    assert error(await na.get(FINANCES, postedAfter=LONG_AGO, **token)) == (400, "InvalidInput")


async def test_a_marketplace_leaves_out_what_the_merchant_ships_in_the_us(na: Seller, eu: Seller) -> None:
    networks = {
        item["contexts"][0]["fulfillmentNetwork"]
        for one in await transactions(na, marketplaceId=MARKETPLACES["US"].id)
        for item in one["items"]
    }
    assert networks == {"AFN"}
    german = await transactions(eu, marketplaceId=MARKETPLACES["DE"].id)
    networks = {item["contexts"][0]["fulfillmentNetwork"] for one in german for item in one["items"]}
    assert networks == {"AFN", "MFN"}
    assert {one["marketplaceDetails"]["marketplaceName"] for one in german} == {"Amazon.de"}


async def test_windows_are_bounded_as_published(na: Seller) -> None:
    assert await transactions(na)
    # More than 180 days: empty, and no error.
    assert await transactions(na, postedAfter="2025-08-01T00:00:00Z") == []
    for query in (
        {},
        {"postedAfter": "2026-03-01T11:59:00Z"},
        {"postedAfter": LONG_AGO, "postedBefore": "2026-03-01T11:59:00Z"},
        {"postedAfter": LONG_AGO, "postedBefore": LONG_AGO},
        {"postedAfter": LONG_AGO, "transactionStatus": "PAID"},
        {"relatedIdentifierName": "ORDER_ID"},
        {"relatedIdentifierName": "SHIPMENT_ID", "relatedIdentifierValue": "1"},
    ):
        assert error(await na.get(FINANCES, **query)) == (400, "InvalidInput"), query
    place = MARKETPLACES["DE"].id
    assert error(await na.get(FINANCES, postedAfter=LONG_AGO, marketplaceId=place)) == (403, "Unauthorized")


async def test_a_group_of_events_holds_what_was_released_in_its_settlement(na: Seller) -> None:
    found = await transactions(na)
    groups = Counter(group for one in found if (group := related(one, "FINANCIAL_EVENT_GROUP_ID")))
    group, count = groups.most_common(1)[0]
    same = await transactions(na, relatedIdentifierName="FINANCIAL_EVENT_GROUP_ID", relatedIdentifierValue=group)
    assert len(same) == count
    assert {related(one, "FINANCIAL_EVENT_GROUP_ID") for one in same} == {group}


def test_periods_follow_each_other_without_gap() -> None:
    account = Account("Atzr|x", "A1", "NA", "AMAZON_NA", "Reno", ("US",))
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    this = period(account, "US", at)
    assert this.start <= at < this.end
    assert period(account, "US", this.start) == period(account, "US", this.end - timedelta(seconds=1)) == this
    following = period(account, "US", this.end)
    assert following.start == this.end
    assert len({this.id, this.group, following.id, following.group, period(account, "CA", at).id}) == 5
