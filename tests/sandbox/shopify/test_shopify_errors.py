"""Every refusal, in its published shape."""

from typing import Any

import pytest

ORDERS_DENIED = {
    "message": "Access denied for orders field. Required access: `read_orders` access scope.",
    "locations": [{"line": 1, "column": 3}],
    "path": ["orders"],
    "extensions": {
        "code": "ACCESS_DENIED",
        "documentation": "https://shopify.dev/api/usage/access-scopes",
        "requiredAccess": "`read_orders` access scope.",
    },
}


async def test_an_unknown_field_is_refused_without_data_and_cost(shop: Any) -> None:
    answer = await shop.ask('query Q { product(id: "gid://shopify/Product/1") { id\n x } }')
    assert answer == {
        "errors": [
            {
                "message": "Field 'x' doesn't exist on type 'Product'",
                "locations": [{"line": 2, "column": 2}],
                "path": ["query Q", "product", "x"],
                "extensions": {"code": "undefinedField", "typeName": "Product", "fieldName": "x"},
            }
        ]
    }


async def test_a_missing_argument_is_refused(shop: Any) -> None:
    assert (await shop.ask("{ product { id } }"))["errors"] == [
        {
            "message": "Field 'product' is missing required arguments: id",
            "locations": [{"line": 1, "column": 3}],
            "path": ["query", "product"],
            "extensions": {
                "code": "missingRequiredArguments",
                "className": "Field",
                "name": "product",
                "arguments": "id",
            },
        }
    ]


@pytest.mark.parametrize(
    ("query", "message", "extensions"),
    [
        (
            "{ shop(id: 1) { id } }",
            "Field 'shop' doesn't accept argument 'id'",
            {"code": "argumentNotAccepted", "name": "shop", "typeName": "Field", "argumentName": "id"},
        ),
        (
            "{ shop }",
            "Field must have selections (field 'shop' returns Shop but has no selections. Did you mean 'shop { ... }'?)",
            {"code": "selectionMismatch", "nodeName": "field 'shop'", "typeName": "Shop"},
        ),
        (
            "{ shop { name { x } } }",
            "Selections can't be made on scalars (field 'name' returns String but has selections)",
            {"code": "selectionMismatch", "nodeName": "field 'name'", "typeName": "String"},
        ),
        (
            "query Q($a: Int) { shop { id } }",
            "Variable $a is declared by Q but not used",
            {"code": "variableNotUsed", "variableName": "a"},
        ),
        (
            "query Q { orders(first: $n) { nodes { id } } }",
            "Variable $n is used by Q but not declared",
            {"code": "variableNotDefined", "variableName": "n"},
        ),
        (
            'mutation { inventorySetQuantities(input: {name: "available", reason: "correction", quantities: []}) '
            "@idempotent { userErrors { message } } }",
            "Directive 'idempotent' is missing required arguments: key",
            {
                "code": "missingRequiredArguments",
                "className": "Directive",
                "name": "idempotent",
                "arguments": "key",
            },
        ),
    ],
)
async def test_static_faults(shop: Any, query: str, message: str, extensions: dict[str, str]) -> None:
    answer = await shop.ask(query)
    assert set(answer) == {"errors"}
    assert [(error["message"], error["extensions"]) for error in answer["errors"]] == [(message, extensions)]


async def test_text_that_is_no_document_is_a_syntax_error(shop: Any) -> None:
    answer = await shop.ask("{ shop { id }")
    assert set(answer) == {"errors"}
    assert answer["errors"][0]["message"].startswith("syntax error, ")
    assert answer["errors"][0]["locations"] == [{"line": 1, "column": 14}]


