"""`acorn documents`: trusted documents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands.common import fail, with_store

if TYPE_CHECKING:
    from gateway.plan import Plans

app = typer.Typer(no_args_is_help=True, help="Collect, register and list trusted documents.")


@app.command("build")
def documents_build(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Folders or files: .graphql, and templates tagged gql or graphql in .ts or .js."),
    ],
    output: Annotated[
        Path | None, typer.Option(help="Where the manifest goes; by default to the standard output.")
    ] = None,
) -> None:
    """Collect the operations of a client, check them against the schema and write them as a manifest."""
    import orjson

    from gateway import manifest

    try:
        texts = manifest.collect(paths, _plans())
        written = orjson.dumps(texts, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        if output is None:
            typer.echo(written, nl=False)
        else:
            output.write_bytes(written)
    except manifest.ManifestProblem as problem:
        fail(str(problem))
    except OSError as problem:
        fail(f"{output} cannot be written: {problem.strerror}.")
    typer.echo(f"{len(texts)} documents. `acorn documents register` makes gateways know them.", err=True)


@app.command("register")
def documents_register(
    file: Annotated[
        Path, typer.Argument(metavar="MANIFEST", help="As `acorn documents build`, Apollo's or Relay's tools write it.")
    ],
) -> None:
    """Keep the documents of a manifest; gateways run them from two seconds later on."""
    from gateway import manifest

    try:
        texts = manifest.read(file, _plans())
        new = with_store(lambda store: manifest.register(store, texts))
    except manifest.ManifestProblem as problem:
        fail(str(problem))
    typer.echo(f"{new} registered, {len(texts) - new} were before.")


@app.command("list")
def documents_list() -> None:
    """List the registered documents: id, since when, the names of their operations."""
    from gateway import manifest

    for one in with_store(manifest.registered):
        typer.echo(f"{one.id}  {one.registered_at:%Y-%m-%d %H:%M}  {manifest.names_of(one.text)}")


@app.command("remove")
def documents_remove(ids: Annotated[list[str], typer.Argument(help="As `acorn documents list` shows them.")]) -> None:
    """Forget documents; gateways stop running them within five seconds."""
    from gateway import manifest

    if missing := with_store(lambda store: manifest.remove(store, ids)):
        fail(f"There is no document {', '.join(missing)}; `acorn documents list` shows them.")
    typer.echo(f"{len(ids)} removed.")


def _plans() -> Plans:
    """What decides whether a document is valid here."""
    from gateway.plan import Plans
    from schema.root import schema
    from schema.scopes import SCOPES

    return Plans(schema._schema, SCOPES, compile_at=None)
