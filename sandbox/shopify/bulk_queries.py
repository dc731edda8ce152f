"""A query over whole connections: the published rules, and its result as one line per object."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    ArgumentNode,
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    NameNode,
    SelectionSetNode,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    execute,
    get_named_type,
    visit,
)
from graphql.type import get_nullable_type, is_leaf_type, is_list_type

from sandbox.shopify import paging
from sandbox.shopify.bulk_desk import Work
from sandbox.shopify.bulk_mutations import operation_of
from sandbox.shopify.call import Call

LONGEST = 65_535
MOST, DEEPEST = 5, 2


def broken_rule(schema: GraphQLSchema, document: DocumentNode, text: str) -> str | None:
    """The first published rule that the document breaks, in words."""
    operation = operation_of(document)
    if operation.operation.value != "query":
        return "Only queries can be run by bulkOperationRunQuery."
    if len(text.encode()) > LONGEST:
        return f"The query is longer than {LONGEST} bytes."
    if operation.variable_definitions:
        return "Bulk queries have no variables."
    root = schema.query_type
    assert root is not None
    rules = _Rules(schema, _fragments(document))
    rules.walk(root, operation.selection_set, depth=0, in_list=False)
    if rules.problem is None and rules.connections == 0:
        return "Bulk queries must contain at least one connection."
    return rules.problem


def run(schema: GraphQLSchema, document: DocumentNode, call: Call, *, grouped: bool) -> Work:
    """Every row of every connection. Without `grouped`, inner rows come after all that they might belong to."""
    told = paging.WHOLE.set(True)
    try:
        result = execute(schema, _paged(schema, document), context_value=call)
    finally:
        paging.WHOLE.reset(told)
    assert isinstance(result, ExecutionResult)
    if result.errors:
        code = (result.errors[0].extensions or {}).get("code")
        return Work([], 0, "ACCESS_DENIED" if code == "ACCESS_DENIED" else "INTERNAL_SERVER_ERROR")
    root = schema.query_type
    assert root is not None
    lines = _Lines(_fragments(document))
    lines.plain(root, operation_of(document).selection_set, result.data, None, 0)
    levels = sorted(lines.told, key=lambda one: one[0]) if not grouped else lines.told
    roots = sum(level == 1 for level, _ in lines.told)
    return Work([json.dumps(row).encode() + b"\n" for _, row in levels], roots)


def _fragments(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    return {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}


def _fields(selections: SelectionSetNode | None, fragments: dict[str, FragmentDefinitionNode]) -> Iterator[FieldNode]:
    for node in selections.selections if selections else ():
        if isinstance(node, FieldNode):
            yield node
        elif isinstance(node, InlineFragmentNode):
            yield from _fields(node.selection_set, fragments)
        elif isinstance(node, FragmentSpreadNode):
            yield from _fields(fragments[node.name.value].selection_set, fragments)


def _is_connection(kind: Any) -> bool:
    return isinstance(kind, GraphQLObjectType) and kind.name.endswith("Connection")


@dataclass(slots=True)
class _Rules:
    schema: GraphQLSchema
    fragments: dict[str, FragmentDefinitionNode]
    connections: int = 0
    problem: str | None = None

    def walk(self, parent: Any, selections: SelectionSetNode | None, depth: int, *, in_list: bool) -> None:
        nodes = list(_fields(selections, self.fragments))
        for node in nodes:
            if not isinstance(parent, GraphQLObjectType) or node.name.value not in parent.fields:
                continue
            declared = parent.fields[node.name.value].type
            kind = get_named_type(declared)
            if parent is self.schema.query_type and node.name.value in ("node", "nodes"):
                self._break("Bulk queries cannot use the top-level `node` and `nodes` fields.")
            if _is_connection(kind):
                self._connection(parent, nodes, node, kind, depth, in_list)
            elif not is_leaf_type(kind):
                listed = in_list or is_list_type(get_nullable_type(declared))
                self.walk(kind, node.selection_set, depth, in_list=listed)

    def _connection(
        self, parent: Any, beside: list[FieldNode], node: FieldNode, kind: Any, depth: int, in_list: bool
    ) -> None:
        self.connections += 1
        if self.connections > MOST:
            self._break(f"Bulk queries cannot contain more than {MOST} connections.")
        if depth >= DEEPEST + 1:
            self._break(f"Bulk queries cannot nest connections deeper than {DEEPEST} levels.")
        if in_list:
            self._break("Queries that contain a connection field within a list field are not supported.")
        if depth and not any(each.name.value == "id" for each in beside):
            self._break("The parent field for a nested connection field must select the `id` field.")
        for inner in _fields(node.selection_set, self.fragments):
            if inner.name.value == "nodes":
                self._break("Connections must be read by `edges` and `node`.")
            if inner.name.value == "edges":
                for each in _fields(inner.selection_set, self.fragments):
                    if each.name.value == "node":
                        element = get_named_type(get_named_type(kind.fields["edges"].type).fields["node"].type)
                        self.walk(element, each.selection_set, depth + 1, in_list=False)

    def _break(self, words: str) -> None:
        self.problem = self.problem or words


@dataclass(slots=True)
class _Lines:
    """Takes an answer apart. `told` are the lines, each with how deep its connection lies: 1 for those at the root."""

    fragments: dict[str, FragmentDefinitionNode]
    told: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def plain(self, kind: Any, selections: SelectionSetNode | None, value: Any, owner: str | None, depth: int) -> Any:
        """`value` without its connections, whose rows become lines that name `owner`, or the next object with an id."""
        if isinstance(value, list):
            return [self.plain(kind, selections, one, owner, depth) for one in value]
        if not isinstance(value, dict):
            return value
        owner = value.get("id", owner)
        made: dict[str, Any] = {}
        connections = []
        for node in _fields(selections, self.fragments):
            key = node.alias.value if node.alias else node.name.value
            if key not in value:
                continue
            inner = get_named_type(kind.fields[node.name.value].type) if node.name.value in kind.fields else None
            if _is_connection(inner):
                connections.append((node, inner, value[key]))
            else:
                made[key] = self.plain(inner, node.selection_set, value[key], owner, depth)
        if depth == 0:
            self._rows(connections, owner, depth)
        else:
            made["__connections"] = (connections, owner)
        return made

    def _rows(self, connections: list[Any], owner: str | None, depth: int) -> None:
        for node, kind, value in connections:
            edges = next((n for n in _fields(node.selection_set, self.fragments) if n.name.value == "edges"), None)
            one = (
                next((n for n in _fields(edges.selection_set, self.fragments) if n.name.value == "node"), None)
                if edges
                else None
            )
            if edges is None or one is None:
                continue
            element = get_named_type(get_named_type(kind.fields["edges"].type).fields["node"].type)
            for edge in value["edges"]:
                row = self.plain(element, one.selection_set, edge["node"], None, depth + 1)
                below = list(_taken(row))
                self.told.append((depth + 1, row | ({"__parentId": owner} if owner else {})))
                for inner, holder in below:
                    self._rows(inner, holder, depth + 1)


def _taken(row: Any) -> Iterator[Any]:
    """The connections that were left in an object and in those inside it; they are taken out."""
    if isinstance(row, list):
        for one in row:
            yield from _taken(one)
    elif isinstance(row, dict):
        left = row.pop("__connections", None)
        if left is not None and left[0]:
            yield left
        for one in list(row.values()):
            yield from _taken(one)


def _paged(schema: GraphQLSchema, document: DocumentNode) -> DocumentNode:
    """The document with the widest page for each connection; what it says itself is ignored."""
    info = TypeInfo(schema)
    first = ArgumentNode(name=NameNode(value="first"), value=IntValueNode(value=str(paging.LARGEST)))

    class Pages(Visitor):
        def enter_field(self, node: FieldNode, *_: Any) -> FieldNode | None:
            if not _is_connection(get_named_type(info.get_type())):
                return None
            kept = tuple(arg for arg in node.arguments or () if arg.name.value not in ("first", "last"))
            return FieldNode(
                alias=node.alias,
                name=node.name,
                arguments=(*kept, first),
                directives=node.directives,
                selection_set=node.selection_set,
            )

    made: DocumentNode = visit(document, TypeInfoVisitor(info, Pages()))
    return made
