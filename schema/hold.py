"""Why orders do not go on, and the rules that hold them as they come in."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import strawberry

from domain import hold as domain
from domain.ids import ChannelId, node_id, node_key
from schema.enums import HoldReason
from schema.payload import UserError
from schema.scalars import Duration


def _hold_id(root: domain.Hold) -> strawberry.ID:
    return strawberry.ID(node_id("OrderHold", root.id))


@strawberry.type(description="What keeps an order from going on, or did.")
class OrderHold:
    id: strawberry.ID = strawberry.field(resolver=_hold_id)
    reason: HoldReason
    words: str
    made_by: str = strawberry.field(description="The name of a key; `acorn` where a rule asked for it.")
    made_at: datetime
    rule: str | None = strawberry.field(description="The rule that asked for it.")
    keeps_until: datetime | None = strawberry.field(
        description="From then on others may have its units; null: they stay its own as long as it is held."
    )
    approval: bool = strawberry.field(
        description="Whether only approveOrders ends it, by somebody else than who made it."
    )
    ended_at: datetime | None
    ended_by: str | None


@strawberry.type(
    description="Orders like this are held as they come in or change; all conditions that are set have to hold."
)
class HoldRule:
    name: str
    reason: HoldReason
    words: str
    keeps_for: Duration | None = strawberry.field(
        description="For how long an order keeps its units; null: as long as it is held."
    )
    approval: bool
    unmapped: bool = strawberry.field(description="A line's SKU is none of ours.")
    no_destination: bool = strawberry.field(description="It is not told, or not told in full, where it goes to.")
    oversold: bool = strawberry.field(description="A line was sold beyond what there was.")
    value_above: Decimal | None
    currency: str | None
    units_above: int | None
    countries: list[str]
    other_countries: list[str] = strawberry.field(description="It goes to another country than these.")
    channel_ids: list[strawberry.ID]
    skus: list[str]
    services: list[str] = strawberry.field(description="How fast it was sold to be, in the channel's own words.")
    made_by: str
    made_at: datetime | None

    @classmethod
    def of(cls, one: domain.HoldRule) -> HoldRule:
        """As clients see it."""
        when = one.conditions
        return cls(
            name=one.name,
            reason=one.reason,
            words=one.words,
            keeps_for=None if one.keeps is None else Duration(one.keeps),
            approval=one.approval,
            unmapped=when.unmapped,
            no_destination=when.no_destination,
            oversold=when.oversold,
            value_above=when.value_above,
            currency=when.currency,
            units_above=when.units_above,
            countries=sorted(when.countries),
            other_countries=sorted(when.other_countries),
            channel_ids=[strawberry.ID(node_id("Channel", channel)) for channel in sorted(when.channels)],
            skus=sorted(when.skus),
            services=sorted(when.services),
            made_by=one.made_by,
            made_at=one.made_at,
        )


@strawberry.input(description="A rule of this name, in place of the one that there is; one condition at least.")
class HoldRuleInput:
    name: str
    reason: HoldReason
    words: str = strawberry.field(description="What people are told; nothing of a buyer.")
    keeps_for: Duration | None = strawberry.field(
        default=None, description="For how long an order keeps its units; left out: as long as it is held."
    )
    approval: bool = strawberry.field(default=False, description="Only approveOrders ends it.")
    unmapped: bool = False
    no_destination: bool = False
    oversold: bool = False
    value_above: Decimal | None = None
    currency: str | None = strawberry.field(default=None, description="Of `valueAbove`.")
    units_above: int | None = None
    countries: list[str] | None = strawberry.field(default=None, description="It goes to one of these.")
    other_countries: list[str] | None = strawberry.field(default=None, description="It goes to none of these.")
    channel_ids: list[strawberry.ID] | None = None
    skus: list[str] | None = None
    services: list[str] | None = None

    def to_domain(self) -> domain.HoldRule:
        """As the resolver takes it. Raises NotFound for an id of another kind."""
        return domain.HoldRule(
            name=self.name,
            reason=self.reason,
            words=self.words,
            keeps=self.keeps_for,
            approval=self.approval,
            conditions=domain.Conditions(
                unmapped=self.unmapped,
                no_destination=self.no_destination,
                oversold=self.oversold,
                value_above=self.value_above,
                currency=self.currency,
                units_above=self.units_above,
                countries=frozenset(self.countries or ()),
                other_countries=frozenset(self.other_countries or ()),
                channels=frozenset(ChannelId(node_key("Channel", id)) for id in self.channel_ids or ()),
                skus=frozenset(self.skus or ()),
                services=frozenset(self.services or ()),
            ),
        )


@strawberry.type(description="The rule as it was kept or forgotten, or why nothing changed.")
class HoldRulePayload:
    rule: HoldRule | None
    user_errors: list[UserError]
