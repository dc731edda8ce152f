"""What banks book, and which payout of a channel each line of it is.

A match is a pure function of the payouts and lines there are and of what people decided: so the same files in any order make the
same matches, and one that was made when less was known is taken back when it is not certain any more. By named rules, in order:

    PERSON       somebody said so
    REFERENCE    the line's words name the payout, the amount is the payout's, and no line that names it sends it back
    AMOUNT_DATE  same amount, booked within days of the payout, and neither of them has another one, and the line names no payout

What the bank calls a reversal is no payout, and what it may take back is none for certain.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from itertools import pairwise

from domain.ids import ChannelId, derived_id
from domain.money import Money

DAYS = 5
"""So many working days a payout may be on its way. A SEPA credit transfer takes one, an ACH credit up to three; some banks hold a
first one longer."""
EARLY = 1
"""A bank in a zone east of the channel's books it a day before."""
OVERDUE = timedelta(days=9)
"""After so long every bank has shown a payout, weekends and a holiday included."""
FAR = timedelta(days=60)
"""Nobody takes a line for a payout that is further away."""

REVERSAL = "RvslInd"
"""What stands behind the words of a line that the bank calls a reversal: ISO 20022's own name for it."""

_APART = re.compile(r"[\s+:;,|]+")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}")


class MatchRule(Enum):
    """By what a line was told to be a payout."""

    PERSON = "PERSON"
    REFERENCE = "REFERENCE"
    AMOUNT_DATE = "AMOUNT_DATE"


class Doubt(Enum):
    """Why a line that may be a payout is not taken for it: somebody has to look."""

    SEVERAL = "SEVERAL"  # more than one line, or more than one payout, is as good
    AMOUNT_DIFFERS = "AMOUNT_DIFFERS"  # it names the payout and is another amount
    CURRENCY_DIFFERS = "CURRENCY_DIFFERS"  # it names the payout, and the bank has converted it
    DATE_DIFFERS = "DATE_DIFFERS"  # the amount is the payout's, and the day is not


@dataclass(frozen=True, slots=True)
class BankLine:
    """One booking of an account, signed as we see it. `key` names it among the account's: the bank's own reference, or what the
    line says and its number among those that say the same on its day. `words` are all that the bank tells of it."""

    account: str
    key: str
    booked_on: date
    amount: Money
    words: str
    party: str | None = None
    valued_on: date | None = None

    @property
    def id(self) -> str:
        """The same line, from whichever file, has the same one."""
        return derived_id("bank line", self.account, self.key)

    @property
    def reversal(self) -> bool:
        """Whether it takes back another line. Its amount is what it does itself: below 0 where what had come is taken back."""
        return self.words.endswith(REVERSAL)


class Keys:
    """Names the lines of one statement: by the bank's own reference, or else by all that a line says, and by its number among
    those that are alike."""

    def __init__(self) -> None:
        # Of hundreds of thousands of lines no more is held than a number each.
        self._seen: Counter[int] = Counter()

    def of(self, reference: str, words: str, party: str | None, booked_on: date, amount: Money) -> str:
        """The next line's."""
        says = "" if reference else hashlib.sha256("\n".join([words, party or ""]).encode()).hexdigest()
        same = "|".join([reference, says, booked_on.isoformat(), f"{amount.amount.normalize():f}", amount.currency])
        mark = int.from_bytes(hashlib.sha256(same.encode()).digest()[:8])
        self._seen[mark] += 1
        return f"{same}|{self._seen[mark]}"


@dataclass(frozen=True, slots=True)
class Payout:
    """What a channel says it has paid (below 0: has taken), and when. `names` are what a bank's line may call it."""

    id: str
    channel: ChannelId
    total: Money
    paid_on: date
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """What a person decided of a line: which payout it is, or that it is none."""

    line: str
    payout: str | None


@dataclass(frozen=True, slots=True)
class Match:
    """A line is a payout; None where somebody said that it is none."""

    line: str
    payout: str | None
    rule: MatchRule


@dataclass(frozen=True, slots=True)
class Candidate:
    """A line that may be a payout, and why it was not taken for it."""

    payout: str
    line: str
    doubt: Doubt


@dataclass(frozen=True, slots=True)
class Matched:
    """What is certain, and what a person has to look at."""

    matches: tuple[Match, ...]
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class KeptMatch:
    """Which payout a line is (None: none, somebody said), by which rule and whom, and since when that is known."""

    line: str
    payout: str | None
    rule: MatchRule
    made_by: str | None
    reason: str | None
    made_at: datetime


