"""Journals through the contract: balanced, closed once, and what comes to be known later is booked as its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cryptography.fernet import Fernet
from redis.asyncio import Redis
from sqlalchemy import func, insert, select, update

from domain.chain import AT_POOL
from domain.chart import Chart, Datev, built_in
from domain.cost import NewCost
from domain.ids import ChannelSku, Sku
from domain.journal import Period
from domain.money import Money
from domain.money_class import MoneyClass
from domain.price_inputs import FxRate
from resolvers.shelf import Shelf
from store import cost, fx, order
from store import journal as closing
from store.journal import Scope
from store.keyring import Keyring
from store.tables import journal, journal_posting, money_line, product, restock
from store.tables import settlement as settlement_table
from tests.resolvers.test_shipment import make_order
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ask
from tests.schema.test_settlement import BOOKS, ENDED, READER, kept, line, sale
from tests.workers.test_reports import fetched

NOVEMBER = {"from": "2026-11-01", "to": "2026-11-30"}
PREVIEW = """query($from: Date!, $to: Date!, $knownAt: DateTime) { journal(from: $from, to: $to, knownAt: $knownAt) {
    number digest turnover { amount currency } suspense { amount } uncosted { sku units }
    entries { totalCount nodes { kind day settlement { externalId } channel { id } words
        postings { account accountName debit { amount } credit { amount } class lines suspense units rounded } } } } }"""
CLOSE = """mutation($input: CloseJournalInput!) { closeJournal(input: $input) { fresh userErrors { code message field }
    journal { number adjusts bookedOn closedBy digest suspense { amount }
        entries { nodes { kind day postings { account debit { amount } credit { amount } class lines } } } } } }"""


@pytest.fixture
def shelf(store: Any, redis: Redis) -> Shelf:
    ring = Keyring([Fernet.generate_key().decode()])
    return replace(House(store, redis).shelf, ring=ring)


async def closed(shelf: Shelf, **more: str) -> Any:
    data, errors, _ = await ask(shelf, CLOSE, BOOKS, input=NOVEMBER | more)
    assert errors == []
    return data["closeJournal"]


async def shown(shelf: Shelf, **more: str) -> Any:
    data, errors, _ = await ask(shelf, PREVIEW, READER, **(NOVEMBER | more))
    assert errors == []
    return data["journal"]


def amounts(entries: list[Any]) -> dict[tuple[str, str, str | None], Decimal]:
    """What is booked, debits above 0, by kind, account and class."""
    found: dict[tuple[str, str, str | None], Decimal] = {}
    for one in entries:
        for each in one["postings"]:
            key = (one["kind"], each["account"], each["class"])
            side = Decimal(each["debit"]["amount"]) - Decimal(each["credit"]["amount"])
            found[key] = found.get(key, Decimal(0)) + side
    return {key: amount for key, amount in found.items() if amount}


def sold(amount: str, sku: str = "MUG", **more: Any) -> Any:
    """A sale that is tied out."""
    return sale(amount, sku=Sku(sku), matched_by="ORDER_SKU", cause=None, **more)


async def test_a_preview_shows_what_settlements_come_to_and_keeps_nothing(shelf: Shelf) -> None:
    await kept(shelf.store, [line("-39.00"), sold("100.00", units=2), sale("19.90")])
    async with shelf.store.begin() as tx:
        await tx.execute(insert(product).values(sku="MUG", title="Mug"))
        await cost.keep(tx, [NewCost(Sku("MUG"), date(2026, 1, 1), Money(Decimal("4.0025"), "EUR"))], "ann")
    found = await shown(shelf)
    assert amounts(found["entries"]["nodes"]) == {
        ("LINES", "4000", "SALE"): Decimal("-100.00"),
        ("LINES", "1290", "SALE"): Decimal("-19.90"),
        ("LINES", "6000", "SUBSCRIPTION_FEE"): Decimal("39.00"),
        ("LINES", "1200", None): Decimal("80.90"),
        ("GOODS", "5000", None): Decimal("8.00"),
        ("GOODS", "1400", None): Decimal("-8.00"),
        ("PAYOUT", "1300", None): Decimal("80.90"),
        ("PAYOUT", "1200", None): Decimal("-80.90"),
    }
    assert found["suspense"] == [{"amount": "19.90"}]
    # Of the units in suspense nobody knows which SKU of ours they are.
    assert found["uncosted"] == [{"sku": "A0", "units": 1}]
    lines, goods, paid = sorted(
        found["entries"]["nodes"], key=lambda one: ["LINES", "GOODS", "PAYOUT"].index(one["kind"])
    )
    assert (lines["day"], goods["day"], paid["day"]) == ("2026-11-13", "2026-11-13", "2026-11-16")
    assert (lines["settlement"]["externalId"], lines["channel"]["id"]) == ("S1", "Channel:shop")
    assert [one["rounded"] for one in goods["postings"]] == ["0.0050", "0"]
    assert sum(one["lines"] for one in lines["postings"][:-1]) == lines["postings"][-1]["lines"] == 3
    async with shelf.store.begin() as tx:
        assert await tx.scalar(select(func.count()).select_from(journal)) == 0


async def test_a_journal_is_closed_once_and_what_is_known_later_adjusts_it(shelf: Shelf) -> None:
    await kept(shelf.store, [line("-39.00"), sale("19.90")])
    first = await closed(shelf)
    assert (first["fresh"], first["journal"]["number"], first["journal"]["adjusts"]) == (True, 1, None)
    assert first["journal"]["closedBy"] == "ann"
    again = await closed(shelf)
    assert (again["fresh"], again["journal"]) == (False, first["journal"])
    data, _, _ = await ask(shelf, "{ residuals { nodes { line { id } } } }", BOOKS)
    tie = {"lineId": data["residuals"]["nodes"][0]["line"]["id"], "account": True, "reason": "a gift"}
    assign = "mutation($input: AssignResidualInput!) { assignResidual(input: $input) { userErrors { code } } }"
    data, errors, _ = await ask(shelf, assign, BOOKS, input=tie)
    assert (data["assignResidual"]["userErrors"], errors) == ([], [])
    second = await closed(shelf, bookedOn="2026-12-01")
    assert (second["fresh"], second["journal"]["number"], second["journal"]["adjusts"]) == (True, 2, 1)
    [entry] = second["journal"]["entries"]["nodes"]
    assert (entry["kind"], entry["day"]) == ("LINES", "2026-12-01")
    told = {
        (one["account"], one["debit"]["amount"], one["credit"]["amount"], one["lines"]) for one in entry["postings"]
    }
    assert told == {("1290", "19.90", "0.00", -1), ("4000", "0.00", "19.90", 1), ("1200", "0.00", "0.00", 0)}
    assert (await closed(shelf))["fresh"] is False
    data, _, _ = await ask(
        shelf, "{ journals { totalCount nodes { number adjusts turnover { amount } suspense { amount } } } }", READER
    )
    assert data["journals"]["totalCount"] == 2
    assert [(one["number"], one["suspense"][0]["amount"]) for one in data["journals"]["nodes"]] == [
        (2, "-19.90"),
        (1, "19.90"),
    ]
    data, _, _ = await ask(shelf, "{ journals(number: 1) { totalCount nodes { entries { totalCount } } } }", READER)
    assert data["journals"] == {"totalCount": 1, "nodes": [{"entries": {"totalCount": 2}}]}
    # All that was ever booked is what is known now.
    booked = amounts([*first["journal"]["entries"]["nodes"], *second["journal"]["entries"]["nodes"]])
    assert booked == amounts((await shown(shelf))["entries"]["nodes"])


async def test_with_another_chart_what_was_booked_is_moved_to_its_accounts(shelf: Shelf) -> None:
    await kept(shelf.store, [line("-39.00")])
    await closed(shelf)
    moved = await closed(replace(shelf, chart=replace(german(), zone=ZoneInfo("UTC"))))
    assert amounts(moved["journal"]["entries"]["nodes"]) == {
        ("LINES", "6000", "SUBSCRIPTION_FEE"): Decimal(-39),
        ("LINES", "6770", "SUBSCRIPTION_FEE"): Decimal(39),
        ("LINES", "1200", None): Decimal(39),
        ("LINES", "1370", None): Decimal(-39),
        ("PAYOUT", "1300", None): Decimal(39),
        ("PAYOUT", "1460", None): Decimal(-39),
        ("PAYOUT", "1200", None): Decimal(-39),
        ("PAYOUT", "1370", None): Decimal(39),
    }
    query = "{ journals(number: 2) { nodes { entries { nodes { postings { account accountName } } } } } }"
    data, _, _ = await ask(shelf, query, READER)
    entries = data["journals"]["nodes"][0]["entries"]["nodes"]
    names = {one["account"]: one["accountName"] for each in entries for one in each["postings"]}
    assert (names["6000"], names["6770"]) == ("Selling fees", "Verkaufsprovisionen")


async def test_of_two_who_close_at_once_one_does(shelf: Shelf) -> None:
    await kept(shelf.store, [line("-39.00")])
    both = await asyncio.gather(closed(shelf), closed(shelf))
    assert sorted((one["fresh"], one["journal"]["number"]) for one in both) == [(False, 1), (True, 1)]


async def test_each_line_is_in_one_journal_and_clearing_comes_to_nothing_over_all(shelf: Shelf) -> None:
    """A settlement that goes over the end of a month, with lines that were posted outside of it."""
    ends_at = datetime(2026, 12, 5, tzinfo=UTC)
    days = (-30, -12, -4, -1, 9)
    rows = [line(f"{number}.01", posted_at=ends_at + timedelta(days=day)) for number, day in enumerate(days, start=1)]
    await kept(shelf.store, rows, ends_at=ends_at)
    november = (await shown(shelf))["entries"]["nodes"]
    december = (await shown(shelf, **{"from": "2026-12-01", "to": "2026-12-31"}))["entries"]["nodes"]
    assert [one["kind"] for one in november] == ["LINES"]
    assert [one["kind"] for one in december] == ["LINES", "PAYOUT"]
    counts = [one["postings"][0]["lines"] for one in (*november, *december)]
    assert counts == [2, 3, 0]
    clearing = sum(amount for (_, account, _), amount in amounts([*november, *december]).items() if account == "1200")
    assert clearing == 0


async def test_what_is_not_known_yet_at_an_instant_is_not_in_it(shelf: Shelf) -> None:
    await kept(shelf.store, [line("-39.00")])
    async with shelf.store.begin() as tx:
        before = (await tx.execute(select(func.now()))).scalar_one()
    await kept(shelf.store, [line("-10.00")], "S2")
    at = {"knownAt": before.isoformat()}
    assert (await shown(shelf, **at))["turnover"] == [{"amount": "78.00", "currency": "EUR"}]
    assert (await shown(shelf))["turnover"] == [{"amount": "98.00", "currency": "EUR"}]
    assert (await shown(shelf, **at))["digest"] == (await shown(shelf, **at))["digest"]


async def test_costs_that_are_told_later_and_units_that_come_back_adjust_the_goods(shelf: Shelf) -> None:
    await kept(shelf.store, [sold("100.00", units=3)])
    first = await closed(shelf)
    assert {one["kind"] for one in first["journal"]["entries"]["nodes"]} == {"LINES", "PAYOUT"}
    async with shelf.store.begin() as tx:
        await tx.execute(insert(product).values(sku="MUG", title="Mug"))
        await cost.keep(tx, [NewCost(Sku("MUG"), date(2026, 1, 1), Money(Decimal(4), "EUR"))], "ann")
        back = {"channel": "shop", "kind": "RESTOCKED", "channel_sku": "MUG", "units": 1, "at": ENDED}
        await tx.execute(insert(restock).values(reference="r-1", **back))
        await tx.execute(insert(restock).values(reference="r-2", **back | {"at": ENDED + timedelta(days=60)}))
    second = await closed(shelf)
    assert amounts(second["journal"]["entries"]["nodes"]) == {
        ("GOODS", "5000", None): Decimal(8),
        ("GOODS", "1400", None): Decimal(-8),
    }


async def test_units_come_back_at_what_they_were_booked_for_and_only_where_they_were(shelf: Shelf) -> None:
    """One order is settled with 3 units, one is not. A unit that was refunded before it left is another one than what came back,
    and the cost is that of the day of the sale, whatever the clock of the chart says."""
    sold_on, elsewhere = date(2026, 11, 3), datetime(2026, 11, 2, 23, 30, tzinfo=UTC)
    paid, open = make_order("1001", (3,), placed_at=elsewhere), make_order("1002", (3,), placed_at=elsewhere)
    async with shelf.store.begin() as tx:
        await tx.execute(insert(product).values(sku="A0", title="Mug"))
        await order.upsert(tx, [paid, open])
        layers = ((date(2026, 1, 1), 4), (sold_on, 7))
        await cost.keep(tx, [NewCost(Sku("A0"), on, Money(Decimal(each), "EUR")) for on, each in layers], "ann")
        for external_id in ("1001", "1002"):
            told = {"channel": "shop", "order_external_id": external_id, "channel_sku": "A0", "units": 1, "at": ENDED}
            for kind, reference in (("REFUNDED", "never left"), ("RESTOCKED", f"{AT_POOL}1")):
                await tx.execute(insert(restock).values(kind=kind, reference=f"{reference} {external_id}", **told))
    await kept(shelf.store, [sold("100.00", "A0", units=3, order_id=paid.id, day=sold_on)])
    found = [one for one in (await shown(shelf))["entries"]["nodes"] if one["kind"] == "GOODS"]
    assert [one["words"] for one in found] == ["Cost of goods shop S1", "Back on the shelf shop"]
    assert amounts(found[:1])["GOODS", "5000", None] == 21
    assert amounts(found[1:])["GOODS", "5000", None] == -14
    assert found[1]["postings"][0]["units"] == -2


async def test_who_waited_to_close_knows_what_was_closed_before(shelf: Shelf) -> None:
    """A transaction that began first and gets its turn last takes nothing out of the books again."""
    scope = Scope(Period(date(2026, 11, 1), date(2026, 11, 30)))
    async with shelf.store.begin() as late:
        await late.execute(select(func.now()))
        await kept(shelf.store, [line("-39.00")])
        first = await closed(shelf)
        told, fresh = await closing.close(late, scope, shelf.chart, "bob")
    assert (first["journal"]["number"], told.number, fresh) == (1, 1, False)


async def test_days_that_are_closed_are_not_closed_again_in_another_journal(shelf: Shelf) -> None:
    await kept(shelf.store, [line("-39.00")])
    await closed(shelf)
    for input in ({"to": "2026-12-31"}, {"from": "2026-11-14", "to": "2026-11-14"}, {"channelId": "Channel:shop"}):
        refused = await closed(shelf, **input)
        [problem] = refused["userErrors"]
        assert (problem["code"], problem["field"]) == ("CONFLICT", ["input", "from"])
        assert "Journal 1 has 2026-11-01 to 2026-11-30 of all channels already" in problem["message"]
    empty = await closed(shelf, **{"from": "2026-12-01", "to": "2026-12-31"})
    assert [one["code"] for one in empty["userErrors"]] == ["NOT_FOUND"]
    wrong = await closed(shelf, to="2026-10-01")
    assert [one["field"] for one in wrong["userErrors"]] == [["input", "to"]]
    early = await closed(shelf, bookedOn="2026-10-31")
    assert [(one["code"], one["field"]) for one in early["userErrors"]] == [("INVALID", ["input", "bookedOn"])]
    async with shelf.store.begin() as tx:
        assert await tx.scalar(select(func.count()).select_from(journal)) == 1


async def test_books_that_do_not_add_up_are_not_closed(shelf: Shelf) -> None:
    await kept(shelf.store, [line("-39.00")])
    async with shelf.store.begin() as tx:
        await tx.execute(update(settlement_table).values(total=Decimal("-38.99")))
    refused = await closed(shelf)
    assert refused["journal"] is None
    assert "come to -39.00 EUR, and its total is -38.99" in refused["userErrors"][0]["message"]
    async with shelf.store.begin() as tx:
        assert await tx.scalar(select(func.count()).select_from(journal_posting)) == 0
        assert await tx.scalar(select(func.count()).select_from(money_line)) == 1


DOCUMENT = "query($layout: JournalLayout!) { journalDocument(number: 1, layout: $layout) { url name expiresAt } }"


def german() -> Chart:
    return replace(built_in("skr04"), datev=Datev(29098, 55003))


async def test_a_closed_journal_is_fetched_by_a_link_in_each_layout_and_has_the_same_bytes(shelf: Shelf) -> None:
    shelf = replace(shelf, chart=german())
    await kept(shelf.store, [line("-39.00"), sold("100.00", channel_sku=ChannelSku("=1+1"))])
    await closed(shelf)
    for layout, name, words in (
        ("CSV", "journal-1.csv", "Verkaufsprovisionen,39.00,0.00,EUR"),
        ("DATEV", "EXTF_journal-1.csv", '39,00;"S";"EUR";'),
        ("QUICKBOOKS", "journal-1-quickbooks.csv", "Verkaufsprovisionen,39.00,,"),
    ):
        data, errors, _ = await ask(shelf, DOCUMENT, READER, layout=layout)
        assert errors == []
        told = data["journalDocument"]
        assert told["name"] == name
        status, headers, body = await fetched(shelf, told["url"])
        assert (status, headers["content-disposition"]) == (200, f'attachment; filename="{name}"')
        assert words in body.decode("cp1252")
        assert (await fetched(shelf, told["url"]))[2] == body
    assert (await fetched(shelf, told["url"].replace("/1-", "/2-")))[0] == 403


async def test_a_layout_that_lacks_something_says_what(shelf: Shelf) -> None:
    await kept(shelf.store, [line("-39.00")])
    await closed(shelf)
    for chart, words in (
        (built_in("general"), "[datev]"),
        (replace(german(), currency="USD"), "`acorn fx import`"),
    ):
        _, errors, _ = await ask(replace(shelf, chart=chart), DOCUMENT, READER, layout="DATEV")
        assert words in str(errors[0])
    _, errors, _ = await ask(shelf, DOCUMENT.replace("number: 1", "number: 7"), READER, layout="CSV")
    assert "no closed journal 7" in str(errors[0])


async def test_amounts_in_other_currencies_go_by_the_rate_that_was_known(shelf: Shelf) -> None:
    async with shelf.store.begin() as tx:
        await fx.keep(tx, [FxRate("USD", "EUR", Decimal("0.80"), date(2026, 11, 10), "bank")], "ann")
    shelf = replace(shelf, chart=replace(german(), currency="USD"))
    await kept(shelf.store, [line("-40.00", money_class=MoneyClass.ADVERTISING)])
    await closed(shelf)
    async with shelf.store.begin() as tx:
        await fx.keep(tx, [FxRate("USD", "EUR", Decimal("0.50"), date(2026, 11, 10), "bank")], "ann")
    data, errors, _ = await ask(shelf, DOCUMENT, READER, layout="DATEV")
    assert errors == []
    body = (await fetched(shelf, data["journalDocument"]["url"]))[2].decode("cp1252")
    assert '40,00;"S";"EUR";0,800000;50,00;"USD";6600;1370;' in body
