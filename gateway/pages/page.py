"""The pages a browser may see: a landing page and GraphiQL. They ask nobody but us."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from gateway.pages import install

HERE = Path(__file__).parent
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
FILES = frozenset({"page.css", "boot.js", "graphiql.js", "graphiql.css", "editor.js", "json.js", "graphql.js"})
# The editor colors its text with inline styles and carries its fonts along.
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

# Lines that fit the editor on a small screen.
NO_KEY = """\
# Put your key into the Headers box below,
# then press Ctrl-Enter.
"""
WITH_KEY = """\
# Press Ctrl-Enter. The Headers box below
# holds a key already.
"""
FIRST_QUERY = """\
#
# What can be sold, where it lies,
# and how old each number is.
{
  products(first: 5) {
    nodes {
      sku
      title
      stock(maxAge: "PT5M") {
        availableToSell
        freshness
        asOf
        levels {
          location {
            name
          }
          availableToSell
        }
      }
    }
  }
}
"""


def landing() -> bytes:
    """What the bare address shows."""
    return _page(
        "ACORN gateway",
        "<h1>ACORN gateway</h1>"
        "<p>One GraphQL schema over products, stock and orders, on Amazon and on your own storefronts.</p>"
        '<ul><li><a href="/graphql">GraphiQL</a>, to try queries</li>'
        "<li><code>POST /graphql</code>, with <code>Authorization: Bearer …</code>; the same address takes WebSockets "
        "(<code>graphql-transport-ws</code>) and answers subscriptions as event streams</li>"
        '<li><a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a>, <a href="/metrics">/metrics</a></li></ul>',
    )


def graphiql(key: str) -> bytes:
    """GraphiQL, or how to get it. `key` goes into the header box; empty for a placeholder."""
    if not install.installed():
        return _page("GraphiQL is not installed", f"<h1>GraphiQL is not installed</h1><p>{escape(install.NO_NODE)}</p>")
    options = {
        "title": "ACORN gateway",
        "endpoint": "/graphql",
        "method": "POST",  # of subscriptions too, which it would send by GET
        "query": (WITH_KEY if key else NO_KEY) + FIRST_QUERY,
        "headers": json.dumps({"Authorization": f"Bearer {key or 'acorn_…'}"}),
    }
    # Inside a script element only `</` could end it early.
    told = json.dumps(options).replace("</", "<\\/")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>ACORN gateway: GraphiQL</title>'
        f'<link rel="icon" href="data:,"><link rel="stylesheet" href="{asset_path("graphiql.css")}">'
        f'<link rel="stylesheet" href="{asset_path("page.css")}">'
        f'<script type="application/json" id="options">{told}</script>'
        f'<script src="{asset_path("boot.js")}" defer></script><script src="{asset_path("graphiql.js")}" defer></script>'
        '</head><body class="whole"><div id="root"></div></body></html>'
    ).encode()


def asset_path(name: str) -> str:
    """Where a file is served; the version makes each address mean one content for ever."""
    return f"/assets/{install.VERSION}/{name}"


def asset(path: str) -> tuple[bytes, str] | None:
    """(content, media type) of what is served under /assets; None for anything else."""
    name = path.removeprefix(asset_path(""))
    if name not in FILES:
        return None
    for folder in (HERE, install.FOLDER):
        if (file := folder / name).is_file():
            return file.read_bytes(), TYPES[file.suffix]
    return None


def _page(title: str, body: str) -> bytes:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><link rel="icon" href="data:,">'
        f'<link rel="stylesheet" href="{asset_path("page.css")}"></head><body><main>{body}</main></body></html>'
    ).encode()
