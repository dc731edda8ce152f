"""Keeping people's addresses out of what is told about a call."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel, to_pascal

from adapters.wire import Wire
from domain.address import Address
from domain.errors import HouseError


class Hidden(Wire):
    """Base of answers that hold people: what is wrong with one is told without showing it."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, hide_input_in_errors=True)


class HiddenPascal(Wire):
    """The same, for an API that writes its names with a capital letter."""

    model_config = ConfigDict(alias_generator=to_pascal, frozen=True, hide_input_in_errors=True)


@contextmanager
def hiding(*addresses: Address | None) -> Iterator[None]:
    """Amazon repeats what it does not like: nothing of these addresses is left in a failure that passes here, or its causes."""
    try:
        yield
    except HouseError as problem:
        texts = sorted({text for one in addresses if one for text in one.texts}, key=len, reverse=True)
        if texts:
            found = re.compile("|".join(rf"(?<!\w){re.escape(text)}(?!\w)" for text in texts), re.IGNORECASE)
            for one in _chain(problem):
                one.message = found.sub("…", one.message)
                one.args = (one.message, *one.args[1:])
        raise


def _chain(problem: HouseError) -> Iterator[HouseError]:
    """A failure and all that led to it, each once: such chains can close to a ring."""
    seen: dict[int, BaseException] = {}
    waiting: list[BaseException | None] = [problem]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen[id(one)] = one
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, HouseError):
            yield one
