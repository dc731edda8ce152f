"""Listings out of written answers."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from domain.budget import Ask
from domain.money import Money
from domain.product import FulfilledBy, Listing, ListingIssue
from tests.adapters.amazon.bench import IDS, Desk, Line

BORN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """With a budget that pages do not exhaust."""
    plan = desk.port.plans["searchListingsItems"]
    await desk.budgets.states([(desk.channel, plan)])
    await desk.budgets.adopt(desk.channel, plan.operation, rate=1000)
    return desk


def item(sku: str = "A1", born: datetime = BORN, **changes: Any) -> dict[str, Any]:
    """Amazon's own example, in part."""
    summary = {
        "marketplaceId": IDS["US"],
        "asin": "B071VG5N9D",
        "productType": "LUGGAGE",
        "conditionType": "new_new",
        "status": ["BUYABLE", "DISCOVERABLE"],
        "itemName": "Hardside Carry-On Spinner Suitcase Luggage",
        "createdDate": born.isoformat().replace("+00:00", "Z"),
        "lastUpdatedDate": "2026-03-02T00:00:00Z",
    }
    whole: dict[str, Any] = {
        "sku": sku,
        "summaries": [summary],
        "offers": [
            {
                "marketplaceId": IDS["DE"],
                "offerType": "B2C",
                "price": {"currencyCode": "EUR", "amount": "90.00"},
            },
            {
                "marketplaceId": IDS["US"],
                "offerType": "B2B",
                "price": {"currencyCode": "USD", "amount": "95.00"},
            },
            {
                "marketplaceId": IDS["US"],
                "offerType": "B2C",
                "price": {"currencyCode": "USD", "amount": "100.00"},
            },
        ],
        "fulfillmentAvailability": [{"fulfillmentChannelCode": "DEFAULT", "quantity": 100}],
        "issues": [
            {
                "code": "90220",
                "message": "'size' is required.",
                "severity": "ERROR",
                "categories": [],
                "marketplaceIds": [IDS["US"]],
            },
            {"code": "18027", "message": "Elsewhere.", "severity": "ERROR", "categories": [], "marketplaceIds": ["X"]},
            {"code": "99022", "message": "Everywhere.", "severity": "WARNING", "categories": []},
        ],
    }
    whole.update(changes)
    return whole


def with_summary(**changes: Any) -> dict[str, Any]:
    one = item()
    one["summaries"][0].update(changes)
    return one


def page(*items: Any, total: int | None = None, token: str | None = None) -> httpx.Response:
    body: dict[str, Any] = {"numberOfResults": len(items) if total is None else total, "items": list(items)}
    if token is not None:
        body["pagination"] = {"nextToken": token}
    return httpx.Response(200, json=body, headers={"x-amzn-RateLimit-Limit": "1000"})


async def only(desk: Desk, line: Line, answer: Any) -> Listing:
    line.answers.append(page(answer))
    pages = [page async for page in desk.port.listing_pages(None, Ask())]
    assert pages[0].rejected == []
    return pages[0].items[0]


async def reason(desk: Desk, line: Line, answer: Any) -> str:
    line.answers.append(page(answer))
    pages = [page async for page in desk.port.listing_pages(None, Ask())]
    assert pages[0].items == []
    return pages[0].rejected[0].reason


async def test_a_listing_as_it_stands_in_one_marketplace(desk: Desk, line: Line) -> None:
    listing = await only(desk, line, item())
    assert (listing.channel, listing.marketplace, listing.channel_sku) == (desk.channel, "US", "A1")
    assert listing.external_id == "B071VG5N9D"
    assert listing.title == "Hardside Carry-On Spinner Suitcase Luggage"
    assert listing.status == "BUYABLE+DISCOVERABLE"
    assert listing.fulfilled_by is FulfilledBy.MERCHANT
    assert listing.price == Money(Decimal("100.00"), "USD")
    assert (listing.sku, listing.sale_price) == (None, None)
    assert listing.url == "https://www.amazon.com/dp/B071VG5N9D"
    assert listing.issues == [
        ListingIssue("90220", "ERROR", "'size' is required."),
        ListingIssue("99022", "WARNING", "Everywhere."),
    ]
    assert listing.refs == {
        "marketplace": "US",
        "productType": "LUGGAGE",
        "fulfillmentChannel": "DEFAULT",
        "asin": "B071VG5N9D",
    }


async def test_what_can_be_neither_bought_nor_found_is_inactive(desk: Desk, line: Line) -> None:
    assert (await only(desk, line, with_summary(status=[]))).status == "INACTIVE"


async def test_a_listing_without_an_offer_has_no_price(desk: Desk, line: Line) -> None:
    assert (await only(desk, line, item(offers=[]))).price is None


@pytest.mark.parametrize(
    ("codes", "party"),
    [
        (["DEFAULT"], FulfilledBy.MERCHANT),
        (["8c1f-supply-source"], FulfilledBy.MERCHANT),
        (["AMAZON_NA"], FulfilledBy.CHANNEL),
        (["AMAZON_JP"], FulfilledBy.CHANNEL),
        (["DEFAULT", "AMAZON_EU"], FulfilledBy.CHANNEL),
    ],
)
async def test_who_fulfills(desk: Desk, line: Line, codes: list[str], party: FulfilledBy) -> None:
    availability = [{"fulfillmentChannelCode": code} for code in codes]
    listing = await only(desk, line, item(fulfillmentAvailability=availability))
    assert listing.fulfilled_by is party
    assert listing.refs["fulfillmentChannel"] == codes[-1]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("odd", "Input should be"),
        (item(sku=""), "sku: is empty"),
        ({**item(), "sku": 5}, "sku: Input should be a valid string"),
        (item(summaries=[]), "summaries: nothing is said about US"),
        (item(fulfillmentAvailability=[]), "fulfillmentAvailability: neither"),
        (with_summary(status="BUYABLE"), "summaries.0.status: Input should be a valid"),
        (
            item(offers=[{"marketplaceId": "X", "offerType": "B2C", "price": {"currencyCode": "USD", "amount": 1.5}}]),
            "offers.0.price.amount: Value error, should be a decimal number in a string",
        ),
        (
            item(
                offers=[{"marketplaceId": IDS["US"], "offerType": "B2C", "price": {"currencyCode": "$", "amount": "1"}}]
            ),
            "'$' is not an ISO 4217 currency code",
        ),
    ],
)
async def test_a_broken_item_is_rejected_with_its_reason(desk: Desk, line: Line, broken: Any, words: str) -> None:
    assert words in await reason(desk, line, broken)


