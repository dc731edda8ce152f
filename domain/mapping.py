"""From a channel's properties of a product to the house's: its fields, words and units.

Dictionaries say what a word means (words/*.toml, the configuration, and what people have answered since). A value that none of
them knows is never guessed: it stays as the channel spells it, marked as not understood, and becomes a task for a person.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import Any

from domain.errors import Invalid
from domain.ids import ChannelId, ChannelSku
from domain.product import Attribute

DICTIONARIES = ("color", "size")
"""Fields whose values are words of a dictionary that comes with us."""

MEASURES: Mapping[str, str] = {
    "weight": "weight",
    "length": "length",
    "width": "length",
    "height": "length",
    "volume": "volume",
}
"""Fields whose values are measures, and of which dimension."""

OWN_UNIT: Mapping[str, str] = {"weight": "g", "length": "mm", "volume": "ml"}
"""In which unit the house keeps a dimension."""

MOST_DIGITS = 16
"""Of a measure: times any unit's factor it stays within the 28 digits that are reckoned exactly."""

LONGEST_VALUE = 100
"""Characters of a value that a person gives a word."""

# Labels, not properties: rules of stock go by them as they are.
_LABELS = frozenset({"tag"})
_NUMBER = r"\d+(?:[.,]\d+)*"
_MEASURE = re.compile(rf"({_NUMBER})\s*(\D*)")
_SIZE_NUMBER = re.compile(r"(?:(eu|us|uk|it|fr|jp) )?(\d{1,3}(?:[.,]5)?)(?: ?[-/–] ?(\d{1,3}(?:[.,]5)?))?")
_WAIST = re.compile(r"w ?(\d{2}) ?/? ?l ?(\d{2})")
_APART = re.compile(r"[\s_\-/・·]+")


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What a channel's field is here: `to` is our name of it, None where it is none of our business; `unit` is that of numbers
    that stand alone."""

    to: str | None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Unseen:
    """A value that no dictionary knows, on the first listing that it was met on."""

    channel: ChannelId
    field: str
    raw: str
    reason: str
    channel_sku: ChannelSku

    @property
    def word(self) -> str:
        """As it is compared."""
        return folded(self.raw)


class TaskState(Enum):
    """Nobody has said what it means yet; somebody has; or somebody has said that it is to stay as it is."""

    OPEN = "OPEN"
    ANSWERED = "ANSWERED"
    IGNORED = "IGNORED"


@dataclass(frozen=True, slots=True)
class Task:
    """The task that an unseen word of a channel became; `channel_sku` is where it was met first."""

    id: int
    channel: ChannelId
    field: str
    word: str
    raw: str
    reason: str
    channel_sku: str
    first_at: datetime
    state: TaskState
    value: str | None
    everywhere: bool
    answered_by: str | None
    answered_at: datetime | None


@dataclass(frozen=True, slots=True)
class FieldMap:
    """What the configuration says: `rules` by channel and folded name of the field, `words` by our field and folded word."""

    rules: Mapping[tuple[ChannelId, str], FieldRule] = field(default_factory=dict)
    words: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def rule(self, channel: ChannelId, name: str) -> FieldRule:
        """What this channel's field is here: by its rule, else by its name in any language, else as it is called there."""
        key = folded(name)
        found = self.rules.get((channel, key))
        return found or FieldRule(_names("field").get(key, name.strip().lower()))

    def closed(self, name: str) -> bool:
        """Whether the values of our field are words of a dictionary, and no other text."""
        return name in DICTIONARIES or any(of == name for of, _ in self.words)

    def values(self, name: str) -> list[str]:
        """The house's words for a dictionary field, in order."""
        own = {value for (of, _), value in self.words.items() if of == name}
        return sorted(own.union(_names(name).values()))

    def meaning(self, name: str, raw: str, answers: Mapping[tuple[str, str], str]) -> str | None:
        """The house's word for a channel's; None where nobody has said. `answers` of people go first."""
        word = folded(raw)
        for known in (answers, self.words):
            if (found := known.get((name, word))) is not None:
                return found
        return _names(name).get(word) or (_number_size(word) if name == "size" else None)


