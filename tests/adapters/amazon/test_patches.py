"""Changes of offers, written so that they change nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.amazon.client import Client
from adapters.amazon.listings_offers import read_offer
from adapters.amazon.listings_submissions import submit
from adapters.amazon.marketplaces import Marketplace, marketplace
from adapters.amazon.patches import (
    FIRST,
    LAST,
    Patch,
    PriceChange,
    Prices,
    amount,
    local,
    price_patch,
    prices,
    quantity_patch,
)
from adapters.wire import Unclear
from domain.budget import Ask
from domain.errors import Invalid
from domain.ids import ChannelSku
from domain.money import Money
from domain.price import Sale
from sandbox.amazon.visit import Seller
from tests.adapters.amazon.bench import Desk, Sandbox, go
from tests.adapters.amazon.offers import client_of, money, priced, skus, unhurried

OpenDesk = Callable[..., Desk]

US, DE, FR, JP = (marketplace(code) for code in ("US", "DE", "FR", "JP"))
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)

# Twelve years of seconds.
instants = st.integers(0, 12 * 366 * 86_400).map(lambda seconds: MARCH + timedelta(seconds=seconds))


def offer(**members: Any) -> dict[str, Any]:
    standing = {"marketplace_id": US.id, "currency": "USD", "audience": "ALL", "our_price": priced(Decimal("20.5"))}
    return standing | members


def patched(change: PriceChange, *standing: dict[str, Any]) -> list[dict[str, Any]]:
    patch = price_patch(US, standing, change)
    assert (patch.op, patch.attribute) == ("replace", "purchasable_offer")
    return list(patch.value)


# What is written


def test_a_price_is_put_into_all_that_stands_there() -> None:
    sale = priced(Decimal("15.25"), start_at="2026-03-01T00:00:00Z", end_at="2026-04-01T00:00:00Z")
    mine = offer(discounted_price=sale, minimum_seller_allowed_price=priced(10), start_at={"value": "2025-01-01"})
    business = offer(audience="B2B", quantity_discount_plan=[{"schedule": [{"levels": [{"lower_bound": 10}]}]}])
    told = patched(PriceChange(price=money("19.99")), business, mine)
    assert json.loads(json.dumps(told)) == [
        {**business, "our_price": priced(20.5)},
        {
            **mine,
            "our_price": priced(19.99),
            "discounted_price": priced(15.25, start_at="2026-03-01T00:00:00Z", end_at="2026-04-01T00:00:00Z"),
        },
    ]


def test_what_is_there_already_is_not_touched() -> None:
    standing = offer()
    patched(PriceChange(price=money("1.00"), sale=Sale(money("0.50"), MARCH, APRIL)), standing)
    assert standing == offer()


def test_a_first_offer_begins_with_a_price() -> None:
    entry = {"marketplace_id": US.id, "currency": "USD", "audience": "ALL"}
    assert patched(PriceChange(price=money("5"), minimum=money("4"), maximum=money("6"))) == [
        {
            **entry,
            "our_price": priced(5.0),
            "minimum_seller_allowed_price": priced(4.0),
            "maximum_seller_allowed_price": priced(6.0),
        }
    ]
    business = offer(audience="B2B")
    assert len(patched(PriceChange(price=money("5")), business)) == 2
    with pytest.raises(Invalid, match="Nothing is offered in US yet"):
        patched(PriceChange(sale=None), business)


def test_a_sale_is_set_replaced_and_forgotten() -> None:
    sale = Sale(money("15.25"), MARCH, APRIL)
    (told,) = patched(PriceChange(sale=sale), offer())
    window = {"start_at": "2026-02-28T16:00:00-08:00", "end_at": "2026-03-31T17:00:00-07:00"}
    assert told == {**offer(our_price=priced(20.5)), "discounted_price": priced(15.25, **window)}
    standing = offer(discounted_price=priced(Decimal("15.25"), **window))
    (told,) = patched(PriceChange(sale=Sale(money("14"), MARCH, APRIL)), standing)
    assert told["discounted_price"] == priced(14.0, **window)
    assert patched(PriceChange(sale=None), standing) == [offer(our_price=priced(20.5))]


@pytest.mark.parametrize(
    ("store", "at", "told"),
    [
        # Clocks in Berlin go forward at 01:00 UTC on the last Sunday of March, and back in October.
        (DE, datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC), "2026-03-29T01:59:59+01:00"),
        (DE, datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "2026-03-29T03:00:00+02:00"),
        (DE, datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "2026-10-25T02:30:00+02:00"),
        (DE, datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "2026-10-25T02:30:00+01:00"),
        (US, datetime(2026, 3, 8, 9, 59, tzinfo=UTC), "2026-03-08T01:59:00-08:00"),
        (US, datetime(2026, 3, 8, 10, 0, tzinfo=UTC), "2026-03-08T03:00:00-07:00"),
        (JP, datetime(2026, 3, 8, 15, 0, 0, 999_999, tzinfo=UTC), "2026-03-09T00:00:00+09:00"),
        (FR, datetime(2026, 6, 30, 12, 0, tzinfo=timezone(timedelta(hours=12))), "2026-06-30T02:00:00+02:00"),
    ],
)
def test_an_instant_is_told_by_the_clocks_of_the_marketplace(store: Marketplace, at: datetime, told: str) -> None:
    assert local(store, at) == told


@given(instants, st.sampled_from([US, DE, FR, JP]))
def test_an_instant_survives_the_way_to_amazon_and_back(at: datetime, store: Marketplace) -> None:
    entry = offer(marketplace_id=store.id, currency=store.currency)
    sale = Sale(Money(Decimal(15), store.currency), at, at + timedelta(seconds=1))
    patch = price_patch(store, [entry], PriceChange(sale=sale))
    assert prices(store, patch_read(patch)).sales == (sale,)


def patch_read(patch: Patch) -> list[dict[str, Any]]:
    """The patch's value as an answer's JSON would be read."""
    found: list[dict[str, Any]] = json.loads(json.dumps(patch.value), parse_float=Decimal)
    return found


@given(st.decimals("0.01", "999999.99", places=2), st.integers(1, 10**8))
def test_an_amount_survives_the_way_to_amazon_and_back(dollars: Decimal, yen: int) -> None:
    for store, wish in ((US, Money(dollars, "USD")), (JP, Money(Decimal(yen), "JPY"))):
        written = json.dumps(amount(store, wish))
        assert Decimal(written) == wish.amount
        assert store is US or "." not in written
        entry = offer(marketplace_id=store.id, currency=store.currency)
        read_back = prices(store, patch_read(price_patch(store, [entry], PriceChange(price=wish))))
        assert read_back.price is not None
        assert (read_back.price.amount, read_back.price.currency) == (wish.amount, wish.currency)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (PriceChange(price=money("10", "EUR")), "Prices in US are in USD, not in EUR"),
        (PriceChange(minimum=money("10", "EUR")), "in USD"),
        (PriceChange(price=money("10.001")), "USD has 2 decimals; 10.001 has more"),
        (PriceChange(price=money("0")), "above 0"),
        (PriceChange(maximum=money("-1")), "above 0"),
        (PriceChange(price=money("1000000000")), "below"),
        (PriceChange(sale=Sale(money("10"), MARCH, None)), "a start and an end"),
        (PriceChange(sale=Sale(money("10"), None, APRIL)), "a start and an end"),
        (PriceChange(sale=Sale(money("10"), MARCH.replace(tzinfo=None), APRIL)), "time zone"),
        (PriceChange(sale=Sale(money("10"), APRIL, MARCH)), "ends a second after its start"),
        (PriceChange(sale=Sale(money("10"), MARCH, MARCH + timedelta(milliseconds=9))), "ends a second after"),
        (PriceChange(sale=Sale(money("10", "EUR"), MARCH, APRIL)), "in USD"),
    ],
)
def test_what_cannot_be_asked_for_is_not_written(change: PriceChange, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        patched(change, offer())


@pytest.mark.parametrize(
    ("told", "read_as"),
    [
        ("9999-12-31", LAST),
        ("9999-12-31T23:59:59-08:00", LAST),
        ("0001-01-01T00:00:00+09:00", FIRST),
    ],
)
def test_the_last_day_of_the_calendar_is_for_ever(told: str, read_as: datetime) -> None:
    (sale,) = prices(US, [offer(discounted_price=priced(1, end_at=told))]).sales
    assert sale.ends_at == read_as


def test_no_sale_goes_beyond_the_calendar() -> None:
    endless = Sale(Money(Decimal(5), "JPY"), datetime(2026, 3, 1, tzinfo=UTC), LAST)
    with pytest.raises(Invalid, match="beyond the calendar"):
        price_patch(JP, [offer(marketplace_id=JP.id, currency="JPY")], PriceChange(sale=endless))


def test_yen_have_no_parts() -> None:
    assert amount(JP, Money(Decimal("1500.00"), "JPY")) == 1500
    with pytest.raises(Invalid, match="JPY has 0 decimals"):
        amount(JP, Money(Decimal("1500.5"), "JPY"))


def test_a_quantity_is_merged_and_says_nothing_else() -> None:
    value = ({"fulfillment_channel_code": "DEFAULT", "quantity": 7, "marketplace_id": US.id},)
    assert quantity_patch(US, 7) == Patch("merge", "fulfillment_availability", value)


# What is read


def test_an_offer_tells_its_prices_and_which_one_holds_when() -> None:
    windows = [
        {"value_with_tax": 15, "start_at": "2026-03-01", "end_at": "2026-03-02"},
        {"value_with_tax": Decimal("12.5"), "start_at": "2026-03-02T00:00:00-08:00", "end_at": "2026-03-03"},
    ]
    told = prices(
        US,
        [
            offer(audience="B2B", our_price=priced(1)),
            offer(discounted_price=[{"schedule": windows}], maximum_seller_allowed_price=priced(30)),
        ],
    )
    pacific = ZoneInfo("America/Los_Angeles")
    first, second = told.sales
    assert (told.price, told.minimum, told.maximum) == (money("20.5"), None, money("30"))
    # Both days of the first sale belong to it, the last one to its end.
    assert first == Sale(money("15"), datetime(2026, 3, 1, tzinfo=pacific), datetime(2026, 3, 3, tzinfo=pacific))
    assert second.starts_at == datetime(2026, 3, 2, tzinfo=pacific)
    seen = [told.at(datetime(2026, 3, day, 12, tzinfo=pacific)) for day in (1, 2, 3, 4)]
    assert seen == [money("15"), money("12.5"), money("12.5"), money("20.5")]
    assert told.at(datetime(2026, 2, 28, 12, tzinfo=pacific)) == money("20.5")
    assert prices(US, []) == Prices()


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([offer(), offer()], "2 entries are for everybody"),
        ([offer(marketplace_id=DE.id)], "another marketplace"),
        ([{"marketplace_id": US.id}], "currency"),
        ([offer(our_price=priced("20"))], "should be a number"),
        ([offer(our_price=priced(True))], "should be a number"),
        ([offer(our_price=[{"schedule": []}])], "schedule"),
        ([offer(our_price=[*priced(1), *priced(2)])], "2 amounts where one belongs"),
        ([offer(discounted_price=priced(1, start_at="soon"))], "a time is none"),
        ([offer(discounted_price=priced(1, start_at="2026-03-01T00:00:00"))], "no zone"),
    ],
)
def test_what_is_not_understood_is_said(entries: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(Unclear, match=words):
        prices(US, entries)


def test_a_number_that_cannot_be_written_back_stops_the_change() -> None:
    with pytest.raises(Unclear, match="more digits"):
        patched(
            PriceChange(price=money("1")), offer(), offer(audience="B2B", our_price=priced(Decimal("1." + "3" * 30)))
        )


# Against the sandbox, which throws away what a replace does not name

amounts = st.integers(100, 99_999).map(lambda cents: cents / 100)
stamps = instants.map(lambda at: f"{at:%Y-%m-%dT%H:%M:%S}Z")


@st.composite
def entries(draw: st.DrawFn, audience: str) -> dict[str, Any]:
    """An offer with all that may stand in one."""
    low, sale, ours, high = sorted(draw(st.lists(amounts, min_size=4, max_size=4, unique=True)))
    entry: dict[str, Any] = {"currency": "EUR", "audience": audience, "our_price": priced(ours)}
    if draw(st.booleans()):
        start, end = sorted(draw(st.lists(stamps, min_size=2, max_size=2, unique=True)))
        entry["discounted_price"] = priced(sale, start_at=start, end_at=end)
    if draw(st.booleans()):
        entry |= {"minimum_seller_allowed_price": priced(low), "maximum_seller_allowed_price": priced(high)}
    if draw(st.booleans()):
        entry["quantity_discount_plan"] = [{"schedule": [{"levels": [{"lower_bound": 5, "value": low}]}]}]
    return entry


@st.composite
def standings(draw: st.DrawFn) -> list[dict[str, Any]]:
    """All that stands in one marketplace: everybody's offer, that of businesses, or both."""
    audiences = draw(st.sampled_from([("ALL",), ("ALL", "B2B"), ("B2B", "ALL"), ("B2B",)]))
    return [draw(entries(audience)) for audience in audiences]


