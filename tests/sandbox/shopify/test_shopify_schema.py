"""The sandbox's schema is a true subset of the published one, and all of it answers."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    GraphQLSchema,
    build_client_schema,
    get_named_type,
    is_enum_type,
    is_input_object_type,
    is_interface_type,
    is_leaf_type,
    is_object_type,
    is_scalar_type,
    parse,
    print_ast,
    validate,
)
from graphql.language import OperationDefinitionNode

from sandbox.shopify.schema import VERSIONS, schema_of

CONTRACTS = os.environ.get("ACORN_CONTRACTS")
needs_contracts = pytest.mark.skipif(not CONTRACTS, reason="ACORN_CONTRACTS does not name the folder of contract files")

ANSWERED = [
    "ShopInfo", "Locations", "VariantsPage", "StockPage", "StockOf", "SetAvailable", "Adjust", "Activate",
    "SetPrices", "OrdersSince", "OrderById", "Ship", "Track", "CancelFulfillment", "BulkQuery", "BulkMutation",
    "BulkPoll", "BulkList", "BulkCancel", "Stage", "Subscribe", "Subscriptions", "Unsubscribe", "Payouts",
    "BalanceTx", "OrderCancel", "CurrentInstall", "Versions", "BulkOrders", "BulkStock", "BulkSetPrices",
    "BulkSetStock",
]  # fmt: skip


def folder() -> Path:
    assert CONTRACTS is not None
    return Path(CONTRACTS) / "shopify-admin-schema"


def published(version: str) -> GraphQLSchema:
    with gzip.open(folder() / f"admin_{version}.json.gz") as file:
        return build_client_schema(json.load(file)["data"], assume_valid=True)


def differences(ours: GraphQLSchema, theirs: GraphQLSchema) -> list[str]:
    """Everything of ours that theirs has not, or has otherwise."""
    found: list[str] = []
    kind: Any
    for name, kind in ours.type_map.items():
        if name.startswith("__"):
            continue
        other: Any = theirs.type_map.get(name)
        if other is None or type(other) is not type(kind):
            found.append(f"type {name}")
        elif is_object_type(kind) or is_interface_type(kind):
            found += [
                f"{name} implements {i.name}"
                for i in kind.interfaces
                if i.name not in {o.name for o in other.interfaces}
            ]
            for field_name, field in kind.fields.items():
                real = other.fields.get(field_name)
                if real is None or str(real.type) != str(field.type):
                    found.append(f"{name}.{field_name}")
                    continue
                for arg_name, arg in field.args.items():
                    real_arg = real.args.get(arg_name)
                    if real_arg is None or (str(real_arg.type), default(real_arg)) != (str(arg.type), default(arg)):
                        found.append(f"{name}.{field_name}({arg_name})")
                found += [
                    f"{name}.{field_name} lacks {arg_name}"
                    for arg_name, arg in real.args.items()
                    if str(arg.type).endswith("!") and arg_name not in field.args
                ]
        elif is_input_object_type(kind):
            for field_name, input_field in kind.fields.items():
                real = other.fields.get(field_name)
                if real is None or (str(real.type), default(real)) != (str(input_field.type), default(input_field)):
                    found.append(f"{name}.{field_name}")
        elif is_enum_type(kind):
            found += [f"{name}.{value}" for value in kind.values if value not in other.values]
    ours_directive, theirs_directive = ours.get_directive("idempotent"), theirs.get_directive("idempotent")
    assert ours_directive is not None
    assert theirs_directive is not None
    assert ours_directive.locations == theirs_directive.locations
    assert {n: str(a.type) for n, a in ours_directive.args.items()} == {
        n: str(a.type) for n, a in theirs_directive.args.items()
    }
    return found


def default(argument: Any) -> str:
    """An argument's default, whether it was read from SDL or from an introspection."""
    given = argument.default
    if given is None:
        return str(argument.default_value) if argument.default_value not in (None,) else "none"
    return print_ast(given.literal) if given.literal is not None else json.dumps(given.value)


@needs_contracts
@pytest.mark.parametrize("version", VERSIONS)
def test_every_type_is_as_published(version: str) -> None:
    assert differences(schema_of(version), published(version)) == []


@needs_contracts
def test_the_comparison_sees_a_value_that_only_the_next_version_has() -> None:
    found = differences(schema_of("2026-10"), published("2026-07"))
    assert found == ["OrderDisplayFulfillmentStatus.FULFILLMENT_NOT_REQUIRED"]


@needs_contracts
@pytest.mark.parametrize("version", VERSIONS)
def test_the_sample_documents_of_our_subset_validate(version: str) -> None:
    document = parse((folder() / "sample-documents.graphql").read_text())
    valid = [
        node.name.value
        for node in document.definitions
        if isinstance(node, OperationDefinitionNode)
        and node.name is not None
        and not validate(schema_of(version), parse(print_ast(node)))
    ]
    assert valid == ANSWERED


def everything(kind: Any, schema: GraphQLSchema, depth: int) -> str:
    """A selection of every field below a type that needs no arguments but a page size."""
    parts = []
    for name, field in kind.fields.items():
        needed = [arg for arg, given in field.args.items() if str(given.type).endswith("!")]
        if name == "quantities":
            call = f'{name}(names: ["available", "on_hand", "incoming"])'
        elif needed:
            continue
        else:
            call = f"{name}(first: 3)" if "first" in field.args else name
        inner = get_named_type(field.type)
        if is_leaf_type(inner):
            parts.append(call)
        elif depth:
            parts.append(f"{call} {{ {everything(inner, schema, depth - 1)} }}")
    return " ".join(parts) or "__typename"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "root",
    [
        "shop", "locations(first: 3)", "products(first: 3)", "productVariants(first: 3)", "inventoryItems(first: 3)",
        "orders(first: 40)", "fulfillmentOrders(first: 40, includeClosed: true)", "currentAppInstallation",
        "publicApiVersions", "ordersCount", "productsCount", "productVariantsCount", "location", "shopifyPaymentsAccount",
    ],
)  # fmt: skip
async def test_every_field_answers(shop: Any, version: str, root: str) -> None:
    schema = schema_of(version)
    assert schema.query_type is not None
    kind = get_named_type(schema.query_type.fields[root.partition("(")[0]].type)
    # Twice through `nodes` and `edges` is dear: this asks what every field answers, not what it costs.
    query = "{ " + root + " { " + everything(kind, schema, 3) + " } }"
    await shop.control("plans", {"maximumAvailable": 100_000})
    answer = await shop.ask(query, version=version)
    if "errors" in answer and answer["errors"][0]["extensions"]["code"] == "MAX_COST_EXCEEDED":
        query = "{ " + root + " { " + everything(kind, schema, 2) + " } }"
        answer = await shop.ask(query, version=version)
    assert "errors" not in answer, answer["errors"]
    assert answer["data"][root.partition("(")[0]]


def test_scalars_are_all_known() -> None:
    names = {name for name, kind in schema_of("2026-07").type_map.items() if is_scalar_type(kind)}
    assert names == {
        "BigInt", "Boolean", "DateTime", "Decimal", "HTML", "ID", "Int", "Money", "String", "URL", "UnsignedInt64",
    }  # fmt: skip
