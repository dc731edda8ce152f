"""Lets a crowd that comes at once begin little by little, so that nobody else has to wait for all of it."""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """At most `most` pass in one turn of the event loop; the others wait in the order in which they came."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = most
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._turning = False

    async def next(self) -> None:
        """Wait for a turn with room."""
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)
        if self._left and not self._waiting:
            self._left -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def _turn(self) -> None:
        self._left = self._most
        while self._waiting and self._left:
            turn = self._waiting.popleft()
            if not turn.done():  # whoever waited for it may have gone
                turn.set_result(None)
                self._left -= 1
        self._turning = self._left < self._most
        if self._turning:
            asyncio.get_running_loop().call_soon(self._turn)
