"""What is decided before an operation runs, the same on every transport: its document, its plan, what it may spend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.body import Request
from gateway.plan import Plan, Plans
from resolvers.context import Caller


@dataclass(frozen=True, slots=True)
class Admitted:
    """An operation that may run: what it costs at most, and what HTTP tells its client of the budget."""

    points: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Admission:
    """Everything that an operation must pass before it runs."""

    plans: Plans

    async def plan(self, request: Request, caller: Caller) -> Plan:
        """The plan of what is asked. Raises Rejected with the first thing that is wrong."""
        return self.plans.of(request.query, request.operation_name)

    async def admit(self, plan: Plan, variables: Mapping[str, Any], caller: Caller) -> Admitted:
        """Raises Rejected when the caller lacks a scope, or asks for more than is allowed or than it can afford."""
        return Admitted(plan.admit(caller, variables))