def understood(
    fields: FieldMap,
    channel: ChannelId,
    sku: ChannelSku,
    attributes: Sequence[Attribute],
    answers: Mapping[tuple[str, str], str],
) -> tuple[list[Attribute], list[Unseen]]:
    """A listing's attributes in the house's words, and what is not understood of them.

    `answers` are what people have said of this channel's words, by (our field, folded word). The result depends on the arguments
    alone, and what is understood already stays as it is.
    """
    told: list[Attribute] = []
    unseen: list[Unseen] = []
    for one in attributes:
        if one.name in _LABELS:
            told.append(one)
            continue
        rule = fields.rule(channel, one.name)
        if rule.to is None:
            continue
        raw = one.value if one.raw is None else one.raw
        try:
            value = _value(fields, rule, raw, answers)
            told.append(Attribute(rule.to, value, raw))
        except Invalid as problem:
            told.append(Attribute(rule.to, raw, raw, understood=False))
            unseen.append(Unseen(channel, rule.to, raw, problem.message, sku))
    return told, unseen


def check_value(fields: FieldMap, name: str, value: str, *, new: bool = False) -> str:
    """The house's spelling of what a person says a word means. `new` takes a word that the dictionary does not have.

    Raises Invalid for what cannot be a value of the field.
    """
    wanted = value.strip()
    if not wanted:
        raise Invalid("A value is at least one character.", field=("value",))
    if len(wanted) > LONGEST_VALUE or not wanted.isprintable():
        raise Invalid(f"A value is at most {LONGEST_VALUE} characters that can be seen.", field=("value",))
    if name in MEASURES:
        return measure(name, wanted, None)
    if not fields.closed(name):
        return wanted
    found = next((one for one in fields.values(name) if folded(one) == folded(wanted)), None) or (
        _number_size(folded(wanted)) if name == "size" else None
    )
    if found is not None:
        return found
    if not new:
        raise Invalid(
            f"{wanted!r} is no {name} of ours. Take one of {', '.join(fields.values(name))}; or say that it is a new one.",
            field=("value",),
        )
    return wanted


def _value(fields: FieldMap, rule: FieldRule, raw: str, answers: Mapping[tuple[str, str], str]) -> str:
    assert rule.to is not None
    meaning = fields.meaning(rule.to, raw, answers)
    if meaning is not None:
        return meaning
    if rule.to in MEASURES:
        return measure(rule.to, raw, rule.unit)
    if fields.closed(rule.to):
        raise Invalid(f"No dictionary knows this {rule.to}.")
    return raw


def measure(name: str, raw: str, unit: str | None) -> str:
    """A measure in the house's unit, exact: ("weight", "1,5 kg") -> "1500 g". `unit` is that of a number that stands alone.

    Raises Invalid for what is no measure, for a number that can be read in two ways (1.500 is one and a half or fifteen hundred),
    and for a unit that is unknown, of another dimension, or missing.
    """
    dimension = MEASURES[name]
    found = _MEASURE.fullmatch(unicodedata.normalize("NFKC", raw).strip())
    if found is None:
        raise Invalid("It is no number with a unit.")
    word = found[2].strip() or unit
    if word is None:
        raise Invalid("The number has no unit.")
    size = _units(dimension).get(folded(word))
    if size is None:
        raise Invalid(f"{word!r} is no unit of {dimension}.")
    return f"{_plain(number(found[1]) * size)} {OWN_UNIT[dimension]}"


