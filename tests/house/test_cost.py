"""What docs/cost.md says of every connection and of every mutation holds for those that are added later, too."""

import pytest
from graphql import GraphQLObjectType, get_named_type

from gateway.limits import weight
from schema.root import schema

GRAPH = schema._schema
AT_ONCE = {"adjustStock", "restockReturn"}  # done by the transaction that asks for it


def weights(kind: GraphQLObjectType) -> dict[str, int]:
    return {name: weight(f"{kind.name}.{name}", get_named_type(one.type)) for name, one in kind.fields.items()}


def test_every_total_count_costs_five() -> None:
    counted = {
        name: weights(kind)["totalCount"]
        for name, kind in GRAPH.type_map.items()
        if isinstance(kind, GraphQLObjectType) and "totalCount" in kind.fields
    }
    assert len(counted) >= 26
    assert set(counted.values()) == {5}


def test_every_mutation_that_workers_carry_out_costs_ten() -> None:
    assert GRAPH.mutation_type is not None
    asked = {
        name: weights(GRAPH.mutation_type)[name]
        for name, one in GRAPH.mutation_type.fields.items()
        if get_named_type(one.type).name == "OperationPayload"
    }
    assert {name for name, points in asked.items() if points == 1} == AT_ONCE
    assert {points for name, points in asked.items() if name not in AT_ONCE} == {10}


@pytest.mark.parametrize("field", ["Query.stock", "Product.listings", "Query.products"])
def test_an_object_costs_one(field: str) -> None:
    kind, name = field.split(".")
    found = GRAPH.type_map[kind]
    assert isinstance(found, GraphQLObjectType)
    assert weights(found)[name] == 1
