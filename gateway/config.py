"""`acorn.toml`: the channels, the places and the rules that a house is built from. An error names the line and the mend."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import isodate
from dotenv import dotenv_values
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo

from domain.channel import Channel, Location, LocationKind, Platform, StreamName
from domain.ids import ChannelId, ChannelSku, LocationCode, Sku
from domain.product import SkuMap
from gateway.lines import Lines, Place
from gateway.settings import ENV_FILE

AMAZON_ORDERS_EVERY = timedelta(minutes=3)
ID = r"^[a-z0-9][a-z0-9-]{0,62}$"


class ConfigError(Exception):
    """A configuration that no house can be built from; one line per problem: file, line, what is wrong, what to do."""


def _duration(value: Any) -> timedelta:
    """ISO 8601, positive, of fixed length."""
    try:
        read = isodate.parse_duration(value)
    except (isodate.ISO8601Error, TypeError):
        raise ValueError("write a duration such as PT5M (five minutes) or PT6H") from None
    if not isinstance(read, timedelta) or read < timedelta(0):
        raise ValueError("write a positive duration without months or years, such as PT5M")
    return read


def _resolved(value: Any, info: ValidationInfo) -> Any:
    """`env:NAME` is the value of NAME in the environment or in `.env`."""
    if not isinstance(value, str) or not value.startswith("env:"):
        return value
    name = value.removeprefix("env:")
    found = (info.context or {}).get(name)
    if not found:
        raise ValueError(f"{name} is not set; put it into the environment or into .env")
    return found


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Text = Annotated[str, Field(min_length=1), BeforeValidator(_resolved)]
Secret = Annotated[SecretStr, Field(min_length=1), BeforeValidator(_resolved)]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]


class Entry(BaseModel):
    """A table of the file; a key that we do not know is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StockEntry(Entry):
    safety_stock: int = Field(default=0, ge=0)
    max_age: Duration = timedelta(minutes=5)


class StreamsEntry(Entry):
    """How often each stream runs, where it differs from the default."""

    listings: Duration | None = None
    stock: Duration | None = None
    orders: Duration | None = None


class PoolEntry(Entry):
    """An FBA pool: units that several marketplaces report and that count once."""

    code: str = Field(pattern=ID)
    name: str = Field(min_length=1)
    marketplaces: tuple[Country, ...] = Field(min_length=1)


class ChannelEntry(Entry):
    id: str = Field(pattern=ID)
    name: str = Field(min_length=1)
    sandbox: bool = False
    endpoint: Text | None = None
    visibility_lag: Duration = timedelta(minutes=2)
    streams: StreamsEntry = StreamsEntry()


class AmazonEntry(ChannelEntry):
    """One selling account in one region."""

    platform: Literal["amazon"]
    region: Literal["na", "eu", "fe"]
    marketplaces: tuple[Country, ...] = Field(min_length=1)
    seller_id: Text
    client_id: Text
    client_secret: Secret
    refresh_token: Secret
    token_endpoint: Text | None = None
    pools: tuple[PoolEntry, ...] = ()

    def channel(self) -> Channel:
        """As the house knows it."""
        return Channel(ChannelId(self.id), Platform.AMAZON, self.name, self.sandbox, self.marketplaces)

    def locations(self) -> list[Location]:
        """The pools as named, and one of its own for each other marketplace. A pool is asked through its first marketplace."""
        named = {code for pool in self.pools for code in pool.marketplaces}
        own = tuple(
            PoolEntry(code=f"fba-{code.lower()}", name=f"FBA {code}", marketplaces=(code,))
            for code in self.marketplaces
            if code not in named
        )
        return [
            Location(
                code=LocationCode(pool.code),
                name=pool.name,
                kind=LocationKind.FBA,
                keeper=ChannelId(self.id),
                external_id=pool.marketplaces[0],
                marketplaces=pool.marketplaces,
            )
            for pool in (*self.pools, *own)
        ]


class ShopifyEntry(ChannelEntry):
    """One shop, with an access token or with an app's client id and secret."""

    platform: Literal["shopify"]
    shop: Text
    access_token: Secret | None = None
    client_id: Text | None = None
    client_secret: Secret | None = None
    api_version: str = "2026-07"

    def channel(self) -> Channel:
        """As the house knows it."""
        return Channel(ChannelId(self.id), Platform.SHOPIFY, self.name, self.sandbox)


