"""Refuses a document or its variables before anything runs, in the words of the platform's own (Ruby) GraphQL library."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import (
    ArgumentNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    Node,
    OperationDefinitionNode,
    SelectionSetNode,
    TypeInfo,
    TypeInfoVisitor,
    VariableDefinitionNode,
    Visitor,
    print_ast,
    specified_rules,
    type_from_ast,
    validate,
    visit,
)
from graphql.language import get_location
from graphql.type import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    is_required_input_field,
)
from graphql.validation import (
    FieldsOnCorrectTypeRule,
    FragmentsOnCompositeTypesRule,
    KnownArgumentNamesRule,
    KnownDirectivesRule,
    KnownFragmentNamesRule,
    KnownTypeNamesRule,
    NoUndefinedVariablesRule,
    NoUnusedFragmentsRule,
    NoUnusedVariablesRule,
    OverlappingFieldsCanBeMergedRule,
    ProvidedRequiredArgumentsRule,
    ScalarLeafsRule,
    UniqueArgumentNamesRule,
    ValuesOfCorrectTypeRule,
    VariablesInAllowedPositionRule,
)

LONGEST_INPUT = 250

CODES = {
    FieldsOnCorrectTypeRule: "undefinedField",
    FragmentsOnCompositeTypesRule: "fragmentOnNonCompositeType",
    KnownArgumentNamesRule: "argumentNotAccepted",
    KnownDirectivesRule: "undefinedDirective",
    KnownFragmentNamesRule: "useAndDefineFragment",
    KnownTypeNamesRule: "undefinedType",
    NoUndefinedVariablesRule: "variableNotDefined",
    NoUnusedFragmentsRule: "useAndDefineFragment",
    NoUnusedVariablesRule: "variableNotUsed",
    OverlappingFieldsCanBeMergedRule: "fieldConflict",
    ProvidedRequiredArgumentsRule: "missingRequiredArguments",
    ScalarLeafsRule: "selectionMismatch",
    UniqueArgumentNamesRule: "argumentNotUnique",
    ValuesOfCorrectTypeRule: "argumentLiteralsIncompatible",
    VariablesInAllowedPositionRule: "variableMismatch",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node stands: ("query Q", "product", "x"), the type that holds it, and the name of the field around it."""

    path: tuple[str, ...]
    parent: str
    owner: str


class Places(Visitor):
    """Collects the place of every node of a document."""

    def __init__(self, types: TypeInfo) -> None:
        super().__init__()
        self.types = types
        self.path: list[str] = []
        self.owners: list[str] = []
        self.found: dict[int, Place] = {}

    def enter(self, node: Node, *_: Any) -> None:
        step = _step(node)
        if step:
            self.path.append(step)
        if isinstance(node, FieldNode | DirectiveNode):
            self.owners.append(node.name.value)
        parent = self.types.get_parent_type()
        self.found[id(node)] = Place(
            tuple(self.path), parent.name if parent else "", self.owners[-1] if self.owners else ""
        )

    def leave(self, node: Node, *_: Any) -> None:
        if _step(node):
            self.path.pop()
        if isinstance(node, FieldNode | DirectiveNode):
            self.owners.pop()


def _step(node: Node) -> str | None:
    match node:
        case OperationDefinitionNode():
            return f"{node.operation.value} {node.name.value}" if node.name else node.operation.value
        case FragmentDefinitionNode():
            return f"fragment {node.name.value}"
        case InlineFragmentNode():
            return f"... on {node.type_condition.name.value}" if node.type_condition else "..."
        case FieldNode():
            return node.alias.value if node.alias else node.name.value
        case ArgumentNode():
            return node.name.value
    return None


def static_errors(schema: GraphQLSchema, document: DocumentNode) -> list[dict[str, Any]]:
    """Every static fault of a document; an empty list lets it run."""
    found = [
        (CODES.get(rule, "invalidDocument"), e) for rule in specified_rules for e in validate(schema, document, [rule])
    ]
    if not found:
        return []
    types = TypeInfo(schema)
    places = Places(types)
    visit(document, TypeInfoVisitor(types, places))
    return [_static_error(code, error, places.found) for code, error in found]


def _static_error(code: str, error: GraphQLError, places: Mapping[int, Place]) -> dict[str, Any]:
    nodes = error.nodes or []
    place = places.get(id(nodes[0]), Place((), "", "")) if nodes else Place((), "", "")
    message, details = _described(code, error, place)
    return {
        "message": message,
        "locations": [{"line": at.line, "column": at.column} for at in (error.locations or [])[:1]],
        "path": list(place.path),
        "extensions": {"code": code, **details},
    }