async def test_an_input_field_that_is_gone_is_an_invalid_variable(shop: Any) -> None:
    given = {"name": "available", "reason": "correction", "ignoreCompareQuantity": True, "quantities": []}
    answer = await shop.ask(
        "mutation M($input: InventorySetQuantitiesInput!) { inventorySetQuantities(input: $input) "
        '@idempotent(key: "k") { userErrors { message } } }',
        {"input": given},
    )
    assert answer == {
        "errors": [
            {
                "message": "Variable $input of type InventorySetQuantitiesInput! was provided invalid value for "
                "ignoreCompareQuantity (Field is not defined on InventorySetQuantitiesInput)",
                "locations": [{"line": 1, "column": 12}],
                "extensions": {
                    "code": "INVALID_VARIABLE",
                    "value": given,
                    "problems": [
                        {
                            "path": ["ignoreCompareQuantity"],
                            "explanation": "Field is not defined on InventorySetQuantitiesInput",
                        }
                    ],
                },
            }
        ]
    }


@pytest.mark.parametrize(
    ("declared", "value", "message", "problem"),
    [
        ("Int!", None, "", "Expected value to not be null"),
        ("Int", "five", "", 'Could not coerce value "five" to Int'),
        ("OrderSortKeys", "SIZE", "", "one of: CREATED_AT"),
    ],
)
async def test_wrong_values_of_variables(shop: Any, declared: str, value: Any, message: str, problem: str) -> None:
    use = "first: 1, sortKey: $v" if declared == "OrderSortKeys" else "first: $v"
    answer = await shop.ask(f"query Q($v: {declared}) {{ orders({use}) {{ nodes {{ id }} }} }}", {"v": value})
    assert set(answer) == {"errors"}
    (error,) = answer["errors"]
    assert error["message"] == f"Variable $v of type {declared} was provided invalid value"
    assert error["extensions"]["code"] == "INVALID_VARIABLE"
    assert error["extensions"]["value"] == value
    assert problem in error["extensions"]["problems"][0]["explanation"]


@pytest.mark.parametrize("given", ["123", "gid://shopify/Product/1", "gid://shopify/Order/x", "gid://other/Order/1"])
async def test_a_malformed_or_foreign_id_is_an_error_and_null(shop: Any, given: str) -> None:
    answer = await shop.ask("query($id: ID!) { order(id: $id) { id } }", {"id": given})
    assert answer["data"] == {"order": None}
    assert answer["errors"] == [
        {
            "message": "invalid id",
            "locations": [{"line": 1, "column": 19}],
            "path": ["order"],
            "extensions": {"code": "RESOURCE_NOT_FOUND"},
        }
    ]


async def test_a_well_formed_id_of_nothing_is_null_without_error(shop: Any) -> None:
    assert await shop.data('{ order(id: "gid://shopify/Order/1") { id } }') == {"order": None}
    assert await shop.data('{ node(id: "gid://shopify/ProductVariant/1") { id } }') == {"node": None}


async def test_an_array_over_250_is_refused_with_a_cost_that_was_not_paid(shop: Any) -> None:
    query = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    answer = await shop.ask(query, {"ids": ["gid://shopify/Order/1"] * 251})
    assert answer == {
        "errors": [
            {
                "message": "The input array size of 251 is greater than the maximum allowed of 250.",
                "path": ["nodes", "ids"],
                "extensions": {"code": "MAX_INPUT_SIZE_EXCEEDED"},
            }
        ],
        "extensions": {
            "cost": {
                "requestedQueryCost": 1,
                "actualQueryCost": None,
                "throttleStatus": {"maximumAvailable": 2000.0, "currentlyAvailable": 2000, "restoreRate": 0.0},
            }
        },
    }
    assert len((await shop.data(query, {"ids": ["gid://shopify/Order/1"] * 250}))["nodes"]) == 250


