"""Prices of documents, and the bucket they are paid from."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from graphql import OperationDefinitionNode, parse, validate
from graphql.execution.values import VariableValues

from sandbox.shopify.cost import Pricer, multiplier
from sandbox.shopify.schema import schema_of

CONTRACTS = os.environ.get("ACORN_CONTRACTS")
needs_contracts = pytest.mark.skipif(not CONTRACTS, reason="ACORN_CONTRACTS does not name the folder of contract files")

STOCK = """query Stock($first: Int!) { inventoryItems(first: $first) { nodes { id inventoryLevels(first: 10) { nodes {
  location { id } quantities(names: ["available"]) { quantity } } } } pageInfo { hasNextPage } } }"""


def price(query: str, **variables: Any) -> int:
    schema = schema_of("2026-07")
    document = parse(query)
    assert validate(schema, document) == []
    operation = document.definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    fragments: Any = {node.name.value: node for node in document.definitions[1:]}  # type: ignore[attr-defined]  # fragments have names
    return Pricer(schema, fragments, VariableValues({}, variables), operation).requested()


@pytest.mark.parametrize(
    ("rows", "times"), [(1, 1), (2, 1), (3, 2), (5, 3), (10, 4), (20, 5), (50, 7), (100, 9), (200, 10), (250, 11)]
)
def test_a_connection_pays_for_its_rows_on_a_logarithm(rows: int, times: int) -> None:
    assert multiplier(rows) == times


@pytest.mark.parametrize(
    ("query", "cost"),
    [
        ("{ shop { id name plan { shopifyPlus } } }", 2),
        ("{ publicApiVersions { handle } }", 1),
        ("{ currentAppInstallation { id accessScopes { handle } app { id } } }", 3),
        ('{ product(id: "gid://shopify/Product/1") { variants(first: 250) { nodes { inventoryItem { id } } } } }', 25),
        ("{ orders(first: 0) { nodes { id } } }", 2),
        ("{ orders(first: 50) { nodes { id totalPriceSet { shopMoney { amount } } } pageInfo { endCursor } } }", 9),
        ("{ orders(first: 2) { nodes { id } edges { node { id } cursor } } }", 4),
        ("{ ordersCount { count } }", 10),
        ("{ products(first: 10) { nodes { variantsCount { count } } } }", 10),
        (
            '{ nodes(ids: ["a", "b"]) { id ... on Order { lineItems(first: 2) { nodes { id } } } ... on Product { id } } }',
            4,
        ),
        ("query { shop { ...A } shop { ...A plan { shopifyPlus } } } fragment A on Shop { id }", 2),
        ("{ shop { id plan @skip(if: true) { shopifyPlus } } }", 1),
        (
            "mutation { fulfillmentCreate(fulfillment: {lineItemsByFulfillmentOrder: []}) { fulfillment { id trackingInfo "
            "{ number } order { id } } userErrors { field message } } }",
            12,
        ),
        (
            'mutation { fulfillmentTrackingInfoUpdate(fulfillmentId: "a", trackingInfoInput: {}) '
            "{ fulfillment { id } userErrors { message } } }",
            50,
        ),
        (
            'mutation { productVariantsBulkUpdate(productId: "a", variants: []) { product { id } productVariants { id } } }',
            10,
        ),
    ],
)
def test_requested_cost(query: str, cost: int) -> None:
    assert price(query) == cost


def test_page_size_from_a_variable_sets_the_price() -> None:
    assert price(STOCK, first=250) == 2 + 11 * (1 + 2 + 4 * (1 + 1 + 1))
    assert price(STOCK, first=10) == 2 + 4 * (1 + 2 + 4 * (1 + 1 + 1))


@needs_contracts
def test_the_sample_documents_cost_what_the_fitted_table_says() -> None:
    assert CONTRACTS is not None
    folder = Path(CONTRACTS) / "shopify-admin-schema"
    document = parse((folder / "sample-documents.graphql").read_text())
    operations: dict[str, Any] = {node.name.value: node for node in document.definitions}  # type: ignore[attr-defined]  # all are named
    schema = schema_of("2026-07")
    compared = {}
    for case in json.loads((folder / "sample-documents.costs.json").read_text())["cases"]:
        operation = operations[case["operation"]]
        if validate(schema, parse(source(operation))):
            continue
        pricer = Pricer(schema, {}, VariableValues({}, case["page_variables"]), operation)
        compared[(case["operation"], str(case["page_variables"]))] = (pricer.requested(), case["requestedQueryCost"])
    assert {name: ours for name, (ours, theirs) in compared.items() if ours != theirs} == {}
    assert len(compared) == 36


def source(node: Any) -> str:
    text: str = node.loc.source.body[node.loc.start : node.loc.end]
    return text


async def test_every_answer_tells_cost_and_throttle_status(shop: Any) -> None:
    answer = await shop.ask(STOCK, {"first": 10})
    assert answer["extensions"]["cost"] == {
        "requestedQueryCost": 62,
        # 10 of 10 items, 2 of 10 levels: 2 + 4 * (1 + 2 + ceil(4 * 3 * 2 / 10)).
        "actualQueryCost": 26,
        "throttleStatus": {"maximumAvailable": 2000.0, "currentlyAvailable": 1974, "restoreRate": 100.0 * 0},
    }


async def test_restore_rate_is_what_a_client_on_the_real_clock_sees(open_shop: Callable[..., Any]) -> None:
    shop = await open_shop(speed=20.0)
    status = (await shop.ask("{ shop { id } }"))["extensions"]["cost"]["throttleStatus"]
    assert status["restoreRate"] == 2000.0


async def test_null_objects_cost_one_and_empty_pages_their_full_price(shop: Any) -> None:
    none = await shop.ask('{ order(id: "gid://shopify/Order/1") { id lineItems(first: 10) { nodes { id } } } }')
    assert none["data"] == {"order": None}
    assert (none["extensions"]["cost"]["requestedQueryCost"], none["extensions"]["cost"]["actualQueryCost"]) == (7, 1)
    empty = await shop.ask('{ orders(first: 10, query: "name:nobody") { nodes { id } } }')
    assert empty["data"] == {"orders": {"nodes": []}}
    assert (empty["extensions"]["cost"]["requestedQueryCost"], empty["extensions"]["cost"]["actualQueryCost"]) == (6, 6)


async def test_a_document_over_a_thousand_points_is_refused_unpaid(shop: Any) -> None:
    levels = "inventoryLevels(first: 250) { nodes { id } }"
    variants = f"variants(first: 250) {{ nodes {{ id product {{ id }} inventoryItem {{ id {levels} }} }} }}"
    answer = await shop.ask(f"{{ products(first: 250) {{ nodes {{ {variants} }} }} }}")
    cost = 2 + 11 * (1 + 2 + 11 * (1 + 1 + 1 + 2 + 11 * 1))
    assert answer == {
        "errors": [
            {
                "message": f"Query cost is {cost}, which exceeds the single query max cost limit (1000).",
                "extensions": {
                    "code": "MAX_COST_EXCEEDED",
                    "cost": cost,
                    "maxCost": 1000,
                    "documentation": "https://shopify.dev/api/usage/rate-limits",
                },
            }
        ]
    }
    assert (await shop.control("plans"))["currentlyAvailable"] == 2000


async def test_an_empty_bucket_answers_throttled_until_the_clock_has_filled_it(shop: Any) -> None:
    await shop.control("plans", {"maximumAvailable": 2000, "restoreRate": 100, "currentlyAvailable": 60})
    refused = await shop.ask(STOCK, {"first": 10})
    assert refused == {
        "errors": [
            {
                "message": "Throttled",
                "extensions": {"code": "THROTTLED", "documentation": "https://shopify.dev/api/usage/rate-limits"},
            }
        ],
        "extensions": {
            "cost": {
                "requestedQueryCost": 62,
                "actualQueryCost": None,
                "throttleStatus": {"maximumAvailable": 2000.0, "currentlyAvailable": 60, "restoreRate": 0.0},
            }
        },
    }
    await shop.control("clock", {"advance": 0.02})
    taken = await shop.ask(STOCK, {"first": 10})
    assert taken["extensions"]["cost"]["throttleStatus"]["currentlyAvailable"] == 62 - 26


async def test_all_tokens_of_the_app_share_one_bucket(shop: Any) -> None:
    await shop.ask("{ shop { id } }", token="shpat_sandbox_readonly")
    answer = await shop.ask("{ shop { id } }")
    assert answer["extensions"]["cost"]["throttleStatus"]["currentlyAvailable"] == 1998


async def test_a_throttled_mutation_changes_nothing(shop: Any) -> None:
    await shop.control("plans", {"currentlyAvailable": 9})
    mutation = (
        'mutation { fulfillmentCancel(id: "gid://shopify/Fulfillment/4900000000001") { userErrors { message } } }'
    )
    assert (await shop.ask(mutation))["errors"][0]["extensions"]["code"] == "THROTTLED"
    assert await shop.effects() == []
    await shop.control("plans", {"currentlyAvailable": 10})
    assert await shop.data(mutation) == {"fulfillmentCancel": {"userErrors": []}}
    assert [effect["operation"] for effect in await shop.effects()] == ["fulfillmentCancel"]


@pytest.mark.parametrize("body", [{}, {"speed": 3}, {"restoreRate": -1}, {"restoreRate": "x"}])
async def test_a_malformed_plan_is_refused(shop: Any, body: dict[str, Any]) -> None:
    response = await shop.http.post("/_sandbox/plans", json=body)
    assert response.status_code == 400
    assert await shop.control("plans") == {"maximumAvailable": 2000, "currentlyAvailable": 2000, "restoreRate": 100}
