"""`acorn conformance rest`: what a shop's builder sees, over a real socket."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from sandbox.visit import serving

SECRETS = {"ACORN_CONFORMANCE_TOKEN": "st_sandbox", "ACORN_CONFORMANCE_SECRET": "sandbox-secret"}
# Sandbox seconds run fast, so that the wait before a second attempt is short.
SIZES = {"products": 20, "orders": 50, "seed": 1, "speed": 60}


async def conform(*arguments: str) -> tuple[int, str, str]:
    """Exit status, output and errors of the command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        "conformance",
        "rest",
        *arguments,
        env={**os.environ, **SECRETS},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_shop_that_keeps_the_contract_passes_all_of_it_over_the_wire() -> None:
    async with serving("shop", **SIZES) as base:
        status, out, err = await conform(
            "--url", f"{base}/api/v1", "--write", "--client-id", "sandbox-client", "--json"
        )
    told = json.loads(out)
    assert [row for row in told["checks"] if row["status"] != "passed"] == []
    assert (status, told["passed"]) == (0, True), err


async def test_a_shop_that_does_not_is_told_what_to_mend_and_the_status_says_so() -> None:
    async with serving("shop", **SIZES, broken="bulk.expected") as base:
        status, out, _ = await conform("--url", f"{base}/api/v1", "--write", "--only", "bulk.")
    assert status == 1
    assert "bulk.expected: Answer 412 `stale-quantity` with `current`, and change nothing." in out
    assert "3 passed, 1 failed, 0 skipped." in out


async def test_a_shop_that_is_not_there_is_said_in_one_line() -> None:
    status, out, err = await conform("--url", "http://127.0.0.1:9/api/v1")
    assert (status, out) == (1, "")
    assert err.strip().startswith("http://127.0.0.1:9/api/v1 cannot be reached: ConnectError")
    assert "Traceback" not in err


async def test_checks_that_there_are_none_of_are_not_passed_in_silence() -> None:
    status, out, err = await conform("--url", "http://127.0.0.1:9/api/v1", "--only", "stok.")
    assert (status, out) == (1, "")
    assert err.startswith("No check begins with 'stok.'. There are start., ")