def check_rule(rule: FieldRule) -> None:
    """Raises Invalid for a unit that cannot be that of the field."""
    if rule.unit is None:
        return
    if rule.to is None or rule.to not in MEASURES:
        raise Invalid(f"`unit` is for measures: {', '.join(MEASURES)}.")
    dimension = MEASURES[rule.to]
    if folded(rule.unit) not in _units(dimension):
        raise Invalid(f"{rule.unit!r} is no unit of {dimension}; write {', '.join(_read('unit')[dimension])}.")


def number(text: str) -> Decimal:
    """A number that is written with a point or with a comma. Raises Invalid for one that can be read in two ways, and for
    one that has more than `MOST_DIGITS`."""
    if sum(one not in ".," for one in text) > MOST_DIGITS:
        raise Invalid("It has too many digits.")
    marks = [one for one in text if one in ".,"]
    if not marks:
        return Decimal(text)
    *groups, last = re.split(r"[.,]", text)
    thousands = all(len(one) == 3 for one in groups[1:]) and 1 <= len(groups[0]) <= 3 and groups[0] != "0"
    if len(set(marks)) == 2 and len(set(marks[:-1])) == 1 and thousands and marks[-1] != marks[0]:
        return Decimal("".join(groups) + "." + last)
    if len(marks) > 1 and len(set(marks)) == 1 and thousands and len(last) == 3:
        return Decimal("".join(groups) + last)
    if len(marks) == 1 and (len(last) != 3 or not thousands):
        return Decimal(f"{groups[0]}.{last}")
    raise Invalid("The number can be read in two ways.")


def folded(word: str) -> str:
    """A word as it is compared: without regard to case, width, accents of Latin letters, and what stands between its parts."""
    plain = "".join(_bare(one) for one in unicodedata.normalize("NFKC", word).casefold())
    return _APART.sub(" ", unicodedata.normalize("NFC", plain)).strip()


def _bare(letter: str) -> str:
    """Without its accent, where it is a Latin letter: in kana the mark makes another sound."""
    apart = unicodedata.normalize("NFD", letter)
    return apart[0] if len(apart) > 1 and "a" <= apart[0] <= "z" else letter


def _number_size(word: str) -> str | None:
    """A size that is a number, in one spelling: "eu 42" -> "EU 42", "39/42" -> "39-42", "w32 l34" -> "W32 L34"."""
    if found := _WAIST.fullmatch(word):
        return f"W{found[1]} L{found[2]}"
    found = _SIZE_NUMBER.fullmatch(word)
    if found is None:
        return _range(word)
    system, first, last = found.groups()
    return (f"{system.upper()} " if system else "") + "-".join(one.replace(",", ".") for one in (first, last) if one)


def _range(word: str) -> str | None:
    """Two numbers, between which folding has left a space."""
    parts = word.split(" ")
    numbers = len(parts) == 2 and all(one.isdecimal() and len(one) <= 3 for one in parts)
    # One that runs backwards is a pair: waist and length, or who knows.
    return "-".join(parts) if numbers and int(parts[0]) < int(parts[1]) else None


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _read(name: str) -> Mapping[str, Any]:
    return tomllib.loads(files("domain").joinpath("words", f"{name}.toml").read_text(encoding="utf-8"))


@cache
def _names(name: str) -> Mapping[str, str]:
    """The house's word by folded word, of one dictionary; empty for a field without one."""
    if name not in (*DICTIONARIES, "field"):
        return {}
    return words(_read(name))


def words(told: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """A dictionary turned round: the house's word by folded word. Raises Invalid for a word with two meanings."""
    found: dict[str, str] = {}
    for ours, theirs in told.items():
        for word in (ours, *theirs):
            if (other := found.setdefault(folded(word), ours)) != ours:
                raise Invalid(f"{word!r} stands for {other} and for {ours}.")
    return found


@cache
def _units(dimension: str) -> Mapping[str, Decimal]:
    """How many of the house's unit one is, by folded word."""
    return {folded(word): Decimal(unit["is"]) for unit in _read("unit")[dimension].values() for word in unit["words"]}