def _described(code: str, error: GraphQLError, place: Place) -> tuple[str, dict[str, Any]]:
    """The Ruby library's sentence and extensions for the common faults, our own parser's sentence for the rare ones."""
    node: Any = error.nodes[0] if error.nodes else None
    quoted = re.findall(r"'([^']*)'", error.message)
    if code == "undefinedField":
        name = node.name.value
        return f"Field '{name}' doesn't exist on type '{place.parent}'", {"typeName": place.parent, "fieldName": name}
    if code == "missingRequiredArguments":
        kind, name = ("Directive" if isinstance(node, DirectiveNode) else "Field"), node.name.value
        missing = error.message.partition("(")[2].partition(":)")[0]
        return f"{kind} '{name}' is missing required arguments: {missing}", {
            "className": kind,
            "name": name,
            "arguments": missing,
        }
    if code == "argumentNotAccepted":
        name = node.name.value
        return f"Field '{place.owner}' doesn't accept argument '{name}'", {
            "name": place.owner,
            "typeName": "Field",
            "argumentName": name,
        }
    if code == "selectionMismatch":
        name, kind = quoted[0], quoted[1].strip("[]!")
        if isinstance(node, SelectionSetNode):
            return f"Selections can't be made on scalars (field '{name}' returns {kind} but has selections)", {
                "nodeName": f"field '{name}'",
                "typeName": kind,
            }
        return (
            f"Field must have selections (field '{name}' returns {kind} but has no selections. "
            f"Did you mean '{name} {{ ... }}'?)",
            {"nodeName": f"field '{name}'", "typeName": kind},
        )
    if code in ("variableNotUsed", "variableNotDefined"):
        name = (node.variable if isinstance(node, VariableDefinitionNode) else node).name.value
        verb = "declared by {} but not used" if code == "variableNotUsed" else "used by {} but not declared"
        operation = place.path[0].partition(" ")[2] if place.path else ""
        return f"Variable ${name} is {verb.format(operation or 'anonymous query')}", {"variableName": name}
    return error.message, {}


def syntax_error(error: GraphQLError) -> dict[str, Any]:
    """The answer to text that is no GraphQL document at all."""
    locations = [{"line": at.line, "column": at.column} for at in error.locations or []]
    where = f" at [{locations[0]['line']}, {locations[0]['column']}]" if locations else ""
    told = error.message.removeprefix("Syntax Error: ").rstrip(".")
    return {"message": f"syntax error, {told[:1].lower()}{told[1:]}{where}", "locations": locations}


def variable_errors(
    schema: GraphQLSchema, operation: OperationDefinitionNode, values: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """INVALID_VARIABLE for every variable whose value does not fit its declared type."""
    errors = []
    for definition in operation.variable_definitions or ():
        name = definition.variable.name.value
        if name not in values and definition.default_value is not None:
            continue
        kind = type_from_ast(schema, definition.type)
        problems = [{"path": path, "explanation": why} for path, why in _problems(kind, values.get(name), [])]
        if problems:
            errors.append(_variable_error(definition, values.get(name), problems))
    return errors


def _variable_error(definition: VariableDefinitionNode, value: Any, problems: list[dict[str, Any]]) -> dict[str, Any]:
    name, kind = definition.variable.name.value, print_ast(definition.type)
    message = f"Variable ${name} of type {kind} was provided invalid value"
    inner = [f"{'.'.join(str(step) for step in p['path'])} ({p['explanation']})" for p in problems if p["path"]]
    if inner:
        message += " for " + ", ".join(inner)
    assert definition.loc is not None
    at = get_location(definition.loc.source, definition.loc.start)
    return {
        "message": message,
        "locations": [{"line": at.line, "column": at.column}],
        "extensions": {"code": "INVALID_VARIABLE", "value": value, "problems": problems},
    }


def _problems(kind: Any, value: Any, path: list[str | int]) -> Iterator[tuple[list[str | int], str]]:
    if isinstance(kind, GraphQLNonNull):
        if value is None:
            yield path, "Expected value to not be null"
        else:
            yield from _problems(kind.of_type, value, path)
    elif value is None:
        return
    elif isinstance(kind, GraphQLList):
        items = value if isinstance(value, list) else [value]
        for index, item in enumerate(items):
            yield from _problems(kind.of_type, item, [*path, index])
    elif isinstance(kind, GraphQLInputObjectType):
        yield from _object_problems(kind, value, path)
    elif isinstance(kind, GraphQLEnumType):
        if value not in kind.values:
            yield path, f"Expected {json.dumps(value)} to be one of: {', '.join(kind.values)}"
    elif isinstance(kind, GraphQLScalarType):
        try:
            kind.parse_value(value)
        except (GraphQLError, ValueError, TypeError):
            yield path, f"Could not coerce value {json.dumps(value)} to {kind.name}"


def _object_problems(
    kind: GraphQLInputObjectType, value: Any, path: list[str | int]
) -> Iterator[tuple[list[str | int], str]]:
    if not isinstance(value, dict):
        yield path, f"Could not coerce value {json.dumps(value)} to {kind.name}"
        return
    for name in value:
        if name not in kind.fields:
            yield [*path, name], f"Field is not defined on {kind.name}"
    for name, field in kind.fields.items():
        if name in value:
            yield from _problems(field.type, value[name], [*path, name])
        elif is_required_input_field(field):
            yield [*path, name], "Expected value to not be null"


def oversized(value: Any, path: Sequence[str]) -> tuple[int, list[str]] | None:
    """Size and path of the first array longer than the platform takes, anywhere inside an argument's value."""
    if isinstance(value, list):
        if len(value) > LONGEST_INPUT:
            return len(value), list(path)
        inner = ((item, [*path, str(index)]) for index, item in enumerate(value))
    elif isinstance(value, dict):
        inner = ((item, [*path, name]) for name, item in value.items())
    else:
        return None
    return next((found for item, at in inner if (found := oversized(item, at))), None)
