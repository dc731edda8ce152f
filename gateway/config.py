"""`acorn.toml`: the channels, the places and the rules that a house is built from. An error names the line and the mend."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from dotenv import dotenv_values
from pydantic import BaseModel, ValidationError

from domain.channel import LEDGER, Location, LocationKind, StreamName
from domain.chart import BUILT_IN, Chart, built_in, read_chart
from domain.errors import Invalid
from domain.ids import ChannelId, ChannelSku, LocationCode, Sku
from domain.mapping import FieldMap, check_rule, folded, words
from domain.outbound import Speed
from domain.outbound_request import FbaRule
from domain.product import SkuMap
from gateway.entries import (
    SHOPS,
    AmazonEntry,
    FeedEntry,
    FileEntry,
    RestEntry,
    ShopifyEntry,
)
from gateway.lines import Lines, Place
from gateway.settings import ENV_FILE

_ENTRIES: Mapping[str, type[BaseModel]] = {"amazon": AmazonEntry, "shopify": ShopifyEntry, "rest": RestEntry}
AMAZON_ORDERS_EVERY = timedelta(minutes=3)


class ConfigError(Exception):
    """A configuration that no house can be built from; one line per problem: file, line, what is wrong, what to do."""


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
    def field_map(self) -> FieldMap:
        """From each channel's fields and words to ours."""
        return FieldMap(
            {
                (ChannelId(channel), folded(theirs)): entry.rule()
                for channel, fields in self.file.fields.items()
                for theirs, entry in fields.items()
            },
            {(name, word): ours for name, told in self.file.words.items() for word, ours in words(told).items()},
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

    @property
    def fba(self) -> dict[ChannelId, FbaRule]:
        """From which pools orders of shops are shipped that no own place can ship whole."""
        keepers = {place.code: place.keeper for place in self.locations}
        return {
            ChannelId(one.id): FbaRule(keepers[code], code, Speed(rule.speed), rule.approval)
            for one in self.file.channels
            if isinstance(one, SHOPS) and (rule := one.ship_from_fba) is not None
            for code in [LocationCode(rule.pool)]
        }

    @property
    def feeds(self) -> list[tuple[str, Sequence[FeedEntry]]]:
        """The tables of feeds, by name."""
        return [
            ("feeds_in", self.file.feeds_in),
            ("feeds_out", self.file.feeds_out),
            ("tracking_in", self.file.tracking_in),
        ]

    @property
    def chart(self) -> Chart:
        """The accounts that journals are booked on: a chart of ours, or a file beside this one. Raises Invalid."""
        told = self.file.journals.chart
        if told in BUILT_IN:
            return built_in(told)
        try:
            return read_chart((self.path.parent / told).read_text(encoding="utf-8"))
        except Invalid as problem:
            raise Invalid(f"{told}: {problem.message}") from None
        except (OSError, UnicodeDecodeError):
            words = f"`chart` is none of {', '.join(BUILT_IN)}, and there is no file {told} that can be read as UTF-8."
            raise Invalid(words) from None

    @property
    def hints(self) -> list[str]:
        """What is sound and may still not be meant, in words for people."""
        ours = [one for one in self.file.locations if one.ours]
        kept = {one.keeper for one in self.file.locations}
        return [
            f"{shop.id} shows no place of the ledger, so its numbers are left alone; name its places under [locations.shown]."
            for shop in self.file.channels
            if isinstance(shop, SHOPS)
            and shop.id not in kept
            and any(one.sells_to is None or shop.id in one.sells_to for one in ours)
            and not any(shop.id in one.shown for one in ours)
        ]

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
    around = {place[:depth] for place in places for depth in range(len(place))}
    return [
        one
        for one, place in zip(errors, places, strict=True)
        if not (one["type"] == "missing" and place in misspelt) and not (one["type"] == "too_short" and place in around)
    ]


def _place(error: Any) -> Place:
    """pydantic puts the platform's word into the place, the file does not."""
    return tuple(part for index, part in enumerate(error["loc"]) if not (index == 2 and part in _ENTRIES))


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
            what = '`platform` must say what this channel runs on: "amazon", "shopify" or "rest"'
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
    kind: Any = FileEntry
    for depth, part in enumerate(place[:-1]):
        if place[0] == "channels" and depth == 1:
            kind = _ENTRIES.get(data["channels"][part].get("platform"), ShopifyEntry)
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(part)].annotation
        else:  # a list or table of tables
            kind = get_args(kind)[1 if get_origin(kind) is dict else 0]
        while get_origin(kind) in (Annotated, UnionType, Union):
            kind = get_args(kind)[0]
    return list(kind.model_fields)