class LocationEntry(Entry):
    """An own place, counted by a storefront."""

    code: str = Field(min_length=1, max_length=63)
    name: str = Field(min_length=1)
    kind: Literal["WAREHOUSE", "THIRD_PARTY", "STORE"] = "WAREHOUSE"
    keeper: str
    external_id: Text

    def location(self) -> Location:
        """As the house knows it."""
        return Location(
            LocationCode(self.code), self.name, LocationKind(self.kind), ChannelId(self.keeper), self.external_id
        )


class FileEntry(Entry):
    stock: StockEntry = StockEntry()
    channels: tuple[Annotated[AmazonEntry | ShopifyEntry, Field(discriminator="platform")], ...] = Field(min_length=1)
    locations: tuple[LocationEntry, ...] = ()
    sku_map: dict[str, dict[str, Annotated[str, Field(min_length=1)]]] = {}


@dataclass(frozen=True, slots=True)
class Config:
    """What the file says, and where it says it."""

    path: Path
    file: FileEntry
    lines: Lines

    @property
    def locations(self) -> list[Location]:
        """Every place: own ones first, then the FBA pools."""
        pools = [place for one in self.file.channels if isinstance(one, AmazonEntry) for place in one.locations()]
        return [one.location() for one in self.file.locations] + pools

    @property
    def sku_map(self) -> SkuMap:
        """From each channel's SKU to ours."""
        return SkuMap(
            {
                (ChannelId(channel), ChannelSku(theirs)): Sku(ours)
                for channel, rules in self.file.sku_map.items()
                for theirs, ours in rules.items()
            }
        )

    @property
    def intervals(self) -> dict[tuple[ChannelId, StreamName], timedelta]:
        """The intervals of streams that differ from the defaults."""
        return {
            (ChannelId(one.id), name): every
            for one in self.file.channels
            for name in StreamName
            if (every := getattr(one.streams, name.value)) is not None
        }

    def problem(self, place: Place, message: str) -> ConfigError:
        """An error at a place of the file."""
        return ConfigError(f"{self.path}, line {self.lines.of(place)}: {message}")


def read_config(path: Path, environ: Mapping[str, str | None] | None = None) -> Config:
    """The configuration in `path`; `env:NAME` values come from `environ`, by default the environment over `.env`.

    Raises ConfigError.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist. Copy acorn.example.toml to it and fill it in, or set ACORN_CONFIG."
        ) from None
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path} cannot be read: {problem}") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        last = f"at line {len(text.rstrip().splitlines())}, the last"
        said = str(problem).replace("at end of document", last)
        raise ConfigError(f"{path}: this is not TOML: {said}. Text values stand in double quotes.") from None
    lines = Lines(text)
    if environ is None:
        environ = {**dotenv_values(ENV_FILE), **os.environ}
    try:
        file = FileEntry.model_validate(data, context=environ)
    except ValidationError as problem:
        told = [_told(path, lines, data, error) for error in _first_of_each(problem.errors(), data)]
        raise ConfigError("\n".join(dict.fromkeys(told))) from None
    config = Config(path, file, lines)
    problems = [str(config.problem(place, message)) for check in _CHECKS for place, message in check(config)]
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def _first_of_each(errors: list[Any], data: Mapping[str, Any]) -> list[Any]:
    """The problems without those that only follow from another: a key that is misspelt is no missing one, and a list whose
    entries are wrong is not empty."""
    places = [_place(one) for one in errors]
    misspelt = {
        (*place[:-1], _near(place, data))
        for one, place in zip(errors, places, strict=True)
        if one["type"] == "extra_forbidden"
    }
    around = {place[:-1] for place in places if place}
    return [
        one
        for one, place in zip(errors, places, strict=True)
        if not (one["type"] == "missing" and place in misspelt) and not (one["type"] == "too_short" and place in around)
    ]


def _place(error: Any) -> Place:
    """pydantic puts the platform's word into the place, the file does not."""
    return tuple(part for index, part in enumerate(error["loc"]) if not (index == 2 and part in ("amazon", "shopify")))


def _near(place: Place, data: Mapping[str, Any]) -> str | None:
    """The key that was probably meant."""
    return next(iter(get_close_matches(str(place[-1]), _known(place, data), n=1)), None)


