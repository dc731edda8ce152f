"""Rules of what may be sold where."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any

import strawberry
from strawberry.utils.str_converters import to_camel_case

from domain import channel as channel_domain
from domain import rule as domain
from domain.errors import Invalid, Refused
from domain.ids import ChannelId, RuleId, Sku, node_id, node_key
from resolvers import channel, stock_rule
from schema.channel import Channel
from schema.enums import RuleKind
from schema.info import Info
from schema.payload import UserError
from schema.scalars import Duration

_NAMES = tuple(dict.fromkeys(one.name for settings in domain.SETTINGS.values() for one in fields(settings)))
_NEEDED = frozenset({"units", "percent"})


@strawberry.type(
    description="What may be sold where, for whom it names: null is for all. Settings that its kind does not have are null."
)
class StockRule:
    id: strawberry.ID
    name: str = strawberry.field(description="Numbers name the rule behind them by it.")
    kind: RuleKind
    sku: str | None
    tag: str | None = strawberry.field(description="Products whose attribute `tag` has this value.")
    location: str | None = strawberry.field(description="The code of the place, or of the FBA pool.")
    priority: int = strawberry.field(description="Among rules for the same, the higher one wins, then the newer.")
    starts_at: datetime | None
    ends_at: datetime | None
    made_by: str
    made_at: datetime | None
    units: int | None
    percent: Decimal | None
    hard: bool | None
    cap: int | None
    floor: int | None
    max_age: Duration | None
    countries: list[str] | None
    excluded_states: list[str] | None
    certainty: Decimal | None
    least_lag: Duration | None
    channel_key: strawberry.Private[ChannelId | None]

    @strawberry.field(graphql_type=Channel | None)
    def channel(self, info: Info) -> channel_domain.Channel | None:
        return None if self.channel_key is None else channel.of(info.context.shelf, self.channel_key)

    @classmethod
    def of(cls, rule: domain.Rule) -> StockRule:
        """As clients see it."""
        settings: dict[str, Any] = {name: _told(getattr(rule.settings, name, None)) for name in _NAMES}
        return cls(
            id=strawberry.ID(node_id("StockRule", rule.id)),
            name=rule.name,
            kind=domain.kind_of(rule.settings),
            sku=rule.sku,
            tag=rule.tag,
            location=rule.location,
            priority=rule.priority,
            starts_at=rule.starts_at,
            ends_at=rule.ends_at,
            made_by=rule.made_by,
            made_at=rule.made_at,
            channel_key=rule.channel,
            **settings,
        )


def _told(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else value


@strawberry.type(description="The rule as it was kept or ended, or why nothing changed.")
class StockRulePayload:
    rule: StockRule | None
    user_errors: list[UserError]


@strawberry.type(description="A number that a channel would be told instead of another.")
class StockRuleSample:
    sku: str
    before: int
    after: int

    @strawberry.field(graphql_type=Channel)
    def channel(self, info: Info, root: strawberry.Parent[stock_rule.Sample]) -> channel_domain.Channel:
        return channel.of(info.context.shelf, root.channel)


@strawberry.type(description="What a change of rules would do to the numbers that channels are told.")
class StockRulePreview:
    examined: int = strawberry.field(description="SKUs that were looked at.")
    complete: bool = strawberry.field(description="Whether these are all; false when there was no time for the rest.")
    changed: int = strawberry.field(description="Numbers that would differ.")
    samples: list[StockRuleSample] = strawberry.field(description="The first of them.")


@strawberry.input(
    description="A rule of this name, in place of the one that there is. What is left out is for all, or as usual for its kind."
)
class StockRuleInput:
    name: str
    kind: RuleKind
    sku: str | None = None
    tag: str | None = strawberry.field(default=None, description="Products whose attribute `tag` has this value.")
    channel_id: strawberry.ID | None = None
    location: str | None = strawberry.field(default=None, description="The code of the place, or of the FBA pool.")
    priority: int | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    units: int | None = strawberry.field(default=None, description="Of SAFETY_STOCK, MAXIMUM_SHOWN and LAST_UNITS.")
    percent: Decimal | None = strawberry.field(
        default=None, description="Of CHANNEL_SHARE, FBA_SHARE and PRE_ORDER: 0 to 100."
    )
    hard: bool | None = strawberry.field(default=None, description="Of CHANNEL_SHARE: nobody else sells the share.")
    cap: int | None = strawberry.field(default=None, description="Of FBA_SHARE and PRE_ORDER: the most.")
    floor: int | None = strawberry.field(default=None, description="Of FBA_SHARE: the least, and all when too old.")
    max_age: Duration | None = strawberry.field(default=None, description="Of FBA_SHARE: PT1H unless told.")
    countries: list[str] | None = strawberry.field(default=None, description="Of FBA_SHARE: for buyers there alone.")
    excluded_states: list[str] | None = strawberry.field(
        default=None, description="Of FBA_SHARE: never for buyers there."
    )
    certainty: Decimal | None = strawberry.field(default=None, description="Of VELOCITY_BUFFER: 0.95 unless told.")
    least_lag: Duration | None = strawberry.field(default=None, description="Of VELOCITY_BUFFER: PT30S unless told.")

    def to_domain(self) -> domain.Rule:
        """As the resolver takes it. Raises Invalid, and NotFound for an id of another kind."""
        return domain.Rule(
            id=RuleId(""),
            name=self.name,
            settings=self._settings(),
            sku=None if self.sku is None else Sku(self.sku),
            tag=self.tag,
            channel=None if self.channel_id is None else ChannelId(node_key("Channel", self.channel_id)),
            location=self.location,
            priority=self.priority or 0,
            starts_at=self.starts_at,
            ends_at=self.ends_at,
        )

    def _settings(self) -> domain.Settings:
        kind = self.kind
        names = [one.name for one in fields(domain.SETTINGS[kind])]
        given = {name: getattr(self, name) for name in _NAMES if getattr(self, name) is not None}
        known = ", ".join(f"`{to_camel_case(name)}`" for name in names)
        for name in given:
            if name not in names:
                raise Invalid(f"A rule {kind.value} has {known}, and nothing else.", field=(name,))
        for name in names:
            if name in _NEEDED and name not in given:
                raise Invalid(f"A rule {kind.value} needs `{name}`.", field=(name,))
        for name in ("countries", "excluded_states"):
            if name in given:
                given[name] = frozenset(code.strip().upper() for code in given[name])
        return domain.SETTINGS[kind](**given)


def in_input(problem: Refused) -> Refused:
    """The same refusal, with its field named as the input names it."""
    names = {"channel": "channelId"}
    problem.field = tuple(names.get(name) or to_camel_case(name) for name in problem.field or ()) or None
    return problem
