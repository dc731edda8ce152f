"""What a channel's words for money mean: tables of data, one for each source, and no guess beyond them.

A table (`domain/words/money_*.toml`) has the `events`, by the words that say what moved the money, and blocks of `words`. A
block holds for the kinds and the kinds of amount that it names (for all, if it names none) and lists descriptions by class. Case,
blanks and signs make no difference. `*` stands for any letters; what is written out goes before what is meant by a `*`, and the
longer pattern before the shorter one.

Source: SP-API documentation, "Settlement reports attributes" and "Finances"; ShopifyPaymentsTransactionType.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache, lru_cache, partial
from importlib.resources import files
from typing import Any, TypeVar

from domain.channel import Platform
from domain.errors import Invalid
from domain.money_class import Event, MoneyClass, part_of
from domain.money_line import Source

AMAZON, AMAZON_TRANSACTION, SHOPIFY, REST = "amazon", "amazon-transaction", "shopify", "rest"
PLATFORMS = (AMAZON, AMAZON_TRANSACTION, SHOPIFY, REST)
"""Of settlement files, of listTransactions, and of payouts."""


class Wording(Enum):
    """The same, as people name them."""

    AMAZON_SETTLEMENT = AMAZON
    AMAZON_TRANSACTION = AMAZON_TRANSACTION
    SHOPIFY = SHOPIFY
    REST = REST


Named = TypeVar("Named", Event, MoneyClass)
Meaning = tuple[Event, MoneyClass]
Key = tuple[str, str, str]
"""Kind, kind of amount and description, folded; in a rule "*" stands for any."""

Classify = Callable[[str, str, str], Meaning]
"""What a kind, a kind of amount and a description of one source mean."""

ANY = "*"
_BLOCK = frozenset({"kind", "amount_kind", "event"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of a table: what words like these mean. `event` is None where the kind decides."""

    key: Key
    event: Event | None
    money_class: MoneyClass


@dataclass(frozen=True, slots=True)
class Words:
    """One table. `paths`: the kind of amount is the way down a tree, and what a leaf does not say, the branch above it does."""

    events: Mapping[str, Event]
    event_patterns: tuple[tuple[re.Pattern[str], Event], ...]
    exact: Mapping[Key, Rule]
    patterns: tuple[tuple[tuple[re.Pattern[str], ...], Rule], ...]
    paths: bool = False

    def meaning(self, kind: str, amount_kind: str, description: str) -> Meaning:
        """The event and the class; UNCLASSIFIED where no row fits, or the class depends on an event that is in no row."""
        kind = folded(kind)
        event = self._event(kind)
        rule = self._rule(kind, folded(amount_kind), folded(description))
        if rule is None:
            return event or Event.ACCOUNT, MoneyClass.UNCLASSIFIED
        event = rule.event or event
        if event is None and len({part_of(rule.money_class, one) for one in Event}) > 1:
            return Event.ACCOUNT, MoneyClass.UNCLASSIFIED
        return event or Event.ACCOUNT, rule.money_class

    def _event(self, kind: str) -> Event | None:
        if (found := self.events.get(kind)) is not None:
            return found
        return next((event for pattern, event in self.event_patterns if pattern.fullmatch(kind)), None)

    def _rule(self, kind: str, amount_kind: str, description: str) -> Rule | None:
        found = self._row(kind, amount_kind, description)
        while found is None and self.paths and amount_kind:
            amount_kind, _, description = amount_kind.rpartition("/")
            found = self._row(kind, amount_kind, description)
        return found

    def _row(self, kind: str, amount_kind: str, description: str) -> Rule | None:
        for key in ((kind, amount_kind), (ANY, amount_kind), (kind, ANY), (ANY, ANY)):
            if (found := self.exact.get((*key, description))) is not None:
                return found
        words = (kind, amount_kind, description)
        return next((rule for patterns, rule in self.patterns if _fits(patterns, words)), None)


@lru_cache(maxsize=65_536)
def classify(platform: str, kind: str, amount_kind: str = "", description: str = "") -> Meaning:
    """What moved the money, and what it is for, by the words of a source in PLATFORMS.

    `kind`, `amount_kind` and `description` are the columns transaction-type, amount-type and amount-description of a settlement
    file; the transactionType, the breakdownTypes above a leaf joined by "/", and the leaf's own of listTransactions; a movement's
    kind, "amount" or "fee", and the reason of its adjustment (or "") of payouts. Words that are in no table are UNCLASSIFIED,
    with the event that the kind tells, else ACCOUNT.
    """
    return table(platform).meaning(kind, amount_kind, description)


