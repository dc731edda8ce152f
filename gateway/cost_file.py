"""Files of unit costs: CSV and JSON Lines, a layer of one SKU in each row. See `gateway/rows.py` for how they are read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from itertools import islice
from typing import BinaryIO

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.cost import CostLayer, NewCost
from domain.errors import Invalid
from domain.ids import Sku
from domain.money import Money, parse_money
from gateway.rows import FileProblem, Row, csv_rows, json_rows, shown
from store import cost, product
from store.cost import Kept
from store.session import Store

BATCH = 500
COLUMNS = ("sku", "validFrom", "amount", "currency", "extra", "withdrawn", "reason")
NEEDED = ("sku", "validFrom")
REPORT = ("row", "sku", "valid_from", "result", "revision", "landed", "reason")
_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,10})?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TRUE, _FALSE = ("true", "yes", "1"), ("", "false", "no", "0")


class Result(Enum):
    """What becomes of a row. SAME: it stands so already."""

    NEW = "new"
    REVISED = "revised"
    SAME = "same"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row of the file."""

    number: int
    sku: str
    valid_from: str
    result: Result
    layer: CostLayer | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked: who asks, and whether it is only to be told what would happen. Without `new_skus` costs of SKUs that no
    product has are refused."""

    actor: str
    dry_run: bool = False
    new_skus: bool = False
    json_lines: bool = False


Read = tuple[Row, NewCost | Invalid]


async def run(
    store: Store,
    file: BinaryIO,
    wanted: Wanted,
    tell: Callable[[Outcome], None],
    done: Callable[[int], None] = lambda _: None,
) -> Counter[Result]:
    """Take the file, 500 rows a transaction; `tell` is given each row's outcome, `done` how many bytes are behind.

    What was done stays done when it is interrupted, and the same file again changes nothing. Raises FileProblem before anything
    has changed.
    """
    found: Counter[Result] = Counter()
    rows = read(file, json_lines=wanted.json_lines)
    while batch := list(islice(rows, BATCH)):
        for outcome in await _take(store, wanted, batch):
            found[outcome.result] += 1
            tell(outcome)
        done(file.tell())
    if not found:
        raise FileProblem("The file holds no row.")
    return found


def read(file: BinaryIO, *, json_lines: bool) -> Iterator[Read]:
    """The rows, and what each says or why it says nothing. Raises FileProblem, before the first."""
    for row in json_rows(file) if json_lines else csv_rows(file, COLUMNS, NEEDED):
        try:
            yield row, _cost(row)
        except Invalid as problem:
            yield row, problem


def report_row(one: Outcome) -> Sequence[object]:
    """As the report shows it."""
    layer = one.layer
    revision, landed = ("", "") if layer is None else (layer.revision, f"{layer.landed.amount} {layer.landed.currency}")
    return one.number, shown(one.sku), shown(one.valid_from), one.result.value, revision, landed, one.reason


async def _take(store: Store, wanted: Wanted, batch: Sequence[Read]) -> list[Outcome]:
    async with store.begin() as tx, tx.begin_nested() as tried:
        if not wanted.new_skus:
            batch = await _of_products(tx, batch)
        kept = iter(await cost.keep(tx, [said for _, said in batch if isinstance(said, NewCost)], wanted.actor))
        if wanted.dry_run:
            await tried.rollback()
    return [_outcome(row, said if isinstance(said, Invalid) else next(kept)) for row, said in batch]


async def _of_products(tx: AsyncConnection, batch: Sequence[Read]) -> list[Read]:
    """The rows; one of a SKU that no product has says nothing. What was told of such a SKU can be withdrawn all the same."""
    known = await product.by_skus(tx, {said.sku for _, said in batch if isinstance(said, NewCost)})

    def checked(said: NewCost | Invalid) -> NewCost | Invalid:
        if isinstance(said, Invalid) or said.withdrawn or said.sku in known:
            return said
        return Invalid(
            f"No product has the SKU {said.sku}: mend it, or say --new-skus for what is bought before it is listed."
        )

    return [(row, checked(said)) for row, said in batch]


def _outcome(row: Row, became: Kept | Invalid) -> Outcome:
    sku, day = str(row.fields.get("sku", "")), str(row.fields.get("validFrom", ""))
    if isinstance(became, Invalid):
        return Outcome(row.number, sku, day, Result.REFUSED, reason=became.message)
    if became.problem is not None:
        return Outcome(row.number, sku, day, Result.REFUSED, became.layer, became.problem.message)
    assert became.layer is not None
    fresh = Result.NEW if became.layer.revision == 1 else Result.REVISED
    return Outcome(row.number, sku, day, fresh if became.fresh else Result.SAME, became.layer)


def _cost(row: Row) -> NewCost:
    """Raises Invalid."""
    if row.reason:
        raise Invalid(row.reason)
    unknown = sorted(row.fields.keys() - set(COLUMNS))
    if unknown:
        raise Invalid(f"`{unknown[0][:40]}` is none of {', '.join(COLUMNS)}.")
    sku = _text(row, "sku")
    if not sku:
        raise Invalid("`sku` is missing.")
    currency = _text(row, "currency")
    return NewCost(
        sku=Sku(sku),
        valid_from=_day(_text(row, "validFrom")),
        amount=_money(row, "amount", currency),
        extra=_money(row, "extra", currency),
        withdrawn=_flag(row),
        reason=_text(row, "reason"),
    )


def _text(row: Row, name: str) -> str:
    told = row.fields.get(name)
    return "" if told is None else str(told).strip()


def _day(told: str) -> date:
    try:
        if _DAY.fullmatch(told):
            return date.fromisoformat(told)
    except ValueError:
        pass
    raise Invalid(f"`validFrom` is {told[:20]!r}; write a day such as 2026-11-01.")


def _money(row: Row, name: str, currency: str) -> Money | None:
    told = _text(row, name)
    if not told:
        return None
    if not currency:
        raise Invalid(f"`{name}` has no `currency`; write a code such as EUR.")
    # A comma may be a decimal point or not: nobody guesses.
    if not _AMOUNT.fullmatch(told):
        raise Invalid(f"`{name}` is {told[:20]!r}; write a number such as 12.50.")
    return parse_money(told, currency)


def _flag(row: Row) -> bool:
    told = _text(row, "withdrawn").lower()
    if told not in (*_TRUE, *_FALSE):
        raise Invalid(f"`withdrawn` is {told[:20]!r}; write true or leave it empty.")
    return told in _TRUE
