"""Lines of banks through files and the contract: taken whole or not at all, matched to payouts by rules, and by people."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, select

from domain.ids import ChannelId
from domain.money import Money
from gateway.bank_file import Mapped, Result, Wanted, run
from gateway.rows import FileProblem
from resolvers.shelf import Shelf
from store import bank
from store.session import Store
from store.tables import bank_line, bank_match
from tests.adapters.bank.camt import document, entry, payment, statement
from tests.conftest import emptied
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ask
from tests.schema.test_settlement import BOOKS, READER, kept, line
from tests.workers.fake_port import make_port
from tests.workers.house import make_deps
from workers.bank import BankMatches

PAID = "2026-11-16"
LINES = """query($filter: BankLineFilter) { bankLines(filter: $filter) { totalCount nodes {
    id account bookedOn valuedOn amount { amount currency } words party
    match { rule madeBy reason settlement { externalId } } } } }"""
OPEN = """{ unmatchedPayouts { totalCount nodes { settlement { externalId } paidAt dueBy
    candidates { doubt line { id words } } } } }"""
MATCH = """mutation($input: MatchBankLineInput!) { matchBankLine(input: $input) {
    userErrors { code message field } bankLine { match { rule madeBy settlement { externalId } } } } }"""


@pytest.fixture
def shelf(store: Store, redis: Redis) -> Shelf:
    return House(store, redis).shelf


def booked(amount: str, text: str, day: str = PAID, currency: str = "EUR") -> str:
    side = "DBIT" if amount.startswith("-") else "CRDT"
    details = f"<NtryDtls>{payment('E2E', text)}</NtryDtls>"
    return entry(amount.removeprefix("-"), side, details=details, day=f"<Dt>{day}</Dt>", currency=currency)


async def taken(store: Store, *entries: str, wanted: Wanted | None = None) -> Result:
    return await run(store, io.BytesIO(document(statement(*entries))), wanted or Wanted())


async def lines(shelf: Shelf, **wanted: object) -> list[Any]:
    data, errors, _ = await ask(shelf, LINES, READER, filter=wanted)
    assert errors == []
    return list(data["bankLines"]["nodes"])


async def awaited(shelf: Shelf) -> list[Any]:
    data, errors, _ = await ask(shelf, OPEN, READER)
    assert errors == []
    return list(data["unmatchedPayouts"]["nodes"])


async def said(shelf: Shelf, line: str, **what: object) -> Any:
    data, errors, _ = await ask(shelf, MATCH, BOOKS, input={"bankLineId": line, "reason": "seen in the portal", **what})
    assert errors == []
    return data["matchBankLine"]


async def payout(store: Store, amount: str, external_id: str, **more: Any) -> str:
    return await kept(store, [line(amount)], external_id, **more)


async def test_a_file_is_taken_once_and_its_lines_find_their_payouts(shelf: Shelf) -> None:
    await payout(shelf.store, "80.90", "STL12345")
    first = await taken(shelf.store, booked("80.90", "Payout STL12345", "2026-11-17"), booked("-9.00", "rent"))
    assert (first.lines, first.fresh, first.matched) == (2, 2, 1)
    again = await taken(shelf.store, booked("80.90", "Payout STL12345", "2026-11-17"), booked("-9.00", "rent"))
    assert (again.lines, again.fresh, again.matched) == (2, 0, 0)
    [found] = await lines(shelf, matched=True)
    assert found["match"] == {
        "rule": "REFERENCE",
        "madeBy": None,
        "reason": None,
        "settlement": {"externalId": "STL12345"},
    }
    assert (found["bookedOn"], found["amount"]) == ("2026-11-17", {"amount": "80.90", "currency": "EUR"})
    assert [one["words"] for one in await lines(shelf, matched=False)] == ["E2E rent"]
    assert await awaited(shelf) == []
    data, _, _ = await ask(shelf, "{ settlements { nodes { payment { words } } } }", READER)
    assert data["settlements"]["nodes"] == [{"payment": {"words": "E2E Payout STL12345"}}]


async def test_a_payout_that_the_bank_reverses_is_awaited_again(shelf: Shelf) -> None:
    await payout(shelf.store, "80.90", "STL12345")
    await taken(shelf.store, booked("80.90", "AMAZON"))
    assert [one["match"]["rule"] for one in await lines(shelf)] == ["AMOUNT_DATE"]
    await taken(shelf.store, booked("-80.90", "STORNO", "2026-11-18").replace("<Sts>", "<RvslInd>true</RvslInd><Sts>"))
    data, errors, _ = await ask(shelf, "{ bankLines { nodes { reversal match { rule } } } }", READER)
    assert errors == []
    assert data["bankLines"]["nodes"] == [{"reversal": True, "match": None}, {"reversal": False, "match": None}]
    [open] = await awaited(shelf)
    assert [one["doubt"] for one in open["candidates"]] == ["SEVERAL"]


async def test_a_file_with_one_bad_line_leaves_nothing_and_a_dry_run_neither(shelf: Shelf) -> None:
    good = booked("80.90", "Payout STL12345")
    with pytest.raises(FileProblem, match="Nothing was kept: entry 3 of statement ST-1: 'NaN' is no amount"):
        await taken(shelf.store, good, good, booked("NaN", "x"))
    tried = await taken(shelf.store, good, wanted=Wanted(dry_run=True))
    assert tried.fresh == 1
    async with shelf.store.begin() as tx:
        assert await tx.scalar(select(func.count()).select_from(bank_line)) == 0
    some = await taken(shelf.store, good, booked("-2000.00", "salary"), wanted=Wanted(containing=("PAYOUT",)))
    assert (some.fresh, some.others) == (1, 1)


async def test_any_order_of_arrival_makes_the_same_matches(shelf: Shelf) -> None:
    """Two lines are as good for one payout, and whichever comes first is not taken for it in the end."""
    seen = set()
    steps = ("payout", "line", "other line", "other payout")
    for order in list(permutations(steps))[::7]:
        await emptied(shelf.store)
        for step in order:
            if step == "payout":
                await payout(shelf.store, "10.00", "P1")
            elif step == "other payout":
                await payout(shelf.store, "55.00", "REF55555")
            elif step == "line":
                await taken(shelf.store, booked("10.00", "a"), booked("55.00", "REF55555", "2026-12-30"))
            else:
                await taken(shelf.store, booked("10.00", "b"))
            async with shelf.store.begin() as tx:
                await bank.rematch(tx)
        told = [(one["words"], one["match"] and one["match"]["rule"]) for one in await lines(shelf)]
        seen.add((tuple(sorted(told, key=str)), str(await awaited(shelf))))
    [(found, open)] = seen
    assert found == (("E2E REF55555", "REFERENCE"), ("E2E a", None), ("E2E b", None))
    assert open.count("'doubt': 'SEVERAL'") == 2


async def test_a_worker_finds_the_line_of_a_payout_that_comes_later_and_rests_until_something_comes(
    shelf: Shelf, redis: Redis
) -> None:
    await taken(shelf.store, booked("10.00", "a"))
    matches = BankMatches(make_deps(shelf.store, redis, [make_port()]), lambda: None)
    assert await matches.once() == 0
    await payout(shelf.store, "10.00", "P1")
    assert (await matches.once(), await matches.once()) == (1, 0)
    assert [one["match"]["settlement"]["externalId"] for one in await lines(shelf)] == ["P1"]


async def test_a_match_that_is_not_certain_any_more_says_why_it_went(shelf: Shelf) -> None:
    await payout(shelf.store, "10.00", "P1")
    await taken(shelf.store, booked("10.00", "a"))
    assert [one["match"]["rule"] for one in await lines(shelf)] == ["AMOUNT_DATE"]
    await taken(shelf.store, booked("10.00", "b"))
    assert [one["match"] for one in await lines(shelf)] == [None, None]
    async with shelf.store.begin() as tx:
        [row] = (await tx.execute(select(bank_match))).all()
    assert row.replaced_why == "it is not certain any more by what is known now"


async def test_a_person_decides_and_takes_it_back(shelf: Shelf) -> None:
    id = await payout(shelf.store, "10.00", "P1")
    await taken(shelf.store, booked("10.00", "a"), booked("10.00", "b"))
    [a] = [one for one in await lines(shelf) if one["words"] == "E2E a"]
    [b] = [one for one in await lines(shelf) if one["words"] == "E2E b"]
    none = await said(shelf, b["id"], noPayout=True)
    assert none["bankLine"]["match"] == {"rule": "PERSON", "madeBy": "ann", "settlement": None}
    # Now only one is left, and the rules know it.
    assert [one["match"]["rule"] for one in await lines(shelf, matched=True)] == ["AMOUNT_DATE"]
    await said(shelf, b["id"], byRules=True)
    assert await lines(shelf, matched=True) == []
    done = await said(shelf, a["id"], settlementId=id)
    assert done["bankLine"]["match"] == {"rule": "PERSON", "madeBy": "ann", "settlement": {"externalId": "P1"}}
    held = await said(shelf, b["id"], settlementId=id)
    assert [(one["code"], one["field"]) for one in held["userErrors"]] == [("CONFLICT", ["input", "settlementId"])]
    # What the rules make of later files does not touch it.
    await taken(shelf.store, booked("10.00", "c"))
    assert [one["words"] for one in await lines(shelf, matched=True)] == ["E2E a"]


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ({}, "INVALID"),
        ({"noPayout": True, "byRules": True}, "INVALID"),
        ({"settlementId": "Settlement:?"}, "NOT_FOUND"),
        ({"noPayout": True, "reason": " "}, "INVALID"),
        ({"noPayout": True, "bankLineId": "BankLine:?"}, "NOT_FOUND"),
        ({"noPayout": True, "bankLineId": "Order:1"}, "NOT_FOUND"),
    ],
)
async def test_what_cannot_be_said_is_refused(shelf: Shelf, what: Mapping[str, Any], code: str) -> None:
    await taken(shelf.store, booked("10.00", "a"))
    [one] = await lines(shelf)
    refused = await said(shelf, **{"line": one["id"], **what})
    assert [each["code"] for each in refused["userErrors"]] == [code]
    async with shelf.store.begin() as tx:
        assert await tx.scalar(select(func.count()).select_from(bank_match)) == 0


async def test_a_payout_is_overdue_where_banks_are_known_and_none_has_shown_it(shelf: Shelf) -> None:
    await payout(shelf.store, "10.00", "P1")
    await payout(shelf.store, "-5.00", "P2")
    late, soon = (datetime(2026, 11, 16, tzinfo=UTC) + timedelta(days=days) for days in (10, 8))

    async def overdue(now: datetime) -> dict[ChannelId, int]:
        async with shelf.store.begin() as tx:
            return await bank.overdue(tx, now)

    assert await overdue(late) == {}
    await taken(shelf.store, booked("7.00", "older", "2026-11-02"))
    assert (await overdue(soon), await overdue(late)) == ({}, {"shop": 1})
    await taken(shelf.store, booked("10.00", "a"))
    assert await overdue(late) == {}


async def test_what_the_bank_has_converted_waits_for_a_person_with_its_candidate(shelf: Shelf) -> None:
    usd = Money(Decimal("11.63"), "USD")
    await kept(shelf.store, [replace(line("11.63"), amount=usd)], "REF12345", total=usd)
    await taken(shelf.store, booked("10.00", "Payout REF12345 11.63 USD"))
    [found] = await awaited(shelf)
    assert [one["doubt"] for one in found["candidates"]] == ["CURRENCY_DIFFERS"]
    assert (found["settlement"], found["dueBy"]) == ({"externalId": "REF12345"}, "2026-11-23")


async def test_pages_of_lines_and_payouts_end_where_they_do(shelf: Shelf) -> None:
    for number in range(3):
        await payout(shelf.store, f"{number + 1}.00", f"P{number}")
    await taken(shelf.store, *(booked(f"{number + 5}.00", "x", f"2026-11-0{number + 1}") for number in range(3)))
    for field, of in (("bankLines", "amount { amount }"), ("unmatchedPayouts", "settlement { externalId }")):
        page = f"totalCount pageInfo {{ hasNextPage endCursor }} nodes {{ {of} }}"
        query = f"query($after: String) {{ {field}(first: 2, after: $after) {{ {page} }} }}"
        first, errors, _ = await ask(shelf, query, READER)
        assert errors == []
        one = first[field]
        rest, _, _ = await ask(shelf, query, READER, after=one["pageInfo"]["endCursor"])
        assert (one["totalCount"], one["pageInfo"]["hasNextPage"], len(one["nodes"])) == (3, True, 2)
        assert (rest[field]["pageInfo"]["hasNextPage"], len(rest[field]["nodes"])) == (False, 1)


GERMAN = Mapped(
    {"date": "Buchungstag", "amount": "Betrag", "text": "Verwendungszweck", "party": "Name", "currency": "Währung"},
    decimal=",",
    day="%d.%m.%Y",
    encoding="cp1252",
    skip=1,
)
CSV = (
    "Konto;DE02\r\nBuchungstag;Name;Verwendungszweck;Betrag;Währung\r\n"
    '17.11.2026;Händler;"Payout STL12345;\r\nNr. 1";1.080,90;EUR\r\n17.11.2026;Händler;Miete;-900,00;EUR\r\n'
)


async def test_csv_is_read_just_as_it_was_said(shelf: Shelf) -> None:
    await payout(shelf.store, "1080.90", "STL12345", deposited_at=None)
    wanted = Wanted("DE02", mapped=GERMAN)
    told = await run(shelf.store, io.BytesIO(CSV.encode("cp1252")), wanted)
    assert (told.lines, told.fresh, told.matched) == (2, 2, 1)
    assert (await run(shelf.store, io.BytesIO(CSV.encode("cp1252")), wanted)).fresh == 0
    [found] = await lines(shelf, matched=True)
    assert (found["party"], found["words"]) == ("Händler", "Payout STL12345; Nr. 1")


async def test_amounts_of_csv_are_read_as_banks_write_them_and_an_account_has_one_name(shelf: Shelf) -> None:
    columns = {"date": "Tag", "credit": "Haben", "debit": "Soll"}
    body = "Tag;Soll;Haben\n2026-11-17;0.00;1'080.90\n2026-11-18;12 345.00-;\n2026-11-19;-7.00;0.00\n2026-11-20;5.00;\n"
    for account in ("DE02 1203 0000 0000 2020 51", "de02120300000000202051"):
        await run(shelf.store, io.BytesIO(body.encode()), Wanted(account, mapped=Mapped(columns, currency="CHF")))
    found = await lines(shelf, account="DE02 1203 0000 0000 2020 51")
    assert [one["amount"]["amount"] for one in found] == ["-5.00", "-7.00", "-12345.00", "1080.90"]
    sided = "Tag;Betrag;S/H\n2026-11-21;3,50;S\n2026-11-22;4,00;H\n"
    mapped = Mapped({"date": "Tag", "amount": "Betrag", "side": "S/H"}, decimal=",", currency="EUR")
    await run(shelf.store, io.BytesIO(sided.encode()), Wanted("DE1", mapped=mapped))
    assert [one["amount"]["amount"] for one in await lines(shelf, account="DE1")] == ["4.00", "-3.50"]
    for wrong in (sided.replace(";S\n", ";X\n"), sided.replace("3,50", "-3,50")):
        with pytest.raises(FileProblem, match="line 2: `side` is"):
            await run(shelf.store, io.BytesIO(wrong.encode()), Wanted("DE1", mapped=mapped))
    both = body.replace("0.00;1'080.90", "3.00;1'080.90")
    with pytest.raises(FileProblem, match="one of `credit` and `debit`"):
        await run(shelf.store, io.BytesIO(both.encode()), Wanted("CH1", mapped=Mapped(columns, currency="CHF")))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("-900,00", "=900,00", "line 5: `amount` is '=900,00', and no amount"),
        ("-900,00", "NaN", "is 'NaN', and no amount"),
        ("-900,00", "1e3", "and no amount"),
        ("1.080,90", "1.08,90", "and no amount"),
        ("1.080,90", "1,080.90", "and no amount"),
        ("1.080,90", "1080,905", "more decimals than EUR"),
        ("17.11.2026", "11/17/2026", "no day written as %d.%m.%Y"),
        ("EUR", "euro", "not an ISO 4217"),
        ("Miete;", "", "4 values stand under 5 columns"),
        ("Betrag", "Summe", "the column 'Betrag' stands there 0 times"),
        ('Nr. 1"', "Nr. 1", "no whole CSV"),
        ("Händler", "\x81", "is not cp1252"),
    ],
)
async def test_a_csv_that_is_not_as_it_was_said_is_refused_whole(shelf: Shelf, old: str, new: str, words: str) -> None:
    body = CSV.replace(old, new).encode("latin-1" if new == "\x81" else "cp1252")
    with pytest.raises(FileProblem, match="Nothing was kept") as caught:
        await run(shelf.store, io.BytesIO(body), Wanted("DE02", mapped=GERMAN))
    assert words in str(caught.value)
    async with shelf.store.begin() as tx:
        assert await tx.scalar(select(func.count()).select_from(bank_line)) == 0


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted(), "say --account"),
        (Wanted("DE02"), "which columns hold the date"),
        (Wanted("DE02", mapped=Mapped({"day": "x"})), "`day` is none of"),
        (Wanted("DE02", mapped=Mapped({"date": "a", "amount": "b"})), "Say the currency"),
        (Wanted("DE02", mapped=Mapped({"date": "a", "amount": "b"}, currency="EUR", decimal=";")), "decimal mark"),
        (Wanted("DE02", mapped=Mapped({"date": "a", "amount": "b"}, currency="EUR", encoding="utf-9")), "no encoding"),
        (Wanted("DE02", mapped=Mapped({"date": "a", "amount": "b"}, currency="EUR", encoding="hex")), "no encoding"),
    ],
)
async def test_nothing_of_a_csv_is_guessed(shelf: Shelf, wanted: Wanted, words: str) -> None:
    with pytest.raises(FileProblem, match=words):
        await run(shelf.store, io.BytesIO(CSV.encode("cp1252")), wanted)
    with pytest.raises(FileProblem, match="It is a ZIP archive: unpack it"):
        await run(shelf.store, io.BytesIO(b"PK\x03\x04 statement.xml"), wanted)
