"""A pytest plugin that puts the compiled executor in the place of graphql-core's `execute`, for graphql-core's own tests.

What they ask of `execute` beyond our contract (own resolvers for all fields, middleware, signals, hooks, an executor class) goes
to graphql-core, as does what does not compile; both are counted at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from inspect import isawaitable
from typing import Any

import graphql
import graphql.execution
import pytest

from executor import compile, steps
from executor.result import Result

_real = graphql.execution.execute
_real_sync: Any = graphql.execution.execute_sync
_counts: Counter[str] = Counter()
_seen = [0]


class _Later:
    """The rest of a run that has begun and waits for something."""

    def __init__(self, coroutine: Any, awaited: Any) -> None:
        self._coroutine = coroutine
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, Any]:
        awaited = self._awaited
        while True:
            try:
                sent = yield awaited
            except BaseException as problem:
                step, value = self._coroutine.throw, problem
            else:
                step, value = self._coroutine.send, sent
            try:
                awaited = step(value)
            except StopIteration as stop:
                return _as_theirs(stop.value)

    def close(self) -> None:
        self._coroutine.close()


def execute(
    schema: Any,
    document: Any,
    root_value: Any = None,
    context_value: Any = None,
    variable_values: Any = None,
    operation_name: Any = None,
    *rest: Any,
    **options: Any,
) -> Any:
    """As graphql-core's, at once where nothing has to be awaited."""
    everything = (schema, document, root_value, context_value, variable_values, operation_name, *rest)
    options.pop("hide_suggestions", None)
    if any(rest) or any(value is not None for value in options.values()):
        _counts["beyond the contract"] += 1
        return _real(*everything, **options)
    graphql.assert_valid_schema(schema)
    if schema.get_directive("defer") or schema.get_directive("stream"):
        return _real(*everything)
    plan = compile(schema, document, operation_name, fell_back=lambda reason: _counts.update([reason]))
    if plan is None:
        return _real(*everything)
    _counts["compiled"] += 1
    seen = _seen[0]
    coroutine = plan.run(variable_values, context_value, root_value)
    try:
        awaited = coroutine.send(None)
    except StopIteration as stop:
        result = _as_theirs(stop.value)
        return result if _seen[0] == seen else _done(result)

    return _Later(coroutine, awaited)


async def _done(result: Any) -> Any:
    return result


def _watched(is_that: Any) -> Any:
    """Counts what had to be awaited: theirs answers an awaitable then, though ours may have finished already."""

    def watched(value: Any) -> bool:
        found = bool(is_that(value))
        _seen[0] += found
        return found

    return watched


def execute_sync(schema: Any, document: Any, *rest: Any, check_sync: bool = False, **options: Any) -> Any:
    """As graphql-core's."""
    if "@" in graphql.print_ast(document):
        return _real_sync(schema, document, *rest, check_sync=check_sync, **options)
    result = execute(schema, document, *rest, **options)
    if isawaitable(result):
        close = getattr(result, "close", None)
        if close is not None:
            close()
        if not check_sync:
            return _real_sync(schema, document, *rest, **options)
        raise RuntimeError("GraphQL execution failed to complete synchronously.")
    return result


def _as_theirs(result: Result) -> Any:
    return graphql.ExecutionResult(result.data, result.errors or None)


def pytest_configure() -> None:
    """Before any of their modules takes the names."""
    for module in (graphql, graphql.execution):
        module.execute = execute  # type: ignore[attr-defined]
        module.execute_sync = execute_sync  # type: ignore[attr-defined]
    for name in ("is_awaitable", "is_async_iterable"):
        setattr(steps, name, _watched(getattr(steps, name)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How much of it was ours."""
    terminalreporter.write_line("executor: " + ", ".join(f"{name} {count}" for name, count in _counts.most_common()))
