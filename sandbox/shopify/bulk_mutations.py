"""A mutation, once for each line of a file."""

import json
from collections.abc import Sequence
from typing import Any

from graphql import DocumentNode, ExecutionResult, FieldNode, GraphQLSchema, OperationDefinitionNode, execute

from sandbox.shopify import validation
from sandbox.shopify.bulk_desk import Work
from sandbox.shopify.call import Call

FORBIDDEN = frozenset({"bulkOperationCancel", "bulkOperationRunMutation", "bulkOperationRunQuery"})


def broken_rule(document: DocumentNode) -> str | None:
    operation = operation_of(document)
    if operation.operation.value != "mutation":
        return "Only mutations can be run in bulk."
    roots = [node.name.value for node in operation.selection_set.selections if isinstance(node, FieldNode)]
    if len(roots) != 1 or roots[0] in FORBIDDEN:
        return "You must use an allowed mutation name."
    return None


def run(schema: GraphQLSchema, document: DocumentNode, rows: Sequence[bytes], call: Call) -> Work:
    """Each row's answer, with its place in the file; what is wrong with one stops no other."""
    lines = [_answer(schema, document, row, call) | {"__lineNumber": number} for number, row in enumerate(rows)]
    return Work([json.dumps(line).encode() + b"\n" for line in lines], len(lines))


def operation_of(document: DocumentNode) -> OperationDefinitionNode:
    return next(node for node in document.definitions if isinstance(node, OperationDefinitionNode))


def _answer(schema: GraphQLSchema, document: DocumentNode, row: bytes, call: Call) -> dict[str, Any]:
    try:
        variables = json.loads(row)
    except ValueError:
        return {"errors": [{"message": "The line is not valid JSON.", "extensions": {"code": "BAD_REQUEST"}}]}
    wrong = validation.variable_errors(schema, operation_of(document), variables)
    if wrong:
        return {"errors": wrong}
    result = execute(schema, document, context_value=call, variable_values=variables)
    assert isinstance(result, ExecutionResult)
    told: dict[str, Any] = {"data": result.data}
    return told | {"errors": [error.formatted for error in result.errors]} if result.errors else told
