"""Resolve requirements.lock from pyproject.toml, or check that the two are in step.

The lock is in pip's format with hashes and without any index address. Its first line carries a digest of what pyproject.toml
asks for, so that the check needs no network.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"


def wanted() -> str:
    """A digest of everything that pyproject.toml asks for."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]
    asked = [
        project["requires-python"],
        project["dependencies"],
        project["optional-dependencies"],
        pyproject["build-system"],
    ]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def header() -> str:
    """The lock's first line."""
    return f"# made by `make lock` from pyproject.toml {wanted()}; do not edit\n"


def check() -> int:
    """0 when the lock was made from this pyproject.toml and every pin carries a hash."""
    text = LOCK.read_text()
    if not text.startswith(header()):
        sys.stderr.write("requirements.lock is not in step with pyproject.toml: run `make lock`.\n")
        return 1
    if "://" in text or "--index-url" in text:
        sys.stderr.write("requirements.lock names an address; it must name packages and hashes only.\n")
        return 1
    pins = text.count("==")
    hashes = text.count("--hash=sha256:")
    if not pins or hashes < pins:
        sys.stderr.write(f"requirements.lock has {pins} pins and only {hashes} hashes.\n")
        return 1
    return 0


def lock() -> int:
    """Resolve anew. uv is asked for because pip's own resolver writes no lock for several Python versions at once."""
    extras = ["--extra", "dev", "--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url"]
    uv = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "pyproject.toml",
        *extras,
        "--no-header",
        "--no-annotate",
        "--upgrade",
    ]
    done = subprocess.run(uv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr or "uv is missing: pip install uv\n")
        return done.returncode
    LOCK.write_text(header() + done.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(check() if "--check" in sys.argv[1:] else lock())