@dataclass(frozen=True, slots=True)
class KeptLine:
    """A line of a bank, and what it is, where that is known."""

    id: str
    line: BankLine
    match: KeptMatch | None


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which lines are wanted; None wants all. `matched` are those that are a payout, `False` those of which nobody knows what
    they are. Days are both meant with."""

    account: str | None = None
    matched: bool | None = None
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True)
class Awaited:
    """A payout that no line of a bank is (yet), and those lines that may be it."""

    payout: Payout
    external_id: str
    paid_at: datetime
    candidates: tuple[tuple[Candidate, BankLine], ...]


def account_of(told: str) -> str:
    """One name for an account, however it is written: an IBAN without blanks, all else as it stands."""
    iban = "".join(told.split()).upper()
    return iban if _IBAN.fullmatch(iban) else told.strip()


def names(words: str) -> frozenset[str]:
    """The pieces of a bank's words that may be a name of a payout: whole words with a digit in them, without regard to case.
    Banks put marks before them (`SVWZ+`) and break words after 35 characters, so neighbors are put together, too."""
    pieces = [one.strip("./-()'\"").casefold() for one in _APART.split(words)]
    told = [one for one in pieces if one]
    joined = [a + b for a, b in pairwise(told)]
    return frozenset(one for one in (*told, *joined) if len(one) >= 5 and any(sign.isdigit() for sign in one))


def due_by(paid_on: date, days: int = DAYS) -> date:
    """The last day on which a payout may be booked: so many working days later. Holidays of banks are not known here."""
    day = paid_on
    while days:
        day += timedelta(days=1)
        days -= day.weekday() < 5
    return day


def matched(
    payouts: Collection[Payout], lines: Collection[BankLine], said: Iterable[Said] = (), days: int = DAYS
) -> Matched:
    """What each line is, by the rules in their order. The order of what is given does not matter."""
    decided = {one.line: one.payout for one in said}
    matches = [Match(line, payout, MatchRule.PERSON) for line, payout in decided.items()]
    taken = {one for one in decided.values() if one is not None}
    open_lines = {one.id: one for one in lines if one.id not in decided}
    open_payouts = {one.id: one for one in payouts if one.id not in taken}
    doubts: dict[tuple[str, str], Doubt] = {}
    told = _named(payouts, open_lines.values())
    named = [(p, q) for p, q in told if p.id in open_payouts]
    sure, unsure = _pairs([(p, q) for p, q in named if p.total == q.amount])
    # What was paid and sent back is not paid.
    back = {p.id for p, q in named if q.amount == -p.total} | _taken_back(open_lines.values())
    unsure += [pair for pair in sure if not back.isdisjoint(pair)]
    sure = [pair for pair in sure if back.isdisjoint(pair)]
    doubts |= dict.fromkeys(unsure, Doubt.SEVERAL)
    matches += [Match(line, payout, MatchRule.REFERENCE) for payout, line in sure]
    for payout, line in sure:
        del open_payouts[payout], open_lines[line]
    for p, q in named:
        if p.id in open_payouts and q.id in open_lines and p.total != q.amount:
            same = p.total.currency == q.amount.currency
            doubts[p.id, q.id] = Doubt.AMOUNT_DIFFERS if same else Doubt.CURRENCY_DIFFERS
    alike = list(_alike(open_payouts.values(), (one for one in open_lines.values() if not one.reversal)))
    near = [(p, q) for p, q in alike if p.paid_on - timedelta(days=EARLY) <= q.booked_on <= due_by(p.paid_on, days)]
    sure, unsure = _pairs(near)
    # What names several, another amount or another payout, is no case for counting days.
    named_in_vain = {one for pair in doubts for one in pair} | {q.id for _, q in told} | back
    for pair in sure:
        if not named_in_vain.isdisjoint(pair):
            doubts.setdefault(pair, Doubt.SEVERAL)
        else:
            matches.append(Match(pair[1], pair[0], MatchRule.AMOUNT_DATE))
    done = {one.payout for one in matches}, {one.line for one in matches}
    for pair in unsure:
        doubts.setdefault(pair, Doubt.SEVERAL)
    for p, q in alike:
        doubts.setdefault((p.id, q.id), Doubt.DATE_DIFFERS)
    left = [Candidate(p, q, why) for (p, q), why in doubts.items() if p not in done[0] and q not in done[1]]
    return Matched(
        tuple(sorted(matches, key=lambda one: one.line)), tuple(sorted(left, key=lambda one: (one.payout, one.line)))
    )


def _taken_back(lines: Collection[BankLine]) -> set[str]:
    """The reversals among these, and what each may take back: of the same account and amount, booked until then; where some of
    these have a name in common with it, they alone."""
    by_amount: defaultdict[tuple[str, Money], list[BankLine]] = defaultdict(list)
    for one in lines:
        if not one.reversal:
            by_amount[one.account, one.amount].append(one)
    found: set[str] = set()
    for back in (one for one in lines if one.reversal):
        alike = by_amount[back.account, -back.amount]
        near = [one for one in alike if timedelta(0) <= back.booked_on - one.booked_on <= FAR]
        called = names(back.words)
        meant = [one for one in near if not called.isdisjoint(names(one.words))]
        found |= {back.id, *(one.id for one in meant or near)}
    return found


def _named(payouts: Iterable[Payout], lines: Iterable[BankLine]) -> list[tuple[Payout, BankLine]]:
    by_name: defaultdict[str, list[Payout]] = defaultdict(list)
    for one in payouts:
        for name in {each.casefold() for each in one.names}:
            by_name[name].append(one)
    found: dict[tuple[str, str], tuple[Payout, BankLine]] = {}
    for line in lines:
        for name in names(line.words):
            for one in by_name.get(name, ()):
                found[one.id, line.id] = (one, line)
    return list(found.values())


def _alike(payouts: Iterable[Payout], lines: Iterable[BankLine]) -> Iterator[tuple[Payout, BankLine]]:
    """Those of one amount that are not too far apart: over the years there may be thousands of an amount."""
    by_amount: defaultdict[Money, list[Payout]] = defaultdict(list)
    for one in payouts:
        by_amount[one.total].append(one)
    for line in lines:
        for one in by_amount.get(line.amount, ()):
            if abs(one.paid_on - line.booked_on) <= FAR:
                yield one, line


def _pairs(pairs: Sequence[tuple[Payout, BankLine]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(those of which neither side is in another one, the others)."""
    left: defaultdict[str, int] = defaultdict(int)
    right: defaultdict[str, int] = defaultdict(int)
    for p, q in pairs:
        left[p.id] += 1
        right[q.id] += 1
    sure = [(p.id, q.id) for p, q in pairs if left[p.id] == right[q.id] == 1]
    return sure, [(p.id, q.id) for p, q in pairs if not left[p.id] == right[q.id] == 1]
