"""Prices that are set: what is asked, and what a change of them does, row by row and in all."""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal

import strawberry

from domain import price as price_domain
from domain import price_change as domain
from domain.errors import Invalid, NotFound, Refused
from domain.ids import ChannelId, Sku, node_id, node_key
from domain.money import Money as Amount
from domain.price_target import Asked
from resolvers import price
from schema.enums import PriceGuardAction
from schema.info import Info
from schema.money import Money


@strawberry.type(description="A guard that a price runs into, and in words by how much and what to do.")
class PriceHit:
    guard: str
    action: PriceGuardAction

    @strawberry.field
    def message(self, root: strawberry.Parent[price_domain.Hit]) -> str:
        return root.words


@strawberry.type(description="What a listing is sold for: always, and in a sale from one instant on until another.")
class OfferedPrice:
    @strawberry.field(graphql_type=Money)
    def price(self, root: strawberry.Parent[price_domain.Price]) -> Amount:
        return root.regular

    @strawberry.field(graphql_type=Money | None)
    def sale_price(self, root: strawberry.Parent[price_domain.Price]) -> Amount | None:
        return None if root.sale is None else root.sale.price

    @strawberry.field(description="Null: it has begun, or nobody knows when.")
    def sale_from(self, root: strawberry.Parent[price_domain.Price]) -> datetime | None:
        return None if root.sale is None else root.sale.starts_at

    @strawberry.field(description="Null: it has no end, or nobody knows it.")
    def sale_to(self, root: strawberry.Parent[price_domain.Price]) -> datetime | None:
        return None if root.sale is None else root.sale.ends_at


@strawberry.type(description="What one row changes, by what was known when it was asked for.")
class PriceChange:
    margin: Money | None = strawberry.field(
        description="Of a unit sold at the least that buyers pay: what is left behind its landed cost and the channel's fees, "
        "taxes included; null where one of them is not known."
    )
    margin_percent: Decimal | None = strawberry.field(description="The same in percent of that price.")
    hits: list[PriceHit] = strawberry.field(description="The guards that it runs into.")

    @strawberry.field
    def sku(self, root: strawberry.Parent[domain.Change]) -> str | None:
        return root.wish.sku

    @strawberry.field
    def channel_id(self, root: strawberry.Parent[domain.Change]) -> strawberry.ID:
        return strawberry.ID(node_id("Channel", root.wish.channel))

    @strawberry.field
    def marketplace(self, root: strawberry.Parent[domain.Change]) -> str | None:
        return root.wish.marketplace

    @strawberry.field
    def channel_sku(self, root: strawberry.Parent[domain.Change]) -> str:
        return root.wish.channel_sku

    @strawberry.field(
        graphql_type=OfferedPrice | None,
        description="What it was wanted, or else seen, to be sold for; null if nobody knew.",
    )
    def before(self, root: strawberry.Parent[domain.Change]) -> price_domain.Price | None:
        return root.before

    @strawberry.field(graphql_type=OfferedPrice)
    def after(self, root: strawberry.Parent[domain.Change]) -> price_domain.Price:
        return root.wish.price

    @strawberry.field(
        description="By how many percent the least that buyers pay changes; below 0 for less, null if unknown."
    )
    def change_percent(self, root: strawberry.Parent[domain.Change]) -> Decimal | None:
        return root.step

    @strawberry.field(description="It was asked for already, or is shown.")
    def unchanged(self, root: strawberry.Parent[domain.Change]) -> bool:
        return root.idle

    @strawberry.field(description="By which way it came in.")
    def origin(self, root: strawberry.Parent[domain.Change]) -> str:
        return root.wish.origin.value

    @strawberry.field(description="Why, in words for people; empty where nobody said so.")
    def reason(self, root: strawberry.Parent[domain.Change]) -> str:
        return root.wish.reason


@strawberry.type(description="How rows reach a channel.")
class PriceRoute:
    calls: int = strawberry.field(description="Upstream calls, at the least.")

    @strawberry.field
    def channel_id(self, root: strawberry.Parent[price.LaneForecast]) -> strawberry.ID:
        return strawberry.ID(node_id("Channel", root.lane.channel))

    @strawberry.field
    def marketplace(self, root: strawberry.Parent[price.LaneForecast]) -> str | None:
        return root.lane.marketplace

    @strawberry.field
    def rows(self, root: strawberry.Parent[price.LaneForecast]) -> int:
        return root.lane.rows

    @strawberry.field(description="The way that would be taken now; null where the channel knows only one.")
    def way(self, root: strawberry.Parent[price.LaneForecast]) -> str | None:
        return None if root.choice is None else root.choice.taken.route.way.name

    @strawberry.field(description="How long that takes under the budgets of the moment.")
    def seconds(self, root: strawberry.Parent[price.LaneForecast]) -> int | None:
        return None if root.choice is None else math.ceil(root.choice.taken.seconds)

    @strawberry.field(description="Why that way.")
    def reason(self, root: strawberry.Parent[price.LaneForecast]) -> str | None:
        return None if root.choice is None else root.choice.reason


