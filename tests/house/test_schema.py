"""The public contract: what is printed is what stands in the tree, and what stands in core.graphql is kept to the letter."""

from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    is_specified_directive,
)

from schema.printed import contract
from schema.root import schema
from schema.scopes import ALL, NODE_SCOPES, SCOPES

FOLDER = Path(__file__).parents[2] / "schema"


def coordinates(graph: GraphQLSchema) -> dict[str, str]:
    """Every type, field, argument and enum value, with its type as text."""
    told: dict[str, str] = {}
    for name, kind in graph.type_map.items():
        if name.startswith("__"):
            continue
        told[name] = type(kind).__name__
        if isinstance(kind, GraphQLEnumType):
            told.update({f"{name}.{value}": "value" for value in kind.values})
        elif isinstance(kind, GraphQLInputObjectType):
            told.update({f"{name}.{field}": str(one.type) for field, one in kind.fields.items()})
        elif isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            for field, one in kind.fields.items():
                told[f"{name}.{field}"] = str(one.type)
                told.update({f"{name}.{field}({arg})": str(value.type) for arg, value in one.args.items()})
    return told


def missing_or_changed(core: dict[str, str], ours: dict[str, str]) -> set[str]:
    """Coordinates of core that we lack or tell otherwise; of a missing type or field only itself."""
    wrong = {key for key, kind in core.items() if ours.get(key) != kind}
    return {key for key in wrong if not (parents(key) & wrong)}


def parents(key: str) -> set[str]:
    """The coordinates that `key` lies in."""
    field = key.partition("(")[0]
    return {field, field.partition(".")[0]} - {key}


@pytest.fixture(scope="module")
def core() -> dict[str, str]:
    return coordinates(build_schema((FOLDER / "core.graphql").read_text()))


@pytest.fixture(scope="module")
def ours() -> dict[str, str]:
    """What is there to be asked, for routers too."""
    return coordinates(build_schema(schema.as_str(), assume_valid_sdl=True))


def test_the_printed_schema_is_the_one_in_the_tree() -> None:
    assert contract(schema._schema).strip() == (FOLDER / "schema.graphql").read_text().strip()


def test_the_printed_schema_lacks_nothing_but_what_routers_ask_for(ours: dict[str, str]) -> None:
    printed = coordinates(build_schema(contract(schema._schema)))
    lacking = {key for key in ours if key not in printed}
    assert {key for key in lacking if not parents(key) & lacking} == {
        "Query._entities",
        "Query._service",
        "_Any",
        "_Entity",
        "_Service",
    }
    assert printed == {key: kind for key, kind in ours.items() if key not in lacking}


def test_the_printed_schema_declares_the_directives_of_queries_alone() -> None:
    printed = build_schema(contract(schema._schema))
    assert {one.name for one in printed.directives if not is_specified_directive(one)} == {"defer"}
    assert {"defer", "key"} <= {one.name for one in schema._schema.directives}


def test_core_is_kept_to_the_letter(core: dict[str, str], ours: dict[str, str]) -> None:
    assert missing_or_changed(core, ours) == set()


def test_the_comparison_sees_a_retyped_and_a_missing_field(core: dict[str, str], ours: dict[str, str]) -> None:
    broken = {key: kind for key, kind in ours.items() if key != "Stock.onHand"} | {"Stock.sku": "Int!"}
    assert missing_or_changed(core, broken) == {"Stock.onHand", "Stock.sku"}


def test_every_root_field_names_its_scope(ours: dict[str, str]) -> None:
    roots = {key for key in ours if key.split(".")[0] in {"Query", "Mutation", "Subscription"} and key.count(".") == 1}
    fields = {key for key in roots if "(" not in key}
    assert fields <= set(SCOPES)
    assert fields > {"Query.stock", "Mutation.confirmShipments", "Subscription.operation"}


def test_scopes_name_fields_and_scopes_that_exist(ours: dict[str, str]) -> None:
    assert set(SCOPES) - {"Query.__schema", "Query.__type"} <= set(ours)
    assert set(NODE_SCOPES) <= set(ours)
    assert all(scopes <= ALL for scopes in SCOPES.values())


def test_everything_that_is_not_plain_is_described() -> None:
    graph = build_schema(contract(schema._schema))
    bare = {
        name
        for name, kind in graph.type_map.items()
        if not name.startswith("__")
        and kind.description is None
        and name not in {"Query", "Mutation", "Subscription", "Boolean", "Float", "ID", "Int", "String"}
        and not name.endswith("Edge")
    }
    assert bare == set()
