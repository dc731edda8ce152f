"""The schema as text: for clients, and for the composers of larger graphs."""

from __future__ import annotations

from functools import cache

from graphql import (
    DirectiveLocation,
    GraphQLObjectType,
    GraphQLSchema,
    is_specified_directive,
    is_specified_scalar_type,
)
from graphql.utilities.print_schema import print_directive, print_type
from strawberry.printer import print_schema
from strawberry.schema.base import BaseSchema

_IN_QUERIES = frozenset({DirectiveLocation.FIELD, DirectiveLocation.FRAGMENT_SPREAD})


@cache
def sdl(schema: BaseSchema) -> str:
    """The schema as composers read it, with keys and what routers ask for."""
    return print_schema(schema)


def contract(graph: GraphQLSchema) -> str:
    """The schema as clients read it: types, and the directives of queries that GraphQL itself does not define.

    What stands there for routers is left out: its names begin with an underscore or `link__`, and no query has its directives.
    """
    root = graph.query_type
    assert root is not None
    fields = {name: field for name, field in root.fields.items() if not name.startswith("_")}
    public = GraphQLObjectType(root.name, fields, description=root.description)
    types = [
        public if kind is root else kind
        for name, kind in sorted(graph.type_map.items())
        if not name.startswith(("_", "link__")) and not is_specified_scalar_type(kind)
    ]
    directives = [
        one for one in graph.directives if _IN_QUERIES.intersection(one.locations) and not is_specified_directive(one)
    ]
    return "\n\n".join([*map(print_directive, directives), *map(print_type, types)])
