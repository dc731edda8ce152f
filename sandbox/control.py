"""The control plane under /_sandbox, the same on every platform: never journaled, never throttled, never faulted."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from sandbox.clock import Clock
from sandbox.faults import KINDS, Faults, Named, Wall
from sandbox.journal import Journal, iso
from sandbox.options import Options
from sandbox.world import World

PREFIX = "/_sandbox"
_PAGE = 10_000


@dataclass(slots=True)
class Core:
    """What every part of one sandbox shares. `lag_s` is how long an accepted write stays unseen, in sandbox seconds."""

    options: Options
    clock: Clock
    journal: Journal
    faults: Faults
    world: World
    lag_s: float

    @classmethod
    def of(cls, options: Options) -> "Core":
        clock = Clock(options.speed, options.start)
        return cls(
            options=options,
            clock=clock,
            journal=Journal(clock),
            faults=Faults(),
            world=World(options.seed, options.products, options.orders, options.marketplaces),
            lag_s=options.lag_s,
        )


class Platform(Named, Protocol):
    """A platform as the control plane sees it."""

    @property
    def operations(self) -> Sequence[str]:
        """The names of its operations, for faults and for whoever asks what there is."""
        ...

    def world_answer(self, limit: int, offset: int) -> dict[str, Any]:
        """{"skus", "locations", "orders"}; of SKUs and of open orders at most `limit` each, from `offset` on."""
        ...

    def set_state(self, body: dict[str, Any]) -> dict[str, Any]:
        """Carry out stock, orders and prices of `body`; what was made. ValueError, saying why, changes nothing."""
        ...

    def extra_routes(self) -> list[BaseRoute]:
        """Routes of its own below /_sandbox; paths without that prefix."""
        ...


def assemble(core: Core, platform: Platform, app: ASGIApp) -> ASGIApp:
    """The platform's app with its control plane, behind the wall of faults and journal."""
    routes: list[BaseRoute] = [
        Route(PREFIX, lambda _: RedirectResponse(PREFIX + "/")),
        Mount(PREFIX, app=_control(core, platform)),
        Mount("/", app=app),
    ]
    return Wall(
        Starlette(routes=routes),
        platform,
        core.faults,
        core.journal,
        open_to=lambda path: path == PREFIX or path.startswith(PREFIX + "/"),
    )


def answer(do: Callable[[dict[str, Any]], object]) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that reads a JSON object and answers what `do` makes of it, or 400 with the ValueError's words."""

    async def answered(request: Request) -> Response:
        try:
            return JSONResponse(do(_object(await request.body())))
        except (ValueError, TypeError, KeyError) as problem:
            words = f"missing {problem}" if isinstance(problem, KeyError) else str(problem)
            return JSONResponse({"error": words}, status_code=400)

    return answered


def endpoint(show: Callable[[Request], object]) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that answers what `show` makes of the request, or 400 with the ValueError's words."""

    async def shown(request: Request) -> Response:
        try:
            return JSONResponse(show(request))
        except ValueError as problem:
            return JSONResponse({"error": str(problem)}, status_code=400)

    return shown


def _object(body: bytes) -> dict[str, Any]:
    value = json.loads(body or b"{}")
    if not isinstance(value, dict):
        raise ValueError("send a JSON object")
    return value


def number(body: dict[str, Any], name: str) -> float:
    """A number in a control request; ValueError when it is none."""
    value = body[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is a number")
    return float(value)


def scopes(body: dict[str, Any], known: Sequence[str]) -> tuple[str, list[str]]:
    """A token in a control request, and the scopes that it is to have; ValueError for one that there is none of."""
    wanted = body.get("scopes") or []
    if unknown := [scope for scope in wanted if scope not in known]:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(known)}")
    return str(body["token"]), wanted


def _control(core: Core, platform: Platform) -> Starlette:
    def clock_shown(_: object = None) -> dict[str, Any]:
        return {"now": iso(core.clock.now()), "speed": core.clock.speed}

    def set_clock(body: dict[str, Any]) -> dict[str, Any]:
        if not body or set(body) - {"advance", "speed"}:
            raise ValueError('send {"advance": seconds} or {"speed": x}')
        if "speed" in body:
            core.clock.run_at(number(body, "speed"))
        if "advance" in body:
            core.clock.advance(number(body, "advance"))
        return clock_shown()

    def set_lag(body: dict[str, Any]) -> dict[str, Any]:
        seconds = number(body, "seconds")
        if not 0 <= seconds <= 1e9:
            raise ValueError("seconds lie between 0 and 1000000000")
        core.lag_s = seconds
        return {"seconds": core.lag_s}

    def set_faults(body: dict[str, Any]) -> dict[str, Any]:
        core.faults.replace(body.get("faults"))
        return {"faults": core.faults.shown()}

    def contents(_: object) -> dict[str, Any]:
        return {
            "routes": {
                "GET /_sandbox/journal?since=N": "calls and effects after N; ask next with the answer's next",
                "GET /_sandbox/world?limit=&offset=": "the SKUs, locations and open orders there are",
                "GET POST /_sandbox/faults": "the faults in force; POST replaces all, an empty list clears",
                "POST /_sandbox/state": "set stock, place orders, change prices from outside",
                "GET POST /_sandbox/clock": "the sandbox's time; advance it or change its speed",
                "GET POST /_sandbox/lag": "how long an accepted write stays unseen, in sandbox seconds",
                **{
                    f"{' '.join(sorted(set(route.methods or ()) - {'HEAD'}))} {PREFIX}{route.path}": "of this platform"
                    for route in extra
                    if isinstance(route, Route)
                },
            },
            "operations": list(platform.operations),
            "faultKinds": list(KINDS),
            "seed": core.options.seed,
            "products": core.options.products,
            "orders": core.options.orders,
            **clock_shown(),
        }

    def world(request: Request) -> dict[str, Any]:
        return platform.world_answer(_count(request, "limit", _PAGE), _count(request, "offset", 0))

    extra = platform.extra_routes()
    return Starlette(
        routes=[
            Route("/", endpoint(contents)),
            Route("/journal", endpoint(lambda request: core.journal.since(_count(request, "since", 0)))),
            Route("/world", endpoint(world)),
            Route("/faults", endpoint(lambda _: {"faults": core.faults.shown()}), methods=["GET"]),
            Route("/faults", answer(set_faults), methods=["POST"]),
            Route("/state", answer(platform.set_state), methods=["POST"]),
            Route("/clock", endpoint(clock_shown), methods=["GET"]),
            Route("/clock", answer(set_clock), methods=["POST"]),
            Route("/lag", endpoint(lambda _: {"seconds": core.lag_s}), methods=["GET"]),
            Route("/lag", answer(set_lag), methods=["POST"]),
            *extra,
        ]
    )


def _count(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{name} is a whole number, not {text!r}")
    return int(text)
