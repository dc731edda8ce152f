"""A crowd that asks one question at once, however long a slow machine takes to let all of it in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from benchmarks.whole import Whole
from gateway.charge import Charge
from resolvers.forecast import Forecast
from tests.workers.house import until


@contextmanager
def gathered(whole: Whole, count: int) -> Iterator[None]:
    """Whoever pays first for calls waits until so many in all ask what it asks."""
    flights: Any = whole.app._executor._flights

    async def all_there() -> bool:
        return sum(len(one._callbacks or ()) for one in flights._under_way.values()) == count - 1

    with pytest.MonkeyPatch.context() as patch:
        pay = Charge._pay

        async def once_gathered(charge: Charge, forecast: Forecast) -> None:
            patch.undo()
            await until(all_there)
            await pay(charge, forecast)

        patch.setattr(Charge, "_pay", once_gathered)
        yield
