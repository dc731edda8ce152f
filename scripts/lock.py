"""Resolve the lock files from pyproject.toml, or check that they are in step.

requirements.lock holds everything (demo, tests, tools); requirements.runtime.lock what production needs, at the same versions.
Both are in pip's format with hashes and without any index address. The first line carries a digest of what pyproject.toml asks
for, so that the check needs no network.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WHOLE = ROOT / "requirements.lock"
RUNTIME = ROOT / "requirements.runtime.lock"


def wanted() -> str:
    """A digest of everything that pyproject.toml asks for."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]
    asked = [project["requires-python"], project["dependencies"], project["optional-dependencies"]]
    return hashlib.sha256(json.dumps([*asked, pyproject["build-system"]], sort_keys=True).encode()).hexdigest()[:16]


def header() -> str:
    """A lock's first line."""
    return f"# made by `make lock` from pyproject.toml {wanted()}; do not edit\n"


def problem(lock: Path) -> str | None:
    """What is wrong with a lock; None when it was made from this pyproject.toml and every pin carries a hash."""
    text = lock.read_text()
    if not text.startswith(header()):
        return f"{lock.name} is not in step with pyproject.toml: run `make lock`."
    if "://" in text or "--index-url" in text:
        return f"{lock.name} names an address; it must name packages and hashes only."
    pins = [line for line in text.splitlines() if line and line[0].isalnum()]
    bare = [line for line in pins if not line.endswith("\\")]
    return f"{lock.name} pins without a hash: {', '.join(bare)}" if bare or not pins else None


def check() -> int:
    """0 when both locks are good."""
    problems = [told for told in map(problem, (WHOLE, RUNTIME)) if told is not None]
    sys.stderr.writelines(f"{told}\n" for told in problems)
    return 1 if problems else 0


def resolve(lock: Path, *more: str) -> int:
    """Write one lock. uv is asked because pip's own resolver writes no lock for several Python versions at once."""
    how = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-header"]
    uv = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", *how, "--no-annotate", *more]
    done = subprocess.run(uv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr or "uv is missing: pip install uv\n")
        return done.returncode
    lock.write_text(header() + done.stdout)
    return 0


def main() -> int:
    """Check, or resolve both: the second at the versions of the first."""
    if "--check" in sys.argv[1:]:
        return check()
    return resolve(WHOLE, "--extra", "dev", "--upgrade") or resolve(RUNTIME, "--constraint", WHOLE.name)


if __name__ == "__main__":
    sys.exit(main())
