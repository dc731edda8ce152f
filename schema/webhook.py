"""Outgoing webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import strawberry

from domain import channel as channel_domain
from domain import webhook as domain
from domain.ids import ChannelId, node_id, node_key
from executor import batched
from resolvers import channel, webhook
from resolvers.connection import Connection
from schema.channel import Channel
from schema.connection import Page
from schema.enums import WebhookDeliveryState, WebhookFormat, WebhookState
from schema.info import Info, Parents
from schema.payload import UserError


@strawberry.type(description="One try of a delivery.")
class WebhookAttempt:
    number: int
    at: datetime
    milliseconds: int
    status: int | None = strawberry.field(description="The HTTP status; null where no answer came.")
    problem: str | None = strawberry.field(description="Why no answer came.")
    answer: str | None = strawberry.field(description="The beginning of what a failure said, redacted.")


async def _attempts(deliveries: Sequence[domain.Delivery], info: Parents) -> Sequence[object]:
    return await webhook.attempts(info.context.shelf, deliveries)


def _delivery_id(root: domain.Delivery) -> strawberry.ID:
    return strawberry.ID(node_id("WebhookDelivery", f"{root.webhook}/{root.id}"))


@strawberry.type(description="One event for one webhook.")
class WebhookDelivery:
    id: strawberry.ID = strawberry.field(resolver=_delivery_id)
    state: WebhookDeliveryState
    replayed: bool = strawberry.field(description="Whether it was asked for once more.")

    @strawberry.field(description="The CloudEvent's id, which is also the header webhook-id.")
    def event_id(self, root: strawberry.Parent[domain.Delivery]) -> str:
        return root.id

    @strawberry.field(description="The event, such as order.changed.v1.")
    def event(self, root: strawberry.Parent[domain.Delivery]) -> str:
        return root.type

    @strawberry.field(description="The id of what it is about; of one such, deliveries keep their order.")
    def subject(self, root: strawberry.Parent[domain.Delivery]) -> str:
        return root.object

    @strawberry.field(description="Its place in the event log.")
    def cursor(self, root: strawberry.Parent[domain.Delivery]) -> str:
        return str(root.place)

    @strawberry.field(description="When it is tried next at the earliest; null unless it waits.")
    def next_try_at(self, root: strawberry.Parent[domain.Delivery]) -> datetime | None:
        return root.due_at if root.state is domain.DeliveryState.PENDING else None

    @strawberry.field(graphql_type=list[WebhookAttempt], description="Oldest first.")
    @batched(_attempts)
    async def attempts(self, info: Info, root: strawberry.Parent[domain.Delivery]) -> list[domain.Attempt]:
        return (await webhook.attempts(info.context.shelf, [root]))[0]


@strawberry.type
class WebhookDeliveryEdge:
    cursor: str
    node: WebhookDelivery


@strawberry.type(description="A page of deliveries.")
class WebhookDeliveryConnection(Page):
    edges: list[WebhookDeliveryEdge]
    nodes: list[WebhookDelivery]


def _webhook_id(root: domain.Webhook) -> strawberry.ID:
    return strawberry.ID(node_id("Webhook", root.id))


@strawberry.type(description="An endpoint that is told of events.")
class Webhook:
    id: strawberry.ID = strawberry.field(resolver=_webhook_id)
    url: str
    events: list[str] = strawberry.field(description="Such as order.changed.v1.")
    skus: list[str] = strawberry.field(description="Patterns that narrow events of stock; empty for all.")
    format: WebhookFormat
    state: WebhookState
    reason: str | None = strawberry.field(description="Why it is paused.")
    made_by: str = strawberry.field(description="The name of the key; with the last of that name its deliveries end.")
    made_at: datetime
    failures: int = strawberry.field(description="How often in a row it did not take what it was told.")
    last_success_at: datetime | None
    last_error: str | None = strawberry.field(description="What went wrong last; null since it has taken something.")
    previous_until: datetime | None = strawberry.field(
        name="previousSecretUntil", description="Until when the secret before this one signs too."
    )

    @strawberry.field(
        graphql_type=list[Channel], description="Which narrow events of orders and channels; empty for all."
    )
    def channels(self, info: Info, root: strawberry.Parent[domain.Webhook]) -> list[channel_domain.Channel]:
        return [channel.of(info.context.shelf, id) for id in root.channels]

    @strawberry.field(description="The place in the event log up to which it has been told, or is about to be.")
    def cursor(self, root: strawberry.Parent[domain.Webhook]) -> str:
        return str(root.seq)

    @strawberry.field(description="How many deliveries wait.")
    async def pending_count(self, info: Info, root: strawberry.Parent[domain.Webhook]) -> int:
        return await webhook.waiting(info.context.shelf, root.id)

    @strawberry.field(graphql_type=WebhookDeliveryConnection, description="Newest first; kept for some weeks.")
    async def deliveries(
        self,
        info: Info,
        root: strawberry.Parent[domain.Webhook],
        first: int | None = 50,
        after: str | None = None,
        state: WebhookDeliveryState | None = None,
    ) -> Connection[domain.Delivery]:
        return await webhook.deliveries(info.context.shelf, root.id, first, after, state)


@strawberry.type(description="The webhook as it is now, or why nothing changed.")
class WebhookPayload:
    webhook: Webhook | None
    user_errors: list[UserError]


@strawberry.type(description="The webhook and what signs its deliveries, or why nothing changed.")
class WebhookSecretPayload:
    webhook: Webhook | None
    secret: str | None = strawberry.field(description="whsec_…; it is told here and never again.")
    user_errors: list[UserError]


@strawberry.type(description="The delivery that was asked for, or why there is none.")
class WebhookDeliveryPayload:
    delivery: WebhookDelivery | None
    user_errors: list[UserError]


@strawberry.input(description="An endpoint that is to be told of events from now on.")
class CreateWebhookInput:
    url: str = strawberry.field(description="https://…")
    events: list[str] = strawberry.field(description="Such as order.changed.v1; the key must be allowed to read them.")
    channel_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Narrow events of orders and channels."
    )
    skus: list[str] | None = strawberry.field(
        default=None, description="Patterns such as TEE-* that narrow events of stock."
    )
    format: WebhookFormat | None = domain.WebhookFormat.CLOUDEVENTS

    def to_domain(self) -> domain.NewWebhook:
        """As the resolver takes it. Raises NotFound for an id of another kind."""
        return domain.NewWebhook(
            url=self.url,
            events=tuple(dict.fromkeys(self.events)),
            channels=_channels(self.channel_ids or []),
            skus=tuple(self.skus or ()),
            format=self.format or domain.WebhookFormat.CLOUDEVENTS,
        )


@strawberry.input(description="What is to be otherwise; what is left out stays.")
class UpdateWebhookInput:
    url: str | None = None
    events: list[str] | None = None
    channel_ids: list[strawberry.ID] | None = None
    skus: list[str] | None = None
    format: WebhookFormat | None = None
    state: WebhookState | None = strawberry.field(
        default=None, description="PAUSED stops all deliveries; ACTIVE goes on where it stopped, at once."
    )
    skip_missed: bool | None = strawberry.field(
        default=False, description="Resume although some events since are no longer kept."
    )

    def to_domain(self) -> webhook.Change:
        """As the resolver takes it. Raises NotFound for an id of another kind."""
        return webhook.Change(
            url=self.url,
            events=None if self.events is None else tuple(dict.fromkeys(self.events)),
            channels=None if self.channel_ids is None else _channels(self.channel_ids),
            skus=None if self.skus is None else tuple(self.skus),
            format=self.format,
            state=self.state,
            skip_missed=bool(self.skip_missed),
        )


def _channels(ids: Sequence[str]) -> tuple[ChannelId, ...]:
    return tuple(dict.fromkeys(ChannelId(node_key("Channel", id)) for id in ids))


def maker(info: Info) -> webhook.Maker:
    """Who asks."""
    return webhook.Maker(info.context.caller.name, info.context.caller.scopes)
