"""What channels call money is known by tables; what is in none of them is told, and never guessed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.channel import Platform
from domain.errors import Invalid
from domain.money_class import Event, MoneyClass, Part, part_of
from domain.money_line import Source
from domain.money_words import (
    AMAZON,
    AMAZON_TRANSACTION,
    PLATFORMS,
    REST,
    SHOPIFY,
    Dictionary,
    classify,
    folded,
    read,
    rules_of,
    source_of,
    table,
    words_of,
)
from sandbox.amazon import finances, seed
from sandbox.amazon.reports import reports_of
from sandbox.amazon.settlements import AMOUNTS, STORAGE, SUBSCRIPTION
from sandbox.amazon.state import Amazon
from sandbox.control import Core
from sandbox.options import Options
from sandbox.shopify.payments import MOVES
from sandbox.shopify.till import ADJUSTMENTS

UNKNOWN = MoneyClass.UNCLASSIFIED
CHARSETS = {"US": "utf-8", "DE": "cp1252", "FR": "utf-8-sig", "JP": "cp932"}
AMAZON_OTHER = {
    ("other-transaction", "other-transaction", word)
    for word in (*SUBSCRIPTION.values(), *STORAGE.values(), "Current Reserve Amount", "Previous Reserve Amount Balance")
}


def settled() -> set[tuple[str, str, str]]:
    """The words of all files that a small world of Amazon's closes at once, in four dialects, and those of its tables."""
    amazon = Amazon(
        Core.of(Options(seed=7, products=40, orders=60, speed=0, start=datetime(2026, 3, 1, 12, tzinfo=UTC)))
    )
    seed.fill(amazon)
    found = {(kind, *AMOUNTS[part]) for part in AMOUNTS for kind in ("Order", "Refund")} | AMAZON_OTHER
    reports = reports_of(amazon)
    reports.settle()
    for closed in reports.settlements.closed:
        stored = amazon.documents.stored(closed.document_id)
        assert stored is not None
        head, _, *rows = stored.text.decode(CHARSETS[closed.marketplace]).splitlines()
        columns = head.split("\t")
        for row in rows:
            line = dict(zip(columns, row.split("\t"), strict=False))
            found.add((line["transaction-type"], line["amount-type"], line["amount-description"]))
    return found


def told() -> set[tuple[str, str, str]]:
    """The words of its transactions: each leaf with the branches above it."""
    leaves = {("Sales", one) for one in finances._SALES.values()}
    leaves |= {("PromotionalRebates", one) for one in finances._REBATES.values()}
    leaves |= {("Expenses/AmazonFees", one) for one in finances._FEES.values()}
    leaves |= {("Expenses", one) for one in finances._WITHHELD.values()}
    return {(kind, *leaf) for kind in ("Shipment", "Refund") for leaf in leaves}


def moved(kinds: set[str]) -> set[tuple[str, str, str]]:
    return {(kind, amount, reason) for kind in kinds for amount in ("amount", "fee") for reason in ("", "a reason")}


def test_every_word_that_the_sandboxes_write_is_known() -> None:
    written = {
        AMAZON: settled(),
        AMAZON_TRANSACTION: told(),
        SHOPIFY: moved({*MOVES.values(), *ADJUSTMENTS, "TRANSFER"}),
        REST: moved({"charge", "refund", "fee", "adjustment"}),
    }
    assert len(written[AMAZON]) > 20
    unknown = {(source, *one) for source, all in written.items() for one in all if classify(source, *one)[1] is UNKNOWN}
    assert unknown == set()


