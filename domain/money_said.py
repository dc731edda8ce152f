"""Words for money that no table knows, and what people say of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain.ids import ChannelId
from domain.money import Money
from domain.money_class import Event, MoneyClass
from domain.money_words import Key, Wording, folded


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says that words mean. `known_at` is None until it is kept."""

    event: Event
    money_class: MoneyClass
    by: str
    reason: str
    known_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a source in `domain.money_words.PLATFORMS`, as they were told."""

    source: str
    kind: str
    amount_kind: str
    description: str

    @property
    def told(self) -> str:
        """For people to read."""
        return " / ".join(filter(None, (self.kind, self.amount_kind, self.description)))

    @property
    def wording(self) -> Wording:
        """Whose words they are."""
        return Wording(self.source)

    @property
    def key(self) -> Key:
        """What all spellings of them have in common."""
        return folded(self.kind), folded(self.amount_kind), folded(self.description)


@dataclass(frozen=True, slots=True)
class Unclassified:
    """Words that nobody knows, of so many lines of these channels; `since` is when the first of them was known."""

    words: Words
    lines: int
    amounts: tuple[Money, ...]
    since: datetime
    channels: tuple[ChannelId, ...]
