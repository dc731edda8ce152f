"""What one query may ask for, decided on its document before anything runs.

Fragments make small documents mean much: forty of them that spread the next one twice stand for 2^40 fields. So cycles are
refused first, then each fragment is measured once, and only a document that was found small is walked as it will be executed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLError,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    Undefined,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_composite_type,
    is_list_type,
    specified_rules,
    validate,
    value_from_ast_untyped,
)
from graphql.validation import OverlappingFieldsCanBeMergedRule, ValidationContext
from graphql.validation.validate import ValidationAbortedError

from gateway.cost import Meter, Priced


@dataclass(frozen=True, slots=True)
class Limits:
    """The most of each. Fields, aliases and root fields are counted as executed: a fragment counts wherever it is spread."""

    tokens: int = 2_000
    operations: int = 10
    fragments: int = 50
    depth: int = 10
    fields: int = 500
    aliases: int = 30
    root_fields: int = 20
    deferred: int = 10  # fragments
    directives: int = 8  # at one place
    page: int = 100
    cost: int = 10_000


LIMITS = Limits()
# Of fields that answer under one name, as graphql-core counts them: some 25 ms.
COMPARISONS = 20_000
# What a list without a size of its own is taken to hold.
USUAL_LENGTH = 5
# What is counted otherwise than `weight` has it by kind.
WEIGHTS: Mapping[str, int] = {
    # Done in the transaction that asks for it; no worker carries it out.
    "Mutation.adjustStock": 1,
    "Mutation.restockReturn": 1,
    # A settlement may have a million lines.
    "Settlement.summary": 5,
    "Settlement.comparison": 5,
    "Settlement.replaced": 5,
    "Query.residualSummary": 10,
    # Sums over all lines of the days asked for, whatever comes of them.
    "Query.profit": 20,
    "Query.profitChanges": 20,
    "Query._service": 100,
    "Query.__schema": 100,
    "Query.__type": 100,
}
# Objects that are only values put together: they cost nothing beside what they stand in.
VALUES = frozenset({"DimensionValue", "Money", "Location", "PageInfo", "Progress", "UserError"})
_INTROSPECTION = frozenset({"__schema", "__type"})


class TooMuch(GraphQLError):
    """The query is larger than a limit. Raised with a sentence that names the limit."""

    def __init__(self, message: str) -> None:
        super().__init__(message, extensions={"code": "LIMIT_EXCEEDED"})


@dataclass(slots=True)
class Measure:
    """How much a selection means once its fragments are spread. `steps` counts the selections on the way, empty ones too."""

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    roots: int = 0
    deferred: int = 0
    steps: int = 0

    def take(self, other: Measure, *, below: bool = False) -> None:
        """Add a child: what a fragment spreads here, or with `below` what a field selects."""
        self.depth = max(self.depth, other.depth + below)
        self.fields += other.fields
        self.aliases += other.aliases
        self.roots += 0 if below else other.roots
        self.deferred += other.deferred
        self.steps += other.steps


def check_size(document: DocumentNode, limits: Limits) -> None:
    """Raises TooMuch for a document that means more than the limits allow, or whose fragments spread in a circle.

    Every operation and every fragment is measured, since validation walks all of them and not only what is executed.
    """
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    fragments = [one for one in document.definitions if isinstance(one, FragmentDefinitionNode)]
    for what, count, most in (
        ("operations", len(operations), limits.operations),
        ("fragments", len(fragments), limits.fragments),
    ):
        if count > most:
            raise TooMuch(f"The document defines {count} {what}; {most} are allowed.")
    by_name = {one.name.value: one for one in fragments}
    measured: dict[str, Measure] = {}
    for name in _innermost_first(by_name):
        measured[name] = _measure(by_name[name].selection_set, measured, limits)
    steps = 0
    for one in (*operations, *fragments):  # of two fragments of one name both
        found = _measure(one.selection_set, measured, limits)
        _check_measure(found, limits, whole=isinstance(one, OperationDefinitionNode))
        steps += found.steps
    _check_most("document", "selections", steps, limits.fields * 8)


def _check_measure(found: Measure, limits: Limits, *, whole: bool) -> None:
    """`whole` is an operation, whose selection begins at the root."""
    what = "operation" if whole else "fragment"
    if whole:
        _check_most(what, "levels", found.depth, limits.depth)
        _check_most(what, "root fields", found.roots, limits.root_fields)
    _check_most(what, "aliases", found.aliases, limits.aliases)
    _check_most(what, "fields", found.fields, limits.fields)
    _check_most(what, "deferred fragments", found.deferred, limits.deferred)
    _check_most(what, "selections", found.steps, limits.fields * 4)


def _check_most(what: str, of: str, count: int, most: int) -> None:
    if count > most:
        raise TooMuch(f"The {what} has {_short(count)} {of}; {most} are allowed. Ask in parts.")


class _Comparisons(OverlappingFieldsCanBeMergedRule):
    """graphql-core's rule that fields of one name must agree. It compares each with each, and is given less patience here."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self.rule_context.remaining_complexity_budget = COMPARISONS


