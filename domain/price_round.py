"""How prices end: on .99, on a step, in whole yen; never beyond a limit. In minor units, `unit` of which make a major one."""

from __future__ import annotations

from domain.price_rules import Direction, Rounding


def rounded(price: int, one: Rounding, unit: int, lowest: int | None, highest: int | None) -> int:
    """The price as it should end, within the limits: in the direction that is wanted, else in the other one, else as it was."""
    every, ends = _grid(one, unit)
    start = price // every * every
    steps = [start + turn * every + end for turn in (-1, 0, 1) for end in ends]
    there = [
        step
        for step in steps
        if step > 0 and (lowest is None or step >= lowest) and (highest is None or step <= highest)
    ]
    down = max((step for step in there if step <= price), default=None)
    up = min((step for step in there if step >= price), default=None)
    if down is None or up is None:
        return next((step for step in (down, up) if step is not None), between(price, lowest, highest))
    if one.direction is Direction.NEAREST:
        return down if price - down <= up - price else up
    return up if one.direction is Direction.UP else down


def ends_so(price: int, one: Rounding, unit: int) -> bool:
    """Does the price end so already?"""
    every, ends = _grid(one, unit)
    return price % every in ends


def between(price: int, lowest: int | None, highest: int | None) -> int:
    """The price within the bounds that is nearest; None is no bound."""
    least = price if lowest is None else max(price, lowest)
    return least if highest is None else min(least, highest)


def _grid(one: Rounding, unit: int) -> tuple[int, list[int]]:
    """Prices are a multiple of the first number and one of the others."""
    if one.step is not None:
        return int(one.step * unit), [0]
    ends = sorted({int(end * unit) for end in one.endings})
    every = unit
    while every <= ends[-1]:
        every *= 10
    return every, ends
