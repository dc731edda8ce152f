"""CAMT.053 is read whole or not at all: both versions, batches, balances, and whatever somebody puts in its place."""

from __future__ import annotations

import io
import random
import re
from datetime import date
from decimal import Decimal

import pytest

from adapters.bank import camt053
from adapters.bank.camt053 import Reader
from adapters.wire import Unclear
from domain.bank import BankLine
from domain.money import Money
from tests.adapters.bank.camt import balance, document, entry, payment, statement


def read(body: bytes, account: str | None = None) -> list[BankLine]:
    return list(Reader(account).lines(io.BytesIO(body)))


PAID = f"<NtryDtls>{payment('E2E-1', 'Settlement ABC12345')}</NtryDtls>"


def test_a_line_has_all_that_the_bank_tells_of_it() -> None:
    body = document(statement(entry("1234.50", reference="2026110400017", details=PAID)))
    [one] = read(body)
    assert (one.account, one.booked_on, one.valued_on) == (
        "DE02120300000000202051",
        date(2026, 11, 4),
        date(2026, 11, 5),
    )
    assert one.amount == Money(Decimal("1234.50"), "EUR")
    assert (one.words, one.party) == ("E2E-1 Settlement ABC12345 2026110400017", "AMAZON PAYMENTS EUROPE")


def test_both_versions_say_the_same() -> None:
    newer = PAID.replace("<Dbtr><Nm>", "<Dbtr><Pty><Nm>").replace("</Nm></Dbtr>", "</Nm></Pty></Dbtr>")
    old = document(statement(entry("5.00", "DBIT", "R1", PAID)))
    new = document(statement(entry("5.00", "DBIT", "R1", newer, status="<Cd>BOOK</Cd>")), version="08")
    assert read(old) == read(new)
    assert read(old)[0].amount == Money(Decimal("-5.00"), "EUR")


def test_a_version_between_says_it_as_the_older_does_and_a_bank_may_tell_only_from_when_on_money_counts() -> None:
    body = statement(entry("5.00", "CRDT", "R1", PAID, day="").replace("<BookgDt></BookgDt>", ""))
    [one] = read(document(body, version="04"))
    assert (one.booked_on, one.valued_on, one.party) == (date(2026, 11, 5),) * 2 + ("AMAZON PAYMENTS EUROPE",)


def test_the_same_line_in_another_file_is_the_same_and_equal_lines_of_a_day_are_two() -> None:
    twice = statement(entry("5.00", details=PAID), entry("5.00", details=PAID), entry("5.00", reference="NONREF"))
    first, second, third = read(document(twice))
    assert len({first.id, second.id, third.id}) == 3
    again = read(document(statement(entry("9.00"), entry("5.00", details=PAID)), twice, version="08"))
    assert [one.id for one in again[1:]] == [first.id, first.id, second.id, third.id]
    # Some banks give every line of a day one reference.
    same = statement(entry("5.00", reference="X"), entry("6.00", reference="X"), entry("5.00", reference="X"))
    assert len({one.id for one in read(document(same))}) == 3


def test_a_batch_is_split_where_its_payments_come_to_the_whole_and_else_stays_one_line() -> None:
    parts = payment("E1", "REF11111", amount="4.00") + payment("E2", "REF22222", amount="6.00")
    one, two = read(document(statement(entry("10.00", details=f"<NtryDtls>{parts}</NtryDtls>"))))
    assert [(line.amount.amount, line.words) for line in (one, two)] == [
        (Decimal("4.00"), "E1 REF11111"),
        (Decimal("6.00"), "E2 REF22222"),
    ]
    [whole] = read(document(statement(entry("10.01", details=f"<NtryDtls>{parts}</NtryDtls>"))))
    assert (whole.amount.amount, whole.words) == (Decimal("10.01"), "E1 REF11111 E2 REF22222")


@pytest.mark.parametrize(("side", "sign"), [("DBIT", -1), ("CRDT", 1)])
def test_a_reversal_does_what_its_entry_says_and_is_told_apart(side: str, sign: int) -> None:
    """What comes to the account's balances; the parties are those of what it takes back."""
    who = "Dbtr" if side == "DBIT" else "Cdtr"
    inside = f"<NtryDtls>{payment('E2E-1', 'Settlement ABC12345', f'<{who}><Nm>AMAZON</Nm></{who}>')}</NtryDtls>"
    balances = balance("OPBD", "100.00") + balance("CLBD", f"{100 + 5 * sign}.00")
    [one] = read(document(statement(entry("5.00", side, "R1", inside, reversal="true"), balances=balances)))
    assert (one.amount.amount, one.reversal, one.party) == (Decimal(5 * sign), True, "AMAZON")
    [plain] = read(document(statement(entry("5.00", side, "R1", inside, reversal="false"))))
    assert (plain.reversal, plain.id) == (False, one.id)
    with pytest.raises(Unclear, match="RvslInd is 'yes', neither true nor false"):
        read(document(statement(entry("5.00", reversal="yes"))))


def test_what_is_not_booked_yet_is_left_out_and_counted() -> None:
    reader = Reader()
    body = document(statement(entry("1.00", status="PDNG"), entry("2.00"), entry("3.00", status="INFO")))
    assert [one.amount.amount for one in reader.lines(io.BytesIO(body))] == [Decimal("2.00")]
    assert (reader.pending, reader.statements) == (2, 1)


