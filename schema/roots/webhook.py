"""Who is told of events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import strawberry

from domain import webhook as webhook_domain
from domain.errors import Refused
from domain.ids import node_key
from resolvers import webhook
from schema.info import Info
from schema.payload import UserError, user_errors
from schema.roots.shared import key_or_none
from schema.scalars import Duration
from schema.webhook import (
    CreateWebhookInput,
    UpdateWebhookInput,
    Webhook,
    WebhookDeliveryPayload,
    WebhookPayload,
    WebhookSecretPayload,
    maker,
)


@dataclass(slots=True)
class WebhookChange:
    """What a webhook's mutation answers; `secret` where it made a new one."""

    webhook: webhook_domain.Webhook | None
    user_errors: list[UserError]
    secret: str | None = None


@dataclass(slots=True)
class WebhookAsked:
    """What a mutation answers that has something delivered."""

    delivery: webhook_domain.Delivery | None
    user_errors: list[UserError]


@strawberry.type
class WebhookQueries:
    @strawberry.field(
        graphql_type=list[Webhook],
        description="Who is told of events: of this key's name, or all for an administrator.",
    )
    async def webhook_endpoints(self, info: Info) -> list[webhook_domain.Webhook]:
        return await webhook.all_of(info.context.shelf, maker(info))

    @strawberry.field(graphql_type=Webhook | None, description="One of them by its id.")
    async def webhook_endpoint(self, info: Info, id: strawberry.ID) -> webhook_domain.Webhook | None:
        key = key_or_none("Webhook", id)
        return None if key is None else await webhook.by_id(info.context.shelf, maker(info), key)


@strawberry.type
class WebhookMutations:
    @strawberry.mutation(
        graphql_type=WebhookSecretPayload,
        description="Have an endpoint told of events from now on. The secret signs them.",
    )
    async def create_webhook(self, info: Info, input: CreateWebhookInput) -> WebhookChange:
        try:
            made, secret = await webhook.create(info.context.shelf, maker(info), input.to_domain())
        except Refused as problem:
            return WebhookChange(None, user_errors([problem], ("input",)))
        return WebhookChange(made, [], secret)

    @strawberry.mutation(
        graphql_type=WebhookPayload, description="Change where or what an endpoint is told; pause it, or let it go on."
    )
    async def update_webhook(self, info: Info, id: strawberry.ID, input: UpdateWebhookInput) -> WebhookChange:
        shelf, by = info.context.shelf, maker(info)
        return await _of_webhook(id, lambda key: webhook.update(shelf, by, key, input.to_domain()), "input")

    @strawberry.mutation(graphql_type=WebhookPayload, description="Tell an endpoint nothing more, and forget it.")
    async def delete_webhook(self, info: Info, id: strawberry.ID) -> WebhookChange:
        shelf, by = info.context.shelf, maker(info)
        return await _of_webhook(id, lambda key: webhook.delete(shelf, by, key))

    @strawberry.mutation(
        graphql_type=WebhookSecretPayload,
        description="Sign with a new secret; the one before it signs too for `overlap`, a day unless told.",
    )
    async def rotate_webhook_secret(
        self, info: Info, id: strawberry.ID, overlap: Duration | None = None
    ) -> WebhookChange:
        try:
            key = node_key("Webhook", id)
            made, secret = await webhook.rotate(info.context.shelf, maker(info), key, overlap)
        except Refused as problem:
            return WebhookChange(None, _in(problem, ()))
        return WebhookChange(made, [], secret)

    @strawberry.mutation(
        graphql_type=WebhookPayload,
        description="Tell all after a cursor, or since an instant, once more, under the same event ids.",
    )
    async def replay_webhook(
        self, info: Info, id: strawberry.ID, after: str | None = None, since: datetime | None = None
    ) -> WebhookChange:
        shelf, by = info.context.shelf, maker(info)
        return await _of_webhook(id, lambda key: webhook.replay(shelf, by, key, after, since))

    @strawberry.mutation(
        graphql_type=WebhookDeliveryPayload, description="Deliver once more what was delivered, or given up."
    )
    async def redeliver_webhook(self, info: Info, delivery_id: strawberry.ID) -> WebhookAsked:
        try:
            key = node_key("WebhookDelivery", delivery_id)
            return WebhookAsked(await webhook.again(info.context.shelf, maker(info), key), [])
        except Refused as problem:
            problem.field = ("deliveryId",)
            return WebhookAsked(None, user_errors([problem]))

    @strawberry.mutation(
        graphql_type=WebhookDeliveryPayload,
        description="Deliver an event that tells nothing, to a paused endpoint too.",
    )
    async def test_webhook(self, info: Info, id: strawberry.ID) -> WebhookAsked:
        try:
            key = node_key("Webhook", id)
            return WebhookAsked(await webhook.test(info.context.shelf, maker(info), key), [])
        except Refused as problem:
            return WebhookAsked(None, _in(problem, ()))


async def _of_webhook(id: str, decide: Callable[[str], Awaitable[webhook_domain.Webhook]], *at: str) -> WebhookChange:
    """What is decided about a webhook; `at` is the argument that refused fields lie in."""
    try:
        return WebhookChange(await decide(node_key("Webhook", id)), [])
    except Refused as problem:
        return WebhookChange(None, _in(problem, at))


def _in(problem: Refused, at: tuple[str, ...]) -> list[UserError]:
    """A refusal with its field in the argument `at`, unless it is about the id."""
    problem.field = problem.field or ("id",)
    return user_errors([problem], () if problem.field == ("id",) else at)
