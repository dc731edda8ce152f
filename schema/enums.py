"""Every enum of the contract, registered once and taken from here: else import order decides whether the schema builds."""

from __future__ import annotations

import strawberry

from domain.channel import LocationKind, Platform
from domain.freshness import Freshness, OnStale
from domain.operation import ItemStatus, OperationStatus
from domain.order import OrderStatus
from domain.product import FulfilledBy

__all__ = [
    "Freshness",
    "FulfilledBy",
    "ItemStatus",
    "LocationKind",
    "OnStale",
    "OperationStatus",
    "OrderStatus",
    "Platform",
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
strawberry.enum(OrderStatus, description="Where an order stands, over all platforms.")
strawberry.enum(FulfilledBy, description="Who packs and ships: we do, or the channel (FBA).")
strawberry.enum(
    OperationStatus,
    description=(
        "SUCCEEDED: every item was verified. PARTIAL: finished, some items failed or are parked. "
        "PREVIEW: a dry run, which approveOperation can apply as it stands."
    ),
)
strawberry.enum(
    ItemStatus,
    description=(
        "SENT: left the house. ACCEPTED: the platform took it. VERIFIED: read back and seen live. "
        "PARKED: the outcome is unknown and wants a person."
    ),
)
