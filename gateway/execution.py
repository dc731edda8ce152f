"""Running one operation: with a deadline, on a bill, and with every failure in words that may be told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from inspect import isawaitable
from typing import Any

import orjson
import strawberry
from graphql import ExecutionResult, GraphQLSchema, OperationType, execute, subscribe
from strawberry.execution.is_awaitable import optimized_is_awaitable

from domain.budget import Ask, Bill
from gateway import metrics
from gateway.errors import Told, tell, tell_exception, tell_house_error
from gateway.plan import Plan
from resolvers.context import Caller, Context, Shelf

GRACE_S = 1.0  # upstream waits end by the deadline; what is left is ours

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One operation of one caller. `deadline_s` is the time it has; of a subscription, the time each event has."""

    plan: Plan
    variables: dict[str, Any]
    caller: Caller
    request_id: str
    deadline_s: float
    wants_bill: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. `executed` is False when execution never began, because variables could not be read."""

    body: Body
    executed: bool = True


@dataclass(slots=True)
class Following(Context):
    """The context of a subscription: each event has a deadline of its own."""

    event_s: float = 10.0

    def renew(self) -> None:
        """Forget what the loaders have loaded, and set the clock anew."""
        self.ask.deadline = time.monotonic() + self.event_s
        Context.renew(self)


class Executor:
    """Runs operations on a schema. `shelf` is asked at each run, since the house stands only once the process has started."""

    def __init__(self, schema: strawberry.Schema, shelf: Callable[[], Shelf]) -> None:
        self.schema: GraphQLSchema = schema._schema
        self._executor_class = schema.execution_context_class
        self._shelf = shelf

    async def once(self, run: Run) -> Answer:
        """The answer of a query or mutation. Never raises, but for the caller's own cancellation."""
        ask = Ask(deadline=time.monotonic() + run.deadline_s)
        context = Context(self._shelf(), run.caller, ask, run.request_id)
        began = time.monotonic()
        try:
            async with asyncio.timeout(run.deadline_s + GRACE_S):
                answer = self._answer(run, await self._execute(run, context), context)
        except TimeoutError:
            answer = Answer({"data": None, "errors": [_late(run.deadline_s)]})
        except Exception as problem:
            answer = Answer({"data": None, "errors": [tell_exception(problem, run.request_id)]})
        self._count(run, answer, time.monotonic() - began, ask.bill)
        return _billed(answer, run, ask.bill)

    async def stream(self, run: Run) -> AsyncGenerator[Body, None]:
        """The answers of any operation: one of a query or mutation, one per event of a subscription, errors included.

        The generator ends after an error of the source itself; close it to leave the subscription.
        """
        if run.plan.kind is not OperationType.SUBSCRIPTION:
            yield (await self.once(run)).body
            return
        ask = Ask()
        context = Following(self._shelf(), run.caller, ask, run.request_id, event_s=run.deadline_s)
        metrics.SUBSCRIPTIONS.inc()
        try:
            source = await self._subscribe(run, context)
            if isinstance(source, ExecutionResult):
                yield _billed(self._answer(run, source, context), run, ask.bill).body
                return
            async with aclosing(source):
                async for result in source:
                    yield _billed(self._answer(run, result, context), run, ask.bill).body
                    context.problems.clear()
        except Exception as problem:
            yield {"errors": [tell_exception(problem, run.request_id)]}
        finally:
            metrics.SUBSCRIPTIONS.dec()
            metrics.count_bill(ask.bill)

    async def _execute(self, run: Run, context: Context) -> ExecutionResult:
        result = execute(
            self.schema,
            run.plan.document,
            context_value=context,
            variable_values=run.variables,
            operation_name=run.plan.name or None,
            executor_class=self._executor_class,
            is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type]  # declared as bool where a guard is meant
            hide_suggestions=True,
        )
        return await result if isawaitable(result) else result

    async def _subscribe(self, run: Run, context: Context) -> AsyncGenerator[ExecutionResult, None] | ExecutionResult:
        source: Any = subscribe(
            self.schema,
            run.plan.document,
            context_value=context,
            variable_values=run.variables,
            operation_name=run.plan.name or None,
            executor_class=self._executor_class,
            hide_suggestions=True,
        )
        made: AsyncGenerator[ExecutionResult, None] | ExecutionResult = await source if isawaitable(source) else source
        return made

    def _answer(self, run: Run, result: ExecutionResult, context: Context) -> Answer:
        """A result with the failures that blanked nothing, in words."""
        errors = [tell(one, run.request_id) for one in result.errors or ()]
        errors += [tell_house_error(problem, path) for path, problem in context.problems]
        if result.data is None and result.errors and all(one.path is None for one in result.errors):
            return Answer({"errors": errors}, executed=False)
        return Answer({"data": result.data, "errors": errors} if errors else {"data": result.data})

    def _count(self, run: Run, answer: Answer, seconds: float, bill: Bill) -> None:
        metrics.OPERATIONS.labels(run.plan.kind.value, "errors" if "errors" in answer.body else "ok").inc()
        metrics.OPERATION_SECONDS.labels(run.plan.kind.value).observe(seconds)
        metrics.count_bill(bill)


def _late(deadline_s: float) -> Told:
    return {
        "message": f"The answer was not ready within {deadline_s:g} s. Ask for less, or allow more time.",
        "extensions": {"code": "DEADLINE_EXCEEDED"},
    }


def _billed(answer: Answer, run: Run, bill: Bill) -> Answer:
    return Answer(with_bill(answer.body, bill), answer.executed) if run.wants_bill else answer


def with_bill(body: Body, bill: Bill | None = None) -> Body:
    """The response with what it cost upstream, in `extensions.bill`."""
    bill = bill or Bill()
    told = {
        "upstreamCalls": sum(line.calls for line in bill.lines.values()),
        "waitedMs": round(bill.waited_s * 1000),
        "byOperation": [
            {
                "channel": channel,
                "operation": operation,
                "calls": line.calls,
                "tokens": line.tokens,
                "coalesced": line.coalesced,
            }
            for (channel, operation), line in sorted(bill.lines.items())
        ],
    }
    return {**body, "extensions": {**body.get("extensions", {}), "bill": told}}


def write_json(body: Body) -> bytes:
    """A response as bytes; exact numbers are written as strings."""
    return orjson.dumps(body, default=_written)


def _written(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(f"{type(value).__name__} has no JSON form")
