"""Where notifications come from and what channels should be told: built from `acorn.toml`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from adapters.amazon import notifications
from adapters.amazon.hints import Account, understood
from adapters.amazon.notifications import Bus, Desk, Queue
from adapters.amazon.platform import AmazonPort
from adapters.notices import Source
from adapters.port import Port
from domain.errors import Invalid
from domain.ids import ChannelId
from gateway.config import Config
from gateway.entries import AmazonEntry
from gateway.webhooks import Webhook

if TYPE_CHECKING:
    from adapters.amazon.queue import QueueConfig  # it needs what is not always installed


@dataclass(frozen=True, slots=True)
class Notices:
    """The queues to empty, the webhooks to answer, and each channel's subscriptions."""

    sources: Sequence[Source]
    webhooks: Mapping[ChannelId, Webhook]
    desks: Mapping[ChannelId, Desk]


def build(config: Config, ports: Mapping[ChannelId, Port]) -> Notices:
    """All of them; nothing is asked of anybody yet. Raises ConfigError with the line of what cannot be."""
    queues: defaultdict[QueueConfig, list[Account]] = defaultdict(list)
    webhooks: dict[ChannelId, Webhook] = {}
    desks: dict[ChannelId, Desk] = {}
    entries = [one for one in config.file.channels if isinstance(one, AmazonEntry)]
    all_of = {one.id: Account(ChannelId(one.id), one.seller_id, one.client_id, one.marketplaces) for one in entries}
    for index, entry in enumerate(config.file.channels):
        if not isinstance(entry, AmazonEntry):
            continue
        id, told = ChannelId(entry.id), entry.notifications
        account = all_of[entry.id]
        try:
            queue, bus = _queue(entry), _bus(entry)
            if queue is not None or bus is not None:
                port = ports[id]
                assert isinstance(port, AmazonPort)
                desks[id] = Desk(port.client, notifications.wanted(told.types, queue, bus))
            if told.queue_url is not None:
                queues[_queue_config(entry, queues)].append(account)
        except Invalid as problem:
            raise config.problem(("channels", index, "notifications"), problem.message) from None
        keys = (told.webhook_key, told.previous_webhook_key)
        if told.webhook_key is not None:
            secrets = tuple(one.get_secret_value().encode() for one in keys if one is not None)
            # A bus belongs to the application: what it brings may be any of its accounts'.
            others = [one for one in all_of.values() if one.client_id == account.client_id and one != account]
            webhooks[id] = Webhook(secrets, partial(understood, (account, *others)))
    return Notices([_source(one, accounts) for one, accounts in queues.items()], webhooks, desks)


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
