"""A sale: buyers who come by themselves for a while, on the sandbox's own clock. Same seed and sizes, same buyers."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox import staging
from sandbox.clock import Clock
from sandbox.world import Product, World

LOOK_S = 0.02
TRIES = 20
"""What somebody wants may be sold out: so many products he looks at before he leaves."""

Buyer = Callable[[random.Random], bool]
"""Buys something, or finds it sold out (False)."""


@dataclass(slots=True)
class Sale:
    """One sandbox's sale. `sold_out` counts what buyers wanted and did not get, `left` those who got nothing at all."""

    clock: Clock
    wanted: int = 0
    placed: int = 0
    sold_out: int = 0
    left: int = 0
    _task: asyncio.Task[None] | None = None

    def begin(self, seed: object, orders: int, seconds: float, buyer: Buyer, told: Callable[[], None]) -> None:
        """Let `orders` buyers come within so many sandbox seconds, evenly; `told` is called when some have bought. Raises
        ValueError while another sale is on."""
        if self._task is not None and not self._task.done():
            raise ValueError("a sale is on already")
        self.wanted, self.placed, self.sold_out, self.left = orders, 0, 0, 0
        self._task = asyncio.get_running_loop().create_task(self._run(f"sale:{seed}", seconds, buyer, told))

    def shown(self) -> dict[str, Any]:
        """How far it is."""
        running = self._task is not None and not self._task.done()
        counts = {"wanted": self.wanted, "placed": self.placed, "soldOut": self.sold_out, "left": self.left}
        return {"running": running, **counts}

    async def _run(self, seed: str, seconds: float, buyer: Buyer, told: Callable[[], None]) -> None:
        dice, began = random.Random(seed), self.clock.seconds()
        coming = sorted((began + dice.uniform(0, seconds) for _ in range(self.wanted)), reverse=True)
        while coming:
            if coming[-1] <= self.clock.seconds():
                while coming and coming[-1] <= self.clock.seconds():
                    coming.pop()
                    self._serve(buyer, dice)
                told()
            await asyncio.sleep(LOOK_S)

    def _serve(self, buyer: Buyer, dice: random.Random) -> None:
        for _ in range(TRIES):
            if buyer(dice):
                self.placed += 1
                return
            self.sold_out += 1
        self.left += 1


def asked(body: dict[str, Any], *more: str) -> tuple[int, float]:
    """(orders, seconds) of a request for a sale, which may say `more`. Raises ValueError, KeyError."""
    staging.only(body, ("orders", "seconds", *more))
    return staging.units(body["orders"], 1), staging.seconds(body, "seconds")


def popular(world: World, dice: random.Random) -> Product:
    """Any product; the first tenth of them is wanted by almost every other buyer."""
    return world.product(int(world.size * dice.random() ** 3))
