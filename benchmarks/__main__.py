"""The command: `python -m tests.servers run --fsync -- python -m benchmarks`, which is `make bench`.

`python -m benchmarks door` measures only what the service promises over HTTP, and prints only the table of it; `fresh`
does the same for the first reservations of an installation. `chart RESULTS.json CHART.svg` draws what a run has
written; `against REVISION` holds this version against an earlier one; `audit` times the audits of a large database.
"""

import argparse
import json
import logging
import os
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.run import Scale

AGAINST_ROUNDS = 20
BRIEF = {"door": "http", "fresh": "fresh"}  # commands that measure one part and print the table of the verdict only
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Measure, print, write the JSON; 1 when the books are damaged or answers were wrong, 2 when it cannot begin."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # in a file, too, each line follows the error that came before it
    options = _options()
    if options.command == "chart":
        from benchmarks import chart

        chart.draw(options.results, options.svg)
        return 0
    if options.command == "against":
        from benchmarks import against

        print(against.run(options.revision, rounds=options.rounds or AGAINST_ROUNDS))
        return 0
    if options.command == "audit":
        return _audit(options)
    return _measure(options)


def _audit(options: argparse.Namespace) -> int:
    _set_up()
    from benchmarks import audit

    for name, seconds in audit.run(old=options.old, new=options.new):
        print(f"{name}: {seconds:.2f} s")
    return 0


def _set_up() -> None:
    """What the modules of the benchmarks need before they are imported: they are made of models."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")
    django.setup()
    logging.getLogger().setLevel(logging.ERROR)  # of this process; the service writes its log as it always does


def _options() -> argparse.Namespace:
    began = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the service beside others.")
    parser.add_argument("--quick", action="store_true", help="under a minute, to see that it works; no figure to quote")
    parser.add_argument(
        "--only",
        type=_names,
        metavar="PARTS",
        help="with commas: allocation, in_process, http, day, events, fresh, growth",
    )
    parser.add_argument("--rounds", type=int, help="turns of each contender over HTTP, or other rounds")
    parser.add_argument("--seconds", type=float, help="length of such a turn")
    parser.add_argument("--connections", type=_numbers, metavar="NUMBERS", help="with commas: 1,8,64,256")
    parser.add_argument("--rate", type=float, help="requests per second of the checkout day")
    parser.add_argument("--soak", type=float, default=0.0, metavar="SECONDS", help="watch the memory under load; 600")
    parser.add_argument(
        "--output", type=Path, default=RESULTS / f"{began}.json", help="where the JSON goes, default %(default)s"
    )
    commands = parser.add_subparsers(
        dest="command", metavar="door | fresh | chart RESULTS.json CHART.svg | against REVISION | audit"
    )
    commands.add_parser("door", help="measure only what is promised over HTTP, and print the table of it")
    commands.add_parser("fresh", help="measure only the first reservations of an installation, and print the table")
    chart = commands.add_parser("chart", help="draw the results of a run")
    chart.add_argument("results", type=Path)
    chart.add_argument("svg", type=Path)
    against = commands.add_parser("against", help="the reservations of this version and of another one, turn by turn")
    against.add_argument("revision", help="as git names it, or the folder of another checkout")
    audit = commands.add_parser("audit", help="how long the audits of a large database take")
    audit.add_argument("--old", type=int, default=1_000_000, help="reservations that are there, default %(default)s")
    audit.add_argument("--new", type=int, default=10_000, help="reservations that are new, default %(default)s")
    return parser.parse_args()


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, _names(text)))


def _measure(options: argparse.Namespace) -> int:
    _set_up()
    from django.core.management import call_command

    from benchmarks import run
    from stock.models import Product

    if reason := _why_not(options):
        print(reason, file=sys.stderr)
        return 2
    call_command("migrate", verbosity=0)
    if Product.objects.exists():
        print("This database is in use, and a benchmark fills it: name an empty one.", file=sys.stderr)
        return 2
    result = run.run(_scale(options))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"Written to {options.output}")
    if result["profile"]:
        profile = options.output.with_suffix(".profile.txt")
        profile.write_text("\n".join(result["profile"]) + "\n", encoding="utf-8")
        print(f"Written to {profile}")
    return 1 if result["damage"] or result["wrong_answers"] else 0


def _why_not(options: argparse.Namespace) -> str:
    """Why this run cannot begin; empty when it can."""
    from django.conf import settings

    from benchmarks.run import PARTS

    if not (settings.DATABASE_URL and settings.REDIS_URL and settings.RABBITMQ_URL and settings.API_AUTH_ENABLED):
        return "A benchmark needs PostgreSQL, Redis, RabbitMQ and tokens: run `make bench`."
    if shutil.which("wrk") is None:
        return "wrk is missing: run `make bench`, or have root run `apt-get install wrk`."
    if unknown := [name for name in options.only or () if name not in PARTS]:
        return f"There is no part {', '.join(unknown)}; there are {', '.join(PARTS)}."
    return ""


def _scale(options: argparse.Namespace) -> "Scale":
    from benchmarks.run import QUICK, Scale

    given = {
        "parts": (BRIEF[options.command],) if options.command in BRIEF else options.only,
        "is_brief": options.command in BRIEF,
        "rounds": options.rounds,
        "fresh_rounds": options.rounds if options.command == "fresh" else None,
        "seconds": options.seconds,
        "connections": options.connections,
        "rate": options.rate,
        "soak_seconds": options.soak,
    }
    return replace(QUICK if options.quick else Scale(), **{name: value for name, value in given.items() if value})


if __name__ == "__main__":
    sys.exit(main())
