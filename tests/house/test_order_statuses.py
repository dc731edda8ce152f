"""Every status that a platform has published is mapped, and the table in the docs is the one that holds."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml  # type: ignore[import-untyped]  # it carries none

from adapters.amazon import orders as amazon
from adapters.rest import orders as rest
from adapters.shopify import orders as shopify
from adapters.wire import Unclear
from domain.order import OrderStatus

PAGE = Path(__file__).parents[2] / "docs" / "orders.md"
CONTRACTS = os.environ.get("ACORN_CONTRACTS")
needs_contracts = pytest.mark.skipif(
    not CONTRACTS, reason="ACORN_CONTRACTS names no folder with the platforms' contracts"
)


def table(head: str) -> dict[str, str]:
    """By word: what the docs say that it is here."""
    _, _, rest_of_page = PAGE.read_text(encoding="utf-8").partition(f"| {head} |")
    rows = rest_of_page.split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("| ").split(" | ", 1)] for row in rows]
    return {word: here for left, here in cells for word in re.findall(r"`([^`]+)`", left)}


def folder() -> Path:
    assert CONTRACTS is not None
    return Path(CONTRACTS)


def starts(here: str) -> str:
    return str(re.findall(r"`([A-Z_]+)`", here)[0])


def test_amazons_words_in_the_docs_are_those_that_are_read() -> None:
    told = table("Amazon `fulfillmentStatus`")
    assert {word: OrderStatus(starts(here)) for word, here in told.items()} == amazon.STATUSES


@needs_contracts
def test_amazon_has_published_no_other_word() -> None:
    model = json.loads((folder() / "spapi-models" / "orders_2026-01-01.json").read_text())
    assert set(model["definitions"]["FulfillmentStatus"]["enum"]) == set(amazon.STATUSES)
    execution = model["definitions"]["ItemCancellationExecution"]["properties"]["cancelledBy"]["description"]
    assert set(re.findall(r"`([A-Z]+)`", execution)) == set(amazon.CANCELLED_BY)


def test_a_shops_words_in_the_docs_are_those_that_are_read() -> None:
    fulfillment, payment = table("Shopify `displayFulfillmentStatus`"), table("Shopify `displayFinancialStatus`")
    for word, here in payment.items():
        assert shopify.order_status("UNFULFILLED", word).value == starts(here)
    for word, here in fulfillment.items():
        if here.startswith("by `displayFinancialStatus`"):
            assert {shopify.order_status(word, paid) for paid in payment} == {
                shopify.order_status("UNFULFILLED", paid) for paid in payment
            }
        else:
            assert shopify.order_status(word, "PAID", sent=True).value == starts(here)


@needs_contracts
@pytest.mark.parametrize("version", ["2026-04", "2026-07", "2026-10"])
def test_a_shop_has_published_no_other_word(version: str) -> None:
    raw = json.loads(gzip.decompress((folder() / "shopify-admin-schema" / f"admin_{version}.json.gz").read_bytes()))
    types = {one["name"]: one for one in raw["data"]["__schema"]["types"]}

    def words(name: str) -> set[str]:
        return {one["name"] for one in types[name]["enumValues"]}

    fulfillment, payment = table("Shopify `displayFulfillmentStatus`"), table("Shopify `displayFinancialStatus`")
    # The newest version has one more than the others.
    assert words("OrderDisplayFulfillmentStatus") | {"FULFILLMENT_NOT_REQUIRED"} == set(fulfillment)
    assert words("OrderDisplayFinancialStatus") == set(payment)
    assert words("OrderCancelReason") == set(shopify.CANCELLED_BY)


def test_an_own_shops_words_are_those_of_the_contract() -> None:
    contract: Mapping[str, Any] = yaml.safe_load((PAGE.parent / "rest" / "openapi.yaml").read_text(encoding="utf-8"))
    schemas = contract["components"]["schemas"]
    told = schemas["Order"]["properties"]
    assert set(get_args(rest.Payment)) == set(told["payment_status"]["enum"])
    assert set(get_args(rest.Fulfilment)) == set(told["fulfilment_status"]["enum"])
    assert set(schemas["Cancellation"]["properties"]["reason"]["enum"]) == set(rest.CANCELLED_BY)
    page = PAGE.read_text(encoding="utf-8").partition("| own shop | here |")[2].split("\n\n")[0]
    words = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`]+)`", page))))
    assert set(get_args(rest.Payment)) | set(get_args(rest.Fulfilment)) | {"cancelled", "closed"} <= words


@pytest.mark.parametrize("word", ["TELEPORTED", "shipped"])
def test_any_other_word_is_told_and_not_guessed(word: str) -> None:
    """The twin: an unknown word is seen to be one."""
    assert word not in amazon.STATUSES
    with pytest.raises(Unclear, match=word):
        shopify.order_status(word, "PAID")