_RULES = [_Comparisons if one is OverlappingFieldsCanBeMergedRule else one for one in specified_rules]


def first_mistake(schema: GraphQLSchema, document: DocumentNode, *, suggest: bool = False) -> GraphQLError | None:
    """What makes a document of limited size invalid, if anything does. `suggest` tells names of the schema that are near."""
    problems = validate(schema, document, _RULES, max_errors=1, hide_suggestions=not suggest)
    if problems and isinstance(problems[0], ValidationAbortedError):
        return TooMuch("The document selects the same fields too often. Select each once, or give them aliases.")
    return problems[0] if problems else None


def _short(count: int) -> str:
    return str(count) if count < 1_000_000 else "millions of"


def _innermost_first(fragments: Mapping[str, FragmentDefinitionNode]) -> list[str]:
    """The fragments, each after those that it spreads. Raises TooMuch for a circle."""
    spreads = {
        name: [one for one in _spreads(node.selection_set) if one in fragments] for name, node in fragments.items()
    }
    done: list[str] = []
    state: dict[str, bool] = {}  # False while its own spreads are being visited

    def visit(name: str) -> None:
        if state.get(name) is False:
            raise TooMuch(f"Fragment {name} spreads itself.")
        if name in state:
            return
        state[name] = False
        for inner in spreads[name]:
            visit(inner)
        state[name] = True
        done.append(name)

    for name in fragments:
        visit(name)
    return done


def _spreads(selection: SelectionSetNode) -> set[str]:
    """The fragments spread anywhere inside a selection."""
    found: set[str] = set()
    waiting = [selection]
    while waiting:
        for node in waiting.pop().selections:
            if isinstance(node, FragmentSpreadNode):
                found.add(node.name.value)
            elif isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set is not None:
                waiting.append(node.selection_set)
    return found


def _measure(selection: SelectionSetNode, measured: Mapping[str, Measure], limits: Limits) -> Measure:
    found = Measure()
    for node in selection.selections:
        found.steps += 1
        if len(node.directives or ()) > limits.directives:
            raise TooMuch(
                f"{len(node.directives or ())} directives stand at one place; {limits.directives} are allowed."
            )
        if not isinstance(node, FieldNode):
            found.deferred += any(one.name.value == "defer" for one in node.directives or ())
        if isinstance(node, FragmentSpreadNode):
            # An unknown fragment is left to validation, which says so.
            found.take(measured.get(node.name.value, Measure()))
        elif isinstance(node, InlineFragmentNode):
            found.take(_measure(node.selection_set, measured, limits))
        elif isinstance(node, FieldNode):
            found.fields += 1
            found.roots += 1
            found.aliases += node.alias is not None
            found.depth = max(found.depth, 1)
            if node.selection_set is not None:
                inner = _measure(node.selection_set, measured, limits)
                if node.name.value in _INTROSPECTION:
                    inner.depth = 0  # graphql-core limits it by a rule of its own
                found.take(inner, below=True)
    return found


