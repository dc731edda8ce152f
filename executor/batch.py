"""What a schema may tell the executor beside its resolvers: batch resolvers, and types that a class alone decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from graphql import GraphQLField, GraphQLObjectType
from strawberry.types.field import StrawberryField

Resolver = TypeVar("Resolver", bound=Callable[..., Any])
Class = TypeVar("Class", bound=type)
Batch = Callable[..., Sequence[object] | Awaitable[Sequence[object]]]

_BATCH = "__batch__"
_BY_CLASS = "__by_class__"
_LASTING = "__lasting__"


class Parents(Protocol):
    """The `info` of a batch resolver. `paths` are the response paths of the field, one per parent."""

    @property
    def context(self) -> Any: ...

    @property
    def paths(self) -> list[list[str | int]]: ...


def batched(batch: Batch) -> Callable[[Resolver], Resolver]:
    """Declare a batch resolver beside an ordinary one, which stays for graphql-core and must answer the same.

    `batch(parents, info, **arguments)` is called once for all objects that want the field, with the arguments under the names
    of the ordinary resolver. It answers, or its awaitable does, one value per parent, in order; an exception among them is the
    error of its parent alone, an exception raised is the error of all. `info` has `context` and `paths` (see Parents).

        @strawberry.field
        @batched(products_of)
        async def product(self, info: Info, root: strawberry.Parent[Line]) -> Product | None: ...
    """

    def declare(resolver: Resolver) -> Resolver:
        setattr(resolver, _BATCH, batch)
        return resolver

    return declare


def batch_of(field: GraphQLField) -> Batch | None:
    """The batch resolver that a field declares."""
    strawberry_field = strawberry_field_of(field)
    if strawberry_field is None:
        found: Batch | None = getattr(field.resolve, _BATCH, None)
        return found
    resolver = strawberry_field.base_resolver
    return None if resolver is None else getattr(resolver.wrapped_func, _BATCH, None)


def by_class(is_type_of: Resolver) -> Resolver:
    """Promise that this `is_type_of` looks at the value's class only; it is then asked once per class, not per value.

    It may be given None for its `info`.
    """
    setattr(is_type_of, _BY_CLASS, True)
    return is_type_of


def decided_by_class(type_: GraphQLObjectType) -> bool:
    """Whether the class of a value tells if it is of this type; so too where the type asks nothing."""
    return type_.is_type_of is None or getattr(type_.is_type_of, _BY_CLASS, False)


def lasting(attribute: str) -> Callable[[Class], Class]:
    """Promise of a Strawberry type that its objects, and all that lies below them, do not change once they were answered.

    `attribute` names a dict that each object holds for the executor: what was written of the object is kept there and copied
    when it is answered again, and dies with it. It is None in objects that are not answered again.

        @lasting("written")
        @strawberry.type
        class Stock: ...
    """

    def declare(class_: Class) -> Class:
        setattr(class_, _LASTING, attribute)
        return class_

    return declare


def lasting_of(type_: GraphQLObjectType) -> str | None:
    """The attribute that a type declares for what is kept of its objects."""
    definition = type_.extensions.get("strawberry-definition")
    origin = getattr(definition, "origin", None)
    return None if origin is None else vars(origin).get(_LASTING)


def strawberry_field_of(field: GraphQLField) -> StrawberryField | None:
    """The Strawberry definition behind a field, if there is one."""
    found = field.extensions.get("strawberry-definition")
    return found if isinstance(found, StrawberryField) else None
