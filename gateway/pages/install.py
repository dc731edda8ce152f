"""Fetch GraphiQL once, at set-up, so that no page of ours ever asks an outside address: `python -m gateway.pages.install`.

It is one package without dependencies, pinned by version and content, taken by npm from whatever registry npm is set up for.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

NAME = "@graphql-yoga/render-graphiql"
VERSION = "5.24.1"
SHA512 = "mLFvBekZujetoh7M9jokYkQtrjrmiKD5KSTfV6ivMAFNgV8KcLAJeVAH8QOOg6Wvj47+DNBvdlx0R5O2JjtN/A=="
FOLDER = Path(__file__).parent / "graphiql"
MARK = FOLDER / "VERSION"

# The package holds its scripts as texts inside a module; ours are files, so that a page needs no inline script.
UNPACK = """
import { writeFileSync } from 'node:fs';
const [source, folder] = process.argv.slice(1);
const found = await import(source);
const files = {
  js: 'graphiql.js', css: 'graphiql.css', editorWorkerService: 'editor.js', jsonWorker: 'json.js', graphqlWorker: 'graphql.js',
};
for (const [name, file] of Object.entries(files)) writeFileSync(`${folder}/${file}`, found[name]);
"""
NO_NODE = (
    "GraphiQL is left out: it is installed with npm, and Node.js is not on this machine. Everything else works without it; "
    "run `python -m gateway.pages.install` once Node.js is there."
)


class InstallFailed(Exception):
    """GraphiQL could not be installed; the message says why."""


def installed() -> bool:
    """Whether this version lies ready."""
    return MARK.is_file() and MARK.read_text(encoding="utf-8").strip() == VERSION


def install() -> None:
    """Fetch, check and unpack. Raises InstallFailed."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise InstallFailed(NO_NODE)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        _run([npm, "pack", f"{NAME}@{VERSION}", "--silent", "--ignore-scripts"], here)
        archives = list(here.glob("*.tgz"))
        if len(archives) != 1:
            raise InstallFailed("GraphiQL is left out: npm fetched nothing.")
        content = archives[0].read_bytes()
        if base64.b64encode(hashlib.sha512(content).digest()).decode() != SHA512:
            raise InstallFailed("GraphiQL is left out: what npm fetched is not the package that was checked.")
        made = here / "made"
        made.mkdir()
        module = here / "graphiql.mjs"
        with tarfile.open(archives[0]) as archive:
            _copy(archive, "package/esm/graphiql.js", module)
            _copy(archive, "package/LICENSE", made / "LICENSE")
        _run([node, "--input-type=module", "--eval", UNPACK, module.as_uri(), str(made)], here)
        (made / "VERSION").write_text(f"{VERSION}\n", encoding="utf-8")
        shutil.rmtree(FOLDER, ignore_errors=True)
        shutil.copytree(made, FOLDER)


def _copy(archive: tarfile.TarFile, name: str, target: Path) -> None:
    content = archive.extractfile(name)
    if content is None:
        raise InstallFailed(f"GraphiQL is left out: the package has no {name}.")
    target.write_bytes(content.read())


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603  ours
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise InstallFailed(
            f"GraphiQL is left out: {Path(command[0]).name} failed ({type(problem).__name__})."
        ) from None
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()[-1:] or [""]
        raise InstallFailed(f"GraphiQL is left out: {Path(command[0]).name} failed. {words[0]}")


def main() -> int:
    """0 when GraphiQL lies ready, 1 when it does not; either is fine for everything else."""
    if installed():
        return 0
    try:
        install()
    except InstallFailed as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    sys.stderr.write(f"GraphiQL {VERSION} is installed.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
