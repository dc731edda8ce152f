"""What is decided before an operation runs, the same on every transport: its document, its plan, what it may spend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from graphql import GraphQLError

from domain.errors import Exhausted
from gateway import metrics
from gateway.body import Request
from gateway.charge import Charge
from gateway.documents import Documents
from gateway.errors import tell_house_error
from gateway.plan import Plan, Plans, Rejected
from gateway.quota import Purse, Quotas
from resolvers.context import Caller
from schema.scopes import SCHEMA


class _Counted:
    """Around what may raise Rejected: each is counted."""

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(problem, Rejected):
            metrics.REJECTED.labels(problem.code).inc()


_COUNTED = _Counted()


@dataclass(frozen=True, slots=True)
class Admission:
    """Everything that an operation must pass before it runs."""

    plans: Plans
    documents: Documents
    quotas: Quotas

    async def plan(self, request: Request, caller: Caller) -> Plan:
        """The plan of what is asked; working one out is paid for. Raises Rejected with the first thing that is wrong."""
        with _COUNTED:
            text = await self.documents.text(request)
            if price := self.plans.price(text, request.operation_name):
                # No more than a whole minute has, or it could never be asked for.
                await self._take(caller, min(price, self.quotas.budget(caller).points or price))
            suggest = not caller.scopes.isdisjoint(SCHEMA)
            plan = self.plans.of(text, request.operation_name, suggest=suggest)
        if request.document_id is not None and request.query:
            await self.documents.offered(request.document_id, text, caller)
        return plan

    def plan_again(self, request: Request) -> Plan | None:
        """The same for a request that was understood before; None where it needs a longer look."""
        text = self.documents.at_hand(request)
        return None if text is None else self.plans.again(text, request.operation_name)

    async def admit(self, plan: Plan, variables: Mapping[str, Any], caller: Caller, *, explain: bool = False) -> Charge:
        """What is paid for a run. Raises Rejected, and takes nothing, when the caller lacks a scope, or asks for more than is
        allowed or than its budget has. With `explain` it will not run: nothing is taken either, and no scope is needed."""
        with _COUNTED:
            if explain:
                return Charge(self.quotas, caller, plan.cost(variables), explain=True)
            points = plan.admit(caller, variables)
            purse = self.quotas.spend(caller, points) or await self._take(caller, points)
        return Charge(self.quotas, caller, points, purse)

    def admit_as_before(self, caller: Caller, points: int) -> Charge | None:
        """The same for an operation that was admitted before with these scopes, variables and points; None where it needs a
        longer look."""
        purse = self.quotas.spend(caller, points)
        return None if purse is None else Charge(self.quotas, caller, points, purse)

    async def _take(self, caller: Caller, points: int) -> Purse:
        """Where points were taken from, whoever has to be asked. Raises Rejected, and then nothing was taken."""
        try:
            return await self.quotas.take(caller, points)
        except Exhausted as problem:
            told = tell_house_error(problem)
            raise Rejected(GraphQLError(told["message"], extensions=told["extensions"]), 429) from None

    def admit_again(self, caller: Caller, points: int) -> Purse | None:
        """What pays for an operation that was admitted with these scopes a moment ago, and makes no calls; None where it needs a
        longer look."""
        purse = self.quotas.spend(caller, points)
        if purse is not None and purse.tight:
            self.quotas.give_back(purse, points, 0)
            return None
        return purse

    def budget_headers(self, caller: Caller) -> Mapping[str, str]:
        """What HTTP tells a client of its budget, whatever becomes of its request."""
        return self.quotas.headers(caller)
