"""Carriers by one name each, whatever warehouses call them, and what each channel calls them (words/carrier.toml)."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from domain.channel import Platform
from domain.errors import Invalid

LONGEST = 100
"""Characters of a carrier's name, of a service and of a tracking number."""

OTHER = "Other"
"""What Amazon takes for a carrier that has no code; its name goes beside it."""

_NUMBER = re.compile(rf"[A-Za-z0-9][A-Za-z0-9./_-]{{0,{LONGEST - 1}}}")
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Carrier:
    """One carrier. `numbers` are what its tracking numbers look like, none where that is not known; one that looks like `mark`
    is of no other. `codes` are what channels call it, by platform and, for a marketplace of its own, by (platform, country)."""

    name: str
    services: frozenset[str]
    numbers: tuple[re.Pattern[str], ...]
    mark: re.Pattern[str] | None
    url: str | None
    codes: Mapping[tuple[Platform, str | None], str]


@dataclass(frozen=True, slots=True)
class Tracking:
    """What a parcel can be followed by. `carrier` is our name of it, or as it was told where nobody knows it; `url` is None
    where it is not known. `warnings` are sentences for people: it can be sent, and may not be meant."""

    carrier: str
    service: str | None
    tracking_number: str
    url: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SentAs:
    """What a channel is told: its own `code` of the carrier, and the name beside it. `known`: the code is one of its list."""

    code: str
    name: str
    known: bool = True


def normalized(
    carrier: str, service: str | None, tracking_number: str, platform: Platform, marketplace: str | None = None
) -> Tracking:
    """What was told of a parcel, by our names, for one channel's `platform` and an order's `marketplace`.

    A service that was told with the carrier ("UPS Ground") is taken off it. Raises Invalid, with the field, for what is no name
    or no number. A carrier that the channel has no name for, and a number that its carrier would not give, are warnings.
    """
    name = _text("carrier", carrier)
    told = None if service is None or not service.strip() else _text("service", service)
    number = _number(tracking_number)
    known, rest = _found(name)
    if known is None:
        words = f"The carrier {name!r} is not known here; {_unknown_words(platform)}"
        return Tracking(name, told, number, None, (words, *_marked(None, number)))
    warnings = [*_looks(known, number)]
    if platform is Platform.AMAZON and _code(known, platform, marketplace) is None:
        warnings.append(f"Amazon has no code for {known.name}; {_unknown_words(platform)}")
    return Tracking(known.name, told or rest, number, url(known.name, number), tuple(warnings))


def sent_as(carrier: str, platform: Platform, marketplace: str | None = None) -> SentAs:
    """What a channel is told of a carrier by our name. Where it has no code of its own: Amazon takes `Other` with the name
    (confirmShipment: "Required when carrierCode is Other"), Shopify and shops of our own take any name."""
    known, _ = _found(carrier)
    name = known.name if known is not None else carrier.strip()
    code = None if known is None else _code(known, platform, marketplace)
    if code is None:
        return SentAs(OTHER if platform is Platform.AMAZON else name, name, known=False)
    return SentAs(code, name)


def url(carrier: str, tracking_number: str) -> str | None:
    """Where the parcel is followed; None where that is not known."""
    known, _ = _found(carrier)
    if known is None or known.url is None or not tracking_number:
        return None
    return known.url.replace("{number}", quote(tracking_number, safe=""))


def plain_number(tracking_number: str) -> str:
    """The number without what people put into it to read it: blanks, and signs that nobody sees."""
    signs = ((sign, unicodedata.category(sign)) for sign in tracking_number.strip())
    return "".join(sign for sign, kind in signs if kind not in ("Zs", "Cf"))


def _number(told: str) -> str:
    number = plain_number(told)
    if not _NUMBER.fullmatch(number):
        raise Invalid(
            f"`trackingNumber` must be 1 to {LONGEST} letters of A to Z, digits, and `-`, `.`, `/` or `_` between them.",
            field=("trackingNumber",),
        )
    return number


