"""Where notifications come from and what channels should be told: built from `acorn.toml`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from adapters.amazon import notifications
from adapters.amazon.hints import Account
from adapters.amazon.notifications import Bus, Desk, Queue
from adapters.amazon.platform import AmazonPort
from adapters.amazon.webhook import AmazonWebhook
from adapters.notices import Source, Subscriptions, Webhook
from adapters.port import Port
from adapters.rest.platform import RestPort
from adapters.rest.subscriptions import Desk as RestDesk
from adapters.rest.webhooks import RestWebhook
from adapters.shopify import subscriptions
from adapters.shopify.platform import ShopifyPort
from adapters.shopify.webhooks import OLD_SECRET_FOR, OldSecret, ShopWebhook
from domain.errors import Invalid
from domain.ids import ChannelId
from gateway.config import Config
from gateway.entries import AmazonEntry, RestEntry, ShopifyEntry

if TYPE_CHECKING:
    from adapters.amazon.queue import QueueConfig  # it needs what is not always installed


@dataclass(frozen=True, slots=True)
class Notices:
    """The queues to empty, the webhooks to answer, and each channel's subscriptions."""

    sources: Sequence[Source]
    webhooks: Mapping[ChannelId, Webhook]
    desks: Mapping[ChannelId, Subscriptions]


def build(config: Config, ports: Mapping[ChannelId, Port]) -> Notices:
    """All of them; nothing is asked of anybody yet. Raises ConfigError with the line of what cannot be."""
    queues: defaultdict[QueueConfig, list[Account]] = defaultdict(list)
    webhooks: dict[ChannelId, Webhook] = {}
    desks: dict[ChannelId, Subscriptions] = {}
    accounts = _accounts(config)
    for index, entry in enumerate(config.file.channels):
        id = ChannelId(entry.id)
        webhook: Webhook | None = None
        try:
            match entry:
                case AmazonEntry():
                    account = accounts[entry.id]
                    queue, bus = _queue(entry), _bus(entry)
                    if queue is not None or bus is not None:
                        port = ports[id]
                        assert isinstance(port, AmazonPort)
                        desks[id] = Desk(port.client, notifications.wanted(entry.notifications.types, queue, bus))
                    if queue is not None:
                        queues[_queue_config(entry, queues)].append(account)
                    webhook = _amazon_webhook(entry, accounts.values())
                case ShopifyEntry():
                    webhook = _shop_webhook(entry)
                    if entry.webhook_url is not None:
                        store = ports[id]
                        assert isinstance(store, ShopifyPort)
                        desks[id] = store.desk(entry.webhook_url, subscriptions.wanted(entry.webhook_topics))
                case RestEntry():
                    if entry.webhook_url is not None:
                        shop = ports[id]
                        assert isinstance(shop, RestPort)
                        provable = entry.webhook_secret is not None
                        desks[id] = RestDesk(shop.client, shop.offers, entry.webhook_url, provable)
                    if entry.webhook_secret is not None:
                        webhook = RestWebhook(id, entry.webhook_keys())
        except Invalid as problem:
            table = ("notifications",) if isinstance(entry, AmazonEntry) else ()
            raise config.problem(("channels", index, *table), problem.message) from None
        if webhook is not None:
            webhooks[id] = webhook
    return Notices([_source(one, found) for one, found in queues.items()], webhooks, desks)


def _accounts(config: Config) -> dict[str, Account]:
    return {
        one.id: Account(ChannelId(one.id), one.seller_id, one.client_id, one.marketplaces)
        for one in config.file.channels
        if isinstance(one, AmazonEntry)
    }


def _amazon_webhook(entry: AmazonEntry, accounts: Iterable[Account]) -> AmazonWebhook | None:
    told = entry.notifications
    if told.webhook_key is None:
        return None
    keys = (told.webhook_key, told.previous_webhook_key)
    secrets = tuple(one.get_secret_value().encode() for one in keys if one is not None)
    # A bus belongs to the application: what it brings may be any of its accounts'.
    theirs = [one for one in accounts if one.client_id == entry.client_id]
    return AmazonWebhook(secrets, tuple(sorted(theirs, key=lambda one: one.channel != entry.id)))


def _shop_webhook(entry: ShopifyEntry) -> ShopWebhook | None:
    """The application's secret signs what comes, so there is none without it."""
    if entry.client_secret is None:
        if entry.webhook_url is not None:
            raise Invalid("What comes to `webhook_url` is signed with the app's `client_secret`; add it.")
        return None
    old = None
    if entry.previous_client_secret is not None:
        if entry.client_secret_since is None:
            raise Invalid("Say with `client_secret_since` when the new secret was made; the old one holds for an hour.")
        old = OldSecret(entry.previous_client_secret.get_secret_value(), entry.client_secret_since + OLD_SECRET_FOR)
    return ShopWebhook(ChannelId(entry.id), entry.shop, entry.client_secret.get_secret_value(), old)


def _queue(entry: AmazonEntry) -> Queue | None:
    told = entry.notifications
    if told.queue_url is None:
        return None
    return Queue(told.queue_arn or notifications.arn_of(told.queue_url))


def _bus(entry: AmazonEntry) -> Bus | None:
    told = entry.notifications
    if told.event_bus_account is None and told.event_bus_region is None:
        return None
    if told.event_bus_account is None or told.event_bus_region is None or told.webhook_key is None:
        raise Invalid(
            "An event bus needs `event_bus_account`, `event_bus_region` and the `webhook_key` it is sent with."
        )
    return Bus(told.event_bus_account, told.event_bus_region)


def _queue_config(entry: AmazonEntry, others: Iterable[QueueConfig]) -> QueueConfig:
    if not find_spec("aiobotocore"):
        raise Invalid('A queue needs more than is installed: pip install "acorn-gateway[sqs]".')
    from adapters.amazon.queue import QueueConfig

    told = entry.notifications
    queue = _queue(entry)
    assert queue is not None
    assert told.queue_url is not None
    if (told.access_key_id is None) != (told.secret_access_key is None):
        raise Invalid("`access_key_id` and `secret_access_key` are set together or not at all.")
    secret = None if told.secret_access_key is None else told.secret_access_key.get_secret_value()
    region = told.region or queue.arn.split(":")[3]
    made = QueueConfig(told.queue_url, region, told.endpoint, told.access_key_id, secret)
    if any(one.url == made.url and one != made for one in others):
        # Each would take the other's messages, and know none of its sellers.
        raise Invalid("Another channel opens this queue otherwise: its region, endpoint and keys are the same for all.")
    return made


def _source(config: QueueConfig, accounts: Sequence[Account]) -> Source:
    from adapters.amazon.queue import QueueSource

    return QueueSource(config, tuple(accounts))