Problems = Iterator[tuple[Place, str]]


def _once(config: Config) -> Problems:
    """Ids and codes name one thing."""
    seen: set[str] = set()
    for index, channel in enumerate(config.file.channels):
        if channel.id == LEDGER:
            yield ("channels", index, "id"), f"`{LEDGER}` is what we count ourselves; give this channel another id."
        if channel.id in seen:
            yield ("channels", index, "id"), f"another channel is called {channel.id} too; give this one another id."
        seen.add(channel.id)
    for index, carrier in enumerate(config.file.carriers):
        if carrier.id in seen or carrier.id == LEDGER:
            yield ("carriers", index, "id"), f"something else is called {carrier.id} too; give this carrier another id."
        seen.add(carrier.id)
    codes: dict[str, ChannelId] = {}
    for index, one in enumerate(config.file.locations):
        if one.code in codes:
            yield ("locations", index, "code"), f"another location has the code {one.code} too; give this one another."
        codes[one.code] = ChannelId(one.keeper)
    for table, feeds in config.feeds:
        ids = [feed.id for feed in feeds]
        for index, id in enumerate(ids):
            if id in ids[:index]:
                yield (table, index, "id"), f"another feed is called {id} too; give this one another id."
    for index, channel in enumerate(config.file.channels):
        for place in channel.locations() if isinstance(channel, AmazonEntry) else []:
            if place.code in codes:
                yield (
                    ("channels", index),
                    f"the pool {place.code} of {channel.id} has a code that {codes[place.code]} uses already; "
                    f"name this account's pools in [[channels.pools]] with codes of their own.",
                )
            codes[place.code] = place.keeper


def _charted(config: Config) -> Problems:
    """The chart of accounts is whole."""
    try:
        _ = config.chart
    except Invalid as problem:
        yield ("journals", "chart"), problem.message


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
    """Own places are counted by the ledger or by a shop of ours; SKU maps are of channels of ours."""
    shops = [one.id for one in config.file.channels if isinstance(one, SHOPS)]
    keepers = ", ".join([f'"{LEDGER}" for what we count ourselves', *shops])
    named: dict[tuple[str, str], str] = {}
    for index, location in enumerate(config.file.locations):
        at: Place = ("locations", index)
        if location.ours:
            if location.external_id is not None:
                yield (
                    (*at, "external_id"),
                    "`external_id` is for places that a channel counts. Remove it; what a channel calls this place stands "
                    "under [locations.shown].",
                )
            continue
        if location.keeper not in shops:
            yield (
                (*at, "keeper"),
                f"`keeper` must be who counts here: {keepers}.",
            )
        elif location.external_id is None:
            yield (
                at,
                f"`external_id` is missing here: what {location.keeper} calls this place. Add it, or count here "
                f'yourself with `keeper = "{LEDGER}"`.',
            )
        elif (other := named.setdefault((location.keeper, location.external_id), location.code)) != location.code:
            yield (
                (*at, "external_id"),
                f"{other} is this place of {location.keeper} already; its units would count twice. Remove one.",
            )
        for key in ("shown", "opens_from"):
            if getattr(location, key):
                yield (
                    (*at, key),
                    f"{location.keeper} counts here itself, so nothing is shown to it or opened from it; remove `{key}`, "
                    f'or write `keeper = "{LEDGER}"`.',
                )
    channels = [one.id for one in config.file.channels]
    for channel in config.file.sku_map:
        if channel not in channels:
            yield ("sku_map", channel), f"no channel is called {channel}; there are {', '.join(channels)}."


def _pools_named(config: Config) -> Problems:
    """Shops name pools that there are."""
    pools = [place.code for place in config.locations if place.kind is LocationKind.FBA]
    for index, one in enumerate(config.file.channels):
        rule = one.ship_from_fba if isinstance(one, SHOPS) else None
        if rule is not None and rule.pool not in pools:
            there = ", ".join(pools) or "none: add an Amazon account"
            yield ("channels", index, "ship_from_fba", "pool"), f"no FBA pool is called {rule.pool}; there are {there}."


