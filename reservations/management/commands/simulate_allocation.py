"""manage.py simulate_allocation: try allocation policies on orders before they are put in force."""

import os
import tempfile
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from inventory_project.foundation.commands import ServiceCommand, whole_argument
from inventory_project.foundation.errors import Invalid
from reservations.analysis.simulation import chart, order_file, replay, report, run
from reservations.analysis.simulation.difference_file import DifferenceFile
from reservations.analysis.simulation.figures import Difference
from reservations.analysis.simulation.run import MAX_DAYS, Policies, Progress, Simulation
from warehouses import policy_files

MAX_POLICIES = report.MAX_CONTENDERS - 2  # the other two contenders: as it was, and in force
PICTURES = (".svg",)
DEFAULT_PICTURE = Path("simulation.svg")
PICTURE, DIFFERENCES = "The picture", "The list of differences"


class Command(ServiceCommand):
    help = (
        "Replay orders with other allocation policies and with those in force, and compare the results: a table, a "
        "picture and, with --differences, a list of the orders that differ. The orders are recent ones, replayed over "
        "the stock of that time, or those of a file, over the stock of today. No stock is changed and no sale waits. "
        "But with --since it keeps a snapshot open, and PostgreSQL cannot remove replaced rows meanwhile: choose a "
        "quiet hour for many days. "
        "fixtures/policies.yaml is an example."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        orders = parser.add_mutually_exclusive_group(required=True)
        orders.add_argument(
            "--since",
            type=whole_argument(1, MAX_DAYS),
            metavar="DAYS",
            help=f"the orders of the last DAYS times 24 hours, 1 to {MAX_DAYS}",
        )
        columns = f"{','.join(order_file.COLUMNS)}[,{order_file.OPTIONAL[0]}]"
        orders.add_argument("--orders", type=Path, metavar="FILE", help=f"a CSV file with the columns {columns}")
        parser.add_argument(
            "--policy",
            type=Path,
            metavar="FILE",
            action="append",
            required=True,
            help=f"a YAML file of policies to try; up to {MAX_POLICIES} times",
        )
        picture = parser.add_mutually_exclusive_group()
        picture.add_argument(
            "--picture",
            type=partial(_path, endings=PICTURES),
            metavar="FILE",
            default=DEFAULT_PICTURE,
            help=f"file for the picture, a .svg (default: {DEFAULT_PICTURE}); an existing file is replaced",
        )
        picture.add_argument("--no-picture", action="store_const", const=None, dest="picture", help="no picture")
        parser.add_argument(
            "--differences",
            type=partial(_path, endings=(".csv",)),
            metavar="FILE",
            help="file for the orders that are served unlike in force, a .csv; an existing file is replaced",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        picture: Path | None = options["picture"]
        differences: Path | None = options["differences"]
        if differences is not None:
            _require_apart(differences, [options["orders"], *options["policy"]])
        for what, path in ((PICTURE, picture), (DIFFERENCES, differences)):
            if path is not None:
                _require_room(path, what)
        with ExitStack() as stack:
            rows = _begun(stack, differences) if differences is not None else None
            found = self._simulate(options, on_difference=partial(_add, rows) if rows else replay.no_progress)
            if found is None:
                days = "24 hours" if options["since"] == 1 else f"{options['since']} days"
                self.stdout.write(f"No orders were reserved in the last {days}: nothing to simulate.")
                return
            for line in report.lines(found):
                self.stdout.write(line)
            if rows is not None:
                self._save(rows.path, DIFFERENCES, rows.keep)
        if picture is not None:
            self._save(picture, PICTURE, partial(chart.draw, found, picture))

    def _simulate(
        self, options: Mapping[str, Any], *, on_difference: Callable[[Difference], object]
    ) -> Simulation | None:
        try:
            tried = _policies(options["policy"])
            with tqdm(unit="order", unit_scale=True, disable=None, leave=False) as bar:
                progress = Progress(on_total=bar.reset, on_order=bar.update, on_difference=on_difference)
                if options["since"] is not None:
                    return run.of_days(options["since"], tried, progress=progress)
                return run.of_file(order_file.load(options["orders"]), tried, progress=progress)
        except Invalid as refusal:
            self._tell(refusal)
            raise

    def _tell(self, refusal: Invalid) -> None:
        """Print several problems on a line each; a single one stays in the error's own line."""
        problems = refusal.extra.get("problems", [])
        if len(problems) > 1:
            for problem in problems:
                self.stderr.write(problem)
            path = refusal.detail.removesuffix(f": {' '.join(problems)}")
            raise CommandError(f"{path}: nothing was simulated, because of the above.") from refusal

    def _save(self, path: Path, what: str, save: Callable[[], None]) -> None:
        is_replaced = path.exists()
        try:
            save()
        except OSError as error:
            raise _unwritable(what, path, error) from error
        self.stdout.write(f"{what} is in {path}{'; the earlier file was replaced' if is_replaced else ''}.")


def _begun(stack: ExitStack, path: Path) -> DifferenceFile:
    try:
        return stack.enter_context(DifferenceFile(path))
    except OSError as error:
        raise _unwritable(DIFFERENCES, path, error) from error


def _add(rows: DifferenceFile, difference: Difference) -> None:
    try:
        rows.add(difference)
    except OSError as error:
        raise _unwritable(DIFFERENCES, rows.path, error) from error


def _path(text: str, *, endings: Sequence[str]) -> Path:
    if Path(text).suffix.lower() not in endings:
        raise ArgumentTypeError(f"{text!r} must end in {' or '.join(endings)}")
    return Path(text)


def _require_room(path: Path, what: str) -> None:
    """Raise CommandError if the file cannot be written: before the work, not after it."""
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(what, path.parent, error) from error
    if path.is_dir() or (path.exists() and not os.access(path, os.W_OK)):
        raise CommandError(f"{what} cannot be written to {path}: it exists and cannot be overwritten.")


def _require_apart(differences: Path, read: Sequence[Path | None]) -> None:
    """Raise CommandError if the list would replace a file that the command reads."""
    if differences.exists() and any(path and path.exists() and path.samefile(differences) for path in read):
        raise CommandError(f"{DIFFERENCES} cannot be written to {differences}: that file is read here.")


def _unwritable(what: str, path: Path, error: OSError) -> CommandError:
    return CommandError(f"{what} cannot be written to {path}: {error.strerror}.")


def _policies(paths: Sequence[Path]) -> dict[str, Policies]:
    """The policies of each file, by the file's name without its ending; the table shows that name."""
    if len(paths) > MAX_POLICIES:
        raise CommandError(f"At most {MAX_POLICIES} files of policies can be compared at once, not {len(paths)}.")
    found: dict[str, Policies] = {}
    for path in paths:
        if path.stem in (*found, run.AS_IT_WAS, run.IN_FORCE):
            raise CommandError(f"There is another {path.stem} to compare with; give {path} a name of its own.")
        found[path.stem] = policy_files.load(path)
    return found
