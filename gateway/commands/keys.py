"""`acorn keys`: API keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from gateway.commands.common import fail, with_store
from schema.scopes import ALL

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")
MOST_BUDGET = 2**31 - 1


@app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="Whose key it is. Keys of one name are one client.")],
    scope: Annotated[
        list[str], typer.Option(help=f"What it opens; give it at least once. One of {', '.join(sorted(ALL))}.")
    ] = [],  # noqa: B006  typer's
    days: Annotated[int | None, typer.Option(min=1, help="How long it is valid; without it, until revoked.")] = None,
    points_per_minute: Annotated[
        int | None, typer.Option(min=1, max=MOST_BUDGET, help="Points it may spend; without it, those of the settings.")
    ] = None,
    calls_per_minute: Annotated[
        int | None, typer.Option(min=1, max=MOST_BUDGET, help="Upstream calls it may cause, likewise.")
    ] = None,
) -> None:
    """Make a key. It is shown once and kept as a hash only."""
    from domain.errors import Invalid
    from gateway import keys

    try:
        keys.check_scopes(scope)
        valid_for = None if days is None else timedelta(days=days)
        budget = {"points_per_minute": points_per_minute, "calls_per_minute": calls_per_minute}
        made, secret = with_store(lambda store: keys.create(store, name, scope, valid_for, **budget))
    except Invalid as problem:
        fail(problem.message)
    typer.echo(secret)
    until = "until revoked" if made.expires_at is None else f"until {made.expires_at:%Y-%m-%d %H:%M} UTC"
    typer.echo(
        f"{made.id}, {made.name}: {', '.join(sorted(made.scopes))}, valid {until}. It is not shown again.", err=True
    )


@app.command("list")
def keys_list() -> None:
    """List all keys; their secrets are not kept anywhere."""
    from gateway import keys

    now = datetime.now(UTC)
    for one in with_store(keys.list_all):
        expires = "never" if one.expires_at is None else f"{one.expires_at:%Y-%m-%d %H:%M}"
        typer.echo(f"{one.id}  {keys.state_of(one, now):7}  {one.name}")
        typer.echo(f"    created {one.created_at:%Y-%m-%d %H:%M}, expires {expires}: {' '.join(sorted(one.scopes))}")
        budgets = (("points", one.points_per_minute), ("calls", one.calls_per_minute))
        if told := [f"{budget} {unit}" for unit, budget in budgets if budget is not None]:
            typer.echo(f"    a minute: {', '.join(told)}")


@app.command("revoke")
def keys_revoke(id: Annotated[str, typer.Argument(help="The key's id, as `acorn keys list` shows it.")]) -> None:
    """Revoke a key; it opens nothing from five seconds later on."""
    from gateway import keys

    if not with_store(lambda store: keys.revoke(store, id)):
        fail(f"There is no key {id} to revoke; `acorn keys list` shows them.")
    typer.echo(f"{id} is revoked.")
