"""Loops that go on, and a process that does not linger."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest

from workers.backoff import jittered
from workers.watch import STALLED, Pulses, Watchdog, supervise


async def test_a_loop_that_fails_or_ends_is_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.watch.jittered", lambda *_, **__: 0.0)
    starts, third = 0, asyncio.Event()

    async def loop() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise OSError("away")
        if starts == 3:
            third.set()
            await asyncio.Event().wait()

    pulses: list[bool] = []
    task = asyncio.create_task(supervise("loop", loop, lambda: pulses.append(True)))
    async with asyncio.timeout(30):
        await third.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (starts, task.cancelled(), len(pulses)) == (3, True, 4)


def test_a_silent_loop_ends_the_process() -> None:
    pulses, ended, codes = Pulses(), threading.Event(), list[int]()

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    pulses.beat("relay")
    watchdog = Watchdog(pulses, 0.05, end)
    watchdog.start()
    assert ended.wait(60)
    watchdog.stop()
    assert codes == [STALLED]


class Watched(Pulses):
    """Says when somebody has looked."""

    looked = threading.Event()

    def stalled(self, limit_s: float) -> list[str]:
        found = super().stalled(limit_s)
        self.looked.set()
        return found


def test_a_living_loop_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of its own: nobody is silent because the machine stands still for a while."""
    now = [0.0]
    monkeypatch.setattr("workers.watch.time", SimpleNamespace(monotonic=lambda: now[0]))
    pulses, codes = Watched(), list[int]()
    beat = pulses.beat("relay")
    watchdog = Watchdog(pulses, 0.5, codes.append)
    watchdog.start()
    for _ in range(5):
        now[0] += 0.4
        pulses.looked.clear()
        assert pulses.looked.wait(60)
        beat()
    watchdog.stop()
    assert (codes, pulses.stalled(0.5)) == ([], [])


@pytest.mark.parametrize(("failures", "ceiling"), [(0, 1.0), (1, 1.0), (2, 2.0), (5, 16.0), (9, 60.0), (10**6, 60.0)])
def test_waits_grow_to_their_ceiling_and_use_all_of_it(failures: int, ceiling: float) -> None:
    drawn = [jittered(failures, first_s=1.0, most_s=60.0) for _ in range(2000)]
    assert 0 <= min(drawn) < ceiling * 0.1
    assert ceiling * 0.9 < max(drawn) <= ceiling
