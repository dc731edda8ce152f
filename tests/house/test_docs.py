"""What the documents say exists: queries fit the schema, links lead somewhere, commands can be run."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from graphql import build_schema, parse, validate

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SCHEMA = build_schema((ROOT / "schema" / "schema.graphql").read_text(encoding="utf-8"))


def links(text: str) -> list[str]:
    """Targets of links to files of ours."""
    found = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    return [target for target in found if "://" not in target and not target.startswith("mailto:")]


def queries(text: str) -> list[str]:
    return re.findall(r"```graphql\n(.*?)```", text, re.DOTALL)


def commands(text: str) -> list[str]:
    """Modules run with -m, and make's targets, named in a page."""
    return re.findall(r"python -m ([a-z_.]+)", text) + re.findall(r"(?:^|`)(?:\w+=\S+ )?make ([a-z]+)", text, re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = [target for target in links(page.read_text(encoding="utf-8")) if not (page.parent / target).exists()]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_queries_fit_the_schema(page: Path) -> None:
    for query in queries(page.read_text(encoding="utf-8")):
        assert validate(SCHEMA, parse(query)) == [], query


def test_the_readme_names_commands_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for command in commands(text):
        module = ROOT / command.replace(".", "/")
        assert command in targets or module.with_suffix(".py").exists() or (module / "__main__.py").exists(), command
    for path in re.findall(r"ARGS=(\S+?)`", text):
        assert (ROOT / path).exists(), path


def uncalled(folder: Path) -> list[str]:
    """The files of a folder that no other file of the house imports."""
    package = ".".join(folder.relative_to(ROOT).parts)
    named: set[str] = set()
    for floor in ("adapters", "resolvers", "workers", "gateway"):
        for file in (ROOT / floor).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module == package:
                    named |= {one.name for one in node.names}
                elif isinstance(node, ast.ImportFrom):
                    named.add((node.module or "").removeprefix(f"{package}."))
    return sorted(file.name for file in folder.glob("*.py") if file.stem not in {*named, "__init__"})


def test_the_page_of_amazon_says_which_files_nothing_calls_yet() -> None:
    text = (ROOT / "docs" / "amazon.md").read_text(encoding="utf-8")
    [said] = re.findall(r"^Nothing calls (.*) yet: ", text, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+\.py)`", said)) == uncalled(ROOT / "adapters" / "amazon")


def test_the_first_screen_shows_a_query_and_its_answer() -> None:
    head = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:50]
    assert "```graphql" in head
    assert "```json" in head


def test_the_checks_see_what_is_wrong() -> None:
    assert links("[a](b.md#c) [d](https://e)") == ["b.md"]
    assert validate(SCHEMA, parse(queries("```graphql\n{ nothing }\n```")[0])) != []
    assert commands("`make demo` and `python -m benchmarks.budget`") == ["benchmarks.budget", "demo"]


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = links((folder / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(page.name for page in folder.glob("0*.md"))


def test_the_readme_leads_to_every_page() -> None:
    listed = {target.removeprefix("docs/") for target in links((ROOT / "README.md").read_text(encoding="utf-8"))}
    assert {page.name for page in ROOT.glob("docs/*.md")} - listed == set()


def test_no_page_of_ours_names_an_address_of_a_package_registry() -> None:
    words = re.compile(r"py" + r"pi\.org|npm" + r"js\.(com|org)|python" + r"hosted")
    files = [*PAGES, *ROOT.glob("*.lock"), ROOT / "pyproject.toml", ROOT / "Dockerfile", ROOT / "Makefile"]
    assert [file.name for file in files if words.search(file.read_text(encoding="utf-8"))] == []
