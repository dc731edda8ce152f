"""docs/rest/openapi.yaml: a valid OpenAPI 3.1 document whose examples are examples of it, and what is made of it is current."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from conformance.contract import METHODS, Contract, contract
from sandbox.shop.api import TITLES
from sandbox.shop.state import PARTS, SCOPES
from scripts.rest_pages import document, made

ROOT = Path(__file__).parents[2]
DOCUMENT = document()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]


def test_it_is_a_valid_openapi_document() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []
    broken = {**DOCUMENT, "paths": {"/orders": copy.deepcopy(DOCUMENT["paths"]["/orders"])}, "webhooks": {}}
    del broken["paths"]["/orders"]["get"]["responses"]["200"]["description"]
    assert [*OpenAPIV31SpecValidator(broken).iter_errors()] != []


def test_every_schema_is_one_and_its_examples_fit() -> None:
    for name, schema in SCHEMAS.items():
        Draft202012Validator.check_schema(schema)
        for example in schema.get("examples", ()):
            assert contract().value_faults(name, example) == [], name


def test_what_is_sent_and_answered_has_an_example() -> None:
    named = {
        content["schema"]["$ref"].rpartition("/")[2]
        for item in DOCUMENT["paths"].values()
        for method in METHODS
        for body in (item.get(method, {}).get("requestBody", {}), *item.get(method, {}).get("responses", {}).values())
        for content in body.get("content", {}).values()
        if "$ref" in content["schema"]
    }
    assert len(named) > 25
    assert [name for name in named if not SCHEMAS[name].get("examples")] == []


def test_the_kit_and_the_page_are_made_of_it_as_it_is() -> None:
    assert [file.name for file, text in made().items() if file.read_text(encoding="utf-8") != text] == []


def test_the_page_asks_nobody_for_anything() -> None:
    text = (ROOT / "docs" / "rest" / "index.html").read_text(encoding="utf-8")
    assert [word for word in ("<script", "<link", "src=", "@import", "url(") if word in text] == []
    for operation in contract().operations:
        assert f"id='{operation.id}'" in text


def test_parts_scopes_and_problems_are_the_same_in_the_contract_and_in_the_sandbox() -> None:
    assert tuple(SCHEMAS["Part"]["enum"]) == PARTS
    assert tuple(SCHEMAS["Scope"]["enum"]) == SCOPES
    assert {operation.part for operation in contract().operations} - {""} == set(PARTS)
    table = DOCUMENT["info"]["description"]
    for name, (status, _) in TITLES.items():
        [row] = [
            line
            for line in table.splitlines()
            if f"`{name}`" in line and line.rstrip().endswith("|") and "| case" not in line
        ][-1:]
        assert row.rstrip().endswith(f"{status} |"), name


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"amount": 26.9}, "data/0/amount: 26.9 is not of type 'string'"),
        ({"occurred_at": "2026-11-23T08:00:00"}, "data/0/occurred_at: '2026-11-23T08:00:00' does not match"),
        ({"kind": None}, "data/0/kind: None is not of type 'string'"),
    ],
)
def test_the_reader_says_where_an_answer_is_wrong(change: dict[str, Any], fault: str) -> None:
    row = copy.deepcopy(SCHEMAS["Transaction"]["examples"][0])
    if "amount" in change:
        row["amount"]["amount"] = change["amount"]
        fault = fault.replace("data/0/amount", "data/0/amount/amount")
    else:
        row |= change
    found = faults(200, {"data": [row], "next_cursor": None})
    assert len(found) == 1
    assert found[0].startswith(fault)
    assert faults(200, {"data": [SCHEMAS["Transaction"]["examples"][0]], "next_cursor": None}) == []


def faults(status: int, body: object) -> list[str]:
    headers = {"X-Request-Id": "r", "RateLimit-Policy": '"default";q=1;w=1', "RateLimit": '"default";r=1;t=1'}
    reader = Contract(DOCUMENT)
    operation = reader.operation("GET", "/transactions")
    assert operation is not None
    return [str(fault) for fault in reader.answer_faults(operation, httpx.Response(status, json=body, headers=headers))]


def test_the_reader_says_what_is_missing_of_a_request() -> None:
    reader = Contract(DOCUMENT)
    operation = reader.operation("PATCH", "/stock:bulk")
    assert operation is not None
    item = {"sku": "A", "location_id": "loc_1", "quantity": "4"}
    request = httpx.Request("PATCH", "http://shop/stock:bulk?x=1", json={"mode": "set", "items": [item]})
    found = [str(fault) for fault in reader.request_faults(operation, request, "/stock:bulk")]
    assert found == [
        "Idempotency-Key: is missing",
        "x: is no parameter of it",
        "items/0/quantity: '4' is not of type 'integer'",
    ]


def test_a_status_that_is_not_described_is_a_fault() -> None:
    assert faults(418, {})[0].startswith("status: 418 is none of")
