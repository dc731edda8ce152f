"""Keeping people's addresses out of what is told about a call."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from domain.address import Address
from domain.errors import HouseError

# By so many of its last digits a telephone number is known.
PHONE_DIGITS = 7


@contextmanager
def hiding(*addresses: Address | None) -> Iterator[None]:
    """Platforms repeat what they do not like: neither these addresses nor words of them are left in a failure that passes here,
    or in its causes."""
    try:
        yield
    except HouseError as problem:
        if (found := _any_of([one for one in addresses if one])) is not None:
            for one in _chain(problem):
                one.message = found.sub("…", one.message)
                one.args = (one.message, *one.args[1:])
        raise


def _any_of(addresses: list[Address]) -> re.Pattern[str] | None:
    """Where a text of these addresses stands, or one word of it: platforms cut and join them their own way. Not every script
    parts its words; one word of several is left alone within an id such as shop-1917."""
    wholes = {text for one in addresses for text in one.texts}
    words = {word for text in wholes for word in re.findall(r"\w{3,}", text)}
    told = [rf"(?<![A-Za-z0-9_]){one}(?![A-Za-z0-9_])" for one in _written(wholes)]
    told += [rf"(?<![\w-]){one}(?![\w-])" for one in _written(words)]
    told += [number for one in addresses if (number := dialed(one.phone)) is not None]
    return re.compile("|".join(told), re.IGNORECASE) if told else None


def dialed(phone: str) -> str | None:
    """An expression for a telephone number with or without the code of its country, however it is parted; None for what has too
    few digits to be known by them."""
    digits = re.findall(r"\d", phone)
    if len(digits) < PHONE_DIGITS:
        return None
    return r"[+\d\s()./-]{0,12}" + r"[\s()./-]?".join(digits[-PHONE_DIGITS:])


def _written(texts: set[str]) -> list[str]:
    """In capitals and small letters some are longer; the longest first."""
    forms = {form for text in texts for form in (text, text.upper(), text.casefold()) if text}
    return [re.escape(form) for form in sorted(forms, key=len, reverse=True)]


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