@dataclass(frozen=True, slots=True)
class Dictionary:
    """What words mean: as people say, by source and folded words, else as the tables have it."""

    said: Mapping[tuple[str, Key], Meaning] = field(default_factory=dict)

    def of(self, platform: str) -> Classify:
        """Classifies the words of a source, as `classify` does."""
        own = {key: meaning for (source, key), meaning in self.said.items() if source == platform}
        if not own:
            return partial(classify, platform)

        @lru_cache(maxsize=65_536)
        def meaning(kind: str, amount_kind: str, description: str) -> Meaning:
            said = own.get((folded(kind), folded(amount_kind), folded(description)))
            return classify(platform, kind, amount_kind, description) if said is None else said

        return meaning


def source_of(platform: Platform, source: Source) -> str | None:
    """Whose words a line has; None for what we reckoned ourselves, and where no channel tells money."""
    match platform, source:
        case Platform.AMAZON, Source.SETTLEMENT:
            return AMAZON
        case Platform.AMAZON, Source.TRANSACTION:
            return AMAZON_TRANSACTION
        case Platform.SHOPIFY, Source.SETTLEMENT:
            return SHOPIFY
        case Platform.REST, Source.SETTLEMENT:
            return REST
    return None


def folded(word: str) -> str:
    """A word as tables compare it: letters and figures alone, in small ones, and the "/" of a path."""
    plain = unicodedata.normalize("NFKC", word).casefold()
    return "".join(letter for letter in plain if letter.isalnum() or letter == "/")


@cache
def table(platform: str) -> Words:
    """The table of a source. Raises Invalid for a source that has none."""
    if platform not in PLATFORMS:
        raise Invalid(f"There is no table of words for money of {platform!r}.")
    return words_of(read(platform))


@cache
def read(platform: str) -> Mapping[str, Any]:
    """A table as its file has it."""
    name = f"money_{platform.replace('-', '_')}.toml"
    return tomllib.loads(files("domain").joinpath("words", name).read_text(encoding="utf-8"))


def words_of(told: Mapping[str, Any]) -> Words:
    """A table, of what its file says. Raises Invalid for words that stand there twice, and for names of no class or event."""
    events: dict[str, Event] = {}
    for name, kinds in told["events"].items():
        for word in kinds:
            if events.setdefault(_pattern(word), _member(Event, name)) is not _member(Event, name):
                raise Invalid(f"{word!r} stands for two events.")
    rules: dict[Key, Rule] = {}
    for block in told["words"]:
        for rule in rules_of(block):
            if rule.key in rules:
                raise Invalid(f"{' / '.join(rule.key)} stands there twice.")
            rules[rule.key] = rule
    open_ended = sorted((one for one in rules.values() if not _exact(one.key)), key=_weight)
    return Words(
        {word: event for word, event in events.items() if ANY not in word},
        tuple((_compiled(word), event) for word, event in events.items() if ANY in word),
        {key: one for key, one in rules.items() if _exact(key)},
        tuple((tuple(map(_compiled, one.key)), one) for one in open_ended),
        told.get("paths", False),
    )


def rules_of(block: Mapping[str, Any]) -> Iterator[Rule]:
    """The rows of one block."""
    event = _member(Event, block["event"]) if "event" in block else None
    for name, descriptions in block.items():
        if name in _BLOCK:
            continue
        money_class = _member(MoneyClass, name)
        for kind in _each(block, "kind"):
            for amount_kind in _each(block, "amount_kind"):
                for description in descriptions:
                    key = (_pattern(kind), _pattern(amount_kind), _pattern(description))
                    yield Rule(key, event, money_class)


def _each(block: Mapping[str, Any], name: str) -> Iterable[str]:
    return tuple(block.get(name, (ANY,)))


def _member(of: type[Named], name: str) -> Named:
    try:
        return of[name]
    except KeyError:
        raise Invalid(f"There is no {of.__name__} {name!r}.") from None


def _pattern(word: str) -> str:
    return ANY.join(map(folded, word.split(ANY)))


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split(ANY))))


def _exact(key: Key) -> bool:
    """Whether it can be looked up: the description is written out, the others too or left open."""
    return ANY not in key[2] and all(word == ANY or ANY not in word for word in key[:2])


def _weight(rule: Rule) -> tuple[int, ...]:
    """What is written out goes before patterns, the longer before the shorter; first by description, then by amount."""
    return tuple(weight for word in (rule.key[2], rule.key[1], rule.key[0]) for weight in (ANY in word, -len(word)))


def _fits(patterns: tuple[re.Pattern[str], ...], words: Key) -> bool:
    return all(pattern.fullmatch(word) for pattern, word in zip(patterns, words, strict=True))