def _text(field: str, told: str) -> str:
    if not told.strip() or len(told) > LONGEST or not told.isprintable():
        raise Invalid(f"`{field}` must be 1 to {LONGEST} printable characters.", field=(field,))
    return " ".join(told.split())


def _unknown_words(platform: Platform) -> str:
    match platform:
        case Platform.AMAZON:
            return "it goes as Other with this name, and its buyer is shown no place of the parcel."
        case Platform.SHOPIFY:
            return "it goes by this name, and Shopify links it to nothing."
        case _:
            return "it goes by this name."


def _code(known: Carrier, platform: Platform, marketplace: str | None) -> str | None:
    return known.codes.get((platform, marketplace)) or known.codes.get((platform, None))


def _looks(known: Carrier, number: str) -> tuple[str, ...]:
    """What is odd about a number of this carrier."""
    marked = _marked(known, number)
    if marked or not known.numbers or any(one.fullmatch(number.upper()) for one in known.numbers):
        return marked
    return (f"{number} does not look like a tracking number of {known.name}.",)


def _marked(known: Carrier | None, number: str) -> tuple[str, ...]:
    """A number that only another carrier gives."""
    for one in _carriers().values():
        if one.mark is not None and one.mark.fullmatch(number.upper()) and (known is None or not _kin(known, one)):
            return (f"{number} looks like a tracking number of {one.name}.",)
    return ()


def _kin(one: Carrier, other: Carrier) -> bool:
    """Whether they are parts of one house: their names begin with the same word."""
    return one.name.split()[0] == other.name.split()[0]


def _found(told: str) -> tuple[Carrier | None, str | None]:
    """(the carrier, the service that was told with its name); what follows a name and is no service makes it another name."""
    words = _WORD.findall(_plain(told))
    spelled = _WORD.findall(told)
    for length in range(len(words), 0, -1):
        known = _spellings().get("".join(words[:length]))
        if known is None:
            continue
        if length == len(words):
            return known, None
        if "".join(words[length:]) in known.services:
            return known, " ".join(spelled[length:]) if len(spelled) == len(words) else " ".join(words[length:])
    return None, None


def _plain(told: str) -> str:
    parts = unicodedata.normalize("NFKD", told.casefold())
    return "".join(sign for sign in parts if not unicodedata.combining(sign))


def _key(told: str) -> str:
    return "".join(_WORD.findall(_plain(told)))


@cache
def _carriers() -> Mapping[str, Carrier]:
    return {name: _carrier(name, told) for name, told in _read().items()}


@cache
def _spellings() -> Mapping[str, Carrier]:
    """The carrier by each of its spellings. What a channel calls it is one too, unless another has it for its own. Raises Invalid
    for one that stands for two."""
    found: dict[str, Carrier] = {}
    for name, told in _read().items():
        for word in (name, *told.get("also", ())):
            if (other := found.setdefault(_key(word), _carriers()[name])).name != name:
                raise Invalid(f"{word!r} stands for the carriers {other.name} and {name}.")
    for one in _carriers().values():
        for code in one.codes.values():
            found.setdefault(_key(code), one)
    return found


def _carrier(name: str, told: Mapping[str, Any]) -> Carrier:
    codes: dict[tuple[Platform, str | None], str] = {
        (Platform.AMAZON, country): code for country, code in told.get("amazon_in", {}).items()
    }
    for platform in (Platform.AMAZON, Platform.SHOPIFY):
        if platform.value.lower() in told:
            codes[platform, None] = told[platform.value.lower()]
    return Carrier(
        name,
        frozenset(map(_key, told.get("services", ()))),
        tuple(map(re.compile, told.get("numbers", ()))),
        re.compile(told["mark"]) if "mark" in told else None,
        told.get("url"),
        codes,
    )


@cache
def _read() -> Mapping[str, Any]:
    return tomllib.loads(files("domain").joinpath("words", "carrier.toml").read_text(encoding="utf-8"))
