"""The three public composers take our schema, alone and beside another's. `make composers` installs them; it needs Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from graphql import build_schema

from schema.printed import contract
from schema.root import schema
from tests.house.test_schema import coordinates

FOLDER = Path(__file__).parent
REVIEWS = (FOLDER / "reviews.graphql").read_text(encoding="utf-8")
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(
    NODE is None or not (FOLDER / "node_modules").is_dir(),
    reason="`make composers` installs what this needs, with Node",
)


@pytest.fixture(scope="module", params=["apollo", "guild", "wundergraph"])
def composed(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """What one composer makes of each graph."""
    ours = schema.as_str()
    graphs = {
        "alone": {"acorn": ours},
        "with reviews": {"acorn": ours, "reviews": REVIEWS},
        "another type": {"acorn": ours, "reviews": REVIEWS.replace("sku: String!", "sku: String!\n  title: Int!")},
        "another key": {"acorn": ours.replace('@key(fields: "sku")', '@key(fields: "id")'), "reviews": REVIEWS},
    }
    done = subprocess.run(
        [str(NODE), "compose.mjs", request.param],
        cwd=FOLDER,
        input=json.dumps(graphs),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return answers


def test_alone_it_is_our_contract_and_nothing_else(composed: dict[str, dict[str, Any]]) -> None:
    alone = composed["alone"]
    assert alone["errors"] == []
    assert coordinates(build_schema(alone["schema"])) == coordinates(build_schema(contract(schema._schema)))


def test_another_subgraph_adds_to_our_products_by_sku(composed: dict[str, dict[str, Any]]) -> None:
    both = composed["with reviews"]
    assert both["errors"] == []
    made = coordinates(build_schema(both["schema"]))
    ours = coordinates(build_schema(contract(schema._schema)))
    assert ours.items() <= made.items()
    assert {key for key in made.keys() - ours.keys() if "." not in key} == {"Review", "ReviewConnection"}
    assert made["Product.reviews"] == "[Review!]!"
    assert made["Review.order"] == "Order"


@pytest.mark.parametrize(("graph", "field"), [("another type", "title"), ("another key", "sku")])
def test_what_does_not_compose_is_told(composed: dict[str, dict[str, Any]], graph: str, field: str) -> None:
    errors = composed[graph]["errors"]
    assert errors
    assert any(field in error for error in errors)