async def test_a_broken_item_never_stops_its_page(desk: Desk, line: Line) -> None:
    line.answers.extend([page(item("A1"), item("B2", summaries=[]), total=3, token="t1"), page(item("C3"), total=3)])
    first, second = [page async for page in desk.port.listing_pages(None, Ask())]
    assert [listing.channel_sku for listing in first.items] == ["A1"]
    assert [(entry.what, entry.key) for entry in first.rejected] == [("listing", "B2")]
    assert '"sku": "B2"' in first.rejected[0].raw
    assert [listing.channel_sku for listing in second.items] == ["C3"]
    assert (first.expected, second.expected) == (3, 3)
    assert first.until is None
    assert second.until is not None


async def test_changes_are_asked_from_an_instant_on(desk: Desk, line: Line) -> None:
    line.answers.append(page())
    since = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)
    pages = [page async for page in desk.port.listing_pages(since, Ask())]
    query = parse_qs(urlsplit(str(line.calls[0].url)).query)
    assert query == {
        "marketplaceIds": [IDS["US"]],
        "includedData": ["summaries,offers,fulfillmentAvailability,issues"],
        "sortBy": ["createdDate"],
        "sortOrder": ["ASC"],
        "pageSize": ["20"],
        "lastUpdatedAfter": ["2026-11-01T08:30:00.000Z"],
    }
    until = pages[-1].until
    assert until is not None
    # The next run looks back over what the search may not have shown yet.
    assert timedelta(minutes=2) <= datetime.now(UTC) - until < timedelta(minutes=3)


class Shelf:
    """Answers searches of a list as Amazon does: 20 a page, and no page beyond 1,000."""

    def __init__(self, items: list[tuple[str, datetime]], whole_seconds: bool) -> None:
        self.items = items
        self.whole_seconds = whole_seconds

    def __call__(self, request: httpx.Request) -> httpx.Response:
        query = parse_qs(urlsplit(str(request.url)).query)
        after = datetime.fromisoformat(query["createdAfter"][0]) if "createdAfter" in query else BORN
        found = sorted((entry for entry in self.items if entry[1] >= after), key=lambda entry: (entry[1], entry[0]))
        start = int(query.get("pageToken", ["0"])[0])
        # Amazon may know more of an instant than it tells.
        told = [(sku, born.replace(microsecond=0) if self.whole_seconds else born) for sku, born in found]
        end = min(start + 20, 1000)
        token = str(end) if end < min(len(found), 1000) else None
        return page(*(item(sku, born) for sku, born in told[start:end]), total=len(found), token=token)


async def walked(
    desk: Desk, line: Line, items: list[tuple[str, datetime]], whole_seconds: bool = False
) -> tuple[list[str], list[str]]:
    """(the SKUs told, the reasons of what was not)."""
    line.answers.append(Shelf(items, whole_seconds))
    pages = [page async for page in desk.port.listing_pages(None, Ask())]
    assert [page.until is not None for page in pages] == [False] * (len(pages) - 1) + [True]
    rejected = [entry.reason for page in pages for entry in page.rejected]
    return [listing.channel_sku for page in pages for listing in page.items], rejected


@pytest.mark.parametrize("count", [0, 1, 20, 999, 1000, 1001, 2300])
async def test_the_walk_goes_on_past_a_thousand(desk: Desk, line: Line, count: int) -> None:
    # Three to an instant, so that each search begins among items already told.
    items = [(f"S{number:05d}", BORN + timedelta(seconds=number // 3)) for number in range(count)]
    told, rejected = await walked(desk, line, items)
    assert told == [sku for sku, _ in items]
    assert rejected == []


async def test_more_than_a_thousand_of_one_instant_are_told_as_missing(desk: Desk, line: Line) -> None:
    early = [(f"A{number:05d}", BORN) for number in range(500)]
    crowd = [(f"B{number:05d}", BORN + timedelta(seconds=1)) for number in range(1200)]
    late = [(f"C{number:05d}", BORN + timedelta(seconds=2)) for number in range(30)]
    told, rejected = await walked(desk, line, early + crowd + late)
    assert told == [sku for sku, _ in early + crowd[:1000] + late]
    assert rejected == [
        "1000 or more listings were created at 2026-03-01T12:00:01.000Z; Amazon lists the first 1000 of one instant"
    ]


async def test_a_walk_ends_where_creation_is_told_in_whole_seconds(desk: Desk, line: Line) -> None:
    crowd = [(f"B{number:05d}", BORN + timedelta(microseconds=700 * number)) for number in range(1200)]
    late = [(f"C{number:05d}", BORN + timedelta(seconds=2)) for number in range(30)]
    told, rejected = await walked(desk, line, crowd + late, whole_seconds=True)
    assert told == [sku for sku, _ in crowd[:1000] + late]
    assert len(rejected) == 1
