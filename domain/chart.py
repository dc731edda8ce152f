"""Charts of accounts as data: which account each amount is booked on, by what it is for and where it came from.

A chart is a TOML file (see `domain/charts/`): its accounts by code, and rules, of which the first that fits an amount holds.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from functools import lru_cache
from importlib.resources import files
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.errors import Invalid
from domain.ids import ChannelId
from domain.money_class import PENDING, Event, MoneyClass, Part, part_of


class Role(Enum):
    """Accounts that are of no class of money."""

    CLEARING = "CLEARING"  # what a channel owes us: all lines of its settlements against it
    TRANSIT = "TRANSIT"  # what it has paid out, until the bank shows it
    SUSPENSE = "SUSPENSE"  # lines that are not tied out, until they are
    COST_OF_GOODS = "COST_OF_GOODS"
    INVENTORY = "INVENTORY"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a rule wants of an amount, and the account that it is booked on then. An empty set wants nothing."""

    account: str
    roles: frozenset[Role] = frozenset()
    classes: frozenset[MoneyClass] = frozenset()
    parts: frozenset[Part] = frozenset()
    events: frozenset[Event] = frozenset()
    channels: frozenset[str] = frozenset()
    marketplaces: frozenset[str] = frozenset()

    def holds(self, at: _Of) -> bool:
        """Whether it is about that amount. Classes and roles are never mixed."""
        if bool(self.roles) != (at.role is not None) or (at.role is not None and at.role not in self.roles):
            return False
        return all(
            not wanted or told in wanted
            for wanted, told in (
                (self.classes, at.money_class),
                (self.parts, at.part),
                (self.events, at.event),
                (self.channels, at.channel),
                (self.marketplaces, at.marketplace),
            )
        )


@dataclass(frozen=True, slots=True)
class _Of:
    role: Role | None
    money_class: MoneyClass | None
    event: Event | None
    channel: str | None
    marketplace: str | None

    @property
    def part(self) -> Part | None:
        return None if self.money_class is None or self.event is None else part_of(self.money_class, self.event)


@dataclass(frozen=True, slots=True)
class Datev:
    """Whose books they are at DATEV: the numbers of the tax consultant and of the client, how many digits accounts have, and the
    month with which the business year begins."""

    consultant: int
    client: int
    digits: int = 4
    year_begins: int = 1

    def year_of(self, day: date) -> date:
        """The first day of the business year in which a day lies."""
        return date(day.year if day.month >= self.year_begins else day.year - 1, self.year_begins, 1)


@dataclass(frozen=True, slots=True)
class Chart:
    """Accounts by code with their names. Days are those of `zone`; `currency` is the one that the books are kept in."""

    name: str
    zone: ZoneInfo
    currency: str
    accounts: Mapping[str, str]
    rules: tuple[Rule, ...]
    datev: Datev | None = None

    def account(
        self, of: tuple[MoneyClass, Event] | Role, channel: ChannelId | None = None, marketplace: str | None = None
    ) -> str:
        """The code of the account that it is booked on. Every chart has one for everything."""
        role = of if isinstance(of, Role) else None
        money_class, event = (None, None) if isinstance(of, Role) else of
        at = _Of(role, money_class, event, channel, marketplace)
        return next(one.account for one in self.rules if one.holds(at))


BUILT_IN = ("general", "skr03", "skr04", "us")
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,19}")
_KEYS = ("account", "role", "class", "part", "event", "channel", "marketplace")
E = TypeVar("E", bound=Enum)


def built_in_text(name: str) -> str:
    """A chart of ours, as it may be taken for the beginning of another one. Raises Invalid."""
    if name not in BUILT_IN:
        raise Invalid(f"There is no chart {name!r}; there are {', '.join(BUILT_IN)}.")
    return (files("domain") / "charts" / f"{name}.toml").read_text(encoding="utf-8")


@lru_cache
def built_in(name: str) -> Chart:
    """One of our charts. Raises Invalid."""
    return read_chart(built_in_text(name))


