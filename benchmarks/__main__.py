"""Run every benchmark one after the other: `python -m benchmarks` (about a quarter of an hour)."""

from __future__ import annotations

import subprocess
import sys

EACH = (
    ["benchmarks.budget", "--processes", "4", "--seconds", "60"],
    ["benchmarks.budget", "--platform", "shopify", "--processes", "3", "--callers", "4", "--seconds", "30"],
    ["benchmarks.reads"],
    ["benchmarks.reserve"],
    ["benchmarks.refresh"],
    ["benchmarks.edge"],
    ["benchmarks.subscriptions"],
    ["benchmarks.webhooks_out"],
    ["benchmarks.shipments", "--shipments", "1000", "--faults", "0.25", "--kill-every", "2"],
    ["benchmarks.prices", "--rows", "2000"],
    ["benchmarks.price_canary"],
    ["benchmarks.settlement"],
    ["benchmarks.sale_day", "--orders", "1000", "--speed", "60"],
)


def main() -> int:
    """0 when every benchmark kept its bounds."""
    failed = []
    for command in EACH:
        sys.stdout.write(f"\n$ python -m {' '.join(command)}\n")
        sys.stdout.flush()
        if subprocess.run([sys.executable, "-m", *command], check=False).returncode:
            failed.append(command[0])
    sys.stdout.write(f"\nbroken bounds: {', '.join(failed) or 'none'}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
