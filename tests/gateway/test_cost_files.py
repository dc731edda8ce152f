"""Files of costs and of rates: each row is told what became of it, and what is half understood is not taken."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from io import BytesIO

import pytest
from sqlalchemy import func, insert, select

from domain.cost import NewCost
from domain.errors import Invalid
from domain.ids import Sku
from domain.money import Money
from domain.price_inputs import FxRate
from gateway import cost_file, fx_file
from gateway.cost_file import Outcome, Result, Wanted
from gateway.rows import FileProblem
from store import cost, fx
from store.session import Store
from store.tables import fx_rate, product, unit_cost

COSTS = b"""sku;valid_from;amount;currency;extra;reason
MUG;2026-11-01;4.20;EUR;;
MUG;2026-11-01;;EUR;0.35;freight
CUP;01.11.2026;3;EUR;;
CUP;2026-11-01;3,10;EUR;;
CUP;2026-11-01;3.10;;;
POT;2026-11-01;;;;
"""


async def taken(store: Store, file: bytes, *, dry_run: bool = False, new_skus: bool = True) -> list[Outcome]:
    told: list[Outcome] = []
    await cost_file.run(store, BytesIO(file), Wanted("ann", dry_run, new_skus), told.append)
    return told


async def test_each_row_of_costs_is_told_what_became_of_it(store: Store) -> None:
    told = await taken(store, COSTS, dry_run=True)
    async with store.begin() as tx:
        assert await tx.scalar(select(func.count()).select_from(unit_cost)) == 0
    assert [one.result for one in told] == [Result.NEW, Result.REVISED, *[Result.REFUSED] * 4]
    assert [one.reason.split("`")[1] for one in told[2:5]] == ["validFrom", "amount", "amount"]
    assert "what a unit was bought for" in told[5].reason
    assert [one.result for one in await taken(store, COSTS)] == [one.result for one in told]
    async with store.begin() as tx:
        kept = await cost.revisions(tx, {Sku("MUG"), Sku("CUP"), Sku("POT")})
    assert {sku: [f"{one.landed.amount:f}" for one in layers] for sku, layers in kept.items()} == {
        "MUG": ["4.20", "4.55"]
    }


@pytest.mark.parametrize(
    "row", ["20261101,4.20", "2026-11-01,4_20", "2026-11-01,4e2", "2026-11-01,\u0664", "2026-11-01,NaN"]
)
def test_what_only_a_program_would_take_for_a_number_or_a_day_is_refused(row: str) -> None:
    ((_, said),) = cost_file.read(
        BytesIO(f"sku,valid_from,amount,currency\nMUG,{row},EUR\n".encode()), json_lines=False
    )
    assert isinstance(said, Invalid)
    day, rate = row.split(",")
    with pytest.raises(FileProblem, match="Row 2"):
        fx_file.read(BytesIO(f"base,quote,day,rate\nEUR,USD,{day},{rate}\n".encode()), "treasury")


async def test_amounts_and_rates_that_nothing_could_be_reckoned_with_are_refused(store: Store) -> None:
    """One of them would break every price of its currency."""
    day = date(2026, 11, 27)
    async with store.begin() as tx:
        (kept,) = await cost.keep(tx, [NewCost(Sku("MUG"), day, Money(Decimal("1e400"), "EUR"))], "ann")
        assert kept.problem is not None
        for quote, rate in (("USD", "1e400"), ("USD", "1e-30"), ("EUR", "2")):
            with pytest.raises(Invalid, match="no rate of exchange"):
                await fx.keep(tx, [FxRate("EUR", quote, Decimal(rate), day, "bank")], "ann")
        assert await fx.keep(tx, [FxRate("EUR", "USD", Decimal("1.08"), day, "bank")], "ann")


async def test_the_same_file_again_changes_nothing(store: Store) -> None:
    file = COSTS.splitlines(keepends=True)
    await taken(store, b"".join(file[:2]))
    assert [one.result for one in await taken(store, b"".join(file[:2]))] == [Result.SAME]


async def test_costs_of_skus_that_no_product_has_are_refused_unless_they_are_meant(store: Store) -> None:
    file = b"sku,valid_from,amount,currency\nMUG,2026-11-01,4.20,EUR\nMUGG,2026-11-01,4.20,EUR\n"
    async with store.begin() as tx:
        await tx.execute(insert(product).values(sku="MUG", title="Mug"))
    told = await taken(store, file, new_skus=False)
    assert [one.result for one in told] == [Result.NEW, Result.REFUSED]
    assert "No product has the SKU MUGG" in told[1].reason
    async with store.begin() as tx:
        assert await cost.revisions(tx, {Sku("MUGG")}) == {}
    assert [one.result for one in await taken(store, file)] == [Result.SAME, Result.NEW]
    withdrawn = b"sku,valid_from,withdrawn\nMUGG,2026-11-01,true\n"
    assert [one.result for one in await taken(store, withdrawn, new_skus=False)] == [Result.REVISED]


RATES = "base,quote,day,rate,source\nEUR,USD,2026-11-27,1.0850,\nEUR,JPY,2026-11-27,165.3,bank\n"


async def test_rates_are_kept_as_a_whole_or_not_at_all(store: Store) -> None:
    async def rates() -> int:
        async with store.begin() as tx:
            return await tx.scalar(select(func.count()).select_from(fx_rate)) or 0

    file = BytesIO((RATES + "EUR,GBP,2026-11-27,0\n").encode())
    with pytest.raises(FileProblem, match="Row 4"):
        await fx_file.run(store, file, "treasury", "ann")
    file = BytesIO(RATES.encode())
    with pytest.raises(FileProblem, match="names no source"):
        await fx_file.run(store, file, None, "ann")
    assert await fx_file.run(store, file, "treasury", "ann", dry_run=True) == (2, 2)
    assert await rates() == 0
    assert await fx_file.run(store, file, "treasury", "ann") == (2, 2)
    assert await fx_file.run(store, file, "treasury", "ann") == (2, 0)
    assert await rates() == 2
    file = BytesIO(b"base,quote,day,rate\nUSD,CAD,2026-11-27,1.4\n")
    with pytest.raises(FileProblem, match="EUR and USD"):
        await fx_file.run(store, file, "treasury", "ann")
    file = BytesIO(b"Date,USD,CYP,\n2026-11-27,1.0850,N/A,\n2026-11-26,1.08,N/A,\n")
    assert await fx_file.run(store, file, None, "ann") == (2, 2)
