"""Channels and their budgets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import strawberry

from domain import budget as budgets_domain
from domain import channel as domain
from domain.ids import node_id
from resolvers import channel
from schema.enums import DriftKind, Platform
from schema.info import Info
from schema.node import Node, describes
from schema.scalars import Duration


@strawberry.type(description="The token bucket of one upstream operation of one channel, shared by all processes.")
class RateBudget:
    operation: str = strawberry.field(description="The platform's own name of the operation.")
    rate_per_second: float = strawberry.field(description="Tokens that flow in per second, as the platform tells it.")
    burst: int = strawberry.field(description="The most that can be saved up.")
    remaining: float = strawberry.field(description="Tokens that could be spent now.")
    waiting: int = strawberry.field(description="Callers in the queue.")
    throttled: int = strawberry.field(description="How often the platform answered 429 in spite of us.")


def _rate_budget(state: budgets_domain.BudgetState) -> RateBudget:
    return RateBudget(
        operation=state.operation,
        rate_per_second=state.rate,
        burst=int(state.burst),
        remaining=state.remaining,
        waiting=state.waiting,
        throttled=state.throttled,
    )


def rate_budgets(states: Sequence[budgets_domain.BudgetState]) -> list[RateBudget]:
    """Buckets as clients see them."""
    return [_rate_budget(state) for state in states]


@strawberry.type(description="One synchronization of one channel.")
class SyncStream:
    name: str
    every: Duration
    last_success_at: datetime | None
    lag_seconds: int | None = strawberry.field(description="Seconds since the last success; null before the first.")
    last_error: str | None = strawberry.field(description="Why the last run failed; null when it did not.")
    path: str | None = strawberry.field(
        description="How the last run of orders read them: pages, report, bulk or single; null of other streams."
    )
    path_reason: str | None = strawberry.field(description="Why that path was taken, and the others were not.")
    paused_at: datetime | None = strawberry.field(description="Since when people have stopped it; null while it runs.")
    paused_by: str | None
    pause_reason: str | None


def sync_streams(states: Sequence[domain.StreamState], now: datetime) -> list[SyncStream]:
    """Streams as clients see them."""
    return [
        SyncStream(
            name=state.name.value,
            every=Duration(state.every),
            last_success_at=state.last_success_at,
            lag_seconds=state.lag_seconds(now),
            last_error=state.last_error,
            path=state.way,
            path_reason=state.way_reason,
            paused_at=state.paused_at,
            paused_by=state.paused_by,
            pause_reason=state.pause_reason,
        )
        for state in states
    ]


@strawberry.type(description="Measured over the last day, from a sale on one side to the lower number being seen here.")
class StockLag:
    samples: int
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float


@strawberry.type(description="How often numbers differed from what we believe, for one reason.")
class DriftCount:
    kind: DriftKind
    open: int = strawberry.field(description="Those that differ now.")
    last_day: int = strawberry.field(
        description="Those that differed at some time of the last 24 hours, open ones included."
    )


def _channel_id(root: domain.Channel) -> strawberry.ID:
    return strawberry.ID(node_id("Channel", root.id))


@strawberry.type(
    description=(
        "One Amazon selling account in one region, or one shop. One that is configured no more is told as it was last, and is "
        "not healthy."
    )
)
class Channel(Node):
    id: strawberry.ID = strawberry.field(resolver=_channel_id)
    platform: Platform
    name: str
    sandbox: bool = strawberry.field(description="Whether it talks to a stand-in instead of the real platform.")
    marketplaces: list[str] = strawberry.field(description="Country codes, such as US or DE; empty for a shop.")

    is_type_of = describes(domain.Channel)

    @strawberry.field(
        description="Whether its work goes on: not paused, no stream failed last, no number differs, live reads are answered."
    )
    async def healthy(self, info: Info, root: strawberry.Parent[domain.Channel]) -> bool:
        return not await channel.ailments(info.context.shelf, root.id)

    @strawberry.field(description="Why it is not healthy, in words for people; empty when it is.")
    async def ailments(self, info: Info, root: strawberry.Parent[domain.Channel]) -> list[str]:
        return await channel.ailments(info.context.shelf, root.id)

    @strawberry.field(description="How far each synchronization has come.")
    async def streams(self, info: Info, root: strawberry.Parent[domain.Channel]) -> list[SyncStream]:
        states = await channel.streams(info.context.shelf, root.id)
        return sync_streams(states, info.context.shelf.clock())

    @strawberry.field(
        description="How long its buyers see a number after a sale elsewhere; null when nothing was measured."
    )
    async def stock_lag(self, info: Info, root: strawberry.Parent[domain.Channel]) -> StockLag | None:
        lag = await channel.stock_lag(info.context.shelf, root.id)
        if lag is None:
            return None
        return StockLag(
            samples=lag.samples,
            p50_seconds=round(lag.p50_s, 3),
            p95_seconds=round(lag.p95_s, 3),
            p99_seconds=round(lag.p99_s, 3),
        )

    @strawberry.field(description="What of its numbers differs, and differed lately, by kind; empty when nothing did.")
    async def drift_counts(self, info: Info, root: strawberry.Parent[domain.Channel]) -> list[DriftCount]:
        counts = await channel.drift_counts(info.context.shelf, root.id)
        return [DriftCount(kind=one.kind, open=one.open, last_day=one.last_day) for one in counts]

    @strawberry.field(description="Its rate budgets.")
    async def budgets(self, info: Info, root: strawberry.Parent[domain.Channel]) -> list[RateBudget]:
        return rate_budgets(await channel.budgets(info.context.shelf, root.id))
