"""A small contract to try the edge on: it can be slow, fail in every way, and follow the event log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from decimal import Decimal

import strawberry
from graphql import GraphQLDeferDirective
from strawberry.schema.config import StrawberryConfig

from domain.errors import Invalid, NotFound, Throttled
from domain.event import EventKind
from domain.ids import ChannelId
from resolvers.context import Context
from schema.scopes import SCHEMA

Info = strawberry.Info[Context, None]

# What `Query.slow` and `Query.held` went through: "began", then "ended" or "cancelled".
STEPS: list[str] = []

# What each execution of `Query.held` waits for.
HELD: list[asyncio.Future[None]] = []


@strawberry.type
class Tick:
    cursor: str
    subject: str
    text: str


@strawberry.type
class Leaf:
    name: str

    @strawberry.field
    def child(self) -> Leaf:
        return Leaf(name="child")

    @strawberry.field
    def secret(self) -> str:
        return "known to few"


@strawberry.type
class Branch:
    nodes: list[Leaf]
    total_count: int


async def _stepped(waits: Awaitable[None]) -> str:
    STEPS.append("began")
    try:
        await waits
    except asyncio.CancelledError:
        STEPS.append("cancelled")
        raise
    STEPS.append("ended")
    return "done"


def let_go() -> None:
    """End what `Query.held` waits for."""
    for one in HELD:
        if not one.done():
            one.set_result(None)
    HELD.clear()


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str = "world") -> str:
        return f"Hello {name}"

    @strawberry.field
    def who(self, info: Info) -> str:
        return info.context.caller.name

    @strawberry.field
    def price(self) -> Decimal:
        return Decimal("19.90")

    @strawberry.field
    def count(self, number: int) -> int:
        return number

    @strawberry.field
    async def slow(self, seconds: float) -> str:
        return await _stepped(asyncio.sleep(seconds))

    @strawberry.field
    async def held(self, number: int = 0) -> str:
        """Goes on when `let_go` is called."""
        HELD.append(asyncio.get_running_loop().create_future())
        return await _stepped(HELD[-1])

    @strawberry.field
    def left_s(self, info: Info) -> float:
        """Until the deadline."""
        assert info.context.ask.deadline is not None
        return info.context.ask.deadline - asyncio.get_running_loop().time()

    @strawberry.field
    def broken(self) -> str | None:
        raise RuntimeError("the canary sings of db-password")

    @strawberry.field
    def refused(self) -> str | None:
        raise Invalid("The carrier is unknown.", field=("carrier",), upstream_request_id="amzn-1", upstream_code="E7")

    @strawberry.field
    def throttled(self) -> str | None:
        raise Throttled("No slot.", retry_after_s=2.5)

    @strawberry.field
    def torn(self) -> str:
        """Half a character, which has no form in UTF-8."""
        return "\ud800"

    @strawberry.field
    def strict(self) -> str:
        raise NotFound("There is no such thing.")

    @strawberry.field
    def partial(self, info: Info) -> str:
        info.context.problems.append((["partial", 0], NotFound("One of them is gone.")))
        return "the rest"

    @strawberry.field
    def costly(self, info: Info) -> str:
        line = info.context.ask.bill.line(ChannelId("shop"), "inventoryItems")
        line.calls, line.tokens, line.coalesced = 3, 42.5, 7
        info.context.ask.bill.waited_s = 0.25
        return "paid"

    @strawberry.field
    def branches(self, first: int = 50) -> Branch:
        return Branch(nodes=[Leaf(name=str(one)) for one in range(first)], total_count=first)

    @strawberry.field
    def stock(self, skus: list[str]) -> list[Leaf]:
        return [Leaf(name=sku) for sku in skus]


@strawberry.type
class Mutation:
    @strawberry.mutation
    def ship(self) -> str:
        STEPS.append("shipped")
        return "shipped"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def follow(
        self, info: Info, subject: str, after: str | None = None, size: int = 0
    ) -> AsyncGenerator[Tick, None]:
        changes = info.context.shelf.events.follow(
            kinds=frozenset({EventKind.STOCK_CHANGED}),
            subjects=frozenset({subject}),
            after=None if after is None else int(after),
        )
        async for change in changes:
            info.context.renew()
            yield Tick(cursor=change.cursor, subject=change.subject, text="x" * size)

    @strawberry.subscription
    async def counted(self, to: int) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number

    @strawberry.subscription
    async def missing(self, at: int = 0) -> AsyncGenerator[int, None]:
        for number in range(at + 1):
            if number == at:
                raise NotFound("There is nothing to follow.")
            yield number

    @strawberry.subscription
    async def quiet(self) -> AsyncGenerator[int, None]:
        STEPS.append("began")
        try:
            await asyncio.sleep(3600)
        finally:
            STEPS.append("ended")
        yield 0


schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    config=StrawberryConfig(disable_field_suggestions=True),
)
schema._schema.directives += (GraphQLDeferDirective,)

_READ = frozenset({"read", "admin"})

SCOPES = {
    **{
        f"Query.{name}": _READ
        for name in ("hello", "who", "price", "count", "slow", "held", "leftS", "broken", "refused")
    },
    **{f"Query.{name}": _READ for name in ("throttled", "strict", "partial", "costly", "branches", "stock", "torn")},
    **{f"Subscription.{name}": _READ for name in ("follow", "counted", "missing", "quiet")},
    "Mutation.ship": frozenset({"ship", "admin"}),
    "Leaf.secret": frozenset({"admin"}),
    "Query.__schema": SCHEMA,
    "Query.__type": SCHEMA,
}

PUBLIC = frozenset({"Query.stock", "Leaf.name"})
