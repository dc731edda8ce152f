"""Parsed and validated documents, kept per API version: clients send the same few again and again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
    value_from_ast_untyped,
)
from graphql.pyutils import Undefined

from sandbox.shopify import validation
from sandbox.shopify.schema import schema_of


@dataclass(frozen=True, slots=True)
class Document:
    """`errors` are the answer when there are any; `document` is None for text that does not parse."""

    document: DocumentNode | None
    errors: list[dict[str, Any]]

    @property
    def fragments(self) -> dict[str, FragmentDefinitionNode]:
        nodes = self.document.definitions if self.document else ()
        return {node.name.value: node for node in nodes if isinstance(node, FragmentDefinitionNode)}

    def operation(self, name: str | None) -> OperationDefinitionNode | None:
        """The operation a request means; None when it does not say which, or names none of these."""
        nodes = self.document.definitions if self.document else ()
        found = [
            node
            for node in nodes
            if isinstance(node, OperationDefinitionNode)
            and (not name or (node.name is not None and node.name.value == name))
        ]
        return found[0] if len(found) == 1 else None

    def roots(self, name: str | None) -> list[FieldNode]:
        """The root fields of an operation, also those in fragments; nothing where there is no such operation."""
        operation = self.operation(name)
        return [] if operation is None else list(_fields(operation.selection_set, self.fragments, frozenset()))


def _fields(
    selections: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode], seen: frozenset[str]
) -> Iterator[FieldNode]:
    for node in selections.selections:
        if isinstance(node, FieldNode):
            yield node
        elif isinstance(node, InlineFragmentNode):
            yield from _fields(node.selection_set, fragments, seen)
        elif isinstance(node, FragmentSpreadNode) and node.name.value in fragments and node.name.value not in seen:
            inner = fragments[node.name.value]
            yield from _fields(inner.selection_set, fragments, seen | {node.name.value})


def arguments(node: FieldNode, variables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Argument names and plain values, unchecked; variables that were not sent are missing."""
    for argument in node.arguments or ():
        value = value_from_ast_untyped(argument.value, dict(variables))
        if value is not Undefined:
            yield argument.name.value, value


@lru_cache(maxsize=512)
def parsed(text: str) -> Document:
    try:
        return Document(parse(text, no_location=False), [])
    except GraphQLError as error:
        return Document(None, [validation.syntax_error(error)])


@lru_cache(maxsize=512)
def validated(text: str, version: str) -> Document:
    document = parsed(text)
    if document.document is None:
        return document
    return Document(document.document, validation.static_errors(schema_of(version), document.document))
