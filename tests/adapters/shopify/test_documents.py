"""Every document is valid where it will be sent, and costs what we think."""

from __future__ import annotations

import gzip
import json
import os
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
from graphql import FieldNode, GraphQLSchema, OperationDefinitionNode, build_client_schema, parse, validate

import adapters.shopify
from adapters.shopify.document import Document
from tests.adapters.shopify.bench import Sandbox

VERSIONS = ("2026-04", "2026-07", "2026-10")
VARIABLES: dict[str, dict[str, Any]] = {
    "Stock": {"ids": ["gid://shopify/InventoryItem/41000000000001"]},
    "Levels": {"id": "gid://shopify/InventoryItem/41000000000001"},
    "Orders": {"query": "updated_at:>='2026-11-01T00:00:00Z'"},
    "Order": {"id": "gid://shopify/Order/5500000000001"},
    "OrderLines": {"id": "gid://shopify/Order/5500000000001"},
    "Parcels": {"id": "gid://shopify/Order/5500000000001"},
    "Tasks": {"id": "gid://shopify/Order/5500000000001"},
    "ParcelLines": {"id": "gid://shopify/Fulfillment/4900000000001"},
    "TaskLines": {"id": "gid://shopify/FulfillmentOrder/6600000000001"},
    "Ship": {"parcel": {"lineItemsByFulfillmentOrder": []}},
    "SetAvailable": {"input": {"name": "available", "reason": "correction", "quantities": []}, "key": "documents-1"},
    "Activate": {
        "item": "gid://shopify/InventoryItem/41000000000001",
        "location": "gid://shopify/Location/72000000000001",
        "key": "documents-2",
    },
}


def documents() -> list[Document]:
    """All that any module of the adapter can send."""
    modules = [import_module(f"adapters.shopify.{one.name}") for one in iter_modules(adapters.shopify.__path__)]
    found = {id(value): value for module in modules for value in vars(module).values() if isinstance(value, Document)}
    return sorted(found.values(), key=lambda each: each.name)


DOCUMENTS = documents()
names = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: each.name)


@pytest.fixture(scope="module", params=VERSIONS)
def schema(request: pytest.FixtureRequest) -> GraphQLSchema:
    folder = os.environ.get("ACORN_CONTRACTS")
    if not folder:
        pytest.skip("ACORN_CONTRACTS names no folder with the platforms' contract files")
    path = Path(folder) / "shopify-admin-schema" / f"admin_{request.param}.json.gz"
    # Its interfaces leave out some deprecations that graphql-core asks for, hence assumed to be valid.
    return build_client_schema(json.loads(gzip.decompress(path.read_bytes()))["data"], assume_valid=True)


@names
def test_valid_in_the_published_schema(schema: GraphQLSchema, document: Document) -> None:
    assert validate(schema, parse(document.text)) == []


def test_the_published_schema_refuses_what_it_does_not_have(schema: GraphQLSchema) -> None:
    assert validate(schema, parse("query Shop { shop { nam } }")) != []


@names
def test_name_and_operation_are_those_of_the_text(document: Document) -> None:
    (operation,) = parse(document.text).definitions
    assert isinstance(operation, OperationDefinitionNode)
    assert operation.name is not None
    assert operation.name.value == document.name
    roots = [node.name.value for node in operation.selection_set.selections if isinstance(node, FieldNode)]
    assert "+".join(roots) == document.operation
    assert (operation.operation.value == "mutation") is document.write


def test_no_document_asks_for_the_buyer() -> None:
    buyers = ("customer", "email", "phone", "address", "note", "recipient")
    assert [each.name for each in DOCUMENTS if any(word in each.text.lower() for word in buyers)] == []


@names
async def test_the_sandbox_takes_it_at_the_cost_we_start_from(sandbox: Sandbox, document: Document) -> None:
    await sandbox.post("plans", maximumAvailable=2000, restoreRate=100)
    answer = await sandbox.http.post(
        "/admin/api/2026-07/graphql.json",
        headers={"X-Shopify-Access-Token": "shpat_sandbox"},
        json={"query": document.text, "variables": VARIABLES.get(document.name, {}), "operationName": document.name},
    )
    told = answer.json()
    assert "errors" not in told
    assert told["extensions"]["cost"]["requestedQueryCost"] == document.cost
