"""One GraphQL request, from its text to its answer: validate, price, pay, run, give back what was not used."""

import logging
import secrets
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from graphql import ExecutionResult, GraphQLError, OperationDefinitionNode, execute
from graphql.execution.values import get_variable_values

from sandbox.bucket import Bucket
from sandbox.shopify import bulk, cost, errors, validation
from sandbox.shopify.call import Call
from sandbox.shopify.cost import Pricer
from sandbox.shopify.documents import Document, validated
from sandbox.shopify.schema import schema_of
from sandbox.shopify.state import Grant, Shop

log = logging.getLogger(__name__)

Answer = dict[str, Any]


@dataclass(slots=True)
class Api:
    """The GraphQL endpoint of one shop. `broken` counts, by root field, answers yet to fail after they were carried out."""

    shop: Shop
    broken: dict[str, int] = field(default_factory=dict)

    def answer(self, version: str, grant: Grant, body: Mapping[str, Any], request_id: str) -> Answer:
        self.shop.finish_jobs()
        bulk.settle(self.shop)
        document = validated(str(body.get("query")), version)
        if document.errors:
            return {"errors": document.errors}
        name = body.get("operationName")
        operation = document.operation(name)
        if operation is None:
            return {
                "errors": [{"message": f'No operation named "{name}"' if name else "An operation name is required"}]
            }
        variables = body.get("variables") or {}
        wrong = validation.variable_errors(schema_of(version), operation, variables)
        if wrong:
            return {"errors": wrong}
        return self._paid(version, grant, document, operation, variables, request_id)

    def _paid(
        self,
        version: str,
        grant: Grant,
        document: Document,
        operation: OperationDefinitionNode,
        variables: dict[str, Any],
        request_id: str,
    ) -> Answer:
        schema = schema_of(version)
        coerced = get_variable_values(schema, operation.variable_definitions or (), variables)
        if isinstance(coerced, list):
            return {"errors": [{**error.formatted, "extensions": {"code": "INVALID_VARIABLE"}} for error in coerced]}
        pricer = Pricer(schema, document.fragments, coerced, operation)
        requested = pricer.requested()
        if requested > cost.MAXIMUM:
            return {"errors": [errors.too_dear(requested, cost.MAXIMUM)]}
        if not self.shop.bucket.take(requested):
            self.shop.throttled += 1
            return {"errors": [errors.throttled()], "extensions": self._cost(requested, None)}
        for path, size in _oversized(pricer):
            self.shop.bucket.give(requested)
            problem = errors.too_long(size, validation.LONGEST_INPUT, path)
            return {"errors": [problem], "extensions": self._cost(requested, None)}
        call = Call(self.shop, grant.scopes, version, self.shop.now())
        assert document.document is not None
        result = execute(
            schema,
            document.document,
            context_value=call,
            variable_values=variables,
            operation_name=operation.name.value if operation.name else None,
            is_awaitable=_never,
        )
        assert isinstance(result, ExecutionResult)
        answer: Answer = {"data": result.data}
        problems = [_shown(error, request_id) for error in result.errors or ()]
        problems += self._break(answer, pricer, request_id)
        if problems:
            answer["errors"] = problems
        actual = min(requested, pricer.actual(answer["data"]))
        self.shop.bucket.give(requested - actual)
        self.shop.points += actual
        answer["extensions"] = self._cost(requested, actual)
        if call.searches:
            answer["extensions"]["search"] = call.searches
        return answer

    def _break(self, answer: Answer, pricer: Pricer, request_id: str) -> list[dict[str, Any]]:
        """Take root fields out of an answer whose work is done, as INTERNAL_SERVER_ERROR: partial data."""
        problems = []
        for node in pricer.root_fields() if self.broken else ():
            name, key = node.name.value, node.alias.value if node.alias else node.name.value
            if self.broken.get(name, 0) > 0 and answer["data"] is not None:
                self.broken[name] -= 1
                answer["data"] = {**answer["data"], key: None}
                problems.append({**errors.internal(request_id), "path": [key]})
        return problems

    def _cost(self, requested: int, actual: int | None) -> dict[str, Any]:
        bucket: Bucket = self.shop.bucket
        return {
            "cost": {
                "requestedQueryCost": requested,
                "actualQueryCost": actual,
                "throttleStatus": {
                    "maximumAvailable": float(bucket.burst),
                    "currentlyAvailable": int(bucket.remaining),
                    # A client counts real seconds; the bucket fills in the sandbox's.
                    "restoreRate": float(bucket.rate * self.shop.core.clock.speed),
                },
            }
        }


def request_id() -> str:
    return f"{secrets.token_hex(4)}-{secrets.token_hex(2)}-{secrets.token_hex(6)}"


def _oversized(pricer: Pricer) -> list[tuple[list[str], int]]:
    root = pricer.schema.get_root_type(pricer.operation.operation)
    assert root is not None
    found = []
    for node in pricer.root_fields():
        if node.name.value.startswith("__"):
            continue
        key = node.alias.value if node.alias else node.name.value
        hit = validation.oversized(pricer.arguments(root, node), [key])
        if hit is not None:
            found.append((hit[1], hit[0]))
    return found


def _shown(error: GraphQLError, request_id: str) -> dict[str, Any]:
    original = error.original_error
    if original is not None and not isinstance(original, GraphQLError):
        log.error("sandbox.broken", exc_info=original)
        return {**errors.internal(request_id), "path": error.path}
    return dict(error.formatted)


def _never(_: object) -> TypeGuard[Awaitable[Any]]:
    return False
