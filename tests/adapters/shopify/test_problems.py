"""Each published code of what we write has one meaning, and the docs print it."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from adapters.shopify.problems import MEANINGS, UNPUBLISHED, Problem, meaning, raised, table
from domain.errors import HouseError, Invalid, OtherNumber

PAGE = Path(__file__).parents[3] / "docs" / "shopify.md"
ENUMS = {
    "inventorySetQuantities": "InventorySetQuantitiesUserErrorCode",
    "productVariantsBulkUpdate": "ProductVariantsBulkUpdateUserErrorCode",
    "orderCancel": "OrderCancelUserErrorCode",
}
ROWS = [(operation, code) for operation, codes in MEANINGS.items() for code in codes]


def published(version: str, enum: str) -> set[str]:
    folder = os.environ.get("ACORN_CONTRACTS")
    if not folder:
        pytest.skip("ACORN_CONTRACTS names no folder with the platforms' contract files")
    path = Path(folder) / "shopify-admin-schema" / f"admin_{version}.json.gz"
    types = json.loads(gzip.decompress(path.read_bytes()))["data"]["__schema"]["types"]
    values: Any = next(kind["enumValues"] for kind in types if kind["name"] == enum)
    return {value["name"] for value in values}


@pytest.mark.parametrize("operation", ENUMS)
def test_the_table_has_every_code_that_was_ever_published_and_no_other(operation: str) -> None:
    versions = [published(version, ENUMS[operation]) for version in ("2026-04", "2026-07", "2026-10")]
    assert set().union(*versions) == set(MEANINGS[operation])


def test_every_mutation_of_the_table_has_its_enum() -> None:
    assert set(ENUMS) == set(MEANINGS)


@pytest.mark.parametrize(("operation", "code"), ROWS)
def test_each_row_becomes_its_error_with_the_platforms_words_and_what_to_do(operation: str, code: str) -> None:
    row = MEANINGS[operation][code]
    made = raised(operation, Problem(code=code, field=None, message="No way."), "It is not taken", "r-1")
    assert type(made) is row.kind
    assert made.message == f"It is not taken: No way. {row.do}"
    assert made.upstream_request_id == "r-1"
    assert made.upstream_code == (None if row.kind is OtherNumber else code)


def test_a_code_that_is_new_refuses_in_the_platforms_words() -> None:
    assert meaning("orderCancel", "NEW_ONE") is meaning("orderCancel", None) is UNPUBLISHED
    made: HouseError = raised("orderCancel", Problem(code="NEW_ONE", field=["id"], message="Why"), "No", None)
    assert isinstance(made, Invalid)
    assert (made.field, made.upstream_code) == (("id",), "NEW_ONE")


@pytest.mark.parametrize(
    ("field", "place"),
    [
        (["input", "quantities", "1", "quantity"], 1),
        (["input", "7"], None),
        (["input"], None),
        ([], None),
        (None, None),
    ],
)
def test_the_entry_that_an_error_names(field: list[str] | None, place: int | None) -> None:
    assert Problem(code=None, field=field, message="").entry(2) == place


def test_the_docs_print_the_table() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")
