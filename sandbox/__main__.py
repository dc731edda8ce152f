"""`python -m sandbox amazon|shopify|shop|carrier`: one platform's stand-in on one port."""

import socket
from contextlib import suppress
from typing import Annotated

import typer
import uvicorn
from starlette.types import ASGIApp

from sandbox.options import MARKETPLACES, Options

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Stand-ins of the platforms, seeded and strict.")

Port = Annotated[int, typer.Option(help="The port to listen on; 0 takes a free one.")]
Host = Annotated[str, typer.Option(help="The address to listen on.")]
Seed = Annotated[int, typer.Option(help="Same seed and sizes, same world.")]
Products = Annotated[int, typer.Option(min=4, max=1_000_000, help="How many SKUs there are.")]
Orders = Annotated[int, typer.Option(min=0, help="How many orders there are on both platforms together.")]
Speed = Annotated[float, typer.Option(min=0.0, help="Sandbox seconds per real second.")]
Lag = Annotated[float, typer.Option(min=0.0, help="Sandbox seconds before an accepted write can be seen.")]


@app.command()
def amazon(
    port: Port,
    host: Host = "127.0.0.1",
    seed: Seed = 7,
    products: Products = 500,
    orders: Orders = 1500,
    speed: Speed = 1.0,
    lag: Lag = 2.0,
    marketplaces: Annotated[str, typer.Option(help="Country codes, comma separated.")] = "US,DE,FR,JP",
) -> None:
    """Amazon Selling Partner API: three accounts (North America, Europe, Far East) on one port."""
    chosen = tuple(code.strip().upper() for code in marketplaces.split(",") if code.strip())
    if unknown := [code for code in chosen if code not in MARKETPLACES]:
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(MARKETPLACES)}", param_hint="--marketplaces")
    if not chosen:
        raise typer.BadParameter("name at least one", param_hint="--marketplaces")
    from sandbox.amazon.app import build

    options = Options(host, port, seed, products, orders, speed, lag, tuple(dict.fromkeys(chosen)))
    _serve("amazon", options, build(options))


@app.command()
def shopify(
    port: Port,
    host: Host = "127.0.0.1",
    seed: Seed = 7,
    products: Products = 500,
    orders: Orders = 1500,
    speed: Speed = 1.0,
    lag: Lag = 2.0,
) -> None:
    """Shopify Admin GraphQL: one shop with two locations."""
    from sandbox.shopify.app import build

    options = Options(host, port, seed, products, orders, speed, lag)
    _serve("shopify", options, build(options))


@app.command()
def shop(
    port: Port,
    host: Host = "127.0.0.1",
    seed: Seed = 7,
    products: Products = 500,
    orders: Orders = 1500,
    speed: Speed = 1.0,
    without: Annotated[str, typer.Option(help="Parts that it does not offer, comma separated.")] = "",
    broken: Annotated[
        list[str] | None, typer.Option(help="Be wrong at this point on purpose; may be repeated.")
    ] = None,
) -> None:
    """A self-built shop by the contract of docs/rest.md, over the same world as the Shopify sandbox."""
    from sandbox.shop.app import build

    options = Options(host, port, seed, products, orders, speed)
    try:
        built = build(options, [part.strip() for part in without.split(",") if part.strip()], broken or ())
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from problem
    _serve("shop", options, built)


@app.command()
def carrier(port: Port, host: Host = "127.0.0.1", seed: Seed = 7, speed: Speed = 1.0) -> None:
    """An aggregator of carriers by the contract of docs/carrier/openapi.yaml: rates, labels, refunds."""
    from sandbox.carrier.app import build

    options = Options(host, port, seed, 4, 0, speed)
    _serve("carrier", options, build(options))


def _serve(name: str, options: Options, built: ASGIApp) -> None:
    listener = socket.socket(socket.AF_INET6 if ":" in options.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.host, options.port))
        listener.listen(2048)
    except OSError as problem:
        typer.echo(f"{name} sandbox: cannot listen on {options.host}:{options.port}: {problem.strerror}", err=True)
        raise typer.Exit(1) from problem
    config = uvicorn.Config(
        built,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    server.line = f"{name} sandbox listening on http://{options.host}:{listener.getsockname()[1]}"
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says its line once it answers, so that whoever reads it may also stop it."""

    line = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        typer.echo(self.line)


if __name__ == "__main__":
    app()
