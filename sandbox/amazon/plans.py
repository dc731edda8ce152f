"""Usage plans: one strict bucket per (selling account, operation), as published in the models' descriptions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.bucket import Bucket
from sandbox.clock import Clock


@dataclass(frozen=True, slots=True)
class Plan:
    """Requests per second, and how many at once after a pause."""

    rate: float
    burst: int


PLANS = {
    "getInventorySummaries": Plan(2, 2),
    "getListingsItem": Plan(5, 10),
    "searchListingsItems": Plan(5, 5),
    "patchListingsItem": Plan(5, 5),
    "searchOrders": Plan(0.0056, 20),
    "getOrder": Plan(0.5, 30),
    "confirmShipment": Plan(2, 10),
    "getMarketplaceParticipations": Plan(0.016, 15),
}


class Plans:
    """The plans in force. The buckets run on the sandbox clock: at speed s they refill s times as fast."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._plans = dict(PLANS)
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def take(self, seller: str, operation: str) -> bool:
        """Take one request's token; False means 429."""
        plan = self._plans[operation]
        bucket = self._buckets.get((seller, operation))
        if bucket is None:
            bucket = self._buckets[seller, operation] = Bucket(plan.rate, plan.burst, self._clock)
        return bucket.take()

    def header(self, operation: str) -> str:
        """The rate a client on the real clock sees, for x-amzn-RateLimit-Limit."""
        return f"{self._plans[operation].rate * self._clock.speed:.10g}"

    def replace(self, bodies: Mapping[str, Any]) -> None:
        """Override plans, {"operation": {"rate", "burst"}}, with full buckets. ValueError changes nothing."""
        changed: dict[str, Plan] = {}
        for operation, body in bodies.items():
            if operation not in PLANS:
                raise ValueError(f"no operation {operation!r}; there are {', '.join(PLANS)}")
            if not isinstance(body, Mapping) or set(body) - {"rate", "burst"}:
                raise ValueError(f'{operation} takes {{"rate": requests per second, "burst": count}}')
            old = self._plans[operation]
            plan = Plan(float(body.get("rate", old.rate)), int(body.get("burst", old.burst)))
            if plan.rate < 0 or plan.burst < 1:
                raise ValueError("a rate is not negative and a burst is at least 1")
            changed[operation] = plan
        self._plans |= changed
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if key[1] not in changed}

    def shown(self) -> dict[str, Any]:
        return {operation: {"rate": plan.rate, "burst": plan.burst} for operation, plan in self._plans.items()}