@pytest.mark.parametrize("source", PLATFORMS)
@given(words=st.tuples(*[st.text("xyzqüж研", min_size=3, max_size=9)] * 3))
def test_an_invented_one_is_not(source: str, words: tuple[str, str, str]) -> None:
    """The twin. A fee that is told as a fee of a movement is one, whatever the movement is called."""
    assert classify(source, *words) == (Event.ACCOUNT, UNKNOWN)


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ((AMAZON, "Order", "ItemPrice", "Principal"), (Event.SALE, MoneyClass.SALE)),
        ((AMAZON, "Refund", "ItemPrice", "Principal"), (Event.REFUND, MoneyClass.SALE)),
        ((AMAZON, "Order", "Promotion", "Principal"), (Event.SALE, MoneyClass.PROMOTION)),
        ((AMAZON, "Order", "Promotion", "TaxDiscount"), (Event.SALE, MoneyClass.TAX_COLLECTED)),
        ((AMAZON, "Order", "ItemWithheldTax", "LowValueGoodsTax-Shipping"), (Event.SALE, MoneyClass.TAX_WITHHELD)),
        ((AMAZON, "Order", "ItemFees", "Commission IGST"), (Event.SALE, MoneyClass.REFERRAL_FEE)),
        (
            (AMAZON, "ServiceFee", "Cost of Advertising", "TransactionTotalAmount"),
            (Event.ACCOUNT, MoneyClass.ADVERTISING),
        ),
        (
            (AMAZON, "other-transaction", "FBA Inventory Reimbursement", "NEW_REASON"),
            (Event.ACCOUNT, MoneyClass.REIMBURSEMENT),
        ),
        (
            (AMAZON, "other-transaction", "other-transaction", "Shipping label purchase"),
            (Event.ACCOUNT, MoneyClass.SHIPPING_LABEL),
        ),
        (
            (AMAZON, "other-transaction", "other-transaction", "Shipping label purchase for return"),
            (Event.ACCOUNT, MoneyClass.RETURN_FEE),
        ),
        ((AMAZON, "FBAFees", "AWD Storage Fee", "Base fee"), (Event.ACCOUNT, MoneyClass.STORAGE_FEE)),
        # Whether it is revenue or is given back is said by the transaction-type alone, and this one is in no table.
        ((AMAZON, "Something new", "ItemPrice", "Principal"), (Event.ACCOUNT, UNKNOWN)),
        ((AMAZON, "Something new", "ItemFees", "Commission"), (Event.ACCOUNT, MoneyClass.REFERRAL_FEE)),
        ((AMAZON, "Refund", "ItemFees", "Something new"), (Event.REFUND, UNKNOWN)),
        ((AMAZON_TRANSACTION, "Shipment", "ProductCharges", "OurPricePrincipal"), (Event.SALE, MoneyClass.SALE)),
        (
            (AMAZON_TRANSACTION, "Shipment", "Expenses/AmazonFees/Commission", "Base"),
            (Event.SALE, MoneyClass.REFERRAL_FEE),
        ),
        ((AMAZON_TRANSACTION, "Shipment", "AmazonFees/Commission", "Tax"), (Event.SALE, MoneyClass.REFERRAL_FEE)),
        ((AMAZON_TRANSACTION, "Shipment", "Shipping", "Tax"), (Event.SALE, MoneyClass.TAX_COLLECTED)),
        ((AMAZON_TRANSACTION, "Shipment", "AmazonFees", "Something new"), (Event.SALE, UNKNOWN)),
        ((AMAZON_TRANSACTION, "ServiceFee", "", "Tax"), (Event.ACCOUNT, UNKNOWN)),
        ((SHOPIFY, "CHARGE", "fee", ""), (Event.SALE, MoneyClass.PAYMENT_FEE)),
        ((SHOPIFY, "CHARGEBACK_FEE", "fee", ""), (Event.ACCOUNT, MoneyClass.CHARGEBACK)),
        ((SHOPIFY, "LENDING_CAPITAL_REMITTANCE", "amount", ""), (Event.ACCOUNT, MoneyClass.TRANSFER)),
        ((REST, "refund", "amount", ""), (Event.REFUND, MoneyClass.PAYMENT)),
    ],
)
def test_words_mean(words: tuple[str, str, str, str], meaning: tuple[Event, MoneyClass]) -> None:
    assert classify(*words) == meaning


