"""From docs/rest/openapi.yaml: conformance/contract.json, which the kit reads, and docs/rest/index.html, for people, offline.

`python scripts/rest_pages.py` writes both; with `--check` it says which of them is not current, and fails.
"""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # it carries none
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "docs" / "rest" / "openapi.yaml"
DATA = ROOT / "conformance" / "contract.json"
PAGE = ROOT / "docs" / "rest" / "index.html"
METHODS = ("get", "put", "post", "patch", "delete")
PROSE = frozenset(("description", "summary", "example", "examples", "tags"))
# A page that is opened from a disk has only itself: no script, no font, no address.
STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--link:light-dark(#0b57d0,#8ab4f8)}
body{font:16px/1.55 system-ui,sans-serif;max-width:62rem;margin:0 auto;padding:2rem 1rem}
code,pre{font:13px/1.5 ui-monospace,monospace}pre{background:var(--soft);padding:.8rem;overflow:auto;border-radius:6px}
table{border-collapse:collapse;margin:.6rem 0;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border:1px solid var(--line)}
a{color:var(--link)}section{border-top:1px solid var(--line);margin-top:2rem;padding-top:.5rem}
.method{font-weight:700}.part{float:right;font-size:13px;opacity:.75}nav{columns:2 18rem;font-size:14px}summary{cursor:pointer}
"""
_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")


def data(document: dict[str, Any]) -> str:
    """What the kit needs of the document, which lies outside of what is installed: no prose, and no YAML library to read it."""
    return json.dumps(_bare(document), ensure_ascii=False, separators=(",", ":")) + "\n"


def _bare(value: Any, names: bool = False) -> Any:
    """Without prose and examples. Under `names` keys are a shop's words, and stay."""
    if isinstance(value, list):
        return [_bare(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {key: _bare(one, key == "properties") for key, one in value.items() if names or key not in PROSE}


def page(document: dict[str, Any]) -> str:
    """The document as one HTML page."""
    info = document["info"]
    operations = [
        (path, method, item[method], item.get("parameters", []))
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item
    ]
    body = [
        f"<h1>{_text(info['title'])}</h1><p>Version {_text(info['version'])} · <a href='openapi.yaml'>openapi.yaml</a></p>",
        _said(info["description"]),
        "<nav><ul>",
        *(
            f"<li><a href='#{entry['operationId']}'><code>{method.upper()} {_text(path)}</code></a></li>"
            for path, method, entry, _ in operations
        ),
        "</ul></nav>",
    ]
    for tag in document["tags"]:
        body.append(f"<h2>{_text(tag['name'].capitalize())}</h2><p>{_text(tag['description'])}</p>")
        for path, method, entry, shared in operations:
            if tag["name"] in entry["tags"]:
                body += _operation(document, path, method, entry, shared)
    for name, item in document["webhooks"].items():
        body += _operation(document, name, "post", item["post"], [])
    body.append("<h2>Schemas</h2>")
    for name, schema in document["components"]["schemas"].items():
        body += _schema(name, schema)
    title = _text(info["title"])
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _operation(
    document: dict[str, Any], path: str, method: str, entry: dict[str, Any], shared: list[Any]
) -> Iterator[str]:
    part = f"<span class='part'>part: {_text(entry['x-part'])}</span>" if "x-part" in entry else ""
    name = f"<span class='method'>{method.upper()}</span> <code>{_text(path)}</code>"
    yield f"<section id='{entry['operationId']}'>{part}<h3>{name}</h3>"
    yield f"<p><strong>{_text(entry['summary'])}</strong></p>" + _said(entry.get("description", ""))
    scopes = [scope for one in entry.get("security", []) for scope in one.get("oauth", [])]
    if scopes:
        yield f"<p>Scope: {', '.join(f'<code>{_text(scope)}</code>' for scope in scopes)}</p>"
    parameters = [_referred(document, one) for one in (*shared, *entry.get("parameters", []))]
    if parameters:
        rows = (
            (
                f"<code>{_text(one['name'])}</code>",
                one["in"],
                "yes" if one.get("required") else "",
                _said(one.get("description", "")),
            )
            for one in parameters
        )
        yield _table(("parameter", "in", "needed", ""), rows)
    for media, content in entry.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Sends <code>{_text(media)}</code>: {_kind(content['schema'])}</p>" + _example(document, content)
    answers = ((status, _referred(document, answer)) for status, answer in sorted(entry["responses"].items()))
    yield _table(
        ("status", "", "body"), ((status, _said(answer["description"]), _bodies(answer)) for status, answer in answers)
    )
    for status, answer in sorted(entry["responses"].items()):
        if status.startswith("2"):
            for content in _referred(document, answer).get("content", {}).values():
                yield _example(document, content)
    yield "</section>"


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"<section id='schema-{name}'><h3>{_text(name)}</h3>" + _said(schema.get("description", ""))
    if "enum" in schema:
        yield f"<p>{' · '.join(f'<code>{_text(word)}</code>' for word in schema['enum'])}</p>"
    needed = set(schema.get("required", ()))
    rows = (
        (f"<code>{_text(key)}</code>", _kind(value), "yes" if key in needed else "", _said(_description(value)))
        for key, value in schema.get("properties", {}).items()
    )
    if schema.get("properties"):
        yield _table(("member", "", "needed", ""), rows)
    for example in schema.get("examples", ()):
        yield f"<pre>{_text(json.dumps(example, indent=2, ensure_ascii=False))}</pre>"
    yield "</section>"


def _description(value: object) -> str:
    return str(value.get("description", "")) if isinstance(value, dict) else ""


def _kind(schema: Any) -> str:
    """What a schema wants, in a few words, with a link to where it says more."""
    if not isinstance(schema, dict):
        return ""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"<a href='#schema-{name}'>{_text(name)}</a>"
    for word, between in (("anyOf", " or "), ("allOf", " and ")):
        if word in schema:
            return between.join(filter(None, map(_kind, schema[word])))
    if "enum" in schema:
        return " · ".join(f"<code>{_text(word)}</code>" for word in schema["enum"])
    if "const" in schema:
        return f"<code>{_text(schema['const'])}</code>"
    kinds = schema.get("type", "")
    told = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    return f"list of {_kind(schema['items'])}" if kinds == "array" and "items" in schema else _text(told)


def _example(document: dict[str, Any], content: dict[str, Any]) -> str:
    schema = content["schema"]
    named = _referred(document, schema) if "$ref" in schema else schema
    examples = [content["example"]] if "example" in content else named.get("examples", [])[:1]
    shown = (one if isinstance(one, str) else json.dumps(one, indent=2, ensure_ascii=False) for one in examples)
    return "".join(f"<details><summary>Example</summary><pre>{_text(one)}</pre></details>" for one in shown)


def _bodies(answer: dict[str, Any]) -> str:
    return "<br>".join(
        f"<code>{_text(media)}</code> {_kind(content['schema'])}"
        for media, content in answer.get("content", {}).items()
    )


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f"<table><thead><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr></thead><tbody>{lines}</tbody></table>"
    )


def _referred(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    found: Any = value
    if "$ref" in value:
        found = document
        for key in value["$ref"].removeprefix("#/").split("/"):
            found = found[key]
    result: dict[str, Any] = found
    return result


def _said(markdown: str) -> str:
    return str(_markdown.render(markdown)) if markdown else ""


def _text(value: object) -> str:
    return html.escape(str(value))


@cache
def document() -> dict[str, Any]:
    """The contract as it is written."""
    # In C where PyYAML was built with it: a tenth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Any] = yaml.load(SOURCE.read_text(encoding="utf-8"), Loader=loader)
    return found


def made() -> dict[Path, str]:
    """What each file should say."""
    return {DATA: data(document()), PAGE: page(document())}


def main() -> None:
    stale = [file for file, text in made().items() if not file.exists() or file.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        if stale:
            sys.exit(f"Not current: {', '.join(file.name for file in stale)}. Run python scripts/rest_pages.py.")
        return
    for file, text in made().items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
