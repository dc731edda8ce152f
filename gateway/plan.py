"""Plans: what is known of a query before it runs, worked out once per text and operation name."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    StringValueNode,
    Visitor,
    get_operation_ast,
    parse,
    visit,
)

from domain.errors import Forbidden
from executor import CompiledPlan, Native, compile
from gateway import logs, metrics
from gateway.alike import varying
from gateway.body import id_of
from gateway.incremental import whole
from gateway.limits import LIMITS, Bounds, Limits, bounds, check_size, first_mistake
from resolvers.context import Caller
from resolvers.forecast import LIVE

KEPT = 1_000
KEPT_BYTES = 32 * 1024 * 1024
SECOND_USE = 2
# A short document is worked out for nothing, any other for a point per so many of its letters: some 40 µs, as other points.
SHORT = 100
LETTERS = 4
# A compiled plan may hold this part of all that may be kept.
COMPILED_SHARE = 1 / 4
# An escape that may mean a NUL.
_NUL = re.compile(r"\\u(0000|\{0+\})")


class Rejected(Exception):
    """Nothing was executed. `status` is what HTTP says to clients that want to hear it."""

    def __init__(self, error: GraphQLError, status: int = 400) -> None:
        super().__init__(error.message)
        self.error = error
        self.status = status

    @property
    def code(self) -> str:
        """The error's code."""
        return str((self.error.extensions or {}).get("code", ""))


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One operation of a valid document. `needs` are (field, scopes of which one is enough); `weight` are the bytes it holds,
    roughly. `compiled` is None where graphql-core is to execute it; `final` says that it stays so, and `not_compiled` why.
    `public` says that anybody may see the answer, `lasting` that it may be given again to all who hold the same scopes. `varying`
    are the variables that decide what is told of an event. `deferred` is the document with its @defer, which `document` is
    without; None where it has none."""

    document: DocumentNode
    operation: OperationDefinitionNode
    kind: OperationType
    needs: tuple[tuple[str, frozenset[str]], ...]
    bounds: Bounds
    limits: Limits
    weight: int = 0
    compiled: CompiledPlan | None = None
    final: bool = False
    not_compiled: str = ""
    public: bool = False
    lasting: bool = False
    varying: tuple[str, ...] = ()
    deferred: DocumentNode | None = None
    identity: object = field(default_factory=object)  # the same before it is compiled and after
    digest: str = ""  # the SHA-256 of the text, for those who watch
    name: str = ""  # of the operation, empty for a nameless one
    word: str = ""  # its kind, as logs and metrics have it
    told: str = ""  # both, as members of a line of the log
    live: bool = False  # whether it may ask platforms

    def admit(self, caller: Caller, variables: Mapping[str, Any]) -> int:
        """The cost of a run. Raises Rejected when the caller lacks a scope, or when the variables ask for too much."""
        for coordinate, scopes in self.needs:
            if caller.scopes.isdisjoint(scopes):
                wanted = " or ".join(sorted(scopes - {"admin"}) or ["admin"])
                message = f"{coordinate} needs the scope {wanted}, which this key lacks. Nothing was executed."
                raise Rejected(GraphQLError(message, extensions={"code": Forbidden.code}), 403)
        return self.cost(variables)

    def cost(self, variables: Mapping[str, Any]) -> int:
        """The cost of a run. Raises Rejected when the variables ask for too much."""
        try:
            return self.bounds.cost(variables, self.limits)
        except GraphQLError as problem:
            raise Rejected(problem) from None


class Plans:
    """The plans in use, the longest unused forgotten first. Documents that are refused are not kept.

    A plan is compiled at its second use, since one that is used once is not worth it; `compile_at` is for tests and benchmarks:
    1 compiles at once, None leaves everything to graphql-core. `natives` are the scalars that a compiled plan writes by itself.
    `public` are the fields that anybody may see, `lasting` those whose answers may be given again.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        scopes: Mapping[str, frozenset[str]],
        limits: Limits = LIMITS,
        kept: int = KEPT,
        kept_bytes: int = KEPT_BYTES,
        *,
        natives: Mapping[str, Native] | None = None,
        compile_at: int | None = SECOND_USE,
        public: Collection[str] = frozenset(),
        lasting: Collection[str] = frozenset(),
    ) -> None:
        self.schema = schema
        self.limits = limits
        self._scopes = scopes
        self._kept = kept
        self._kept_bytes = kept_bytes
        self._natives = natives or {}
        self._compile_at = compile_at
        self._public = frozenset(public)
        self._lasting = frozenset(lasting)
        self._bytes = 0
        self._plans: OrderedDict[tuple[str, str | None], Plan] = OrderedDict()

    def of(self, query: str, operation_name: str | None, *, suggest: bool = False) -> Plan:
        """The plan of a query. Raises Rejected with the first thing that is wrong, and only that; `suggest` with what may have
        been meant."""
        plan = self.again(query, operation_name)
        if plan is None:
            plan = self._make(query, operation_name, suggest)
            plan = self._keep((query, operation_name), self._compiled(plan) if self._compile_at == 1 else plan)
        return plan

    def again(self, query: str, operation_name: str | None) -> Plan | None:
        """The plan of a query that is known; None of one that is still to be worked out, and to be paid for."""
        key = (query, operation_name)
        plan = self._plans.get(key)
        if plan is None:
            return None
        if plan.final or self._compile_at is None:
            self._plans.move_to_end(key)
            return plan
        return self._keep(key, self._compiled(plan))

    def price(self, query: str, operation_name: str | None) -> int:
        """Points for working out a plan that is not known, whatever becomes of it; 0 for one that is."""
        if len(query) <= SHORT or (query, operation_name) in self._plans:
            return 0
        return min(len(query) // LETTERS, self.limits.tokens)  # beyond which nothing is read

    def _keep(self, key: tuple[str, str | None], plan: Plan) -> Plan:
        before = self._plans.pop(key, None)
        self._bytes += plan.weight - (0 if before is None else before.weight)
        self._plans[key] = plan
        while len(self._plans) > self._kept or self._bytes > self._kept_bytes:
            _, forgotten = self._plans.popitem(last=False)
            self._bytes -= forgotten.weight
        return plan

    def _compiled(self, plan: Plan) -> Plan:
        """The plan, compiled where that can be and is not too large to be kept."""
        why = ""

        def fell_back(reason: str) -> None:
            nonlocal why
            why = reason
            metrics.FALLBACKS.labels(reason).inc()

        compiled = compile(self.schema, plan.document, plan.name or None, natives=self._natives, fell_back=fell_back)
        if compiled is None:
            return replace(plan, final=True, not_compiled=why)
        # As measured, within a half or so, once each choice has run.
        weight = plan.weight + 2_000 * _tokens(plan.document) * compiled.most_choices
        if weight > self._kept_bytes * COMPILED_SHARE:
            fell_back("size")
            return replace(plan, final=True, not_compiled=why)
        return replace(plan, compiled=compiled, weight=weight, final=True)

    def __len__(self) -> int:
        return len(self._plans)

    def _make(self, query: str, operation_name: str | None, suggest: bool) -> Plan:
        try:
            document = parse(query, max_lexical_tokens=self.limits.tokens, max_comments=self.limits.tokens)
        except GraphQLSyntaxError as problem:
            # Tokens, comments and nesting above the limits are told as syntax errors with these words.
            large = problem.message.endswith("Parsing aborted.")
            raise Rejected(_coded(problem, "LIMIT_EXCEEDED" if large else "GRAPHQL_PARSE_FAILED")) from None
        if _NUL.search(query):
            _check_literals(document)
        operation = get_operation_ast(document, operation_name)
        if operation is None:
            raise Rejected(_coded(GraphQLError(_no_operation(operation_name)), "GRAPHQL_VALIDATION_FAILED"))
        try:
            check_size(document, self.limits)
        except GraphQLError as problem:
            raise Rejected(problem) from None
        if (mistake := first_mistake(self.schema, document, suggest=suggest)) is not None:
            raise Rejected(_coded(mistake, "GRAPHQL_VALIDATION_FAILED"))
        found = bounds(self.schema, document, operation)
        needs = tuple((one, self._scopes[one]) for one in sorted(found.coordinates) if one in self._scopes)
        kind = OperationType(operation.operation)
        selected = {one for one in found.coordinates if not one.endswith(".__typename")}
        given = _arguments(document)
        name = "" if operation.name is None else operation.name.value
        plan = Plan(
            document,
            operation,
            kind,
            needs,
            found,
            self.limits,
            _weight(query, document),
            # Who names an age or an instant wants no other. No field at all is no stock.
            public=bool(selected) and selected <= self._public and given <= {"skus"},
            varying=varying(document, operation) if kind is OperationType.SUBSCRIPTION else (),
            lasting=kind is OperationType.QUERY and selected <= self._lasting and "asOf" not in given,
            digest=id_of(query),
            name=name,
            word=kind.value,
            told=f'"kind":"{kind.value}","operation":{logs.word(name)}',
            live=not found.coordinates.isdisjoint(LIVE),
        )
        return _with_deferred(plan) if "defer" in query else plan


def _with_deferred(plan: Plan) -> Plan:
    """The plan of a document that may hold @defer."""
    document = whole(plan.document)
    if document is plan.document:
        return plan
    operation = get_operation_ast(document, plan.name or None)
    assert operation is not None
    return replace(
        plan, document=document, operation=operation, lasting=False, deferred=plan.document, weight=2 * plan.weight
    )


def _weight(query: str, document: DocumentNode) -> int:
    """Bytes, as measured on documents of many kinds, within a third or so."""
    return 32_000 + 2 * len(query) + 400 * _tokens(document)


def _tokens(document: DocumentNode) -> int:
    tokens, token = 0, None if document.loc is None else document.loc.start_token
    while token is not None:
        tokens, token = tokens + 1, token.next
    return tokens


def _check_literals(document: DocumentNode) -> None:
    """Raises Rejected for a NUL in a text, which PostgreSQL could not take."""

    class Literals(Visitor):
        def enter_string_value(self, node: StringValueNode, *_: object) -> None:
            if "\0" in node.value:
                raise Rejected(_coded(GraphQLError("A text holds a NUL character.", node), "GRAPHQL_VALIDATION_FAILED"))

    visit(document, Literals())


def _arguments(document: DocumentNode) -> set[str]:
    """What its fields are given, by the names of the arguments."""
    given: set[str] = set()

    class Arguments(Visitor):
        def enter_field(self, node: FieldNode, *_: object) -> None:
            given.update(one.name.value for one in node.arguments or ())

    visit(document, Arguments())
    return given


def _coded(problem: GraphQLError, code: str) -> GraphQLError:
    problem.extensions = {"code": code, **(problem.extensions or {})}
    return problem


def _no_operation(name: str | None) -> str:
    if name is None:
        return "The document must hold exactly one operation, or `operationName` must name one of several."
    return f"The document has no operation named {name!r}."