def _told(path: Path, lines: Lines, data: Mapping[str, Any], error: Any) -> str:
    """One problem of form, with its line and mend. Values stay out: they may be secrets."""
    place = _place(error)
    key = place[-1] if place else ""
    match error["type"]:
        case "missing" if key == "channels":
            what = "there is no channel here. Add a table `[[channels]]`"
        case "missing":
            what = f"`{key}` is missing here. Add a line `{key} = …`"
        case "extra_forbidden":
            near = _near(place, data)
            what = f"`{key}` is no key of ours. " + (f"Did you mean `{near}`?" if near else "Remove it")
        case "too_short":
            what = f"`{_name(place)}` is empty. Name at least one"
        case "union_tag_not_found" | "union_tag_invalid":
            place = (*place, "platform")
            what = '`platform` must say what this channel runs on: "amazon" or "shopify"'
        case "string_pattern_mismatch":
            what = f"`{_name(place)}` must match {error['ctx']['pattern']}"
        case _:
            what = f"`{_name(place)}`: {error['msg'].removeprefix('Value error, ')}"
    end = "" if what.endswith("?") else "."
    return f"{path}, line {lines.of(place)}: {what}{end} acorn.example.toml shows every key."


def _name(place: Place) -> str:
    """The key, where the last part is an element's number."""
    return str(next((part for part in reversed(place) if isinstance(part, str)), "the file"))


def _known(place: Place, data: Mapping[str, Any]) -> list[str]:
    """The keys of the table that `place` lies in."""
    table = tuple(part for part in place[:-1] if isinstance(part, str))
    channel: Any = data["channels"][place[1]] if place[0] == "channels" and len(place) > 1 else {}
    models: dict[tuple[str, ...], type[BaseModel]] = {
        (): FileEntry,
        ("stock",): StockEntry,
        ("channels",): AmazonEntry if channel.get("platform") == "amazon" else ShopifyEntry,
        ("channels", "pools"): PoolEntry,
        ("channels", "streams"): StreamsEntry,
        ("locations",): LocationEntry,
    }
    return list(models[table].model_fields)


Problems = Iterator[tuple[Place, str]]


def _once(config: Config) -> Problems:
    """Ids and codes name one thing."""
    seen: set[str] = set()
    for index, channel in enumerate(config.file.channels):
        if channel.id in seen:
            yield ("channels", index, "id"), f"another channel is called {channel.id} too; give this one another id."
        seen.add(channel.id)
    codes: dict[str, ChannelId] = {}
    for index, one in enumerate(config.file.locations):
        if one.code in codes:
            yield ("locations", index, "code"), f"another location has the code {one.code} too; give this one another."
        codes[one.code] = ChannelId(one.keeper)
    for index, channel in enumerate(config.file.channels):
        for place in channel.locations() if isinstance(channel, AmazonEntry) else []:
            if place.code in codes:
                yield (
                    ("channels", index),
                    f"the pool {place.code} of {channel.id} has a code that {codes[place.code]} uses already; "
                    f"name this account's pools in [[channels.pools]] with codes of their own.",
                )
            codes[place.code] = place.keeper


def _pooled(config: Config) -> Problems:
    """Each marketplace of an account lies in one pool."""
    for index, channel in enumerate(config.file.channels):
        pooled: set[str] = set()
        for number, pool in enumerate(channel.pools if isinstance(channel, AmazonEntry) else ()):
            for code in pool.marketplaces:
                place = ("channels", index, "pools", number, "marketplaces")
                if code not in channel.marketplaces:  # type: ignore[union-attr]  # only Amazon entries have pools
                    yield (
                        place,
                        f"{code} is not among the marketplaces of {channel.id}; add it there, or remove it here.",
                    )
                if code in pooled:
                    yield place, f"{code} stands in two pools of {channel.id}; its units would count twice. Remove one."
                pooled.add(code)


def _kept(config: Config) -> Problems:
    """Own places are counted by a shop of ours; SKU maps are of channels of ours."""
    shops = [one.id for one in config.file.channels if isinstance(one, ShopifyEntry)]
    for index, location in enumerate(config.file.locations):
        if location.keeper not in shops:
            yield (
                ("locations", index, "keeper"),
                f"`keeper` must be the id of a storefront channel that counts here: {', '.join(shops) or 'there is none'}.",
            )
    channels = [one.id for one in config.file.channels]
    for channel in config.file.sku_map:
        if channel not in channels:
            yield ("sku_map", channel), f"no channel is called {channel}; there are {', '.join(channels)}."


def _paced(config: Config) -> Problems:
    """Amazon's searchOrders has 0.0056 calls a second for all that we do with it."""
    for index, channel in enumerate(config.file.channels):
        every = channel.streams.orders if isinstance(channel, AmazonEntry) else None
        if every is not None and every < AMAZON_ORDERS_EVERY:
            yield (
                ("channels", index, "streams", "orders"),
                "Amazon lets an account search its orders every three minutes; write PT15M, or PT3M at the least.",
            )


_CHECKS: tuple[Callable[[Config], Problems], ...] = (_once, _pooled, _kept, _paced)
