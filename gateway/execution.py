"""Running one operation: with a deadline, on a bill, and with every failure in words that may be told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from decimal import Decimal
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson
import strawberry
from graphql import ExecutionResult, GraphQLSchema, OperationType, experimental_execute_incrementally
from graphql.execution.execute import create_source_event_stream, map_source_to_response_event
from msgspec import Raw, Struct
from msgspec.structs import replace
from strawberry.execution.is_awaitable import optimized_is_awaitable

from domain.budget import Ask, Bill, Toll
from domain.errors import Exhausted
from executor import Read, Result, Watch, inside
from gateway import metrics
from gateway.alike import Alike
from gateway.answers import Answers, Draft, Kept
from gateway.begun import Begun, within
from gateway.charge import Charge, calls_of
from gateway.errors import Told, tell, tell_exception, tell_house_error
from gateway.explain import explained
from gateway.flight import Flights
from gateway.incremental import Deferred, Wire
from gateway.plan import Plan
from gateway.turns import Turns
from resolvers.context import Caller, Context, Shelf
from resolvers.forecast import Expected, Forecast

if TYPE_CHECKING:
    from gateway.tracing import Tracing  # it needs what is not always installed

BEGINNING = 20  # subscriptions that begin in one turn of the loop, some 10 ms for these
GRACE_S = 1.0  # upstream waits end by the deadline; what is left is ours

Body = dict[str, Any]
Question: TypeAlias = tuple[object, bytes, frozenset[str], bool]


class Run(Struct, frozen=True, gc=False):
    """One operation of one caller. `deadline_s` is the time it has; of a subscription, the time each event has. `anew` wants no
    answer that was kept. `charge` is what it pays, where that is counted. `read` are its variables where its plan has read them
    before."""

    plan: Plan
    variables: dict[str, Any]
    caller: Caller
    request_id: str
    deadline_s: float
    wants_bill: bool = False
    anew: bool = False
    charge: Charge | None = None
    read: Read | None = None

    @property
    def question(self) -> Question | None:
        """What is equal for all who are answered the same; None where each has an answer of his own."""
        if not self.plan.lasting:
            return None
        variables = orjson.dumps(self.variables, option=orjson.OPT_SORT_KEYS)
        return self.plan.identity, variables, self.caller.scopes, self.wants_bill


class Answer(Struct, frozen=True, gc=False):
    """A response as it is sent, and the errors in it. `executed` is False when it holds no data: execution never began, or the
    source of a subscription failed; `status` is what HTTP says then. `kept` is what can be given again of it; `age` are its
    seconds where it is given again. `points` are what it cost, where that was counted.
    `personal` is one that nobody else is given."""

    body: bytes
    errors: Sequence[Told] = ()
    executed: bool = True
    kept: Kept | None = None
    age: int = 0
    points: int | None = None
    status: int = 400
    personal: bool = False

    @classmethod
    def failure(cls, error: Told, bill: Bill | None = None, *, executed: bool = False, status: int = 400) -> Answer:
        """A response that holds nothing but one error, on a bill where one is wanted."""
        body: Body = {"data": None, "errors": [error]} if executed else {"errors": [error]}
        body = body if bill is None else with_bill(body, bill)
        return cls(write_json(body), [error], executed, status=status)


class Following(Context, eq=False):
    """The context of a subscription: each event has a deadline of its own."""

    event_s: float = 10.0

    def renew(self) -> None:
        """Forget what the loaders have loaded, and set the clock anew."""
        self.ask.deadline = time.monotonic() + self.event_s
        Context.renew(self)


class Executor:
    """Runs operations on a schema. `shelf` is asked at each run, since the house stands only once the process has started.

    `answers` are those that are given again without a run; None where none are kept. `tracing` is told what runs; None where
    nobody is.
    """

    answers: Answers | None = None
    tracing: Tracing | None = None

    def __init__(self, schema: strawberry.Schema, shelf: Callable[[], Shelf]) -> None:
        self.schema: GraphQLSchema = schema._schema
        self._executor_class = schema.execution_context_class
        self._shelf = shelf
        self._flights: Flights[tuple[Result, Context]] = Flights()
        self._alike = Alike()
        self._turns = Turns(BEGINNING)

    async def once(self, run: Run) -> Answer:
        """The answer of a query or mutation. Never raises, but for the caller's own cancellation.

        Where it is the same for others too, it may be one that was kept, or come of a run of somebody else's that is under way.
        """
        begun = self.begin(run)
        return begun if isinstance(begun, Answer) else await begun

    def begin(self, run: Run) -> Answer | Coroutine[Any, Any, Answer]:
        """The same at once where nothing has to be waited for; else the rest of it, which has to be awaited."""
        if self.tracing is None or (span := self.tracing.operation(run)) is None:
            return self._begin(run)
        return inside(span, partial(self._begin, run))

    def _begin(self, run: Run) -> Answer | Coroutine[Any, Any, Answer]:
        charge = run.charge
        if charge is not None and charge.explain:
            return self._explained(run, charge)
        # None where nobody else is concerned: no answers are kept, and nothing is under way.
        question = run.question if self.answers is not None or self._flights else None
        if question is not None and (kept := self._kept(question, run)) is not None:
            metrics.ANSWERS_AGAIN.inc()
            if charge is not None and charge.tight:
                charge.settle(self._points(run, charge, kept.body), Bill())
            return kept
        began = time.monotonic()
        context = Context(self._shelf(), run.caller, partial(self._ask, run, began), run.request_id)
        try:
            if question is not None and (question, run.deadline_s) in self._flights:
                return self._ended(run, context, began, self._joined(run, context, question))
            made = self._made(run, context, question)
        except Exception as problem:
            made = self._failed(run, context, problem)
        return (
            self._paid(run, context, began, made)
            if isinstance(made, Answer)
            else self._ended(run, context, began, made)
        )

    def _ask(self, run: Run, began: float) -> Ask:
        return Ask(deadline=began + run.deadline_s, before_calls=self._toll(run))

    async def _ended(self, run: Run, context: Context, began: float, work: Coroutine[Any, Any, Answer]) -> Answer:
        """The answer of a run that has to wait for something."""
        try:
            answer = await work
        except Exception as problem:
            answer = self._failed(run, context, problem)
        except asyncio.CancelledError:
            if run.charge is not None:
                run.charge.settle_calls(context.bill, leaving=True)
            raise
        return self._paid(run, context, began, answer)

    def _failed(self, run: Run, context: Context, problem: Exception) -> Answer:
        late = isinstance(problem, TimeoutError)
        told = _late(run.deadline_s) if late else tell_exception(problem, run.request_id)
        return Answer.failure(told, context.bill if run.wants_bill else None, executed=True)

    def _paid(self, run: Run, context: Context, began: float, answer: Answer) -> Answer:
        """An answer, settled and counted."""
        bill = context.bill
        if run.charge is not None:
            answer = self._settled(run, run.charge, answer, bill)
        self._count(run, answer, time.monotonic() - began, bill)
        return answer

    def _kept(self, question: Question, run: Run) -> Answer | None:
        kept = None if self.answers is None or run.anew else self.answers.of(question)
        return None if kept is None else Answer(kept.body, kept=kept, age=kept.age(time.monotonic()))

    async def _joined(self, run: Run, context: Context, question: Question) -> Answer:
        """The answer of a run under way that is asked the same. Each has a bill and words for failures of its own."""
        landed = await within(run.deadline_s + GRACE_S, self._flights.landed((question, run.deadline_s)))
        if landed is None:
            made = self._made(run, context, question)
            return made if isinstance(made, Answer) else await made
        metrics.OPERATIONS_SHARED.inc()
        result, others = landed
        context.problems.extend(others.problems)
        context.ask.bill.share(others.bill)
        return self._kept(question, run) or self._answer(run, result, context)

    def _made(self, run: Run, context: Context, question: Question | None) -> Answer | Coroutine[Any, Any, Answer]:
        """The answer of a run, or its rest where it has to wait for something; all who ask the same meanwhile share it."""
        draft = None
        if question is not None and self.answers is not None:
            draft = self.answers.draft()
            context.basis = draft.basis
        result = self._execute(run, context, self._watch)
        if isinstance(result, Result):
            return self._drafted(run, context, result, question, draft)
        return self._led(run, context, result, question, draft)

    def _drafted(
        self, run: Run, context: Context, result: Result, question: Question | None, draft: Draft | None
    ) -> Answer:
        """The answer of a result, kept where it may be given again."""
        answer = self._answer(run, result, context)
        if self.answers is None or draft is None or answer.errors or not answer.executed or context.bill.lines:
            return answer
        return replace(answer, kept=self.answers.keep(question, answer.body, draft))

    async def _led(
        self,
        run: Run,
        context: Context,
        work: Coroutine[Any, Any, Result],
        question: Question | None,
        draft: Draft | None,
    ) -> Answer:
        """The answer of an execution. While that waits for something, others may come who ask the same."""
        begun = Begun(work)
        result = begun.value if begun.done else await self._waited(run, context, begun)
        return self._drafted(run, context, result, question, draft)

    async def _waited(self, run: Run, context: Context, begun: Begun[Result]) -> Result:
        question = run.question
        assert context.ask.deadline is not None
        async with asyncio.timeout(context.ask.deadline + GRACE_S - time.monotonic()):
            if question is None:
                return await begun
            with self._flights.leading((question, run.deadline_s)) as landing:
                result = await begun
                # A budget that is spent is not that of the others, who begin anew.
                if run.charge is None or run.charge.refusal is None:
                    landing.set_result((result, context))
        return result

    def stream(self, run: Run) -> AsyncGenerator[Answer, None]:
        """The answers of any operation: one of a query or mutation, one per event of a subscription, errors included.

        The generator ends after an error of the source itself; close it to leave the subscription.
        """
        explained = run.charge is not None and run.charge.explain
        if run.plan.kind is not OperationType.SUBSCRIPTION or explained:
            return self._single(run)
        events = self._events(run)
        return events if self.tracing is None else self.tracing.lasting(run, events)

    async def _single(self, run: Run) -> AsyncGenerator[Answer, None]:
        yield await self.once(run)

    async def _events(self, run: Run) -> AsyncGenerator[Answer, None]:
        ask = Ask(before_calls=self._toll(run))
        context = Following(self._shelf(), run.caller, ask, run.request_id, event_s=run.deadline_s)
        metrics.SUBSCRIPTIONS.inc()
        try:
            await self._turns.next()
            source = await self._subscribe(run, context)
            if isinstance(source, ExecutionResult):
                yield self._answer(run, Result.of(source), context)
                return
            async with aclosing(source):
                likeness = self._alike.likeness(run)
                async for event in source:
                    answer = await self._alike.of(likeness, event, lambda told: self._told(run, context, told))
                    if run.charge is not None:
                        run.charge.settle_calls(ask.bill)
                    yield answer
                    context.problems.clear()
        except Exception as problem:
            yield Answer.failure(tell_exception(problem, run.request_id))
        finally:
            metrics.SUBSCRIPTIONS.dec()
            metrics.count_bill(ask.bill)
            if self.tracing is not None:
                self.tracing.answered((), ask.bill)
            if run.charge is not None:
                run.charge.settle_calls(ask.bill, leaving=True)

    def parts(self, run: Run, wire: Wire) -> AsyncGenerator[Answer, None]:
        """The answers of a query or mutation with @defer: what is there at once, then each part when it is ready. What is not
        ready in time ends with an error in its place."""
        parts = self._parts(run, wire)
        return parts if self.tracing is None else self.tracing.lasting(run, parts)

    async def _parts(self, run: Run, wire: Wire) -> AsyncGenerator[Answer, None]:
        assert run.plan.deferred is not None
        ask = Ask(deadline=time.monotonic() + run.deadline_s, before_calls=self._toll(run))
        context = Context(self._shelf(), run.caller, ask, run.request_id)
        began = time.monotonic()
        errors: list[Told] = []
        leaving = False
        deferred = Deferred(
            self.schema,
            self._executor_class,
            run.plan.deferred,
            run.plan.name or None,
            run.variables,
            context,
            asyncio.get_running_loop().time() + run.deadline_s + GRACE_S,
            _late(run.deadline_s),
        )
        try:
            async with aclosing(deferred.frames(wire)) as frames:
                async for frame, told in frames:
                    errors += told
                    last = run.wants_bill and not frame["hasNext"]
                    yield Answer(write_json(with_bill(frame, ask.bill) if last else frame), told)
        except TimeoutError:
            errors.append(_late(run.deadline_s))
            yield Answer(write_json({"data": None, "errors": errors, "hasNext": False}), errors)
        except Exception as problem:
            errors.append(tell_exception(problem, run.request_id))
            yield Answer(write_json({"errors": errors[-1:], "hasNext": False}), errors)
        except (asyncio.CancelledError, GeneratorExit):
            leaving = True
            raise
        finally:
            self._count(run, Answer(b"", errors), time.monotonic() - began, ask.bill)
            if run.charge is not None:
                run.charge.settle_calls(ask.bill, leaving=leaving)

    def _execute(self, run: Run, context: Context, watch: Watch | None = None) -> Result | Coroutine[Any, Any, Result]:
        if run.plan.compiled is not None:
            return run.plan.compiled.begin(run.variables, context, watch=watch, read=run.read)
        return self._interpreted(run, context)

    async def _interpreted(self, run: Run, context: Context) -> Result:
        # What graphql-core calls `execute` refuses schemas that know of @defer; the plan's document has none.
        result = experimental_execute_incrementally(
            self.schema,
            run.plan.document,
            context_value=context,
            variable_values=run.variables,
            operation_name=run.plan.name or None,
            executor_class=self._executor_class,
            is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type]  # declared as bool where a guard is meant
            hide_suggestions=True,
        )
        made = await result if isawaitable(result) else result
        assert isinstance(made, ExecutionResult)
        return Result.of(made)

    async def _subscribe(self, run: Run, context: Context) -> AsyncGenerator[object, None] | ExecutionResult:
        """The events of a subscription, or what they mean where it is not compiled; what is wrong where there is nothing to
        follow."""
        executor = self._executor_class.build(
            self.schema,
            run.plan.document,
            context_value=context,
            raw_variable_values=run.variables,
            operation_name=run.plan.name or None,
            hide_suggestions=True,
        )
        if isinstance(executor, list):
            return ExecutionResult(None, errors=executor)
        made = create_source_event_stream(executor)
        source: Any = await made if isawaitable(made) else made
        if isinstance(source, ExecutionResult):
            return source
        return map_source_to_response_event(executor, source) if run.plan.compiled is None else source

    async def _told(self, run: Run, context: Context, event: object) -> Answer:
        """What an event means."""
        if run.plan.compiled is not None:
            result = await run.plan.compiled.run(run.variables, context, event, self._watch)
        else:
            assert isinstance(event, ExecutionResult)
            result = Result.of(event)
        return self._answer(run, result, context)

    def _answer(self, run: Run, result: Result, context: Context) -> Answer:
        """A result with the failures that blanked nothing, in words. Raises whatever cannot be written."""
        written, charge, points = result.answer, run.charge, None
        errors = [] if written is not None else [tell(one, run.request_id) for one in result.errors]
        if context.problems:
            errors += [tell_house_error(problem, path) for path, problem in context.problems]
        body = None
        if charge is not None and (run.wants_bill or charge.tight):
            points = self._points_again(run, charge, written)
            if points is None:
                body = result.encode(errors=errors)
                points = self._points(run, charge, body, failed=bool(errors))
        told = _extensions(charge, points, context.bill) if run.wants_bill else None
        if body is None:
            body = result.encode(errors=errors, extensions=told)
        elif told is not None:
            body = b"".join((body[:-1], b',"extensions":', told, b"}"))
        return Answer(body, errors, result.executed, points=points, personal=context.personal)

    def _points_again(self, run: Run, charge: Charge, answer: Struct | None) -> int | None:
        """What a response cost, where that is known before it is written; else None."""
        bounds = run.plan.bounds
        if bounds.unseen:
            return charge.points
        points = None if answer is None else bounds.meter.again(answer)
        return None if points is None else min(charge.points, points)

    def _points(self, run: Run, charge: Charge, body: bytes, *, failed: bool = False) -> int:
        """What a response cost. Lists without a size may hold more than was reckoned: what was requested is the most, and all
        where rows were read that nobody sees in the answer."""
        if run.plan.bounds.unseen:
            return charge.points
        return min(charge.points, run.plan.bounds.meter.points(body, failed=failed))

    def _toll(self, run: Run) -> Toll | None:
        """What stands between a run and the platforms: nobody, where it cannot ask any or nobody counts."""
        charge = run.charge
        if charge is None or not (run.wants_bill or charge.counts_calls):
            return None
        if not run.plan.live:
            return None
        if run.plan.kind is OperationType.QUERY:
            return lambda _: charge.once(lambda: self._rehearsed(run))
        return lambda dues: charge.each(Forecast(self._shelf(), run.deadline_s), dues)

    async def _rehearsed(self, run: Run) -> Forecast:
        """What a query will ask of platforms. Whatever else goes wrong in it, the run itself will tell."""
        shelf = self._shelf()
        forecast = Forecast(shelf, run.deadline_s)
        ask = Ask(deadline=time.monotonic() + run.deadline_s, before_calls=forecast)
        begun = self._execute(run, Context(shelf, run.caller, ask, run.request_id))
        if not isinstance(begun, Result):
            await begun
        return forecast

    async def _predicted(self, run: Run) -> list[Expected]:
        """The calls that a query will make."""
        forecast = await self._rehearsed(run)
        return await forecast.expected()

    def _settled(self, run: Run, charge: Charge, answer: Answer, bill: Bill) -> Answer:
        """The answer, paid for. A query whose calls could not be paid for is refused as a whole, and costs its points: finding
        out took as much work."""
        if charge.refusal is None or run.plan.kind is not OperationType.QUERY:
            charge.settle(charge.points if answer.points is None else answer.points, bill)
            return answer
        charge.settle_calls(bill)
        return Answer.failure(tell_house_error(charge.refusal), bill if run.wants_bill else None, status=429)

    async def _explained(self, run: Run, charge: Charge) -> Answer:
        """What a run would cost. Reads that are needed to find out are paid for like those of a run."""
        plan, calls = run.plan, None
        held = all(not run.caller.scopes.isdisjoint(scopes) for _, scopes in plan.needs)
        try:
            if not plan.live:
                calls = []
            elif held and plan.kind is OperationType.QUERY:
                await charge.quotas.take(run.caller, charge.points)
                calls = await within(run.deadline_s, self._predicted(run))
        except Exhausted:
            pass  # it says so itself
        except TimeoutError:
            return Answer.failure(_late(run.deadline_s))
        except Exception as problem:
            return Answer.failure(tell_exception(problem, run.request_id))
        told = explained(self.schema, plan, run.variables, charge, calls)
        return Answer(write_json({"data": None, "extensions": {"explain": told}}))

    def _count(self, run: Run, answer: Answer, seconds: float, bill: Bill) -> None:
        metrics.OPERATIONS.tell(run.plan.word, "errors" if answer.errors else "ok", seconds)
        metrics.count_bill(bill)
        if self.tracing is not None:
            self.tracing.answered(answer.errors, bill)

    @property
    def _watch(self) -> Watch | None:
        return None if self.tracing is None else self.tracing.watch


def _late(deadline_s: float) -> Told:
    return {
        "message": f"The answer was not ready within {deadline_s:g} s. Ask for less, or allow more time.",
        "extensions": {"code": "DEADLINE_EXCEEDED"},
    }


def with_bill(body: Body, bill: Bill) -> Body:
    """A response with what it cost upstream, in `extensions.bill`."""
    return {**body, "extensions": {"bill": told_bill(bill)}}


_NO_CALLS = '{"upstreamCalls":0,"waitedMs":0,"byOperation":[]}'


def _extensions(charge: Charge | None, points: int | None, bill: Bill) -> Raw:
    """The bill, and what was requested and what of it was used, where that is counted."""
    told = write_json(told_bill(bill)).decode() if bill.lines or bill.waited_s else _NO_CALLS
    if charge is None or points is None:
        return Raw(f'{{"bill":{told}}}'.encode())
    return Raw(
        f'{{"bill":{told},"cost":{{"requested":{{"points":{charge.points},"upstreamCalls":{charge.calls}}},'
        f'"actual":{{"points":{points},"upstreamCalls":{calls_of(bill)}}}}}}}'.encode()
    )


def told_bill(bill: Bill) -> Body:
    """What an operation cost upstream, in sum and by the platforms' operations."""
    return {
        "upstreamCalls": calls_of(bill),
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