@st.composite
def changes(draw: st.DrawFn) -> PriceChange:
    """A change that Amazon takes whatever stands there: the price, and maybe a sale far below it, or none any more."""
    price = Money(Decimal(draw(st.integers(100_000, 199_999))) / 100, "EUR")
    at = draw(instants)
    sale = Sale(Money(Decimal("0.50"), "EUR"), at, at + timedelta(hours=draw(st.integers(1, 9000))))
    return draw(st.sampled_from([PriceChange(price=price), PriceChange(price, sale), PriceChange(price, None)]))


@dataclass(slots=True)
class Stall:
    """One SKU in two marketplaces: through the adapter, and past it."""

    client: Client
    seller: Seller
    sku: ChannelSku

    async def put(self, store: Marketplace, entries: list[dict[str, Any]]) -> None:
        value = tuple({**entry, "marketplace_id": store.id} for entry in entries)
        body = {"productType": "PRODUCT", "patches": [Patch("replace", "purchasable_offer", value).body()]}
        answer = await self.seller.patch(store.code, self.sku, body)
        assert answer.json()["status"] == "ACCEPTED", answer.text

    async def attributes(self) -> dict[str, Any]:
        """Of both marketplaces."""
        path = f"/listings/2021-08-01/items/{self.seller.id}/{quote(self.sku)}"
        answer = await self.seller.get(path, marketplaceIds=f"{DE.id},{FR.id}", includedData="attributes")
        return dict(answer.json()["attributes"])


