"""Stock as clients see it: its explanation, what channels are told, its rules, its ledger; each field once over real rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import insert, update

from domain.drift import DriftKind
from domain.ids import ChannelId, ChannelSku, Sku
from domain.stock import Term
from resolvers.context import Caller
from resolvers.shelf import Shelf
from store import channel_stock, drift, order
from store.channel_stock import NumberKey, Target
from store.drift import Noted
from store.session import Store
from store.stock_push import UNSEEN_SALE
from store.tables import channel_stock as channel_stock_table
from store.tables import oversale, stock_push
from tests.resolvers.platform import own_location
from tests.resolvers.test_shipment import CountingBell, make_order
from tests.resolvers.test_stock import House
from tests.schema.test_queries import STOREFRONT, ask

SHOP = ChannelId("shop")
CHECKOUT = Caller("checkout", frozenset({"stock:read", "stock:reserve"}))


@pytest.fixture
async def house(store: Store, redis: Redis) -> House:
    made = House(store, redis)
    made.places[3] = own_location("vienna", shown={SHOP: "gid://1"})
    await made.list_everywhere("A1", "B2")
    await made.book("A1", 10)
    return made


@pytest.fixture
def shelf(house: House) -> Shelf:
    return replace(house.shelf, bell=CountingBell())


async def tell_shop(house: House, target: int, told: int | None = None, sku: str = "A1") -> None:
    """The shop is to be told `target`; it was told `told` and seen to show it."""
    now = datetime.now(UTC)
    key = NumberKey(SHOP, ChannelSku(sku), "gid://1")
    terms = [Term("on hand at Vienna", target + 1, "ledger", now), Term("safety", -1, "SAFETY_STOCK", None, "keep one")]
    made = Target(key, Sku(sku), {}, target, 1, now, terms, now, now, ready=True)
    async with house.store.begin() as tx:
        await channel_stock.put(tx, [made])
        if told is not None:
            table = channel_stock_table
            await tx.execute(table.update().values(told=told, told_at=now, confirmed_at=now, shown=told, shown_at=now))
            push = {
                "channel": SHOP,
                "channel_sku": sku,
                "place": "gid://1",
                "sku": sku,
                "quantity": told,
                "expected": 99,
            }
            times = dict.fromkeys(("caused_at", "sent_at", "accepted_at", "confirmed_at"), now)
            await tx.execute(insert(stock_push).values(cause="CHANGE", **push, **times))


async def data(shelf: Shelf, query: str, **variables: Any) -> Any:
    found, errors, _ = await ask(shelf, query, **variables)
    assert errors == []
    return found


async def test_every_term_says_whence_it_comes_and_how_old_it_is(house: House, shelf: Shelf) -> None:
    house.shop.units["berlin", "A1"] = 3
    (one,) = (
        await data(
            replace(shelf, safety_stock=2),
            """{ stock(skus: ["A1"]) { availableToSell onHand reserved safetyStock levels { location { code } freshness }
                explanation { label quantity source rule asOf ageSeconds upstreamRequestId } } }""",
        )
    )["stock"]
    assert (one["availableToSell"], one["onHand"], one["reserved"], one["safetyStock"]) == (11, 13, 0, 2)
    assert {level["location"]["code"]: level["freshness"] for level in one["levels"]}["vienna"] == "LIVE"
    terms = {term["label"]: term for term in one["explanation"]}
    assert sum(term["quantity"] for term in terms.values()) == 11
    assert 0 <= terms["on hand at Berlin"]["ageSeconds"] < 60
    assert (terms["safety stock"]["ageSeconds"], terms["safety stock"]["rule"]) == (None, None)


async def test_what_channels_are_told_and_what_they_hold_themselves(house: House, shelf: Shelf) -> None:
    house.amazon.units["fba-eu", "A1"] = 6
    await tell_shop(house, 9, told=8)
    query = """{ stock(skus: ["A1", "B2"]) { channels { channel { id } fulfilledBy quantity target shown shownAt pushedAt
        confirmedAt lastError explanation { quantity rule } } exposure { sellable existing beyond } } }"""
    one, other = (await data(shelf, query))["stock"]
    amazon, shop = one["channels"]
    assert (amazon["channel"]["id"], amazon["fulfilledBy"], amazon["quantity"]) == ("Channel:amazon-eu", "CHANNEL", 6)
    assert (amazon["pushedAt"], amazon["target"]) == (None, None)
    assert amazon["confirmedAt"] is not None
    assert (shop["channel"]["id"], shop["fulfilledBy"]) == ("Channel:shop", "MERCHANT")
    assert (shop["quantity"], shop["target"], shop["shown"], shop["lastError"]) == (8, 9, 8, None)
    assert None not in (shop["pushedAt"], shop["confirmedAt"], shop["shownAt"])
    assert sum(term["quantity"] for term in shop["explanation"]) == 9
    assert one["exposure"] == {"sellable": 8, "existing": 10, "beyond": 0}
    assert [channel["fulfilledBy"] for channel in other["channels"]] == ["CHANNEL"]


async def test_a_channel_that_was_told_nothing_is_shown_what_it_will_be_told(house: House, shelf: Shelf) -> None:
    await tell_shop(house, 9)
    query = '{ stock(skus: ["A1"]) { channels { channel { id } quantity target pushedAt confirmedAt } } }'
    shop = (await data(shelf, query))["stock"][0]["channels"][1]
    assert shop == {
        "channel": {"id": "Channel:shop"},
        "quantity": 9,
        "target": 9,
        "pushedAt": None,
        "confirmedAt": None,
    }


async def test_the_past_is_told_as_it_was_with_what_channels_had_been_told(house: House, shelf: Shelf) -> None:
    await tell_shop(house, 9, told=8)
    then = datetime.now(UTC).isoformat()
    await house.book("A1", -4)
    query = """query($at: DateTime!) { stock(skus: ["A1", "?"], asOf: $at) { availableToSell explanation { quantity }
        channels { channel { id } quantity pushedAt confirmedAt target shown } exposure { beyond }
        offer(channelId: "Channel:shop") { quantity } } }"""
    one, none = (await data(shelf, query, at=then))["stock"]
    assert none is None
    assert (one["availableToSell"], one["offer"]["quantity"], one["exposure"]) == (10, 10, None)
    (shop,) = [channel for channel in one["channels"] if channel["channel"]["id"] == "Channel:shop"]
    assert (shop["quantity"], shop["target"], shop["shown"]) == (8, None, None)
    assert house.shop.calls == []
    _, errors, _ = await ask(shelf, query, at=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    assert "400 days" in errors[0].message


async def test_an_offer_depends_on_the_buyer(house: House, shelf: Shelf) -> None:
    house.amazon.units["fba-eu", "A1"] = 20
    await data(
        shelf,
        """mutation { setStockRule(input: {name: "FBA for Austria", kind: FBA_SHARE, percent: "50", cap: 4, maxAge: "PT2H",
            countries: ["at"], excludedStates: ["9"], channelId: "Channel:shop"}) { userErrors { message } } }""",
    )
    query = """query($to: DestinationInput) { stock(skus: ["A1"]) { offer(channelId: "Channel:shop", shipTo: $to) {
        quantity changesAt explanation { quantity rule } } } }"""

    async def offered(to: dict[str, str] | None) -> int:
        offer = (await data(shelf, query, to=to))["stock"][0]["offer"]
        assert sum(term["quantity"] for term in offer["explanation"]) == offer["quantity"]
        return int(offer["quantity"])

    assert [await offered(to) for to in (None, {"country": "DE"}, {"country": "AT"})] == [10, 10, 14]
    assert await offered({"country": "at", "state": "9"}) == 10
    found, errors, _ = await ask(shelf, query.replace("Channel:shop", "Channel:none"))
    assert (found["stock"][0]["offer"], type(errors[0].original_error).__name__) == (None, "NotFound")


async def test_adjusting_listing_and_proving_the_ledger(house: House, shelf: Shelf) -> None:
    told = await data(
        shelf,
        """mutation($input: AdjustStockInput!) { adjustStock(input: $input) { userErrors { code message field }
            operation { id kind status items { nodes { key before after status } } } } }""",
        input={
            "reason": "counted",
            "idempotencyKey": "k1",
            "adjustments": [
                {"sku": "A1", "location": "vienna", "setTo": 12},
                {"sku": "B2", "location": "vienna", "delta": 3, "kind": "RECEIPT"},
                {"sku": "A1", "location": "vienna", "delta": 2, "transferTo": "graz"},
            ],
        },
    )
    made = told["adjustStock"]["operation"]
    assert (told["adjustStock"]["userErrors"], made["kind"], made["status"]) == ([], "ADJUST_STOCK", "SUCCEEDED")
    assert made["items"]["nodes"][0] == {
        "key": "A1/vienna",
        "before": '{"onHand": 10}',
        "after": '{"onHand": 12}',
        "status": "VERIFIED",
    }
    page = (
        await data(
            shelf,
            """{ stockEntries(sku: "A1", location: "vienna", first: 1) { totalCount pageInfo { hasNextPage endCursor } nodes {
                id at sku location kind onHand reserved inbound reason actor source reference reservationId orderLineId } } }""",
        )
    )["stockEntries"]
    assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (3, True)
    (newest,) = page["nodes"]
    assert (newest["kind"], newest["onHand"], newest["reason"], newest["source"]) == (
        "TRANSFER",
        -2,
        "counted",
        "mutation",
    )
    assert newest["reference"] == made["id"].removeprefix("Operation:")
    rest = await data(
        shelf,
        'query($after: String) { stockEntries(sku: "A1", location: "vienna", after: $after) { nodes { kind } } }',
        after=page["pageInfo"]["endCursor"],
    )
    assert [one["kind"] for one in rest["stockEntries"]["nodes"]] == ["COUNT", "ADJUSTMENT"]
    assert await data(shelf, "{ ledgerCheck { at } }") == {"ledgerCheck": None}
    checked = await data(
        shelf,
        """mutation { checkLedger { userErrors { code } check { at balances entries wrong { sku location
            balance { onHand reserved inbound } entries { onHand } } } } }""",
    )
    assert (checked["checkLedger"]["check"]["balances"], checked["checkLedger"]["check"]["wrong"]) == (3, [])
    assert (await data(shelf, "{ ledgerCheck { balances } }"))["ledgerCheck"] == {"balances": 3}
    undone = await data(
        shelf,
        """mutation($id: ID!) { revertOperation(id: $id) { userErrors { code message } operation { kind status
            reverts { id } } } }""",
        id=made["id"],
    )
    assert undone["revertOperation"] == {
        "userErrors": [],
        "operation": {"kind": "ADJUST_STOCK", "status": "SUCCEEDED", "reverts": {"id": made["id"]}},
    }


async def test_what_cannot_be_adjusted_is_told_with_its_field(shelf: Shelf) -> None:
    told = await data(
        shelf,
        """mutation { adjustStock(input: {reason: "x", adjustments: [{sku: "A1", location: "berlin", delta: 1}]}) {
            operation { id } userErrors { code message field } }
          revertOperation(id: "Operation:none") { operation { id } userErrors { code field } } }""",
    )
    assert told["adjustStock"]["operation"] is None
    (problem,) = told["adjustStock"]["userErrors"]
    assert (problem["code"], problem["field"]) == ("CONFLICT", ["input", "adjustments", "0", "location"])
    assert told["revertOperation"] == {"operation": None, "userErrors": [{"code": "NOT_FOUND", "field": ["id"]}]}


RESERVE = """mutation($units: Int!) { reserveStock(input: {lines: [{sku: "A1", quantity: $units}], ttl: "PT10M",
    idempotencyKey: "cart", channelId: "Channel:shop"}) { userErrors { code message field } reservation { id status createdAt
    expiresAt reference lines { sku quantity } } } }"""


async def test_a_reservation_from_its_making_to_its_end(shelf: Shelf) -> None:
    found, errors, _ = await ask(shelf, RESERVE, CHECKOUT, units=4)
    assert errors == []
    made = found["reserveStock"]["reservation"]
    assert (made["status"], made["lines"], made["reference"]) == ("OPEN", [{"sku": "A1", "quantity": 4}], None)
    lasts = datetime.fromisoformat(made["expiresAt"]) - datetime.fromisoformat(made["createdAt"])
    assert lasts == timedelta(minutes=10)
    stock = (await data(shelf, '{ stock(skus: ["A1"]) { reserved availableToSell } }'))["stock"]
    assert stock == [{"reserved": 4, "availableToSell": 6}]
    decide = """mutation($id: ID!) { commitReservation(id: $id, reference: "1001") { reservation { status reference }
        userErrors { code } } releaseReservation(id: $id) { reservation { status } userErrors { code field } } }"""
    found, errors, _ = await ask(shelf, decide, CHECKOUT, id=made["id"])
    assert (errors, found) == (
        [],
        {
            "commitReservation": {"reservation": {"status": "COMMITTED", "reference": "1001"}, "userErrors": []},
            "releaseReservation": {"reservation": {"status": "RELEASED"}, "userErrors": []},
        },
    )
    node = "query($id: ID!) { node(id: $id) { id ... on Reservation { status } } }"
    found, _, _ = await ask(shelf, node, CHECKOUT, id=made["id"])
    assert found == {"node": {"id": made["id"], "status": "RELEASED"}}
    found, _, _ = await ask(shelf, node, replace(CHECKOUT, name="another"), id=made["id"])
    assert found == {"node": None}
    _, errors, _ = await ask(shelf, node, STOREFRONT, id=made["id"])
    assert type(errors[0].original_error).__name__ == "Forbidden"


async def test_more_than_there_is_is_refused_with_what_can_be_had(shelf: Shelf) -> None:
    found, errors, _ = await ask(shelf, RESERVE, CHECKOUT, units=11)
    assert errors == []
    (problem,) = found["reserveStock"]["userErrors"]
    assert (problem["code"], problem["field"]) == ("INSUFFICIENT_STOCK", ["input", "lines", "0"])
    assert "shop may sell 10 of it now" in problem["message"]
    decide = 'mutation { releaseReservation(id: "Reservation:none") { reservation { id } userErrors { code field } } }'
    found, _, _ = await ask(shelf, decide, CHECKOUT)
    assert found["releaseReservation"] == {"reservation": None, "userErrors": [{"code": "NOT_FOUND", "field": ["id"]}]}


RULES = """{ stockRules { id name kind sku tag channel { id } location priority startsAt endsAt madeBy madeAt units percent hard
    cap floor maxAge countries excludedStates certainty leastLag } }"""
SET = "mutation($rule: StockRuleInput!) { setStockRule(input: $rule) { rule { id name } userErrors { code message field } } }"


async def test_rules_are_kept_replaced_and_ended(shelf: Shelf) -> None:
    written: Sequence[dict[str, Any]] = [
        {"name": "a", "kind": "SAFETY_STOCK", "units": 2, "location": "vienna"},
        {
            "name": "b",
            "kind": "CHANNEL_SHARE",
            "percent": "40",
            "hard": True,
            "channelId": "Channel:shop",
            "priority": 3,
        },
        {"name": "c", "kind": "VELOCITY_BUFFER", "certainty": "0.9", "leastLag": "PT1M", "sku": "A1"},
        {"name": "d", "kind": "FBA_SHARE", "percent": "50", "countries": ["de"], "endsAt": "2099-01-01T00:00:00Z"},
        {"name": "a", "kind": "SAFETY_STOCK", "units": 3},
    ]
    for rule in written:
        assert (await data(shelf, SET, rule=rule))["setStockRule"]["userErrors"] == []
    rules = {rule["name"]: rule for rule in (await data(shelf, RULES))["stockRules"]}
    assert list(rules) == ["a", "b", "c", "d"]
    assert (rules["a"]["units"], rules["a"]["location"], rules["a"]["madeBy"]) == (3, None, "admin")
    assert (rules["b"]["percent"], rules["b"]["hard"], rules["b"]["channel"]) == ("40", True, {"id": "Channel:shop"})
    assert (rules["c"]["certainty"], rules["c"]["leastLag"], rules["c"]["sku"]) == ("0.9", "PT1M", "A1")
    assert (rules["d"]["countries"], rules["d"]["maxAge"], rules["d"]["floor"]) == (["DE"], "PT1H", 0)
    end = "mutation($id: ID!) { removeStockRule(id: $id) { rule { name } userErrors { code field } } }"
    assert (await data(shelf, end, id=rules["a"]["id"]))["removeStockRule"] == {"rule": {"name": "a"}, "userErrors": []}
    again = (await data(shelf, end, id=rules["a"]["id"]))["removeStockRule"]
    assert again == {"rule": None, "userErrors": [{"code": "NOT_FOUND", "field": ["id"]}]}


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"kind": "SAFETY_STOCK"}, "units"),
        ({"kind": "SAFETY_STOCK", "units": -1}, "units"),
        ({"kind": "SAFETY_STOCK", "units": 1, "percent": "5"}, "percent"),
        ({"kind": "FBA_SHARE", "percent": "101"}, "percent"),
        ({"kind": "LAST_UNITS", "units": 1, "channelId": "Channel:shop"}, "channelId"),
        ({"kind": "CHANNEL_SHARE", "percent": "5", "channelId": "Channel:none"}, "channelId"),
        ({"kind": "SAFETY_STOCK", "units": 1, "location": "nowhere"}, "location"),
        ({"kind": "SAFETY_STOCK", "units": 1, "sku": "?"}, "sku"),
        (
            {"kind": "LAST_UNITS", "units": 1, "startsAt": "2026-02-01T00:00:00Z", "endsAt": "2026-01-01T00:00:00Z"},
            "endsAt",
        ),
    ],
)
async def test_a_rule_that_means_nothing_is_refused_with_its_field(shelf: Shelf, rule: Any, field: str) -> None:
    told = (await data(shelf, SET, rule={"name": "wrong", **rule}))["setStockRule"]
    assert (told["rule"], [one["field"] for one in told["userErrors"]]) == (None, [["input", field]])


PREVIEW = """query($rule: StockRuleInput, $id: ID) { previewStockRule(input: $rule, removeId: $id) { examined complete changed
    samples { sku channel { id } before after } } }"""


async def test_a_change_of_rules_tells_beforehand_which_numbers_would_differ(
    house: House, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resolvers.stock_rule.PATIENCE_S", 600.0)
    await house.book("B2", 1)
    await tell_shop(house, 10)
    await tell_shop(house, 1, sku="B2")
    most = {"name": "most", "kind": "MAXIMUM_SHOWN", "units": 4}
    seen = (await data(shelf, PREVIEW, rule=most))["previewStockRule"]
    sample = {"sku": "A1", "channel": {"id": "Channel:shop"}, "before": 10, "after": 4}
    assert seen == {"examined": 2, "complete": True, "changed": 1, "samples": [sample]}
    assert (await data(shelf, RULES))["stockRules"] == []
    later = most | {"startsAt": (datetime.now(UTC) + timedelta(days=30)).isoformat()}
    assert (await data(shelf, PREVIEW, rule=later))["previewStockRule"] == seen  # as if it began now
    kept = (await data(shelf, SET, rule=most))["setStockRule"]["rule"]
    seen = (await data(shelf, PREVIEW, rule=most | {"units": 6}))["previewStockRule"]
    assert [(one["before"], one["after"]) for one in seen["samples"]] == [(4, 6)]  # it takes the place of its namesake
    seen = (await data(shelf, PREVIEW, id=kept["id"]))["previewStockRule"]
    assert [(one["before"], one["after"]) for one in seen["samples"]] == [(4, 10)]
    seen = (await data(shelf, PREVIEW, rule=most | {"name": "other", "sku": "B2"}))["previewStockRule"]
    assert (seen["examined"], seen["changed"]) == (1, 0)
    for wrong in ({"rule": None}, {"id": "StockRule:none"}, {"rule": most | {"units": -1}}):
        _, errors, _ = await ask(shelf, PREVIEW, **wrong)
        assert len(errors) == 1, wrong


async def test_kits(house: House, shelf: Shelf) -> None:
    await house.list_everywhere("SET")
    change = """mutation($kit: SetKitInput!) { setKit(input: $kit) { kit { sku components { sku quantity } }
        userErrors { code field } } }"""
    parts = [{"sku": "A1", "quantity": 3}]
    assert (await data(shelf, change, kit={"sku": "SET", "components": parts}))["setKit"] == {
        "kit": {"sku": "SET", "components": parts},
        "userErrors": [],
    }
    query = """{ kits { totalCount nodes { sku components { sku quantity } product { title } } }
        stock(skus: ["SET"]) { availableToSell onHand levels { onHand } } }"""
    found = await data(shelf, query)
    assert found["kits"]["totalCount"] == 1
    assert found["kits"]["nodes"] == [{"sku": "SET", "components": parts, "product": {"title": "Title of SET"}}]
    assert found["stock"] == [{"availableToSell": 3, "onHand": 3, "levels": []}]
    wrong = [{"sku": "A1", "quantity": 0}, {"sku": "?", "quantity": 1}, {"sku": "SET", "quantity": 1}]
    for part in wrong:
        told = (await data(shelf, change, kit={"sku": "SET", "components": [part]}))["setKit"]
        assert told["kit"] is None
        assert told["userErrors"][0]["field"][:2] == ["input", "components"]
    await data(shelf, change, kit={"sku": "SET", "components": []})
    assert (await data(shelf, "{ kits { totalCount } }")) == {"kits": {"totalCount": 0}}


async def test_drift_and_oversales_are_told(house: House, shelf: Shelf) -> None:
    one = make_order()
    now = datetime.now(UTC)
    async with house.store.begin() as tx:
        noted = [
            Noted(ChannelSku(sku), "gid://1", Sku(sku), DriftKind.EXTERNAL_EDIT, 9, 7, now) for sku in ("A1", "B2")
        ]
        await drift.note(tx, SHOP, noted)
        await order.upsert(tx, [one])
        row = {"sku": "A1", "channel": SHOP, "units": 2, "placed_at": now, "shown": 3, "told_at": now, "cause": "LAG"}
        rows = [row | {"order_line_id": line.id} for line in one.lines]
        await tx.execute(insert(oversale), rows)
    found = await data(
        shelf,
        """{ stockDrift(first: 1, channelId: "Channel:shop") { totalCount pageInfo { endCursor hasNextPage } nodes {
              channel { id } channelSku place sku kind believed shown firstAt lastAt times } }
            oversales(first: 1) { totalCount pageInfo { endCursor } nodes { order { externalId } orderLineId sku channel { id }
              units placedAt seenAt shown toldAt cause } }
            channels { id ailments stockLag { samples } driftCounts { kind open lastDay } } }""",
    )
    assert (found["stockDrift"]["totalCount"], found["stockDrift"]["pageInfo"]["hasNextPage"]) == (2, True)
    told = found["stockDrift"]["nodes"][0]
    assert (told["kind"], told["believed"], told["shown"], told["times"]) == ("EXTERNAL_EDIT", 9, 7, 1)
    assert found["oversales"]["totalCount"] == 2
    assert found["oversales"]["nodes"][0]["order"] == {"externalId": "1001"}
    assert (found["oversales"]["nodes"][0]["units"], found["oversales"]["nodes"][0]["cause"]) == (2, "LAG")
    shop = next(channel for channel in found["channels"] if channel["id"] == "Channel:shop")
    assert shop["ailments"] == ["stock: 2 numbers differ from what we believe; see stockDrift"]
    assert shop["driftCounts"] == [{"kind": "EXTERNAL_EDIT", "open": 2, "lastDay": 2}]
    rest = await data(
        shelf,
        """query($drift: String, $oversale: String) { stockDrift(after: $drift) { nodes { sku } }
            oversales(after: $oversale) { nodes { orderLineId } } }""",
        drift=found["stockDrift"]["pageInfo"]["endCursor"],
        oversale=found["oversales"]["pageInfo"]["endCursor"],
    )
    assert (len(rest["stockDrift"]["nodes"]), len(rest["oversales"]["nodes"])) == (1, 1)


async def test_numbers_that_long_wait_for_orders_ail_their_channel(house: House, shelf: Shelf) -> None:
    await tell_shop(house, 9, told=8)
    for minutes, ailments in ((1, []), (6, ["stock: 1 number waits for the orders to be read before being raised"])):
        async with house.store.begin() as tx:
            seen_at = datetime.now(UTC) - timedelta(minutes=minutes)
            await tx.execute(update(channel_stock_table).values(error_code=UNSEEN_SALE, shown_at=seen_at))
        found = (await data(shelf, "{ channels { id ailments } }"))["channels"]
        assert {one["id"]: one["ailments"] for one in found} == {"Channel:shop": ailments, "Channel:amazon-eu": []}


async def test_how_long_a_channel_takes_is_null_until_it_was_measured(house: House, shelf: Shelf) -> None:
    query = "{ channels { id stockLag { samples p50Seconds p95Seconds p99Seconds } } }"
    assert {one["stockLag"] for one in (await data(shelf, query))["channels"]} == {None}
    await tell_shop(house, 9, told=8)
    lags = {one["id"]: one["stockLag"] for one in (await data(shelf, query))["channels"]}
    assert lags["Channel:amazon-eu"] is None
    assert lags["Channel:shop"] == {"samples": 1, "p50Seconds": 0.0, "p95Seconds": 0.0, "p99Seconds": 0.0}