@strawberry.type(description="A change of prices in all, by what was known when it was asked for.")
class PriceSummary:
    rows: int
    refused: int = strawberry.field(description="Rows that a guard, or a moved preview, keeps from being sent.")
    held: int = strawberry.field(description="Rows that want another person than their author.")
    hits: list[PriceHit] = strawberry.field(description="What is said of all rows together.")

    @strawberry.field(description="Rows that change nothing.")
    def unchanged(self, root: strawberry.Parent[domain.Summary]) -> int:
        return root.idle

    @strawberry.field(description="Rows of which nobody knew what they are moved from.")
    def unknown(self, root: strawberry.Parent[domain.Summary]) -> int:
        return root.unknown

    @strawberry.field(description="The largest step down, in percent and below 0; null where nothing falls.")
    def fall_percent(self, root: strawberry.Parent[domain.Summary]) -> Decimal | None:
        return root.fall

    @strawberry.field(description="The largest step up.")
    def rise_percent(self, root: strawberry.Parent[domain.Summary]) -> Decimal | None:
        return root.rise

    @strawberry.field(
        graphql_type=list[PriceRoute], description="What it takes, as of now, to tell the rows that have not been sent."
    )
    async def routes(self, info: Info, root: strawberry.Parent[domain.Summary]) -> list[price.LaneForecast]:
        return await price.forecasts(info.context.shelf, root.lanes)


@strawberry.input(
    description=(
        "What a SKU of ours is to be sold for: at the listings named, or at all whose prices are in this currency. Nothing "
        "else holds from then on: a sale that is not told ends."
    )
)
class PriceInput:
    sku: str
    channel_id: strawberry.ID | None = None
    marketplace: str | None = None
    amount: Decimal
    currency: str
    sale_amount: Decimal | None = strawberry.field(default=None, description="The lower price of a sale.")
    sale_from: datetime | None = strawberry.field(default=None, description="When the sale begins; left out: at once.")
    sale_to: datetime | None = strawberry.field(default=None, description="When it ends; left out: it stays.")
    sale_from_local: str | None = strawberry.field(
        default=None,
        description="In place of saleFrom: what the clocks of each marketplace show then, such as 2026-11-27T00:00.",
    )
    sale_to_local: str | None = strawberry.field(default=None, description="In place of saleTo.")

    def to_domain(self, at: tuple[str, ...]) -> Asked:
        """As the resolver takes it. Raises Refused, with the field."""
        channel = None if self.channel_id is None else ChannelId(_key(self.channel_id, (*at, "channelId")))
        try:
            regular = Amount(self.amount, self.currency)
        except Refused as problem:
            problem.field = (*at, "currency")
            raise
        return Asked(Sku(self.sku), price_domain.Price(regular, self._sale(at)), channel, self.marketplace)

    def _sale(self, at: tuple[str, ...]) -> price_domain.Sale | None:
        begins = _time(self.sale_from, self.sale_from_local, (*at, "saleFromLocal"))
        ends = _time(self.sale_to, self.sale_to_local, (*at, "saleToLocal"))
        if self.sale_amount is not None:
            return price_domain.Sale(Amount(self.sale_amount, self.currency), begins, ends)
        if begins is not None or ends is not None:
            raise Invalid("A sale has an amount; leave its times out where there is none.", field=(*at, "saleAmount"))
        return None


@strawberry.input(
    description="Prices to set; all or none is kept, at most 5,000. A file may have 100,000: POST /prices/files."
)
class UpdatePricesInput:
    prices: list[PriceInput]
    reason: str | None = strawberry.field(default=None, description="Why, for who looks at the history later.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="Repeating the mutation with the same key and contents answers the first operation."
    )
    dry_run: bool | None = strawberry.field(
        default=False,
        description="True: keep a PREVIEW; approveOperation sends its rows as shown, and refuses those that moved since.",
    )

    def to_domain(self) -> tuple[list[Asked], list[Refused]]:
        """What is asked, and what was wrong with it."""
        asked: list[Asked] = []
        problems: list[Refused] = []
        for index, one in enumerate(self.prices):
            try:
                asked.append(one.to_domain(("prices", str(index))))
            except Refused as problem:
                problems.append(problem)
        return asked, problems


def _time(instant: datetime | None, local: str | None, field: tuple[str, ...]) -> datetime | None:
    if local is None:
        return instant
    if instant is not None:
        raise Invalid("Say it in one way: with a zone, or as clocks show it there.", field=field)
    try:
        wall = datetime.fromisoformat(local)
    except ValueError:
        wall = None
    if wall is None or wall.tzinfo is not None:
        raise Invalid(f"{local!r} is not what a clock shows, such as 2026-11-27T00:00.", field=field)
    return wall


def _key(node: str, field: tuple[str, ...]) -> str:
    try:
        return node_key("Channel", node)
    except NotFound as problem:
        raise NotFound(problem.message, field=field) from None