def apart(entries: list[dict[str, Any]], store: Marketplace, *names: str) -> list[dict[str, Any]]:
    """The entries in order of their keys, without `names` of everybody's offer in the marketplace."""
    kept = [
        {name: value for name, value in entry.items() if not (mine(entry, store) and name in names)}
        for entry in entries
    ]
    return sorted((one for one in kept if len(one) > 3), key=lambda one: (one["marketplace_id"], one["audience"]))


def mine(entry: dict[str, Any], store: Marketplace) -> bool:
    return bool(entry["audience"] == "ALL" and entry["marketplace_id"] == store.id)


@pytest.fixture
async def stall(sandbox: Sandbox, open_desk: OpenDesk) -> Stall:
    """An offer in DE and FR whose changes are seen at once."""
    await sandbox.post("lag", {"seconds": 0})
    await sandbox.generous("patchListingsItem", "getListingsItem")
    desk = open_desk(sandbox, "eu")
    await unhurried(desk, "patchListingsItem", "getListingsItem")
    seller = await Seller.login(sandbox.http, "Atzr|sandbox-eu")
    return Stall(client_of(desk), seller, (await skus(sandbox, "DE"))[0])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(there=standings(), beside=standings(), change=changes())
async def test_nothing_but_what_is_wished_for_differs(
    stall: Stall, there: list[dict[str, Any]], beside: list[dict[str, Any]], change: PriceChange
) -> None:
    client, seller, sku = stall.client, stall.seller, stall.sku
    await stall.put(DE, there)
    await stall.put(FR, beside)
    before = await stall.attributes()
    found = await read_offer(client, seller.id, DE, sku, Ask())
    patch = price_patch(DE, found.entries, change)
    await submit(client, seller.id, DE, sku, [patch], Ask(), go, product_type=found.product_type)
    after = await stall.attributes()
    assert {name for name in before | after if before.get(name) != after.get(name)} <= {"purchasable_offer"}
    touched = ("our_price",) if change == PriceChange(change.price) else ("our_price", "discounted_price")
    offers = [one["purchasable_offer"] for one in (before, after)]
    assert apart(offers[0], DE, *touched) == apart(offers[1], DE, *touched)
    now = await read_offer(client, seller.id, DE, sku, Ask())
    assert now.asked.price == change.price
    if "discounted_price" in touched:
        assert now.asked.sales == (() if change.sale is None else (change.sale,))
