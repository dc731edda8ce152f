"""The guards of prices, as clients read and keep them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import strawberry
from strawberry.utils.str_converters import to_camel_case

from domain import price_guard as domain
from domain.errors import Invalid, Refused
from domain.ids import ChannelId, Sku, node_id, node_key
from domain.price_approval import Approval
from domain.price_canary import Radius
from schema.enums import PriceGuardAction, PriceGuardKind
from schema.payload import UserError
from schema.scalars import Duration


@strawberry.type(
    description="A limit of prices, for listings that fit all that is told; null fits all. Its settings depend on `kind`."
)
class PriceGuard:
    name: str
    kind: PriceGuardKind
    action: PriceGuardAction
    sku: str | None
    brand: str | None
    marketplace: str | None
    currency: str | None
    except_skus: list[str] = strawberry.field(description="For these it does not hold.")
    amount: Decimal | None
    margin: Decimal | None
    fees: bool
    factor: Decimal | None
    up: Decimal | None
    down: Decimal | None
    step: Decimal | None
    share: Decimal | None
    rows: int | None

    @strawberry.field
    def channel_id(self, root: strawberry.Parent[domain.Guard]) -> strawberry.ID | None:
        return None if root.channel is None else strawberry.ID(node_id("Channel", root.channel))


@strawberry.type(
    description="How far a change may reach before a canary goes first, and how that is judged. Shares and steps are percent."
)
class PriceRadius:
    share: Decimal = strawberry.field(description="Of a channel's listings: when more of them move ...")
    rows: int = strawberry.field(description="... and at least so many ...")
    step: Decimal = strawberry.field(description="... by more than this, a canary goes first.")
    canary_share: Decimal = strawberry.field(description="So many of the rows are it ...")
    most: int = strawberry.field(description="... and no more than this.")
    watch: Duration = strawberry.field(description="So long it is watched.")
    lost_share: Decimal = strawberry.field(description="It is bad when more of it did not come about.")
    issue_share: Decimal = strawberry.field(description="It is bad when more of it has new issues.")
    sold_factor: Decimal = strawberry.field(
        description="It is bad when it sells more than so many times what is usual ..."
    )
    sold_units: int = strawberry.field(description="... and at least so many units.")


@strawberry.type(description="An amount from which on a second person is wanted.")
class PriceApprovalAmount:
    currency: str
    amount: Decimal


@strawberry.type(description="Which changes want a second person, whatever the guards say.")
class PriceApproval:
    rows: int | None = strawberry.field(description="Those of more rows.")

    @strawberry.field(graphql_type=list[PriceApprovalAmount], description="Those that move one price by more.")
    def row(self, root: strawberry.Parent[Approval]) -> list[PriceApprovalAmount]:
        return [PriceApprovalAmount(currency=currency, amount=amount) for currency, amount in sorted(root.row.items())]

    @strawberry.field(graphql_type=list[PriceApprovalAmount], description="Those whose rows move by more together.")
    def total(self, root: strawberry.Parent[Approval]) -> list[PriceApprovalAmount]:
        return [
            PriceApprovalAmount(currency=currency, amount=amount) for currency, amount in sorted(root.total.items())
        ]

    @strawberry.field(description="All of these channels.")
    def channel_ids(self, root: strawberry.Parent[Approval]) -> list[strawberry.ID]:
        return [strawberry.ID(node_id("Channel", one)) for one in root.channels]


@strawberry.type(description="A set of guards: no price that they refuse is ever sent, whichever way it came in.")
class PriceGuards:
    version: int = strawberry.field(
        description="It grows with each set that is kept; 0 is what holds while nobody has kept one."
    )
    made_by: str
    made_at: datetime | None
    guards: list[PriceGuard] = strawberry.field(description="All that fit a listing hold for it.")
    radius: PriceRadius
    approval: PriceApproval


@strawberry.input(
    description="A limit of prices. All that is told of `sku` to `currency` has to fit; what is left out fits all."
)
class PriceGuardInput:
    name: str = strawberry.field(description="Hits are told by it.")
    kind: PriceGuardKind
    action: PriceGuardAction | None = strawberry.field(
        default=None, description="Left out: REFUSE for FLOOR, CEILING, MAP and SHIFT, HOLD for the others."
    )
    sku: str | None = None
    brand: str | None = None
    channel_id: strawberry.ID | None = None
    marketplace: str | None = None
    currency: str | None = None
    except_skus: list[str] = strawberry.field(default_factory=list, description="For these it does not hold.")
    amount: Decimal | None = strawberry.field(default=None, description="Of FLOOR, CEILING and MAP, in `currency`.")
    margin: Decimal | None = strawberry.field(default=None, description="Of FLOOR: percent over the landed cost.")
    fees: bool = strawberry.field(default=False, description="Of FLOOR with a margin: the channel's fees come on top.")
    factor: Decimal | None = strawberry.field(
        default=None, description="Of CEILING: so many times the most that another listing of the SKU takes."
    )
    up: Decimal | None = strawberry.field(default=None, description="Of STEP and DAY, in percent.")
    down: Decimal | None = strawberry.field(default=None, description="Of STEP and DAY, in percent.")
    step: Decimal | None = strawberry.field(default=None, description="Of STOP_LOSS: moves of more percent count.")
    share: Decimal | None = strawberry.field(default=None, description="Of STOP_LOSS: percent of the rows that may.")
    rows: int | None = strawberry.field(default=None, description="Of STOP_LOSS: smaller requests are left alone.")

    def to_domain(self) -> domain.Guard:
        """As the resolver takes it. Raises Refused, with its field."""
        return domain.Guard(
            name=self.name,
            kind=self.kind,
            action=self.action or domain.ACTIONS[self.kind],
            sku=None if self.sku is None else Sku(self.sku),
            brand=self.brand,
            channel=None if self.channel_id is None else _channel(self.channel_id, ("channel",)),
            marketplace=self.marketplace,
            currency=self.currency,
            except_skus=tuple(map(Sku, self.except_skus)),
            amount=self.amount,
            margin=self.margin,
            fees=self.fees,
            factor=self.factor,
            up=self.up,
            down=self.down,
            step=self.step,
            share=self.share,
            rows=self.rows,
        )


@strawberry.input(description="How far a change may reach before a canary goes first; what is left out is as usual.")
class PriceRadiusInput:
    share: Decimal | None = None
    rows: int | None = None
    step: Decimal | None = None
    canary_share: Decimal | None = None
    most: int | None = None
    watch: Duration | None = None
    lost_share: Decimal | None = None
    issue_share: Decimal | None = None
    sold_factor: Decimal | None = None
    sold_units: int | None = None

    def to_domain(self) -> Radius:
        """As the resolver takes it. Raises Invalid."""
        usual = domain.USUAL_RADIUS
        names = [name for name in usual.__slots__ if getattr(self, name) is not None]
        return Radius(**{name: getattr(self, name) for name in names})


@strawberry.input(description="An amount from which on a second person is wanted.")
class PriceApprovalAmountInput:
    currency: str
    amount: Decimal


@strawberry.input(description="Which changes want a second person; left out: none.")
class PriceApprovalInput:
    row: list[PriceApprovalAmountInput] = strawberry.field(
        default_factory=list, description="Those that move one price by more, by currency."
    )
    total: list[PriceApprovalAmountInput] = strawberry.field(
        default_factory=list, description="Those whose rows move by more together, by currency."
    )
    rows: int | None = strawberry.field(default=None, description="Those of more rows.")
    channel_ids: list[strawberry.ID] = strawberry.field(default_factory=list, description="All of these channels.")

    def to_domain(self) -> Approval:
        """As the resolver takes it. Raises Refused, with its field."""
        return Approval(
            row=_amounts(self.row, "row"),
            total=_amounts(self.total, "total"),
            rows=self.rows,
            channels=tuple(
                _channel(one, ("approval", "channelIds", str(number))) for number, one in enumerate(self.channel_ids)
            ),
        )


@strawberry.input(description="A whole set of guards, in place of the one that holds. What is left out guards nothing.")
class SetPriceGuardsInput:
    version: int = strawberry.field(
        description="Of the set that this one takes the place of, as `priceGuards` told it."
    )
    guards: list[PriceGuardInput]
    radius: PriceRadiusInput | None = strawberry.field(default=None, description="Left out: as usual.")
    approval: PriceApprovalInput | None = strawberry.field(default=None, description="Left out: nothing wants one.")

    def to_domain(self) -> domain.PriceGuards:
        """As the resolver takes it. Raises Refused, with its field."""
        guards = []
        for number, one in enumerate(self.guards):
            try:
                guards.append(one.to_domain())
            except Refused as problem:
                problem.field = ("guards", str(number), *(problem.field or ()))
                raise
        return domain.PriceGuards(
            version=self.version,
            guards=tuple(guards),
            radius=domain.USUAL_RADIUS if self.radius is None else self.radius.to_domain(),
            approval=domain.NO_APPROVAL if self.approval is None else self.approval.to_domain(),
        )


def _channel(id: strawberry.ID, field: tuple[str, ...]) -> ChannelId:
    try:
        return ChannelId(node_key("Channel", id))
    except Refused as problem:
        problem.field = field
        raise


def _amounts(told: Sequence[PriceApprovalAmountInput], name: str) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for number, one in enumerate(told):
        if one.currency in found:
            raise Invalid(f"{one.currency} stands there twice.", field=("approval", name, str(number), "currency"))
        found[one.currency] = one.amount
    return found


def in_input(problem: Refused) -> Refused:
    """The same refusal, with its field named as the input names it."""
    names = {"channel": "channelId"}
    problem.field = tuple(names.get(name) or to_camel_case(name) for name in problem.field or ()) or None
    return problem


@strawberry.type(description="The set that holds now, or why it does not.")
class PriceGuardsPayload:
    price_guards: PriceGuards | None
    user_errors: list[UserError]
