"""Settlements, what is left of them, and what people say about that, through the contract."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.fernet import Fernet
from redis.asyncio import Redis
from sqlalchemy import event, select, update

from adapters.port import Port
from domain.channel import StreamName
from domain.cost import NewCost
from domain.ids import ChannelId, ChannelSku, Sku, node_id, node_key
from domain.money import Money
from domain.money_class import Event, MoneyClass
from domain.money_line import Cause, MoneyLine, Source, Stage
from domain.money_said import Said, Words
from domain.residual import BANDS, PERSON, Band
from domain.settlement import SettlementKind, Statement
from resolvers import settlement as resolver
from resolvers.context import Caller
from resolvers.shelf import Shelf
from schema.scopes import ALL
from store import cost, finance_file, money_word, order, product, settlement, settlement_view, stream
from store.keyring import Keyring
from store.session import Store
from store.tables import estimate_due, money_line
from store.tables import settlement as table
from tests.resolvers.platform import make_listing
from tests.resolvers.test_shipment import make_order
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ask
from tests.workers.test_reports import fetched
from workers import settlements
from workers.deps import Deps

SHOP = ChannelId("shop")
BOOKS = Caller("ann", frozenset({"finance:read", "finance:write", "orders:read"}))
READER = Caller("bob", frozenset({"finance:read"}))
ENDED = datetime(2026, 11, 14, tzinfo=UTC)
PLACED = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


def line(amount: str, **more: Any) -> MoneyLine:
    """A line of settlement S1 that is tied to the account."""
    one = MoneyLine(
        channel=SHOP,
        source=Source.SETTLEMENT,
        stage=Stage.SETTLED,
        event=Event.ACCOUNT,
        money_class=MoneyClass.SUBSCRIPTION_FEE,
        amount=Money(Decimal(amount), "EUR"),
        posted_at=ENDED - timedelta(days=1),
        day=date(2026, 11, 13),
        kind="other-transaction",
        amount_kind="other-transaction",
        description="Subscription Fee",
        settlement="S1",
        matched_by="ACCOUNT",
    )
    return replace(one, **more)


def sale(amount: str, channel_sku: str = "A0", **more: Any) -> MoneyLine:
    """A sale that names an order which is not here."""
    told: dict[str, Any] = {
        "event": Event.SALE,
        "money_class": MoneyClass.SALE,
        "kind": "Order",
        "amount_kind": "ItemPrice",
        "description": "Principal",
        "order_external_id": "1001",
        "channel_sku": ChannelSku(channel_sku),
        "units": 1,
        "matched_by": None,
        "cause": Cause.ORDER_UNKNOWN,
    }
    return line(amount, **told | more)


async def kept(store: Store, lines: Sequence[MoneyLine], external_id: str = "S1", **more: Any) -> str:
    """Keep a settlement of these lines, each a row of its own unless they say otherwise; its global id."""
    numbered = [one if one.row is not None else replace(one, row=at) for at, one in enumerate(lines, 1)]
    ends_at = more.get("ends_at", ENDED)
    values: dict[str, Any] = {
        "channel": SHOP,
        "kind": SettlementKind.PAYOUT,
        "external_id": external_id,
        "marketplace": None,
        "starts_at": ends_at - timedelta(days=14),
        "ends_at": ends_at,
        "deposited_at": ends_at + timedelta(days=2),
        "total": Money(sum((one.amount.amount for one in lines), Decimal(0)), "EUR"),
    }
    async with store.begin() as tx:
        done = await settlement.keep(tx, Statement(**values | more), numbered)
    return node_id("Settlement", done.settlement)


async def aged(store: Store, id: str, age: timedelta) -> None:
    """Let a settlement have been kept so long ago."""
    async with store.begin() as tx:
        of = update(table).where(table.c.id == node_key("Settlement", id))
        await tx.execute(of.values(kept_at=datetime.now(UTC) - age))


@pytest.fixture
def house(store: Store, redis: Redis) -> House:
    return House(store, redis)


@pytest.fixture
def shelf(house: House) -> Shelf:
    return house.shelf


ALL_OF_IT = """{ settlements { totalCount nodes {
    id channel { id } externalId kind marketplace startsAt endsAt depositedAt total { amount currency } reference
    lineCount matchedLineCount difference { amount currency }
    summary { event class part lines amount { amount } }
    lines(first: 2) { totalCount pageInfo { hasNextPage } nodes { row amount { amount } cause matchedBy } } } } }"""


async def test_a_settlement_says_what_it_is_made_of_and_what_is_left(shelf: Shelf) -> None:
    id = await kept(shelf.store, [line("-39.00"), sale("19.90"), sale("5.00", "A1")])
    data, errors, _ = await ask(shelf, ALL_OF_IT, READER)
    assert errors == []
    [found] = data["settlements"]["nodes"]
    assert found == {
        "id": id,
        "channel": {"id": "Channel:shop"},
        "externalId": "S1",
        "kind": "PAYOUT",
        "marketplace": None,
        "startsAt": "2026-10-31T00:00:00Z",
        "endsAt": "2026-11-14T00:00:00Z",
        "depositedAt": "2026-11-16T00:00:00Z",
        "total": {"amount": "-14.10", "currency": "EUR"},
        "reference": None,
        "lineCount": 3,
        "matchedLineCount": 1,
        "difference": {"amount": "24.90", "currency": "EUR"},
        "summary": [
            {
                "event": "ACCOUNT",
                "class": "SUBSCRIPTION_FEE",
                "part": "FEES",
                "lines": 1,
                "amount": {"amount": "-39.00"},
            },
            {"event": "SALE", "class": "SALE", "part": "REVENUE", "lines": 2, "amount": {"amount": "24.90"}},
        ],
        "lines": {
            "totalCount": 3,
            "pageInfo": {"hasNextPage": True},
            "nodes": [
                {"row": 1, "amount": {"amount": "-39.00"}, "cause": None, "matchedBy": "ACCOUNT"},
                {"row": 2, "amount": {"amount": "19.90"}, "cause": "ORDER_UNKNOWN", "matchedBy": None},
            ],
        },
    }


async def test_rows_that_were_split_are_matched_when_all_of_their_lines_are(shelf: Shelf) -> None:
    await kept(shelf.store, [sale("10.00", row=1), line("2.00", row=1), line("1.00", row=2), line("-2.00", row=2)])
    data, _, _ = await ask(shelf, "{ settlements { nodes { matchedLineCount difference { amount } } } }", READER)
    assert data["settlements"]["nodes"] == [{"matchedLineCount": 1, "difference": {"amount": "10.00"}}]


async def test_settlements_are_found_by_time_and_by_what_is_left(shelf: Shelf) -> None:
    await kept(shelf.store, [line("1.00")], "S1")
    # What is left may add up to nothing.
    await kept(shelf.store, [sale("1.00"), sale("-1.00")], "S2", ends_at=ENDED + timedelta(days=14))
    query = "query($of: SettlementFilter) { settlements(filter: $of) { totalCount nodes { externalId } } }"

    async def found(**wanted: object) -> list[str]:
        data, errors, _ = await ask(shelf, query, READER, of=wanted)
        assert errors == []
        ids = [one["externalId"] for one in data["settlements"]["nodes"]]
        assert data["settlements"]["totalCount"] == len(ids)
        return ids

    assert await found() == ["S2", "S1"]
    assert await found(unbalanced=True) == ["S2"]
    assert await found(unbalanced=False) == ["S1"]
    assert await found(**{"from": "2026-11-14T00:00:00Z", "to": "2026-11-28T00:00:00Z"}) == ["S1"]
    assert await found(channelId="Channel:amazon-eu") == []


async def test_pages_go_on_where_they_ended(shelf: Shelf) -> None:
    for number in range(3):
        last = await kept(
            shelf.store, [sale("1.00"), sale("2.00")], f"S{number}", ends_at=ENDED - timedelta(days=number)
        )
    seen = []
    after = None
    for _ in range(3):
        data, errors, _ = await ask(
            shelf,
            """query($after: String) { settlements(first: 1, after: $after) { pageInfo { hasNextPage endCursor }
                nodes { externalId lines(first: 1) { pageInfo { endCursor } } } } }""",
            READER,
            after=after,
        )
        assert errors == []
        after = data["settlements"]["pageInfo"]["endCursor"]
        seen += data["settlements"]["nodes"]
    assert [one["externalId"] for one in seen] == ["S0", "S1", "S2"]
    assert data["settlements"]["pageInfo"]["hasNextPage"] is False
    second = """query($id: ID!, $after: String) { node(id: $id) { ... on Settlement {
        lines(first: 1, after: $after) { pageInfo { hasNextPage } nodes { row } } } } }"""
    data, errors, _ = await ask(shelf, second, READER, id=last, after=seen[-1]["lines"]["pageInfo"]["endCursor"])
    assert errors == []
    assert data["node"]["lines"] == {"pageInfo": {"hasNextPage": False}, "nodes": [{"row": 2}]}
    data, errors, _ = await ask(shelf, second, READER, id=last, after="x")
    assert errors[0].original_error.code == "INVALID"


async def test_from_a_line_to_its_order_its_cost_and_back(shelf: Shelf) -> None:
    one = make_order("1001", (1,), placed_at=PLACED)
    async with shelf.store.begin() as tx:
        await order.upsert(tx, [one])
        told = [
            NewCost(Sku("A0"), date(2026, 11, 1), Money(Decimal("4.00"), "EUR")),
            NewCost(Sku("A0"), date(2026, 11, 3), Money(Decimal("9.00"), "EUR")),
        ]
        await cost.keep(tx, told, "ann")
    tied = sale("19.90", order_id=one.id, order_line_id=one.lines[0].id, sku=Sku("A0"), day=PLACED.date(), cause=None)
    await kept(shelf.store, [tied, line("-1.00", order_id=one.id)])
    data, errors, _ = await ask(
        shelf,
        """{ settlements { nodes { lines(filter: {sku: "A0", class: SALE, part: REVENUE}) { nodes {
            id order { externalId moneyLines { amount { amount } settlement { externalId } stage source } }
            orderLine { sku quantity } costLayer { landed { amount } validFrom } } } } } }""",
        BOOKS,
    )
    assert errors == []
    [found] = data["settlements"]["nodes"][0]["lines"]["nodes"]
    assert found.pop("id").startswith("MoneyLine:")
    assert found == {
        "order": {
            "externalId": "1001",
            "moneyLines": [
                {
                    "amount": {"amount": amount},
                    "settlement": {"externalId": "S1"},
                    "stage": "SETTLED",
                    "source": "SETTLEMENT",
                }
                for amount in ("19.90", "-1.00")
            ],
        },
        "orderLine": {"sku": "A0", "quantity": 1},
        "costLayer": {"landed": {"amount": "4.00"}, "validFrom": "2026-11-01"},
    }
    data, errors, _ = await ask(
        shelf,
        """query($id: ID!) { order(id: $id) { moneyLines(knownAt: "2026-01-01T00:00:00Z") { id } } }""",
        BOOKS,
        id=node_id("Order", one.id),
    )
    assert (errors, data["order"]["moneyLines"]) == ([], [])


async def test_each_age_has_its_band(shelf: Shelf) -> None:
    now = datetime.now(UTC)
    for below, _ in BANDS:
        for age in (below - timedelta(seconds=1), below):
            id = await kept(shelf.store, [sale("1.00")], str(age))
            async with shelf.store.begin() as tx:
                await tx.execute(
                    update(table).where(table.c.id == node_key("Settlement", id)).values(kept_at=now - age)
                )
    async with shelf.store.begin() as tx:
        sums = await settlement_view.residual_sums(tx, now)
    assert {one.age: one.lines for one in sums} == {Band.WEEK: 1, Band.MONTH: 2, Band.QUARTER: 2, Band.OLDER: 1}


RESIDUALS = """query($of: ResidualFilter) { residuals(filter: $of) { totalCount nodes {
    cause words todo since age line { id amount { amount } settlement { externalId } } } }
    residualSummary { channel { id } cause age lines amount { amount } } }"""


async def test_what_is_left_is_listed_by_age_with_what_to_do(shelf: Shelf) -> None:
    await kept(shelf.store, [sale("1.00"), line("-1.00")], "S1")
    old = await kept(shelf.store, [sale("2.00"), sale("3.00", cause=Cause.SKU_UNMAPPED)], "S2")
    await aged(shelf.store, old, timedelta(days=8))
    data, errors, _ = await ask(shelf, RESIDUALS, READER)
    assert errors == []
    told = data["residuals"]
    assert told["totalCount"] == 3
    assert [(one["line"]["amount"]["amount"], one["cause"]) for one in told["nodes"]] == [
        ("2.00", "ORDER_UNKNOWN"),
        ("3.00", "SKU_UNMAPPED"),
        ("1.00", "ORDER_UNKNOWN"),
    ]
    assert told["nodes"][0]["age"].startswith("P8D")
    assert "backfillOrders from 2026-08-15 to 2026-11-14" in told["nodes"][0]["todo"]
    assert [(one["cause"], one["age"], one["lines"], one["amount"]["amount"]) for one in data["residualSummary"]] == [
        ("ORDER_UNKNOWN", "MONTH", 1, "2.00"),
        ("ORDER_UNKNOWN", "WEEK", 1, "1.00"),
        ("SKU_UNMAPPED", "MONTH", 1, "3.00"),
    ]
    data, errors, _ = await ask(shelf, RESIDUALS, READER, of={"olderThan": "P7D", "cause": "ORDER_UNKNOWN"})
    assert errors == []
    assert [one["line"]["amount"]["amount"] for one in data["residuals"]["nodes"]] == ["2.00"]


ASSIGN = """mutation($input: AssignResidualInput!) { assignResidual(input: $input) {
    line { id amount { amount } matchedBy cause sku day orderId orderLine { sku } }
    userErrors { code message field } } }"""


async def line_ids(store: Store) -> list[str]:
    async with store.begin() as tx:
        return [f"MoneyLine:{id}" for id in await tx.scalars(select(money_line.c.id).order_by(money_line.c.id))]


async def assign(shelf: Shelf, line_id: str, **what: object) -> dict[str, Any]:
    wanted = {"lineId": line_id, "reason": "the buyer wrote so"} | what
    data, errors, _ = await ask(shelf, ASSIGN, BOOKS, input=wanted)
    assert errors == []
    answered: dict[str, Any] = data["assignResidual"]
    return answered


async def test_a_person_ties_a_line_once_and_takes_it_back(shelf: Shelf) -> None:
    one = make_order("2001", (1, 1), placed_at=PLACED)
    async with shelf.store.begin() as tx:
        await order.upsert(tx, [one])
    await kept(shelf.store, [sale("19.90"), line("-1.00")])
    [first, _] = await line_ids(shelf.store)
    order_id = node_id("Order", one.id)
    told = await assign(shelf, first, orderId=order_id)
    assert told["userErrors"] == []
    tied = told["line"]
    assert tied | {"id": ""} == {
        "id": "",
        "amount": {"amount": "19.90"},
        "matchedBy": PERSON,
        "cause": None,
        "sku": "A0",
        "day": "2026-11-02",
        "orderId": order_id,
        "orderLine": {"sku": "A0"},
    }
    # The same again, by either line's id, is no other line.
    assert await assign(shelf, first, orderId=order_id) == told
    assert await assign(shelf, tied["id"], orderId=order_id) == told
    assert len(await line_ids(shelf.store)) == 3
    async with shelf.store.begin() as tx:
        assert one.id in set(await tx.scalars(select(estimate_due.c.order_id)))
    before = """query($id: ID!) { node(id: $id) { ... on MoneyLine { replacedWhy replacedAt cause } }
        settlements { nodes { matchedLineCount difference { amount } total { amount } summary { amount { amount } } } } }"""
    data, errors, _ = await ask(shelf, before, BOOKS, id=first)
    assert errors == []
    assert data["node"]["replacedWhy"] == f"tied to Order:{one.id} by ann: the buyer wrote so"
    assert data["node"]["replacedAt"] is not None
    [balanced] = data["settlements"]["nodes"]
    assert (balanced["matchedLineCount"], balanced["difference"]["amount"]) == (2, "0.00")
    # Other contents: only of the line that stands.
    refused = (await assign(shelf, first, account=True))["userErrors"]
    assert [(one["code"], one["field"]) for one in refused] == [("CONFLICT", ["input", "lineId"])]
    assert tied["id"] in refused[0]["message"]
    undone = (await assign(shelf, tied["id"], undo=True))["line"]
    assert (undone["cause"], undone["matchedBy"], undone["orderId"]) == ("ORDER_UNKNOWN", None, None)
    assert (await assign(shelf, tied["id"], undo=True))["line"] == undone
    data, _, _ = await ask(shelf, before, BOOKS, id=first)
    [open_again] = data["settlements"]["nodes"]
    assert (open_again["matchedLineCount"], open_again["difference"]["amount"]) == (1, "19.90")
    total = sum(Decimal(one["amount"]["amount"]) for one in open_again["summary"])
    assert total == Decimal(open_again["total"]["amount"])


async def test_what_cannot_be_tied_is_refused_and_nothing_happens(shelf: Shelf) -> None:
    unclassified = sale("1.00", money_class=MoneyClass.UNCLASSIFIED, cause=Cause.UNCLASSIFIED)
    await kept(shelf.store, [sale("19.90"), line("-1.00"), unclassified])
    ids = await line_ids(shelf.store)
    cases: list[tuple[str, dict[str, object], str, list[str]]] = [
        (ids[0], {"orderId": "Order:none"}, "NOT_FOUND", ["input", "orderId"]),
        (ids[0], {"sku": "NONE"}, "NOT_FOUND", ["input", "sku"]),
        (ids[0], {}, "INVALID", ["input", "orderId"]),
        (ids[0], {"account": True, "reason": " "}, "INVALID", ["input", "reason"]),
        (ids[0], {"orderId": "Channel:shop"}, "NOT_FOUND", ["input", "orderId"]),
        (ids[1], {"account": True}, "CONFLICT", ["input", "lineId"]),
        (ids[2], {"account": True}, "CONFLICT", ["input", "lineId"]),
        ("MoneyLine:99", {"account": True}, "NOT_FOUND", ["input", "lineId"]),
        ("MoneyLine:x", {"account": True}, "NOT_FOUND", ["input", "lineId"]),
        ("Order:1", {"account": True}, "NOT_FOUND", ["input", "lineId"]),
    ]
    for id, what, code, field in cases:
        told = await assign(shelf, id, **what)
        assert told["line"] is None
        assert [(one["code"], one["field"]) for one in told["userErrors"]] == [(code, field)], (id, what)
    assert await line_ids(shelf.store) == ids


async def test_a_sku_and_the_account_need_no_order(house: House, shelf: Shelf) -> None:
    async with shelf.store.begin() as tx:
        await product.upsert_listings(tx, [make_listing("A0", house.shop)])
    await kept(shelf.store, [sale("19.90"), sale("5.00")])
    [first, second] = await line_ids(shelf.store)
    assert (await assign(shelf, first, sku="A0"))["line"]["sku"] == "A0"
    tied = (await assign(shelf, second, account=True))["line"]
    assert (tied["sku"], tied["matchedBy"]) == (None, PERSON)
    # Tied by a person, it may be tied otherwise by one.
    assert (await assign(shelf, tied["id"], sku="A0"))["line"]["sku"] == "A0"


async def test_money_is_nothing_for_shops_and_operators(shelf: Shelf) -> None:
    whole = await kept(shelf.store, [sale("1.00")])
    [id] = await line_ids(shelf.store)
    without = ALL - {"finance:read", "finance:write", "admin"}
    for key in (whole, id):
        data, errors, _ = await ask(shelf, "query($id: ID!) { node(id: $id) { id } }", Caller("x", without), id=key)
        assert data["node"] is None
        assert errors[0].original_error.code == "FORBIDDEN"
        data, errors, _ = await ask(shelf, "query($id: ID!) { node(id: $id) { id } }", READER, id=key)
        assert (errors, data["node"]) == ([], {"id": key})


IN_DE: Mapping[str, Any] = {"kind": SettlementKind.SETTLEMENT, "channel": ChannelId("amazon-eu"), "marketplace": "DE"}
CHAIN = """{ settlements { nodes { externalId previous { externalId } next { externalId } comparison { cause words
    orderExternalId settled { amount } told { amount } difference { amount } } } }
    missingSettlements { channel { id } marketplace startsAt endsAt amount { amount currency } } }"""


async def test_settlements_know_their_neighbors_and_which_are_missing(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    def reserve(amount: str) -> MoneyLine:
        return line(amount, channel=ChannelId("amazon-eu"), money_class=MoneyClass.RESERVE)

    fortnight = timedelta(days=14)
    await kept(shelf.store, [reserve("-7.00")], "D1", **IN_DE)
    await kept(shelf.store, [reserve("9.00")], "D3", **IN_DE, ends_at=ENDED + 2 * fortnight)
    await kept(shelf.store, [line("1.00")], "S1")
    data, errors, _ = await ask(shelf, CHAIN, READER)
    assert errors == []
    none = {"previous": None, "next": None}
    beside = {one["externalId"]: {name: one[name] for name in none} for one in data["settlements"]["nodes"]}
    assert beside == {
        "S1": none,
        "D1": none | {"next": {"externalId": "D3"}},
        "D3": none | {"previous": {"externalId": "D1"}},
    }
    assert data["missingSettlements"] == [
        {
            "channel": {"id": "Channel:amazon-eu"},
            "marketplace": "DE",
            "startsAt": "2026-11-14T00:00:00Z",
            "endsAt": "2026-11-28T00:00:00Z",
            "amount": {"amount": "7.00", "currency": "EUR"},
        }
    ]
    # The stream says so in the log, too.
    port = SimpleNamespace(channel=shelf.channels[ChannelId("amazon-eu")])
    await settlements._tell_of_gaps(cast(Deps, SimpleNamespace(store=shelf.store)), cast(Port, port))
    assert [one.__dict__["periods"] for one in caplog.records if one.message == "settlements.missing"] == [
        ["DE 2026-11-14 2026-11-28"]
    ]
    # What no transaction has told is told beside it; what a settlement is made of is not touched by that.
    told = {one["externalId"]: one["comparison"] for one in data["settlements"]["nodes"]}
    assert told["D1"] == [
        {
            "cause": "ONLY_IN_SETTLEMENT",
            "words": told["D1"][0]["words"],
            "orderExternalId": None,
            "settled": {"amount": "-7.00"},
            "told": {"amount": "0"},
            "difference": {"amount": "-7.00"},
        }
    ]


FILES = """{ settlementFiles { totalCount nodes { id name state reason size sha256 url settlement { id } channel { id } } } }"""
RETRY = (
    "mutation($id: ID!) { retrySettlementFile(id: $id) { file { state reason } userErrors { code message field } } }"
)


async def a_file(store: Store, content: bytes, reason: str, *, unpacked: bool = True) -> str:
    """A file that was refused; its key."""
    new = finance_file.NewFile(ChannelId("amazon-eu"), "settlement.txt", "ann")
    digest = hashlib.sha256(content).hexdigest()
    async with store.begin() as tx:
        one = await finance_file.begin(tx, new)
        await finance_file.add_part(tx, one.id, 0, finance_file.pack(content))
        if not unpacked:
            return (await finance_file.unreadable(tx, one.id, digest, len(content), reason)).id
        await finance_file.arrived(tx, one.id, digest, len(content), utf8=True)
    async with store.begin() as tx:
        taken = await finance_file.claim(tx, one.id)
        assert taken is not None
        await finance_file.refused(tx, taken.id, reason, {})
    return one.id


async def test_a_refused_file_can_be_fetched_and_is_read_once_more(shelf: Shelf) -> None:
    shelf = replace(shelf, ring=Keyring([Fernet.generate_key().decode()]))
    async with shelf.store.begin() as tx:
        await stream.register(tx, ChannelId("amazon-eu"), StreamName.SETTLEMENTS, timedelta(hours=6))
        await stream.finished(tx, ChannelId("amazon-eu"), StreamName.SETTLEMENTS, None, datetime.now(UTC))
    content = b"settlement-id\tamount\n"
    id = await a_file(shelf.store, content, "it has no total")
    data, errors, _ = await ask(shelf, FILES, READER)
    assert errors == []
    [found] = data["settlementFiles"]["nodes"]
    url = found.pop("url")
    assert found == {
        "id": node_id("SettlementFile", id),
        "name": "settlement.txt",
        "state": "REFUSED",
        "reason": "it has no total",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "settlement": None,
        "channel": {"id": "Channel:amazon-eu"},
    }
    status, headers, body = await fetched(shelf, url)
    assert (status, headers["content-type"], gzip.decompress(body)) == (200, "application/gzip", content)
    assert (await fetched(shelf, url.replace(id, id[::-1])))[0] == 403
    async with shelf.store.begin() as tx:
        assert await stream.claim_due(tx, 1) == []
    for _ in range(2):
        data, errors, _ = await ask(shelf, RETRY, BOOKS, id=node_id("SettlementFile", id))
        assert errors == []
        assert data["retrySettlementFile"] == {"file": {"state": "READING", "reason": None}, "userErrors": []}
    async with shelf.store.begin() as tx:
        assert await finance_file.unfinished(tx, ChannelId("amazon-eu")) == [id]
        [due] = await stream.claim_due(tx, 1)
        assert due.name is StreamName.SETTLEMENTS


async def test_what_is_not_kept_or_not_there_is_not_read_again(shelf: Shelf) -> None:
    id = await a_file(shelf.store, b"x", "it is no gzip file", unpacked=False)
    for key, code in ((f"SettlementFile:{id}", "CONFLICT"), ("SettlementFile:none", "NOT_FOUND"), ("x", "NOT_FOUND")):
        data, errors, _ = await ask(shelf, RETRY, BOOKS, id=key)
        assert errors == []
        told = data["retrySettlementFile"]
        assert (told["file"], [(one["code"], one["field"]) for one in told["userErrors"]]) == (None, [(code, ["id"])])
    data, errors, _ = await ask(shelf, FILES, READER)
    assert (errors, [one["url"] for one in data["settlementFiles"]["nodes"]]) == ([], [None])


async def test_of_two_people_at_once_one_is_told_what_the_other_did(shelf: Shelf) -> None:
    one = make_order("2001", (1,), placed_at=PLACED)
    async with shelf.store.begin() as tx:
        await order.upsert(tx, [one])
    await kept(shelf.store, [sale("19.90")])
    [id] = await line_ids(shelf.store)
    told = await asyncio.gather(
        assign(shelf, id, orderId=node_id("Order", one.id)),
        assign(shelf, id, account=True),
        assign(shelf, id, account=True),
    )
    assert {one["userErrors"][0]["code"] for one in told if one["userErrors"]} == {"CONFLICT"}
    assert len({one["line"]["id"] for one in told if one["line"]}) == 1
    assert len(await line_ids(shelf.store)) == 2


async def test_what_people_tied_stays_so_when_its_words_are_known(shelf: Shelf) -> None:
    unknown = sale("5.00", kind="riddle", money_class=MoneyClass.UNCLASSIFIED)
    await kept(shelf.store, [unknown])
    [id] = await line_ids(shelf.store)
    tied = (await assign(shelf, id, account=True))["line"]
    assert (tied["cause"], tied["matchedBy"]) == ("UNCLASSIFIED", PERSON)
    words = Words("shopify", "riddle", unknown.amount_kind, unknown.description)
    async with shelf.store.begin() as tx:
        await money_word.note(tx, [words])
        await money_word.say(tx, words, Said(Event.ACCOUNT, MoneyClass.ADVERTISING, "ann", "it is"))
    async with shelf.store.begin() as tx:
        assert await money_word.reclass(tx, shelf.channels) == 1
    stands = (await assign(shelf, tied["id"], account=True))["line"]
    assert (stands["cause"], stands["matchedBy"]) == (None, PERSON)
    assert stands["id"] == (await line_ids(shelf.store))[-1]
    undone = (await assign(shelf, stands["id"], undo=True))["line"]
    assert (undone["cause"], undone["matchedBy"]) == ("ORDER_UNKNOWN", None)


async def test_while_somebody_writes_books_people_wait_and_are_told(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept(shelf.store, [sale("5.00")])
    [id] = await line_ids(shelf.store)
    monkeypatch.setattr(resolver, "TRIES", 2)
    async with shelf.store.begin() as tx:
        assert await settlement.alone(tx)
        _, errors, _ = await ask(shelf, ASSIGN, BOOKS, input={"lineId": id, "account": True, "reason": "x"})
    assert [one.original_error.code for one in errors] == ["THROTTLED"]
    assert (await assign(shelf, id, account=True))["userErrors"] == []


async def test_whatever_people_say_and_take_back_a_settlement_stays_its_total(house: House, shelf: Shelf) -> None:
    one = make_order("2001", (1, 1), placed_at=PLACED)
    async with shelf.store.begin() as tx:
        await order.upsert(tx, [one])
        await product.upsert_listings(tx, [make_listing("A0", house.shop)])
    whole = await kept(shelf.store, [sale("19.90"), sale("-4.00", "?"), sale("0.01", "A1"), line("-1.00")])
    key = node_key("Settlement", whole)
    say: list[dict[str, object]] = [
        {"orderId": node_id("Order", one.id)},
        {"orderId": node_id("Order", one.id), "orderLineId": node_id("OrderLine", one.lines[1].id)},
        {"sku": "A0"},
        {"account": True},
        {"undo": True},
    ]
    dice = random.Random(8)
    tied = 0
    for _ in range(20):
        id = dice.choice(await line_ids(shelf.store))
        tied += (await assign(shelf, id, **dice.choice(say)))["line"] is not None
        async with shelf.store.begin() as tx:
            stand = money_line.c.replaced_at.is_(None)
            rows = (await tx.execute(select(money_line).where(stand).order_by(money_line.c.row))).all()
            tie = (await settlement.differences(tx, [key]))[key]
        assert [(row.row, row.amount) for row in rows] == [
            (1, Decimal("19.90")),
            (2, Decimal("-4.00")),
            (3, Decimal("0.01")),
            (4, Decimal("-1.00")),
        ]
        left = [row.amount for row in rows if row.cause is not None]
        assert (tie.matched_rows, tie.difference.amount) == (4 - len(left), sum(left))
    assert tied > 5


async def test_many_settlements_take_no_more_statements_than_one(shelf: Shelf) -> None:
    query = """query($n: Int) { settlements(first: $n) { nodes { matchedLineCount difference { amount } summary { lines }
        previous { externalId } next { externalId } file { name } comparison { cause } replaced { differing } } }
        residuals(first: $n) { nodes { line { settlement { externalId } order { externalId } orderLine { sku }
            costLayer { sku } } } } }"""
    for number in range(4):
        tied = sale("1.00", sku=Sku("A0"), order_id=make_order(str(number)).id)
        await kept(shelf.store, [tied], f"S{number}", ends_at=ENDED + timedelta(days=number))
    statements: list[str] = []

    def count(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    engine = shelf.store._engine.sync_engine
    event.listen(engine, "before_cursor_execute", count)
    try:
        counts = []
        for number in (1, 4):
            statements.clear()
            data, errors, _ = await ask(shelf, query, BOOKS, n=number)
            assert (errors, len(data["settlements"]["nodes"])) == ([], number)
            counts.append(sum("finance_file" in one or "money_line" in one or "order" in one for one in statements))
    finally:
        event.remove(engine, "before_cursor_execute", count)
    # The two views are compared settlement by settlement: each comparison reads all of its lines.
    compared = 3
    assert counts[1] - counts[0] == compared