@settings(max_examples=10)
@given(st.data())
def test_spelling_is_no_matter(data: st.DataObject) -> None:
    kind, amount_kind, description = "other-transaction", "FBA Inventory Reimbursement", "WAREHOUSE_LOST"
    spelled = [
        "".join(
            data.draw(st.sampled_from([letter, letter.upper(), letter.lower(), f" {letter}", f"{letter}_"]))
            for letter in word
        )
        for word in (kind, amount_kind, description)
    ]
    assert classify(AMAZON, *spelled) == classify(AMAZON, kind, amount_kind, description)


def test_no_tax_stands_in_revenue_or_refunds() -> None:
    named = [
        (source, rule)
        for source in PLATFORMS
        for block in read(source)["words"]
        for rule in rules_of(block)
        if any(word in "".join(rule.key) for word in ("tax", "vat", "gst", "tds"))
    ]
    assert len(named) > 20
    for source, rule in named:
        parts = {part_of(rule.money_class, event) for event in Event}
        assert not parts & {Part.REVENUE, Part.REFUNDS}, (source, rule)


def test_no_table_says_that_words_are_unclassified() -> None:
    assert {
        rule.money_class for source in PLATFORMS for block in read(source)["words"] for rule in rules_of(block)
    } == set(MoneyClass) - {UNKNOWN}
    assert all(table(source) for source in PLATFORMS)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([{"amount_kind": ["A"], "SALE": ["x"], "SHIPPING": ["X "]}], "stands there twice"),
        ([{"amount_kind": ["A"], "SALE": ["x"]}, {"amount_kind": ["a"], "SALE": ["x"]}], "stands there twice"),
        ([{"amount_kind": ["A"], "SAIL": ["x"]}], "no MoneyClass 'SAIL'"),
        ([{"amount_kind": ["A"], "event": "SOLD", "SALE": ["x"]}], "no Event 'SOLD'"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(words: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(Invalid, match=problem):
        words_of({"events": {}, "words": words})


def test_a_kind_with_two_events_is_refused() -> None:
    with pytest.raises(Invalid, match="two events"):
        words_of({"events": {"SALE": ["Order"], "REFUND": ["order"]}, "words": []})


def test_what_is_written_out_goes_before_patterns_and_long_ones_before_short_ones() -> None:
    words = words_of(
        {
            "events": {"ACCOUNT": ["*"]},
            "words": [{"STORAGE_FEE": ["fee*"], "INBOUND_FEE": ["fee for in*"], "REMOVAL_FEE": ["fee for ink"]}],
        }
    )
    found = [words.meaning("", "", one)[1] for one in ("fee for ink", "fee for inbound", "fees", "the fee")]
    assert found == [MoneyClass.REMOVAL_FEE, MoneyClass.INBOUND_FEE, MoneyClass.STORAGE_FEE, UNKNOWN]


def test_a_source_without_a_table_is_refused() -> None:
    with pytest.raises(Invalid, match="no table"):
        classify("walmart", "", "", "")


def test_what_people_say_goes_first_in_every_spelling_and_for_its_source_alone() -> None:
    key = tuple(map(folded, ("other-transaction", "other-transaction", "Brand New Fee")))
    said = Dictionary({(AMAZON, key): (Event.ACCOUNT, MoneyClass.ADVERTISING)})  # type: ignore[dict-item]  # of three
    amazon, rest = said.of(AMAZON), said.of(REST)
    assert amazon("other-transaction", "Other-Transaction", "brand new fee") == (Event.ACCOUNT, MoneyClass.ADVERTISING)
    assert amazon("Order", "ItemPrice", "Principal") == (Event.SALE, MoneyClass.SALE)
    assert rest("other-transaction", "other-transaction", "Brand New Fee") == (Event.ACCOUNT, UNKNOWN)


def test_each_line_has_the_words_of_who_told_it() -> None:
    assert source_of(Platform.AMAZON, Source.TRANSACTION) == AMAZON_TRANSACTION
    assert [source_of(one, Source.SETTLEMENT) for one in Platform] == [AMAZON, SHOPIFY, REST, None, None, None, None]
    assert {source_of(one, Source.ESTIMATE) for one in Platform} == {None}
