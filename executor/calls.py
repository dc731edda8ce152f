"""How a field is asked: through a batch resolver, a Strawberry resolver without its wrapping, or the resolver as it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, cast

from graphql import GraphQLField, GraphQLSchema, default_field_resolver
from strawberry import ID
from strawberry.relay import GlobalID
from strawberry.scalars import is_scalar
from strawberry.schema.schema import Schema
from strawberry.types.arguments import StrawberryArgument, convert_argument
from strawberry.types.base import StrawberryList, StrawberryOptional
from strawberry.types.enum import StrawberryEnumDefinition
from strawberry.types.field import StrawberryField

from executor.batch import Batch, strawberry_field_of
from executor.inputs import Convert, Shortcut, same

# Asks one object: (source, info, arguments) -> value or awaitable.
Ask = Callable[[Any, Any, dict[str, Any]], Any]

_SAME = (str, int, float, bool, ID)


@dataclass(slots=True, eq=False)
class Call:
    """One way to ask. With `batch` all objects are asked at once. `wants_info` is False where no info need be made; `waits` is
    True where all that is answered has to be awaited."""

    ask: Ask
    convert: Convert | None = None
    batch: Batch | None = None
    wants_info: bool = True
    waits: bool = False


def call_of(schema: GraphQLSchema, field: GraphQLField, batch: Batch | None) -> Call:
    """The quickest exact way to ask a field."""
    resolve = field.resolve or default_field_resolver
    strawberry_field = strawberry_field_of(field)
    house: Schema | None = getattr(schema, "_strawberry_schema", None)
    if strawberry_field is None or house is None:
        return Call(lambda source, info, arguments: resolve(source, info, **arguments), batch=batch)
    if strawberry_field.is_basic_field and getattr(resolve, "_is_default", False):
        return Call(lambda source, info, arguments: resolve(source, info), wants_info=False)
    if _is_wrapped(strawberry_field, house):
        return Call(lambda source, info, arguments: resolve(source, info, **arguments))
    return _bare(house, strawberry_field, batch)


def _is_wrapped(field: StrawberryField, schema: Schema) -> bool:
    """Whether more than the resolver is to be run: extensions, permissions, handlers of exceptions, an own field class."""
    return bool(
        field.base_resolver is None
        or field.extensions
        or schema.exception_handlers
        or field.is_subscription
        or type(field).get_result is not StrawberryField.get_result
        or not callable(field.base_resolver.wrapped_func)
    )


def _bare(schema: Schema, field: StrawberryField, batch: Batch | None) -> Call:
    """The resolver's own function, called as Strawberry's wrapping would."""
    resolver = field.base_resolver
    assert resolver is not None
    function = cast(Callable[..., Any], resolver.wrapped_func)
    takes_self = resolver.self_parameter is not None
    parents = [one.name for one in (resolver.parent_parameter, resolver.root_parameter) if one is not None]
    info_name = None if resolver.info_parameter is None else resolver.info_parameter.name
    info_class = schema.config.info_class

    def ask(source: Any, info: Any, arguments: dict[str, Any]) -> Any:
        for name in parents:
            arguments[name] = source
        if info_name is not None:
            arguments[info_name] = info_class(_raw_info=info, _field=field)
        return function(source, **arguments) if takes_self else function(**arguments)

    return Call(
        ask=ask,
        convert=_converter(schema, field.arguments) if field.arguments else None,
        batch=batch,
        wants_info=info_name is not None,
        waits=iscoroutinefunction(function),
    )


def _converter(schema: Schema, arguments: Sequence[StrawberryArgument]) -> Convert:
    """Strawberry's conversion of arguments, shorter where it changes nothing."""
    config, scalars = schema.config, schema.schema_converter.scalar_registry
    known = [
        (config.name_converter.from_argument(one), one.python_name, _shortcut(one.type, scalars), one.type)
        for one in arguments
    ]

    def convert(values: dict[str, Any], info: Any) -> dict[str, Any]:
        converted: dict[str, Any] = {}
        for name, python_name, shortcut, type_ in known:
            if name in values:
                value = values[name]
                if shortcut is None:
                    value = convert_argument(value, type_, scalars, config, info, path=(name,))
                elif value is not None:
                    value = shortcut(value)
                converted[python_name] = value
        return converted

    return Convert(convert, {name: (python_name, shortcut) for name, python_name, shortcut, _ in known if shortcut})


def _shortcut(type_: Any, scalars: Mapping[object, Any]) -> Shortcut | None:
    if type(type_) is StrawberryOptional:
        return _shortcut(type_.of_type, scalars)
    if type(type_) is StrawberryList:
        item = type_.of_type.of_type if type(type_.of_type) is StrawberryOptional else type_.of_type
        return list if item in _SAME else None
    plain = isinstance(type_, StrawberryEnumDefinition) or is_scalar(type_, scalars)
    return same if plain and type_ is not GlobalID else None