def read_chart(text: str) -> Chart:
    """A chart from TOML. Raises Invalid with what is wrong and where: a chart without an account for something that may come
    would be found out on the day it comes."""
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise Invalid(f"The chart is not TOML: {problem}.") from None
    unknown = told.keys() - {"name", "zone", "currency", "accounts", "rules", "datev"}
    if unknown:
        raise Invalid(f"`{min(unknown)}` is no key of a chart; there are name, zone, currency, accounts, rules, datev.")
    accounts = told.get("accounts")
    if not isinstance(accounts, dict) or not accounts:
        raise Invalid("The chart has no table [accounts] with a name for each code.")
    for code, name in accounts.items():
        if not _CODE.fullmatch(code) or not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise Invalid(f"The account {code!r} needs a code of letters and digits, and a name.")
    rules = tuple(_rule(number, one, accounts) for number, one in enumerate(told.get("rules", []), start=1))
    chart = Chart(
        name=_text(told, "name"),
        zone=_zone(told.get("zone", "UTC")),
        currency=_currency(told),
        accounts=accounts,
        rules=rules,
        datev=_datev(told.get("datev")),
    )
    _check_whole(chart)
    return chart


def _rule(number: int, told: Any, accounts: Mapping[str, str]) -> Rule:
    where = f"Rule {number} of the chart"
    if not isinstance(told, dict) or (unknown := told.keys() - set(_KEYS)):
        raise Invalid(f"{where} may have {', '.join(_KEYS)}" + (f", not `{min(unknown)}`." if unknown else "."))
    account = told.get("account")
    if not isinstance(account, str) or account not in accounts:
        raise Invalid(f"{where} names the account {account!r}, which is not in [accounts].")
    roles = _words(where, told, "role", Role)
    rule = Rule(
        account=account,
        roles=roles,
        classes=_words(where, told, "class", MoneyClass),
        parts=_words(where, told, "part", Part),
        events=_words(where, told, "event", Event),
        channels=frozenset(_texts(where, told, "channel")),
        marketplaces=frozenset(_texts(where, told, "marketplace")),
    )
    if roles and (rule.classes or rule.parts or rule.events):
        raise Invalid(f"{where} has a role, so it has no class, part or event.")
    return rule


def _words(where: str, told: Mapping[str, Any], key: str, kind: type[E]) -> frozenset[E]:
    try:
        return frozenset(kind(one) for one in _texts(where, told, key))
    except ValueError as problem:
        raise Invalid(f"{where}: {problem}. There are {', '.join(one.value for one in kind)}.") from None


def _texts(where: str, told: Mapping[str, Any], key: str) -> Iterable[str]:
    found = told.get(key, [])
    found = [found] if isinstance(found, str) else found
    if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
        raise Invalid(f"{where}: `{key}` is a text or a list of texts.")
    return found


def _text(told: Mapping[str, Any], key: str) -> str:
    found = told.get(key)
    if not isinstance(found, str) or not found.strip() or not found.isprintable():
        raise Invalid(f"The chart has no `{key}`.")
    return found


def _currency(told: Mapping[str, Any]) -> str:
    found = _text(told, "currency")
    if not re.fullmatch(r"[A-Z]{3}", found):
        raise Invalid(f"`currency` of the chart is {found!r}; write a code such as EUR.")
    return found


def _zone(told: Any) -> ZoneInfo:
    try:
        return ZoneInfo(told)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise Invalid(f"`zone` of the chart is {told!r}; write a name such as Europe/Berlin.") from None


_LIMITS = {"consultant": (1001, 9_999_999), "client": (1, 99_999), "digits": (4, 8), "year_begins": (1, 12)}
"""Source: DATEV developer portal, "DATEV-Format", header of a posting batch."""


def _datev(told: Any) -> Datev | None:
    if told is None:
        return None
    if not isinstance(told, dict) or told.keys() - _LIMITS.keys() or not {"consultant", "client"} <= told.keys():
        raise Invalid(f"[datev] of the chart has consultant and client, and may have {', '.join(list(_LIMITS)[2:])}.")
    for key, value in told.items():
        least, most = _LIMITS[key]
        if type(value) is not int or not least <= value <= most:
            raise Invalid(f"`{key}` under [datev] of the chart is {value!r}; write a number from {least} to {most}.")
    return Datev(**told)


def _check_whole(chart: Chart) -> None:
    """Whatever may come has an account, wherever it comes from."""
    for of in (*Role, *((one, event) for one in MoneyClass for event in Event)):
        if of is not Role.SUSPENSE and isinstance(of, tuple) and of[0] in PENDING:
            continue  # it goes to suspense
        try:
            chart.account(of)
        except StopIteration:
            what = f"the role {of.value}" if isinstance(of, Role) else f"{of[0].value} of the event {of[1].value}"
            raise Invalid(f"The chart {chart.name} has no rule for {what}, without a channel or marketplace.") from None
