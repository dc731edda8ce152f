"""`acorn explain stock`: which route would be taken, and why, without a call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from domain.ids import ChannelId, ChannelSku, Sku, listing_id
from domain.product import FulfilledBy, Listing
from store import product
from store.session import Store
from tests.gateway.conftest import CHANNELS, Acorn, plain

AMAZON = """
[[channels]]
id = "amazon-us"
platform = "amazon"
name = "Amazon US"
region = "na"
marketplaces = ["US"]
seller_id = "A1"
client_id = "id"
client_secret = "secret"
refresh_token = "token"
endpoint = "http://127.0.0.1:9"
token_endpoint = "http://127.0.0.1:9"
"""

Explain = Callable[..., Any]


@pytest.fixture
def explain(acorn: Acorn, tmp_path: Path, database_url: str) -> Explain:
    """What `acorn explain stock --json` says in a house with 120 SKUs in FBA and one in the shop alone. Amazon cannot be
    reached."""
    (tmp_path / "acorn.toml").write_text(CHANNELS + AMAZON, encoding="utf-8")
    skus = [f"A{number:03}" for number in range(120)]
    listings = [listing("amazon-us", "US", sku, FulfilledBy.CHANNEL) for sku in skus]
    listings += [listing("shop", None, sku, FulfilledBy.MERCHANT) for sku in ("A000", "B000")]

    async def seed() -> None:
        store = Store(database_url)
        async with store.begin() as tx:
            await product.upsert_listings(tx, listings)
        await store.close()

    asyncio.run(seed())

    def run(*arguments: str) -> Any:
        told = acorn("explain", "stock", "--json", *arguments)
        assert told.exit_code == 0, told.output
        return json.loads(told.stdout)

    return run


def listing(channel: str, marketplace: str | None, sku: str, by: FulfilledBy) -> Listing:
    id = ChannelId(channel)
    return Listing(
        id=listing_id(id, marketplace, ChannelSku(sku)),
        channel=id,
        marketplace=marketplace,
        channel_sku=ChannelSku(sku),
        external_id=f"X{sku}",
        status="ACTIVE",
        fulfilled_by=by,
        as_of=datetime.now(UTC),
        title=sku,
        sku=Sku(sku),
    )


def calls(told: Any) -> dict[str, int]:
    return {one["way"]: one["calls"] for one in told["candidates"]}


def test_5000_skus_are_reckoned_with_every_candidate_and_why_it_lost(explain: Explain) -> None:
    (told,) = explain("--count", "5000", "--channel", "amazon-us")
    assert (told["channel"], told["locations"], told["skus"], told["known"]) == ("amazon-us", ["fba-us"], 5000, 5000)
    assert told["way"] == told["candidates"][0]["way"] == "batch"
    assert calls(told) == {"batch": 100, "pages": 100, "report": 5, "single": 5000}
    assert told["candidates"][0]["by_operation"] == {"getInventorySummaries": 100}
    assert [one["lost"] is None for one in told["candidates"]] == [True, False, False, False]
    assert 45 < told["candidates"][0]["seconds"] < 60
    report = next(one for one in told["candidates"] if one["way"] == "report")
    assert report["lost"].startswith("slower: 18")
    assert set(report["by_operation"]) == {"createReport", "getReport", "getReportDocument"}


def test_the_skus_of_a_query_are_reckoned_where_they_should_lie(explain: Explain) -> None:
    (told,) = explain("--skus", "A000, A001,B000,?", "--channel", "amazon-us")
    assert (told["skus"], told["known"], calls(told)["batch"], calls(told)["single"]) == (2, 120, 1, 2)
    report = next(one for one in told["candidates"] if one["way"] == "report")
    assert report["lost"].endswith("and 30.0 s are left")


def test_without_either_it_is_the_sweep(explain: Explain) -> None:
    (told,) = explain("--channel", "amazon-us")
    assert (told["way"], told["skus"], calls(told)["pages"]) == ("pages", None, 3)
    batch = next(one for one in told["candidates"] if one["way"] == "batch")
    assert batch["lost"] == "it finds only what is known already"


def test_people_read_a_table(explain: Explain, acorn: Acorn) -> None:
    told = plain(acorn("explain", "stock", "--count", "5000", "--channel", "amazon-us"))
    assert "amazon-us, fba-us: 5,000 of 5,000 known" in told
    assert "No other is there sooner" in told
    assert "slower: 18" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--skus", "A000", "--count", "3"), "Say one of --skus and --count."),
        (("--channel", "nowhere"), "There is no channel nowhere; there is amazon-us, shop."),
        (("--skus", "?"), "No listing says that one of these SKUs lies where a channel counts"),
        (("--channel", "shop"), "shop counts no stock of its own."),
    ],
)
def test_what_cannot_be_explained_is_said(
    explain: Explain, acorn: Acorn, arguments: tuple[str, ...], words: str
) -> None:
    told = acorn("explain", "stock", *arguments)
    assert (told.exit_code, words in told.output) == (1, True)


def test_orders_come_by_pages_while_these_are_in_time_and_by_a_report_once_they_are_not(
    acorn: Acorn, explain: Explain
) -> None:
    def told(*arguments: str) -> Any:
        said = acorn("explain", "orders", "--json", "--channel", "amazon-us", *arguments)
        assert said.exit_code == 0, said.output
        (one,) = json.loads(said.stdout)
        return one

    few, many = told(), told("--changes", "20000")
    assert (few["way"], few["known"], calls(few)["pages"]) == ("pages", 0, 1)
    assert (many["way"], calls(many)["pages"], calls(many)["report"]) == ("report", 200, 10)
    assert {one["way"]: one["lost"] for one in many["candidates"]}["pages"].startswith("it is there after")
    said = plain(acorn("explain", "orders"))
    assert "amazon-us: changed orders expected: 0" in said
    assert "shop: changed orders expected: 0" in said
    assert acorn("explain", "orders", "--channel", "none").exit_code == 1
