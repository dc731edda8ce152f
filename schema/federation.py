"""What routers of a larger graph ask for, by the specification of Apollo Federation (docs/federation.md)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Final

import strawberry

from domain.errors import Forbidden, Invalid, NotFound
from domain.ids import OrderId, Sku, node_key
from resolvers.context import Context
from resolvers.loaders import Loaders, load_each
from schema.order import Order
from schema.product import Product
from schema.scopes import NODE_SCOPES

# The newest version of the specification that all three public composers take.
VERSION: Final = "2.9"
MOST = 250

Entity = Annotated[
    Product | Order, strawberry.union("_Entity", description="What other subgraphs may refer to by its key.")
]


@strawberry.type(name="_Service", description="What a router must know of a subgraph.")
class Service:
    sdl: str = strawberry.field(description="The schema with the directives of Apollo Federation.")


Load = Callable[[Loaders, Sequence[str]], Awaitable[Sequence[object]]]


async def _products(loaders: Loaders, skus: Sequence[str]) -> Sequence[object]:
    return await load_each(loaders.product_by_sku, [Sku(sku) for sku in skus])


async def _orders(loaders: Loaders, ids: Sequence[str]) -> Sequence[object]:
    """An id of another kind is answered like one that does not exist."""
    return await load_each(loaders.order_by_id, [_order_or_none(id) for id in ids])


def _order_or_none(id: str) -> OrderId | None:
    try:
        return OrderId(node_key("Order", id))
    except NotFound:
        return None


# The key of each entity, and how all that are asked for are had in one call.
ENTITIES: Mapping[str, tuple[str, Load]] = {"Product": ("sku", _products), "Order": ("id", _orders)}


async def entities(context: Context, representations: Sequence[object]) -> list[object]:
    """What each representation stands for, in the order given: None when there is none, a HouseError when it cannot be told.

    Raises Invalid for more than 250.
    """
    if len(representations) > MOST:
        raise Invalid(f"{len(representations)} representations are too many; ask for {MOST} at a time.")
    answers: list[object] = [None] * len(representations)
    asked: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for row, representation in enumerate(representations):
        try:
            kind, key = _reference(representation)
            context.caller.needs(NODE_SCOPES[kind])
            asked[kind][row] = key
        except (Invalid, Forbidden) as problem:
            answers[row] = problem
    for kind, keys in asked.items():
        _, load = ENTITIES[kind]
        for row, found in zip(keys, await load(context.loaders, list(keys.values())), strict=True):
            answers[row] = found
    return answers


def _reference(representation: object) -> tuple[str, str]:
    """The kind and the key that a representation names; what else stands in it is of no concern. Raises Invalid."""
    if not isinstance(representation, Mapping):
        raise Invalid("A representation is an object with `__typename` and the key of an entity.")
    kind = representation.get("__typename")
    if not isinstance(kind, str) or kind not in ENTITIES:
        raise Invalid(f"A representation's `__typename` is one of {', '.join(ENTITIES)}.")
    field, _ = ENTITIES[kind]
    key = representation.get(field)
    if not isinstance(key, str):
        raise Invalid(f"A representation of {kind} holds its key `{field}`, a string.")
    return kind, key