@dataclass(frozen=True, slots=True)
class Size:
    """A number that the query or its variables give: `count` as it stands, or of `variable`, else of its default. `null` is what
    a null in its place counts for."""

    count: int
    variable: str | None = None
    null: int = 0

    def of(self, variables: Mapping[str, Any]) -> int:
        """The number for these variables: a list's length, a number itself, 1 for one thing in a list's place."""
        if self.variable is None or self.variable not in variables:
            return self.count
        return _count(variables[self.variable], self.null)


def _count(value: Any, null: int) -> int:
    if type(value) is list:
        return len(value)
    match value:
        case None:
            return null
        case bool():
            return 1
        case int():
            return value
        case float() if value.is_integer():
            return int(value)  # GraphQL takes it for one
        case _:
            return 1


@dataclass
class Bounds:
    """What an operation needs and may cost, found once for all its executions. `roots` has the share of each root field in
    `terms`, by response key; `answer` is the shape of the answer with its prices. `unseen` says that it reads a page whose rows
    it does not select."""

    coordinates: set[str] = field(default_factory=set)
    pages: set[Size] = field(default_factory=set)
    terms: Counter[tuple[Size, ...]] = field(default_factory=Counter)
    roots: dict[str, tuple[str, Counter[tuple[Size, ...]]]] = field(default_factory=dict)
    answer: Priced = field(default_factory=lambda: Priced(below={}))
    unseen: bool = False

    @cached_property
    def meter(self) -> Meter:
        """Counts what answers cost."""
        return Meter(self.answer)

    def cost(self, variables: Mapping[str, Any], limits: Limits) -> int:
        """The cost with these variables. Raises TooMuch for a page or a cost above the limits."""
        for size in self.pages:
            if not 0 <= (count := size.of(variables)) <= limits.page:
                raise TooMuch(f"`first` is {count}; ask for 1 to {limits.page} at a time and go on with `after`.")
        total = 0
        for weight, sizes in self._folded:
            for size in sizes:
                weight *= max(0, size.of(variables))
            total += weight
        if total > limits.cost:
            raise TooMuch(f"The operation may cost {_short(total)}; {limits.cost} is allowed. Ask for fewer at a time.")
        return total

    @cached_property
    def _folded(self) -> list[tuple[int, tuple[Size, ...]]]:
        """The terms as (weight, sizes that variables give), those of equal sizes together."""
        folded: Counter[tuple[Size, ...]] = Counter()
        for sizes, weight in self.terms.items():
            for size in sizes:
                weight *= 1 if size.variable is not None else max(0, size.count)
            folded[tuple([one for one in sizes if one.variable is not None])] += weight
        return [(weight, sizes) for sizes, weight in folded.items()]

    def cost_by_root(self, variables: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
        """(coordinate, cost) of each root field, by response key."""
        return {key: (coordinate, _sum(terms, variables)) for key, (coordinate, terms) in self.roots.items()}


def _sum(terms: Mapping[tuple[Size, ...], int], variables: Mapping[str, Any]) -> int:
    total = 0
    for sizes, weight in terms.items():
        for size in sizes:
            weight *= max(0, size.of(variables))
        total += weight
    return total


def bounds(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> Bounds:
    """Walk a valid document of limited size as it will be executed."""
    root = schema.get_root_type(OperationType(operation.operation))
    assert root is not None
    walk = _Walk(schema, document, operation)
    walk.selection(operation.selection_set, root, (), None, walk.found.answer)
    return walk.found


def weight(coordinate: str, named: GraphQLNamedType) -> int:
    """What a field that answers `named` counts for, once."""
    if coordinate in WEIGHTS:
        return WEIGHTS[coordinate]
    if coordinate.endswith("Connection.totalCount"):
        return 5
    if named.name == "OperationPayload":  # of a mutation that workers carry out
        return 10
    return 1 if is_composite_type(named) and named.name not in VALUES else 0


class _Walk:
    def __init__(self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self.schema = schema
        self.fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        self.defaults: dict[str, Any] = {
            one.variable.name.value: value_from_ast_untyped(one.default_value)
            for one in operation.variable_definitions or ()
            if one.default_value is not None
        }
        self.found = Bounds()
        self.terms: Counter[tuple[Size, ...]] = Counter()  # of the root field that is being walked

    def selection(
        self,
        selection: SelectionSetNode,
        parent: GraphQLCompositeType,
        sizes: tuple[Size, ...],
        page: Size | None,
        into: Priced,
    ) -> None:
        """`sizes` are those of the lists around; `page` is the `first` of the connection that this is a selection of."""
        for node in selection.selections:
            if node.directives:
                into.sure = False
            if isinstance(node, FieldNode):
                self.field(node, parent, sizes, page, into)
                continue
            inner = self.fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
            assert isinstance(inner, FragmentDefinitionNode | InlineFragmentNode)
            narrowed = parent
            if inner.type_condition is not None:
                narrowed = self.schema.type_map[inner.type_condition.name.value]  # type: ignore[assignment]  # validated
                into.sure = into.sure and narrowed is parent
            self.selection(inner.selection_set, narrowed, sizes, page, into)

    def field(
        self,
        node: FieldNode,
        parent: GraphQLCompositeType,
        sizes: tuple[Size, ...],
        page: Size | None,
        into: Priced,
    ) -> None:
        name = node.name.value
        coordinate = f"{parent.name}.{name}"
        self.found.coordinates.update(self._coordinates(parent, name))
        known = self.schema.get_field(parent, name)
        assert known is not None
        key = name if node.alias is None else node.alias.value
        if into is self.found.answer:
            self.terms = self.found.roots.setdefault(key, (coordinate, Counter()))[1]
        named = get_named_type(known.type)
        counts = weight(coordinate, named)
        if name in _INTROSPECTION or not is_composite_type(named):
            self._price(into, key, counts, sizes, leaf=True)
            return
        first = self._argument(node, known, "first")
        if first is not None:
            self.found.pages.add(first)
        if is_list_type(get_nullable_type(known.type)):
            given = self._argument(node, known, "skus") or self._argument(node, known, "representations")
            sizes = (*sizes, given or page or Size(USUAL_LENGTH))
        below = self._price(into, key, counts, sizes)
        if node.selection_set is None:
            return
        rows = None if first is None else (*sizes, first)
        before = None if rows is None else self.found.terms[rows]
        self.selection(node.selection_set, named, sizes, first, below)
        if rows is not None and self.found.terms[rows] == before:  # they are read all the same
            self.found.terms[rows] += 1
            self.terms[rows] += 1
            self.found.unseen = True

    def _price(self, into: Priced, key: str, weight: int, sizes: tuple[Size, ...], *, leaf: bool = False) -> Priced:
        """Add a field to the cost, and to the shape of the answer."""
        if weight:
            self.found.terms[sizes] += weight
            self.terms[sizes] += weight
        assert into.below is not None
        found = into.below.setdefault(key, Priced(weight, None if leaf else {}))
        if found.weight != weight:  # of different types, which may not be selected together
            found.weight, found.sure = max(found.weight, weight), False
        return found

    def _coordinates(self, parent: GraphQLCompositeType, name: str) -> Collection[str]:
        """The field, and through an interface the same field of everything behind it."""
        behind = self.schema.get_possible_types(parent) if is_abstract_type(parent) else []
        return [f"{one.name}.{name}" for one in (parent, *behind)]

    def _argument(self, node: FieldNode, known: GraphQLField, name: str) -> Size | None:
        """The number an argument gives; None where the field has no such argument."""
        if name not in known.args:
            return None
        given: ValueNode | None = next((one.value for one in node.arguments or () if one.name.value == name), None)
        usual = self._usual(known, name)
        if isinstance(given, VariableNode):
            variable = given.name.value
            count = _count(self.defaults[variable], usual) if variable in self.defaults else usual
            return Size(count, variable, usual)
        match given:
            case IntValueNode():
                return Size(int(given.value))
            case ListValueNode():
                return Size(len(given.values))
            case None | NullValueNode():
                return Size(usual)
            case _:
                return Size(1)

    def _usual(self, known: GraphQLField, name: str) -> int:
        """What counts where the argument is not given or null, which our pages take for the same."""
        default = known.args[name].default_value
        return 0 if default is Undefined else _count(default, 0)
