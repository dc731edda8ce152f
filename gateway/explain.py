"""What an operation would cost, told instead of running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphql import GraphQLSchema

from executor import compile
from gateway.charge import Charge
from gateway.plan import Plan
from resolvers.forecast import LIVE, READS, Expected
from schema.scopes import SCOPES


def explained(
    schema: GraphQLSchema, plan: Plan, variables: Mapping[str, Any], charge: Charge, calls: Sequence[Expected] | None
) -> dict[str, Any]:
    """`extensions.explain`. `calls` is None where nobody can say what would be asked of platforms: of changes and subscriptions
    that read live stock, and of what the key may not ask or cannot afford in any case. Tables, and what rate budgets hold, are
    told to who may read those (`Query.budgets`)."""
    quotas, caller = charge.quotas, charge.caller
    budget, (points_left, calls_left, seconds) = quotas.budget(caller), quotas.left(caller)
    upstream = None if calls is None else sum(one.calls for one in calls)
    roots = plan.bounds.cost_by_root(variables).items()
    inside = not caller.scopes.isdisjoint(SCOPES["Query.budgets"])
    return {
        "kind": plan.kind.value,
        "points": charge.points,
        "upstreamCalls": upstream,
        "takesMs": None if calls is None else round(1000 * max((one.takes_s for one in calls), default=0.0)),
        "affordable": charge.points <= points_left and (upstream or 0) <= calls_left,
        "budget": {
            "points": _budget(budget.points, points_left, seconds),
            "calls": _budget(budget.calls, calls_left, seconds),
        },
        "fields": [
            {"name": key, "field": coordinate, "points": points}
            | ({"reads": list(READS.get(coordinate, ()))} if inside else {})
            for key, (coordinate, points) in roots
        ],
        "live": sorted(plan.bounds.coordinates & LIVE),
        "byOperation": [_told(one, inside) for one in calls or ()],
        "scopes": [
            {"field": field, "anyOf": sorted(scopes), "held": not caller.scopes.isdisjoint(scopes)}
            for field, scopes in plan.needs
        ],
        **_compiled(schema, plan),
    }


def _budget(limit: int, left: float, seconds: float) -> dict[str, Any] | None:
    """What is left of a minute; None where there is no limit."""
    return {"perMinute": limit, "left": int(left), "resetMs": round(seconds * 1000)} if limit else None


def _told(one: Expected, inside: bool) -> dict[str, Any]:
    return {
        "channel": one.channel,
        "operation": one.operation,
        "calls": one.calls,
        **({"tokens": round(one.tokens, 1), "tokensPerSecond": one.rate} if inside else {}),
        "waitMs": round(one.wait_s * 1000),
        "takesMs": round(one.takes_s * 1000),
    }


def _compiled(schema: GraphQLSchema, plan: Plan) -> dict[str, Any]:
    """Whether it is compiled once it is asked again, or why it is left to graphql-core."""
    why = [plan.not_compiled] if plan.not_compiled else []
    if not plan.final:  # which it is from its second use on
        compile(schema, plan.document, plan.name or None, fell_back=why.append)
    return {"compiled": not why, "notCompiled": why[0] if why else None}