async def test_a_wrong_token_is_refused_with_a_string(shop: Any) -> None:
    response = await shop.post("{ shop { id } }", token="shpat_guess")
    assert response.status_code == 401
    assert response.json() == {"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}


async def test_a_missing_scope_is_denied(shop: Any) -> None:
    await shop.control("tokens", {"token": "t", "scopes": ["read_products"]})
    answer = await shop.ask("{ orders(first: 1) { nodes { id } } }", token="t")
    assert (answer["data"], answer["errors"]) == (None, [ORDERS_DENIED])
    nullable = await shop.ask('{ ordersCount { count } order(id: "gid://shopify/Order/1") { id } }', token="t")
    assert nullable["data"]["order"] is None
    assert nullable["errors"][-1]["extensions"]["code"] == "ACCESS_DENIED"


async def test_a_read_token_cannot_write(shop: Any) -> None:
    answer = await shop.ask(
        'mutation { inventorySetQuantities(input: {name: "available", reason: "correction", quantities: []}) '
        '@idempotent(key: "k") { userErrors { message } } }',
        token="shpat_sandbox_readonly",
    )
    required = "`write_inventory` access scope. Also: The user must have a permission to update an inventory."
    assert answer["data"] == {"inventorySetQuantities": None}
    assert answer["errors"][0]["message"] == (
        f"Access denied for inventorySetQuantities field. Required access: {required}"
    )
    assert answer["errors"][0]["path"] == ["inventorySetQuantities"]
    assert answer["errors"][0]["extensions"] == {
        "code": "ACCESS_DENIED",
        "documentation": "https://shopify.dev/api/usage/access-scopes",
        "requiredAccess": required,
    }


async def test_three_scopes_are_named_together(shop: Any) -> None:
    await shop.control("tokens", {"token": "t", "scopes": ["read_orders"]})
    answer = await shop.ask("{ fulfillmentOrders(first: 1) { nodes { id } } }", token="t")
    assert answer["errors"][0]["extensions"]["requiredAccess"] == (
        "`read_assigned_fulfillment_orders` access scope, `read_merchant_managed_fulfillment_orders` access scope or "
        "`read_third_party_fulfillment_orders` access scope."
    )


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("2026-04", "2026-04"),
        ("2026-07", "2026-07"),
        ("2026-10", "2026-10"),
        ("2025-10", "2026-04"),
        ("2031-01", "2026-04"),
    ],
)
async def test_a_version_that_is_not_served_falls_forward(shop: Any, asked: str, answered: str) -> None:
    response = await shop.post("{ shop { id } }", version=asked)
    assert (response.status_code, response.headers["X-Shopify-API-Version"]) == (200, answered)


async def test_a_path_without_version_is_answered_by_the_oldest(shop: Any) -> None:
    headers = {"X-Shopify-Access-Token": "shpat_sandbox"}
    response = await shop.http.post("/admin/api/graphql.json", json={"query": "{ shop { id } }"}, headers=headers)
    assert response.headers["X-Shopify-API-Version"] == "2026-04"
    assert response.json()["data"] == {"shop": {"id": "gid://shopify/Shop/71000000001"}}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"query": 3}', b"not json"])
async def test_a_body_without_a_query_is_a_bad_request(shop: Any, body: bytes) -> None:
    headers = {"X-Shopify-Access-Token": "shpat_sandbox"}
    response = await shop.http.post("/admin/api/2026-07/graphql.json", content=body, headers=headers)
    assert response.status_code == 400
    assert response.json() == {"errors": {"query": "Required parameter missing or invalid"}}


async def test_one_of_several_operations_must_be_named(shop: Any) -> None:
    two = "query A { shop { id } } query B { shop { name } }"
    assert await shop.ask(two) == {"errors": [{"message": "An operation name is required"}]}
    assert await shop.ask(two, operation="C") == {"errors": [{"message": 'No operation named "C"'}]}
    assert await shop.data(two, operation="B") == {"shop": {"name": "Acorn Sandbox"}}


async def test_an_internal_error_comes_with_partial_data(shop: Any) -> None:
    await shop.control("internal-errors", {"operation": "order", "count": 1})
    query = '{ shop { name } order(id: "gid://shopify/Order/5500000000001") { name } }'
    response = await shop.post(query)
    answer, request = response.json(), response.headers["X-Request-Id"]
    assert answer["data"] == {"shop": {"name": "Acorn Sandbox"}, "order": None}
    assert answer["errors"] == [
        {
            "message": "Internal error. Looks like something went wrong on our end.\n"
            f"Request ID: {request} (include this in support requests).",
            "extensions": {"code": "INTERNAL_SERVER_ERROR", "requestId": request},
            "path": ["order"],
        }
    ]
    assert (await shop.data(query))["order"] == {"name": "#1001"}
