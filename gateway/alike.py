"""What an event means to many subscribers alike is worked out once, and each is sent the same bytes."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    Node,
    OperationDefinitionNode,
    VariableNode,
    Visitor,
    visit,
)

from gateway.flight import Flights

if TYPE_CHECKING:
    from gateway.execution import Answer, Run

KEPT_S = 1.0  # whoever comes to an event later has it worked out anew, since ages move on
MOST = 1_000
MOST_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Told:
    """An answer, made at `at` of the monotonic clock. The event stays, so that no other gets its identity."""

    answer: Answer
    event: object
    at: float


class Alike:
    """The answers of the last moment. Events say by an attribute `same` which of them are told alike to all whose plan, scopes
    and variables are equal; what is only given to the root field has done its work by then."""

    def __init__(self) -> None:
        self._told: OrderedDict[Hashable, _Told] = OrderedDict()  # the oldest first
        self._bytes = 0
        self._flights: Flights[Answer] = Flights()

    @staticmethod
    def likeness(run: Run) -> Hashable:
        """What is equal for all subscriptions that are told the same of an event; None for one with a bill of its own."""
        if run.wants_bill:
            return None
        return run.plan, run.caller.scopes, repr([run.variables.get(name) for name in run.plan.varying])

    async def of(self, likeness: Hashable, event: object, make: Callable[[object], Awaitable[Answer]]) -> Answer:
        """The answer to an event, which `make` makes where nobody has. Failures are everybody's own, and so is
        what each reader is named for in the log."""
        same = getattr(event, "same", None)
        if same is None or likeness is None:
            return await make(event)
        key = likeness, same
        told = self._told.get(key)
        if told is not None and time.monotonic() - told.at < KEPT_S:
            return told.answer
        landed = await self._flights.landed(key)
        if landed is not None:
            return await make(event) if landed.errors or landed.personal else landed
        with self._flights.leading(key) as landing:
            answer = await make(event)
            landing.set_result(answer)
        if not answer.errors and not answer.personal:
            self._keep(key, _Told(answer, event, time.monotonic()))
        return answer

    def _keep(self, key: Hashable, told: _Told) -> None:
        """Keep an answer; what is of no use any more, or too much, goes."""
        if (before := self._told.pop(key, None)) is not None:
            self._bytes -= len(before.answer.body)
        self._told[key] = told
        self._bytes += len(told.answer.body)
        while self._told:
            oldest = next(iter(self._told.values()))
            if told.at - oldest.at < KEPT_S and len(self._told) <= MOST and self._bytes <= MOST_BYTES:
                break
            self._told.popitem(last=False)
            self._bytes -= len(oldest.answer.body)


def varying(document: DocumentNode, operation: OperationDefinitionNode) -> tuple[str, ...]:
    """The variables that decide what is answered to an event: all but those which are only arguments of the root field."""
    found: set[str] = set()

    class Variables(Visitor):
        def enter_variable(self, node: VariableNode, *_: object) -> None:
            found.add(node.name.value)

    within: list[Node] = [one for one in document.definitions if isinstance(one, FragmentDefinitionNode)]
    for node in operation.selection_set.selections:
        if isinstance(node, FieldNode):
            within += [*(node.directives or ()), *([] if node.selection_set is None else [node.selection_set])]
        else:
            within.append(node)
    for one in within:
        visit(one, Variables())
    return tuple(sorted(found))