def _mapped(config: Config) -> Problems:
    """Fields are of channels of ours and mean one thing each; so do words."""
    channels = [one.id for one in config.file.channels]
    for channel, fields in config.file.fields.items():
        if channel not in channels:
            yield ("fields", channel), f"no channel is called {channel}; there are {', '.join(channels)}."
        seen: dict[str, str] = {}
        for theirs, entry in fields.items():
            if (other := seen.setdefault(folded(theirs), theirs)) != theirs:
                yield ("fields", channel, theirs), f"{theirs!r} and {other!r} are the same field; remove one."
            try:
                check_rule(entry.rule())
            except Invalid as problem:
                yield ("fields", channel, theirs), problem.message
    for name, told in config.file.words.items():
        try:
            words(told)
        except Invalid as problem:
            yield ("words", name), problem.message


def _shown(config: Config) -> Problems:
    """Places of the ledger show up at places of storefronts, one at each; none shows up where the shop counts itself."""
    channels = {one.id: one for one in config.file.channels}
    shops = [one.id for one in config.file.channels if isinstance(one, SHOPS)]
    taken = {(one.keeper, one.external_id): one.code for one in config.file.locations if not one.ours}
    counted = dict(taken)
    for index, location in enumerate(config.file.locations):
        at: Place = ("locations", index)
        for channel in location.sells_to or ():
            if channel not in channels:
                yield (*at, "sells_to"), f"no channel is called {channel}; there are {', '.join(channels)}."
        if not location.ours:
            continue
        for channel, place in location.shown.items():
            here = (*at, "shown", channel)
            if channel not in shops:
                yield here, _no_places(channel, channels, shops)
            elif location.sells_to is not None and channel not in location.sells_to:
                yield here, f"{channel} may not sell from {location.code}; add it to `sells_to`, or remove this line."
            elif (other := taken.setdefault((channel, place), location.code)) != location.code:
                yield (
                    here,
                    f"this place of {channel} stands for {other} already; one place there can show only one of ours.",
                )
        if location.opens_from is not None and location.opens_from not in location.shown:
            yield (
                (*at, "opens_from"),
                f"`opens_from` must be a channel that stands under [locations.shown]: there is "
                f"{', '.join(location.shown) or 'none'}. Add a line `{location.opens_from} = …` there, or remove this one.",
            )
    for index, account in enumerate(config.file.channels):
        for number, pool in enumerate(account.pools if isinstance(account, AmazonEntry) else ()):
            for channel, place in pool.shown.items():
                here = ("channels", index, "pools", number, "shown", channel)
                if channel not in shops:
                    yield here, _no_places(channel, channels, shops)
                elif (channel, place) in counted:
                    yield here, f"{channel} counts at this place itself ({counted[channel, place]}); name another one."


def _no_places(channel: str, channels: Mapping[str, Any], shops: Sequence[str]) -> str:
    if channel in channels:
        return f"{channel} shows one number for all places together; remove this line."
    return f"no channel is called {channel}; those that know places are {', '.join(shops) or 'none'}."


def _fed(config: Config) -> Problems:
    """Feeds speak of places that the ledger counts."""
    ours = [one.code for one in config.file.locations if one.ours]
    for table, feeds in config.feeds:
        for index, feed in enumerate(feeds):
            for code in feed.locations:
                if code not in ours:
                    yield (
                        (table, index, "locations"),
                        f"{code} is no place that the ledger counts; there is {', '.join(ours) or 'none'}.",
                    )


def _spoken_for(config: Config) -> Problems:
    """Who tells of parcels speaks for channels of ours."""
    channels = [one.id for one in config.file.channels]
    for index, source in enumerate(config.file.tracking_in):
        if source.id == "files":
            yield ("tracking_in", index, "id"), "POST /tracking/files takes files; give this source another id."
        for channel in source.channels:
            if channel not in channels:
                here = ("tracking_in", index, "channels")
                yield here, f"no channel is called {channel}; there are {', '.join(channels)}."


def _paced(config: Config) -> Problems:
    """Amazon's searchOrders has 0.0056 calls a second for all that we do with it."""
    for index, channel in enumerate(config.file.channels):
        every = channel.streams.orders if isinstance(channel, AmazonEntry) else None
        if every is not None and every < AMAZON_ORDERS_EVERY:
            yield (
                ("channels", index, "streams", "orders"),
                "Amazon lets an account search its orders every three minutes; write PT15M, or PT3M at the least.",
            )


_CHECKS: tuple[Callable[[Config], Problems], ...] = (
    _once,
    _charted,
    _pooled,
    _kept,
    _mapped,
    _shown,
    _fed,
    _spoken_for,
    _paced,
    _pools_named,
)
