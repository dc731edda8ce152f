"""Commands that take a file: what cannot be read is told as that, and nobody looks for a fault of the database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.gateway.conftest import Acorn
from tests.gateway.test_finance_cli import CHANNELS

COMMANDS = [
    ("stock", "import"),
    ("costs", "import"),
    ("fx", "import"),
    ("prices", "set"),
    ("prices", "set", "--yes"),
    ("orders", "ship"),
    ("finance", "import"),
    ("finance", "import", "--channel", "amazon-de"),
    ("finance", "import", "--channel", "amazon-de", "--dry-run"),
    ("finance", "bank", "import"),
    ("documents", "register"),
]


@pytest.fixture
def folder(acorn: Acorn, tmp_path: Path) -> Path:
    (tmp_path / "acorn.toml").write_text(CHANNELS, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("name", "why"), [("none.csv", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_told(
    acorn: Acorn, folder: Path, command: tuple[str, ...], name: str, why: str
) -> None:
    told = acorn(*command, name)
    assert (told.exit_code, told.stderr) == (1, f"{name} cannot be read: {why}.\n")


@pytest.mark.parametrize(
    "command", [("stock", "import"), ("fx", "import"), ("prices", "set", "--yes"), ("orders", "ship")], ids=" ".join
)
def test_a_pipe_that_would_have_to_be_read_twice_is_told(acorn: Acorn, folder: Path, command: tuple[str, ...]) -> None:
    came, went = os.pipe()
    os.write(went, b"sku,quantity\nA,5\n")
    os.close(went)
    told = acorn(*command, f"/dev/fd/{came}")
    os.close(came)
    assert told.exit_code == 1
    assert told.stderr.startswith(f"/dev/fd/{came}: It can be read only once")
