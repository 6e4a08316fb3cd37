"""The command: `python -m tests.servers run --fsync -- python -m benchmarks`, which is `make bench`."""

import argparse
import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")
django.setup()  # before the modules below, which are made of models

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from benchmarks import in_process, machine, measure, report, scene  # noqa: E402
from reservations import audit  # noqa: E402
from stock.models import Product  # noqa: E402

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Measure, print, write the JSON; 1 when the audit finds the books damaged."""
    options = _options()
    if connection.vendor != "postgresql":
        print("A benchmark needs PostgreSQL: run `make bench`.", file=sys.stderr)
        return 2
    call_command("migrate", verbosity=0)
    if Product.objects.exists():
        print("This database is in use, and a benchmark fills it: name an empty one.", file=sys.stderr)
        return 2
    result = _measure(options)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"Written to {options.output}")
    return 1 if result["audit"] else 0


def _options() -> argparse.Namespace:
    began = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure reservations per second.")
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it works; no figure to quote")
    parser.add_argument("--rounds", type=int, default=20, help="turns of each contender, default 20")
    parser.add_argument("--turn", type=int, default=15, help="batches of 64 in one turn, default 15")
    parser.add_argument("--products", type=int, default=1_000, help="to spread the reservations over, default 1,000")
    parser.add_argument(
        "--output", type=Path, default=RESULTS / f"{began}.json", help="where the JSON goes, default %(default)s"
    )
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.turn, options.products = 2, 2, 100
    if min(options.rounds, options.turn, options.products) < 1:
        parser.error("--rounds, --turn and --products are at least 1")
    return options


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    began_at, load, stolen = datetime.now(UTC), machine.load(), machine.stolen_seconds()
    contenders = [
        contender
        for one in scene.build(products=options.products)
        for contender in in_process.contenders(one, turn=options.turn)
    ]
    rows = report.figures(measure.run(contenders, rounds=options.rounds))
    judged = report.verdict(rows)
    described = machine.describe()
    noise = {"load_before": load, "stolen_cpu_seconds": round(machine.stolen_seconds() - stolen, 2)}
    broken = {finding.invariant.name: finding.rows for finding in audit.run() if finding.count}

    print("\n" + "\n".join(f"{name}: {value}" for name, value in (described | noise).items()) + "\n")
    print(report.table(rows) + "\n")
    print(report.sentence(judged))
    print(f"The audit found damage: {broken}" if broken else "The audit found nothing.")
    return {
        "began_at": began_at.isoformat(),
        "options": {name: getattr(options, name) for name in ("quick", "rounds", "turn", "products")},
        "machine": described,
        "noise": noise,
        "figures": [asdict(row) for row in rows],
        "verdict": asdict(judged),
        "audit": {name: json.loads(json.dumps(found, default=str)) for name, found in broken.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
