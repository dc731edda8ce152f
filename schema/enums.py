"""Every enum of the contract, registered once and taken from here: else import order decides whether the schema builds."""

from __future__ import annotations

import strawberry

from domain.channel import LocationKind, Platform
from domain.drift import DriftKind
from domain.freshness import Freshness, OnStale
from domain.ledger import EntryKind
from domain.mapping import TaskState as MappingTaskState
from domain.operation import ItemStatus, OperationStatus
from domain.order import OrderStatus
from domain.product import FulfilledBy
from domain.rule import RuleKind
from domain.webhook import DeliveryState as WebhookDeliveryState
from domain.webhook import WebhookFormat, WebhookState

__all__ = [
    "DriftKind",
    "EntryKind",
    "Freshness",
    "FulfilledBy",
    "ItemStatus",
    "LocationKind",
    "MappingTaskState",
    "OnStale",
    "OperationStatus",
    "OrderStatus",
    "Platform",
    "RuleKind",
    "WebhookDeliveryState",
    "WebhookFormat",
    "WebhookState",
]

strawberry.enum(Platform, description="What a channel runs on.")
strawberry.enum(LocationKind, description="Whose place it is.")
strawberry.enum(
    Freshness,
    description="LIVE: asked upstream just now. FRESH: inside maxAge. STALE: older than maxAge. UNKNOWN: never seen.",
)
strawberry.enum(
    OnStale,
    description="When nothing young enough can be had: answer it with its age, or fail with extensions.code TOO_STALE.",
)
strawberry.enum(
    OrderStatus,
    description=(
        "Where an order stands, over all platforms. PENDING: not to be shipped yet, as when it is not paid. "
        "ON_HOLD: not before somebody settles it at its channel."
    ),
)
strawberry.enum(FulfilledBy, description="Who packs and ships: we do, or the channel (FBA).")
strawberry.enum(
    OperationStatus,
    description=(
        "SUCCEEDED: every item was verified. PARTIAL: finished, some items failed or are parked. "
        "PREVIEW: a dry run, which approveOperation can apply as it stands. AWAITING_APPROVAL: nothing leaves before it is "
        "approved."
    ),
)
strawberry.enum(
    ItemStatus,
    description=(
        "SENT: left the house. ACCEPTED: the platform took it. VERIFIED: read back and seen live. "
        "PARKED: the outcome is unknown and wants a person."
    ),
)
strawberry.enum(
    EntryKind,
    name="StockEntryKind",
    description=(
        "Why units moved. OPENING: the first count, as the place's keeper before us told it. EXPECTED: announced. "
        "RECEIPT: arrived. ADJUSTMENT: found, lost, broken. COUNT: counted; told is the difference. TRANSFER: to another "
        "own place. RETURN: came back. ALLOCATION: promised. RELEASE: promised no more. SHIPMENT: left."
    ),
)
strawberry.enum(
    RuleKind,
    name="StockRuleKind",
    description=(
        "What a rule says. SAFETY_STOCK: keep `units` back. MAXIMUM_SHOWN: show no more than `units`. CHANNEL_SHARE: the "
        "channel sells at most `percent`; `hard`: nobody else sells those. FBA_SHARE: what our own channels sell from FBA "
        "(`percent`, `cap`, `floor`, `maxAge`, `countries`, `excludedStates`). VELOCITY_BUFFER: keep back what others "
        "probably sell before the channel hears of it (`certainty`, `leastLag`). LAST_UNITS: at `units` or fewer only the "
        "fastest channel sells on."
    ),
)
strawberry.enum(
    DriftKind,
    description=(
        "Why a number differs. UNSEEN_SALE: probably sold there. LOST_WRITE: it shows what it was told before. "
        "EXTERNAL_EDIT: somebody else wrote there. NOT_OFFERED: not for sale there any more. POOL_DISAGREEMENT: two "
        "marketplaces tell one FBA pool differently."
    ),
)
strawberry.enum(
    MappingTaskState,
    name="MappingTaskState",
    description=(
        "OPEN: nobody has said what it means. ANSWERED: somebody has. IGNORED: it stays as the channel spells it, and nobody is "
        "asked any more."
    ),
)
strawberry.enum(WebhookState, description="Whether anything is delivered.")
strawberry.enum(
    WebhookFormat,
    description="CLOUDEVENTS: the envelope of CloudEvents 1.0. FLAT: one object without objects in it, for tools that map.",
)
strawberry.enum(
    WebhookDeliveryState,
    name="WebhookDeliveryState",
    description="PENDING: it waits. DELIVERED: it was taken. FAILED: not for a day, while others were.",
)