def test_the_entries_come_to_what_the_account_gained_or_the_file_is_refused() -> None:
    before, after = balance("OPBD", "100.00", "DBIT"), balance("CLBD", "20.00")
    lines = entry("125.00"), entry("5.00", "DBIT")
    assert len(read(document(statement(*lines, balances=before + after)))) == 2
    with pytest.raises(Unclear, match=r"statement ST-1: .* ends with 20.00: 125.00 are missing"):
        read(document(statement(lines[1], balances=before + after)))
    # A page of a statement says nothing of the whole.
    assert len(read(document(statement(lines[1], balances=before + after + balance("ITBD", "1.00"))))) == 1


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (entry("NaN"), "'NaN' is no amount"),
        (entry("Infinity"), "is no amount"),
        (entry("1e9"), "is no amount"),
        (entry("1,00"), "is no amount"),
        (entry("-1.00"), "is no amount"),
        (entry("9" * 400), "is no amount"),
        (entry("1.001"), "more decimals than EUR"),
        (entry("1.00", currency="eur"), "not an ISO 4217"),
        (entry("1.00", currency=""), "not an ISO 4217"),
        (entry("1.00", "BOTH"), "neither CRDT nor DBIT"),
        (entry("1.00", day="<Dt>04.11.2026</Dt>"), "and no day"),
        (entry("1.00", day="<Dt>2026-02-30</Dt>"), "and no day"),
        (entry("1.00", day="").replace("ValDt", "ValueDt"), "and no day"),
    ],
)
def test_what_is_not_understood_refuses_the_file_with_its_place(told: str, words: str) -> None:
    with pytest.raises(Unclear, match=f"entry 2 of statement ST-1: .*{words}"):
        read(document(statement(entry("1.00"), told)))


def test_the_file_of_another_account_is_refused() -> None:
    body = document(statement(entry("1.00")))
    assert len(read(body, "de02 1203 0000 0000 2020 51")) == 1
    with pytest.raises(Unclear, match="and not of DE99"):
        read(body, "DE99")
    with pytest.raises(Unclear, match="neither an IBAN nor"):
        read(document(statement(entry("1.00"), account="")))


LAUGHS = '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'


@pytest.mark.parametrize(
    "head",
    [
        LAUGHS,
        '<!DOCTYPE Document [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE Document SYSTEM "http://127.0.0.1:9/evil.dtd">',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused_before_anything_of_it_is_read(head: str, encoding: str) -> None:
    text = document(statement(entry("1.00", details="<AddtlNtryInf>&c;&x;</AddtlNtryInf>"))).decode()
    body = text.replace('encoding="UTF-8"?>', f'encoding="{encoding}"?>{head}').encode(encoding)
    with pytest.raises(Unclear, match="declares a document type"):
        read(body)


@pytest.mark.parametrize(
    ("old", "new"),
    [("053.001.02", "052.001.02"), ("053.001.02", "053.001.99"), ("Document", "Dokument"), (' xmlns="', ' xmlns:x="')],
)
def test_another_document_is_refused_by_its_name(old: str, new: str) -> None:
    body = document(statement(entry("1.00"))).decode().replace(old, new).encode()
    with pytest.raises(Unclear, match=re.escape("no CAMT.053 of a version from 001.02 to 001.08")):
        read(body)


def test_elements_of_others_are_none_of_ours() -> None:
    extra = '<x:Amt xmlns:x="urn:other" Ccy="USD">7</x:Amt><x:Sts xmlns:x="urn:other">PDNG</x:Sts>'
    [one] = read(document(statement(entry("1.00", details=extra))))
    assert one.amount == Money(Decimal("1.00"), "EUR")


def test_a_file_that_ends_too_early_is_refused_wherever_it_ends() -> None:
    body = document(statement(*(entry("1.00", reference=f"R{number}", details=PAID) for number in range(20))))
    assert len(read(body)) == 20
    cuts = random.Random(8).sample(range(len(body)), 200)
    for cut in cuts:
        with pytest.raises(Unclear):
            read(body[:cut])
    with pytest.raises(Unclear, match="no whole XML"):
        read(body + b"<more/>")
    with pytest.raises(Unclear, match="holds no statement"):
        read(document())


def test_what_only_wants_to_fill_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camt053, "LONGEST_ENTRY", 10_000)
    monkeypatch.setattr(camt053, "LONGEST_SILENCE", 200_000)
    monkeypatch.setattr(camt053, "MOST_LINES", 5)
    monkeypatch.setattr(camt053, "MOST_PAYMENTS", 3)
    with pytest.raises(Unclear, match="one of its entries is longer"):
        read(document(statement(entry("1.00", details=f"<AddtlNtryInf>{'x' * 20_000}</AddtlNtryInf>"))))
    with pytest.raises(Unclear, match="deep"):
        read(document(statement("<a>" * 100)))
    with pytest.raises(Unclear, match="nothing comes to its end"):
        read(document(statement(f'<Ntry a="{"x" * 400_000}"/>')))
    with pytest.raises(Unclear, match="more than 3 payments"):
        read(document(statement(entry("1.00", details=f"<NtryDtls>{'<TxDtls/>' * 4}</NtryDtls>"))))
    with pytest.raises(Unclear, match="more than 5 lines"):
        read(document(statement(*(entry("1.00") for _ in range(6)))))
