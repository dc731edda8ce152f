"""Running one operation: with a deadline, on a bill, and with every failure in words that may be told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
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
from executor import Result
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
    """A response as it is sent, and the errors in it. `executed` is False when it holds no data: execution never began, or the
    source of a subscription failed."""

    body: bytes
    errors: Sequence[Told] = ()
    executed: bool = True

    @classmethod
    def failure(cls, error: Told, bill: Bill | None = None, *, executed: bool = False) -> Answer:
        """A response that holds nothing but one error, on a bill where one is wanted."""
        body: Body = {"data": None, "errors": [error]} if executed else {"errors": [error]}
        return cls(write_json(body if bill is None else with_bill(body, bill)), [error], executed)


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
        bill = ask.bill if run.wants_bill else None
        began = time.monotonic()
        try:
            async with asyncio.timeout(run.deadline_s + GRACE_S):
                answer = self._answer(run, await self._execute(run, context), context)
        except TimeoutError:
            answer = Answer.failure(_late(run.deadline_s), bill, executed=True)
        except Exception as problem:
            answer = Answer.failure(tell_exception(problem, run.request_id), bill, executed=True)
        self._count(run, answer, time.monotonic() - began, ask.bill)
        return answer

    async def stream(self, run: Run) -> AsyncGenerator[Answer, None]:
        """The answers of any operation: one of a query or mutation, one per event of a subscription, errors included.

        The generator ends after an error of the source itself; close it to leave the subscription.
        """
        if run.plan.kind is not OperationType.SUBSCRIPTION:
            yield await self.once(run)
            return
        ask = Ask()
        context = Following(self._shelf(), run.caller, ask, run.request_id, event_s=run.deadline_s)
        metrics.SUBSCRIPTIONS.inc()
        try:
            source = await self._subscribe(run, context)
            if isinstance(source, ExecutionResult):
                yield self._answer(run, Result.of(source), context)
                return
            async with aclosing(source):
                async for result in source:
                    yield self._answer(run, Result.of(result), context)
                    context.problems.clear()
        except Exception as problem:
            yield Answer.failure(tell_exception(problem, run.request_id))
        finally:
            metrics.SUBSCRIPTIONS.dec()
            metrics.count_bill(ask.bill)

    async def _execute(self, run: Run, context: Context) -> Result:
        if run.plan.compiled is not None:
            return await run.plan.compiled.run(run.variables, context)
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
        return Result.of(await result if isawaitable(result) else result)

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

    def _answer(self, run: Run, result: Result, context: Context) -> Answer:
        """A result with the failures that blanked nothing, in words. Raises whatever cannot be written."""
        errors = [tell(one, run.request_id) for one in result.errors]
        errors += [tell_house_error(problem, path) for path, problem in context.problems]
        extensions = {"bill": told_bill(context.ask.bill)} if run.wants_bill else None
        return Answer(result.encode(errors=errors, extensions=extensions), errors, result.executed)

    def _count(self, run: Run, answer: Answer, seconds: float, bill: Bill) -> None:
        metrics.OPERATIONS.labels(run.plan.kind.value, "errors" if answer.errors else "ok").inc()
        metrics.OPERATION_SECONDS.labels(run.plan.kind.value).observe(seconds)
        metrics.count_bill(bill)


def _late(deadline_s: float) -> Told:
    return {
        "message": f"The answer was not ready within {deadline_s:g} s. Ask for less, or allow more time.",
        "extensions": {"code": "DEADLINE_EXCEEDED"},
    }


def with_bill(body: Body, bill: Bill) -> Body:
    """A response with what it cost upstream, in `extensions.bill`."""
    return {**body, "extensions": {"bill": told_bill(bill)}}


def told_bill(bill: Bill) -> Body:
    """What an operation cost upstream, in sum and by the platforms' operations."""
    return {
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


def write_json(body: Body) -> bytes:
    """A response as bytes; exact numbers are written as strings."""
    return orjson.dumps(body, default=_written)


def _written(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(f"{type(value).__name__} has no JSON form")
