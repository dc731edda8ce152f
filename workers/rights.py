"""What accounts let us do, looked at when a worker starts and each hour: a right that is gone is told before it is missed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from adapters.consent import Scoped
from adapters.port import Port
from domain.budget import Ask, Priority
from domain.errors import HouseError, MissingRole, Unauthorized
from domain.ids import ChannelId
from store import channel
from workers.calls import ROLE_WAIT_S
from workers.deps import Deps
from workers.watch import end

log = logging.getLogger(__name__)

EVERY_S = 3600.0
AGAIN_S = 60.0
PATIENCE_S = 20.0
LOOK_EVERY_S = 1.0


def scoped(ports: Mapping[ChannelId, Port]) -> list[Port]:
    """Those that can be asked."""
    return [one for one in ports.values() if isinstance(one, Scoped)]


@dataclass(slots=True)
class Rights:
    """Looks at what accounts let us do. `pulse` is called each second."""

    deps: Deps
    pulse: Callable[[], None]

    async def run(self) -> None:
        """For ever."""
        looks = [asyncio.create_task(self._again_and_again(one)) for one in scoped(self.deps.ports)]
        try:
            while True:
                # One slow answer of a platform is no sign of death.
                done, _ = await asyncio.wait(looks, timeout=LOOK_EVERY_S)
                for task in done:
                    task.result()
                self.pulse()
        finally:
            await end(looks)

    async def _again_and_again(self, port: Port) -> None:
        while True:
            rest_s = await self.look(port)
            await asyncio.sleep(rest_s)

    async def look(self, port: Port) -> float:
        """Look once; in how many seconds to look again. What is refused as a whole pauses the channel."""
        id = port.channel.id
        try:
            checked = await port.check(Ask(Priority.BACKGROUND, deadline=time.monotonic() + PATIENCE_S))
        except MissingRole as problem:
            log.warning("rights.missing", extra={"channel": id, "reason": problem.words})
            return ROLE_WAIT_S
        except Unauthorized as problem:
            async with self.deps.store.begin() as tx:
                await channel.pause(tx, id, problem.message, self.deps.timing.pause_s)
            log.error("channel.paused", extra={"channel": id, "reason": problem.message})  # noqa: TRY400  no bug
            return AGAIN_S
        except HouseError as problem:
            log.warning("rights.not_looked_at", extra={"channel": id, "reason": problem.words})
            return AGAIN_S
        for one in checked.warnings:
            log.info("rights.warned", extra={"channel": id, "found": one.found})
        return EVERY_S
