"""Every setting and every key of acorn.toml stands in the docs, and the docs name nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from gateway.entries import FileEntry
from gateway.settings import PREFIX, READ_ELSEWHERE, Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
ROWS = set(re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE))


def models_in(kind: Any) -> list[type[BaseModel]]:
    """The tables that an annotation names, inside tuples, unions and such."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [one for part in get_args(kind) for one in models_in(part)] if get_origin(kind) is not None else []


def keys_of(model: type[BaseModel], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, field in model.model_fields.items():
        inner = models_in(field.annotation)
        for one in inner:
            found |= keys_of(one, f"{prefix}{name}.")
        if not inner:
            found.add(prefix + name)
    return found


def test_every_setting_stands_in_the_docs() -> None:
    documented = {row for row in ROWS if row.startswith(PREFIX)}
    assert documented == {PREFIX + name.upper() for name in Settings.model_fields}


def test_every_default_is_told_as_it_is() -> None:
    for name, field in Settings.model_fields.items():
        [told] = re.findall(rf"^\| `{PREFIX}{name.upper()}` \| ([^|]+) \|", PAGE, re.MULTILINE)
        if field.is_required():
            assert told == "none, required"
        elif told == "empty":
            assert field.default in ((), "") or not field.default.get_secret_value()
        else:
            default = field.default
            text = (
                str(default).lower()
                if isinstance(default, bool)
                else f"{default:g}"
                if isinstance(default, float)
                else ",".join(default)
                if isinstance(default, tuple)
                else str(default)
            )
            assert told == f"`{text}`"


def test_every_key_of_the_file_stands_in_the_docs() -> None:
    documented = {row for row in ROWS if not row.startswith(PREFIX)}
    # Tables with keys of the user's own; the page has a paragraph on each.
    keys = {key for key in keys_of(FileEntry) if key.partition(".")[0] not in ("sku_map", "fields", "words")}
    assert documented == keys
    assert "`sku_map` has a table per channel" in PAGE
    assert "`fields` has a table per channel" in PAGE
    assert "`words` has a table per field" in PAGE
    assert "channels.pools.code" in keys


def test_what_is_read_anywhere_is_known() -> None:
    read = re.compile(rf"""environ(?:\.get\(|\[)"({PREFIX}\w+)"|envvar="({PREFIX}\w+)"|\$\{{({PREFIX}\w+)""")
    pages = [*ROOT.glob("docker-compose.yml"), *(one for one in ROOT.glob("*/**/*.py") if one.parts[-2] != ".venv")]
    found = {
        name for page in pages for names in read.findall(page.read_text(encoding="utf-8")) for name in names if name
    }
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    assert found - settings == READ_ELSEWHERE
