"""What people say that words for money mean, through the contract."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis

from domain.ids import ChannelId
from domain.money import Money
from domain.money_class import Event, MoneyClass
from domain.money_line import Cause, MoneyLine, Source, Stage
from domain.settlement import SettlementKind, Statement
from resolvers.context import Caller
from resolvers.shelf import Shelf
from store import money_word, settlement
from store.session import Store
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ask

SHOP = ChannelId("shop")
AT = datetime(2026, 11, 14, tzinfo=UTC)
BOOKS = Caller("ann", frozenset({"finance:read", "finance:write"}))
UNKNOWN = (
    "{ unclassifiedMoney { wording kind amountKind description lines amounts { amount currency } channels { id } } }"
)
SAID = "{ classifiedMoney { wording kind event class part saidBy reason } }"
SAY = """mutation($input: ClassifyMoneyInput!) { classifyMoney(input: $input) {
    classified { kind class part } userErrors { code field message } } }"""


@pytest.fixture
async def shelf(store: Store, redis: Redis) -> Shelf:
    """A shop has paid out a movement of a kind that nobody knows."""
    line = MoneyLine(
        channel=SHOP,
        source=Source.SETTLEMENT,
        stage=Stage.SETTLED,
        event=Event.ACCOUNT,
        money_class=MoneyClass.UNCLASSIFIED,
        amount=Money(Decimal("-3.00"), "EUR"),
        posted_at=AT,
        day=date(2026, 11, 14),
        kind="NEW_FEE",
        amount_kind="amount",
        row=1,
        matched_by="ACCOUNT",
        cause=Cause.UNCLASSIFIED,
    )
    total = Money(Decimal("-3.00"), "EUR")
    one = Statement(SHOP, SettlementKind.PAYOUT, "P1", None, AT, AT, AT, total)
    async with store.begin() as tx:
        await settlement.keep(tx, one, [line])
    return House(store, redis).shelf


def said(**more: Any) -> dict[str, Any]:
    told = {"wording": "SHOPIFY", "kind": "new fee", "amountKind": "amount", "event": "ACCOUNT", "class": "SERVICE_FEE"}
    return {**told, "reason": "the provider's list of fees", **more}


async def test_words_that_nobody_knows_are_listed_until_somebody_says_what_they_mean(shelf: Shelf) -> None:
    data, errors, _ = await ask(shelf, UNKNOWN, BOOKS)
    assert errors == []
    assert data["unclassifiedMoney"] == [
        {
            "wording": "SHOPIFY",
            "kind": "NEW_FEE",
            "amountKind": "amount",
            "description": "",
            "lines": 1,
            "amounts": [{"amount": "-3.00", "currency": "EUR"}],
            "channels": [{"id": "Channel:shop"}],
        }
    ]
    for _ in range(2):
        data, errors, _ = await ask(shelf, SAY, BOOKS, input=said())
        assert errors == []
        classified = {"kind": "new fee", "class": "SERVICE_FEE", "part": "FEES"}
        assert data["classifyMoney"] == {"classified": classified, "userErrors": []}
    data, _, _ = await ask(shelf, SAID, BOOKS)
    (found,) = data["classifiedMoney"]
    assert (found["class"], found["saidBy"], found["reason"]) == ("SERVICE_FEE", "ann", "the provider's list of fees")
    async with shelf.store.begin() as tx:
        assert await money_word.reclass(tx, shelf.channels) == 1
    data, _, _ = await ask(shelf, UNKNOWN, BOOKS)
    assert data["unclassifiedMoney"] == []


@pytest.mark.parametrize(
    ("input", "field", "words"),
    [
        (said(kind="CHARGE"), None, "unclassifiedMoney lists those that do"),
        (said(wording="REST"), None, "unclassifiedMoney lists those that do"),
        (said(**{"class": "UNCLASSIFIED"}), ["input", "class"], "say what the money is for"),
        (said(reason=" "), ["input", "reason"], "1 to 400 printable characters"),
    ],
)
async def test_what_cannot_be_said_is_told_with_its_field(
    shelf: Shelf, input: dict[str, Any], field: list[str] | None, words: str
) -> None:
    data, errors, _ = await ask(shelf, SAY, BOOKS, input=input)
    assert errors == []
    (problem,) = data["classifyMoney"]["userErrors"]
    assert words in problem["message"]
    assert field is None or problem["field"] == field
    data, _, _ = await ask(shelf, SAID, BOOKS)
    assert data["classifiedMoney"] == []
