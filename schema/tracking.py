"""What was told of parcels and has come to nothing yet."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain.errors import Invalid
from domain.tracking import Problem
from schema.connection import Page
from schema.enums import TrackingRowKind


def _id(root: Problem) -> strawberry.ID:
    return strawberry.ID(f"TrackingProblem:{root.id}")


def _told(name: str, description: str) -> str | None:
    def told(root: Problem) -> str | None:
        found = root.told.get(name)
        return found if isinstance(found, str) else None

    field: str | None = strawberry.field(resolver=told, description=description)
    return field


def _aged(root: Problem) -> bool:
    return root.retries_at is None and root.code != Invalid.code


@strawberry.type(
    description="What a warehouse, a carrier or a file told of a parcel, and that has come to nothing yet."
)
class TrackingProblem:
    id: strawberry.ID = strawberry.field(resolver=_id)
    source: str = strawberry.field(description="`tracking:` and the id of who told it, or `file`.")
    delivery: str = strawberry.field(description="The id of the delivery; of a file, its SHA-256.")
    row: int = strawberry.field(
        resolver=lambda root: root.number, description="Its place among the parcels or events; of a file, its line."
    )
    kind: TrackingRowKind
    order: str | None = _told("order", "The order as it was called.")
    channel: str | None = _told("channel", "The channel that was named.")
    carrier: str | None = _told("carrier", "The carrier as it was called.")
    tracking_number: str | None = _told("trackingNumber", "Null where it could not be read.")
    code: str = strawberry.field(
        description="INVALID: it cannot come to anything as it is. Others are tried again: NOT_FOUND, CONFLICT, INTERNAL."
    )
    reason: str = strawberry.field(description="What is wrong, in words for people.")
    at: datetime = strawberry.field(description="When it was told.")
    tries: int
    retries_at: datetime | None = strawberry.field(
        description="When it is tried again, at the latest: its order coming or changing does that at once."
    )
    aged: bool = strawberry.field(resolver=_aged, description="It was tried for 30 days, and is not any more.")


@strawberry.type
class TrackingProblemEdge:
    cursor: str
    node: TrackingProblem


@strawberry.type(description="A page of problems.")
class TrackingProblemConnection(Page):
    edges: list[TrackingProblemEdge]
    nodes: list[TrackingProblem]
