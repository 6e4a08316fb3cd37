"""manage.py simulate_allocation as a process: its table, its picture, and the clear lines with which it fails."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.conf import settings

from reservations.models import Reservation
from stock.models import StockLevel, StockMovement
from tests import factories
from tests.factories import RJ, SP
from tests.servers import free_port
from tests.service import KEY, MANAGE, PATIENCE_SECONDS, environment, manage, url_of_test_database
from warehouses.models import Warehouse

Done = subprocess.CompletedProcess[str]
HEADER = "order,product_id,quantity,postal_code"
POLICY = settings.BASE_DIR / "fixtures" / "policies.yaml"
TRY = ("simulate_allocation", "--policy", str(POLICY))


@pytest.fixture
def real(transactional_db: None) -> dict[str, str]:
    """The environment of a command that works on the tests' database."""
    return environment(DATABASE_URL=url_of_test_database(), SECRET_KEY=KEY)


@pytest.fixture
def product_id(transactional_db: None) -> UUID:
    """A product with 10 units in São Paulo and 10 in Rio, of which 3 are held in Rio for an order to Rio."""
    for priority, (warehouse_id, place) in enumerate({SP: (-23.55, -46.63), RJ: (-22.90, -43.18)}.items(), start=1):
        factories.warehouse(warehouse_id, priority=priority)
        Warehouse.objects.filter(pk=warehouse_id).update(latitude=place[0], longitude=place[1])
    product = factories.product({SP: 10, RJ: 10})
    factories.hold(product.pk, 3, RJ, delivery_postal_code="20040-020")
    return product.pk


def trace() -> tuple[list[object], ...]:
    """Every row that a simulation could have touched."""
    return tuple(list(model.objects.order_by("pk").values()) for model in (StockLevel, StockMovement, Reservation))


def the_one_line(done: Done) -> str:
    """What a failed command says on standard error: one line, and no stack trace."""
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def row(done: Done, label: str) -> list[str]:
    """The cells of the first row with this label."""
    [line, *_] = [line for line in done.stdout.splitlines() if line.strip().startswith(label)]
    return re.split(r"  +", line.strip())[1:]


def test_past_orders_are_compared_in_a_table_and_a_picture(
    real: dict[str, str], product_id: UUID, tmp_path: Path
) -> None:
    factories.hold(product_id, 12, delivery_postal_code="20040-020")
    before = trace()
    done = manage(*TRY, "--since", "1", env=real, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2 orders reserved from ")
    assert row(done, "as it was") == ["in force", "policies"]
    assert row(done, "served") == ["2", "2", "2"]
    assert row(done, "Parcels per order, mean") == ["1.500", "1.500", "1.500"]
    assert max(map(len, done.stdout.splitlines())) <= 120
    assert done.stdout.endswith("Nothing was written.\nThe picture is in simulation.svg.\n")
    first = (tmp_path / "simulation.svg").read_bytes()
    assert first.startswith(b"<?xml")
    assert trace() == before

    again = manage(*TRY, "--since", "1", env=real, cwd=tmp_path)
    assert again.stdout.endswith("The picture is in simulation.svg; the earlier file was replaced.\n")
    assert (tmp_path / "simulation.svg").read_bytes() == first


def test_orders_of_a_file_are_compared_by_several_policies(
    real: dict[str, str], product_id: UUID, tmp_path: Path
) -> None:
    (tmp_path / "never.yaml").write_text("policies: [{preferences: [priority], split: never}]")
    (tmp_path / "orders.csv").write_bytes(
        f"\ufeff{HEADER}\r\n1,{product_id},12,01310-100\r\n2,{product_id},1,20040-020\r\n".encode()
    )
    before = trace()
    arguments = ("--policy", "never.yaml", "--orders", "orders.csv", "--picture", "it.svg")
    done = manage(*TRY, *arguments, env=real, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2 orders of the file, over what is free today.\n")
    assert row(done, "in force") == ["policies", "never"]
    assert row(done, "served") == ["2", "2", "1"]
    assert row(done, "in more parcels only") == ["0", "0", "1"]
    assert row(done, "not served, and in force") == ["-", "0", "1"]
    assert "</svg>" in (tmp_path / "it.svg").read_text()
    assert trace() == before


def test_the_orders_that_differ_are_listed_with_what_served_them_and_what_would(
    real: dict[str, str], product_id: UUID, tmp_path: Path
) -> None:
    (tmp_path / "never.yaml").write_text("policies: [{preferences: [priority], split: never}]")
    orders = f"{HEADER}\n1,{product_id},12,01310-100\n2,{product_id},1,20040-020\n3,{product_id},1,01310-100\n"
    (tmp_path / "orders.csv").write_text(orders)
    (tmp_path / "list.csv").write_text("of yesterday")
    arguments = ("--policy", "never.yaml", "--orders", "orders.csv", "--no-picture", "--differences", "list.csv")
    done = manage(*TRY, *arguments, env=real, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\nThe list of differences is in list.csv; the earlier file was replaced.\n")
    assert row(done, "Orders served unlike in force") == ["-", "0", "3"]
    assert (tmp_path / "list.csv").read_bytes().decode().split("\r\n") == [
        "policies,order,postal_code,product_id,in_force,instead",
        f'never,1,01310-100,{product_id},"2 from wh-rj-001, 10 from wh-sp-001",not served: parcels',
        f"never,2,20040-020,{product_id},1 from wh-rj-001,1 from wh-sp-001",
        f"never,3,01310-100,{product_id},1 from wh-rj-001,1 from wh-sp-001",
        "",
    ]


def test_past_orders_that_differ_are_listed_by_their_reservation(
    real: dict[str, str], product_id: UUID, tmp_path: Path
) -> None:
    factories.hold(product_id, 5)  # from São Paulo, of which a larger share is taken then than of Rio
    held = factories.hold(product_id, 1)
    (tmp_path / "balance.yaml").write_text("policies: [{preferences: [balance], split: never}]")
    arguments = ("--policy", "balance.yaml", "--since", "1", "--no-picture", "--differences", "list.csv")
    assert manage("simulate_allocation", *arguments, env=real, cwd=tmp_path).returncode == 0
    _, *rows = (tmp_path / "list.csv").read_text().splitlines()
    assert rows == [f"balance,{held.id},,{product_id},1 from wh-sp-001,1 from wh-rj-001"]


def test_without_orders_there_is_nothing_to_simulate_and_that_is_no_failure(
    real: dict[str, str], tmp_path: Path
) -> None:
    for days, said in (("7", "7 days"), ("1", "24 hours")):
        done = manage(*TRY, "--since", days, env=real, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"No orders were reserved in the last {said}: nothing to simulate.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_service_without_servers_can_try_policies_too(tmp_path: Path) -> None:
    env = environment(INVENTORY_DATA_DIR=tmp_path, SECRET_KEY=KEY)
    for command in (["migrate", "-v0"], ["seed", "--warehouses", "--products"]):
        assert manage(*command, env=env).returncode == 0
    empty = manage(*TRY, "--since", "1", "--no-picture", env=env, cwd=tmp_path)
    assert empty.stdout == "No orders were reserved in the last 24 hours: nothing to simulate.\n"
    script = "from tests import factories; from stock.models import Product; "
    script += "factories.hold(Product.objects.get(sku='KETTLE-GOOSENECK').pk, 2, delivery_postal_code='80010-000')"
    assert manage("shell", "-c", script, env=env, cwd=settings.BASE_DIR).returncode == 0
    done = manage(*TRY, "--since", "1", "--no-picture", env=env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert row(done, "Parcels from wh-pr-001") == ["100.0 %"] * 3
    assert not (tmp_path / "simulation.svg").exists()


# --- failure -------------------------------------------------------------------------------------------------------


def test_each_bad_row_gets_a_line_and_nothing_is_simulated(
    real: dict[str, str], product_id: UUID, tmp_path: Path
) -> None:
    path, nowhere = tmp_path / "orders.csv", uuid4()
    path.write_text(f"{HEADER}\n1,{product_id},-1,\n2,x,1.5,\n3;{product_id};1;\n4,{product_id},1,\n")
    done = manage(*TRY, "--orders", str(path), env=real, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "Line 2: quantity must be a whole number of units from 1, not '-1'.",
        "Line 3: product_id must be a UUID, not 'x'.",
        "Line 3: quantity must be a whole number of units from 1, not '1.5'.",
        "Line 4: a row has 4 values, not 1.",
        f"CommandError: {path}: nothing was simulated, because of the above.",
    ]
    path.write_text(f"{HEADER}\n1,{product_id},1,\n2,{nowhere},1,\n")
    done = manage(*TRY, "--orders", str(path), env=real, cwd=tmp_path)
    assert the_one_line(done) == f"CommandError: {path}: Line 3: there is no product {nowhere}."
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--orders", "none.csv"], "none.csv: The file cannot be read: No such file or directory."),
        (["--orders", "empty.csv"], "empty.csv: Line 1: the first line must name the columns "),
        (["--orders", "header.csv"], "header.csv: The file has a header and no rows."),
        (["--orders", "binary.csv"], "binary.csv: The file is binary, not text."),
        (["--since", "1", "--policy", "none.yaml"], "none.yaml: The file cannot be read: No such file or directory."),
        (["--since", "1", "--policy", "empty.yaml"], "empty.yaml: The file must have the one key `policies`, "),
        (["--since", "1", "--policy", str(POLICY)], "There is another policies to compare with; give "),
        (["--since", "1", "--policy", "in force.yaml"], "There is another in force to compare with; give "),
        (["--since", "1", *["--policy", "a.yaml"] * 4], "At most 4 files of policies can be compared at once, not 5."),
        (["--since", "1", "--picture", "no/it.svg"], "The picture cannot be written to no: No such file or directory."),
        (["--orders", "none.csv", "--differences", "list.csv"], "none.csv: The file cannot be read: No such file or "),
        (["--orders", "header.csv", "--differences", "./header.csv"], "The list of differences cannot be written to "),
        (["--since", "1", "--differences", f"{'x' * 250}.csv"], "The list of differences cannot be written to xxx"),
        (["--since", "1", "--differences", "no/it.csv"], "The list of differences cannot be written to no: No such "),
        (["--since", "1", "--picture", "folder.svg"], "The picture cannot be written to folder.svg: it exists "),
        (["--since", "1", "--picture", "/proc/it.svg"], "The picture cannot be written to /proc: "),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    real: dict[str, str], product_id: UUID, tmp_path: Path, arguments: Sequence[str], sentence: str
) -> None:
    (tmp_path / "folder.svg").mkdir()
    for name, content in {
        "empty.csv": b"",
        "header.csv": HEADER.encode(),
        "binary.csv": b"\0",
        "empty.yaml": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
    before = sorted(tmp_path.iterdir())
    line = the_one_line(manage(*TRY, *arguments, env=real, cwd=tmp_path))
    assert line.startswith(f"CommandError: {sentence}")
    assert sorted(tmp_path.iterdir()) == before


def test_without_a_warehouse_that_is_said_in_one_line(real: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(f"{HEADER}\n1,{factories.product().pk},1,\n")
    done = manage(*TRY, "--orders", "orders.csv", env=real, cwd=tmp_path)
    assert the_one_line(done) == "CommandError: There are no warehouses: nothing to simulate."


def test_without_a_database_that_is_said_in_one_line(tmp_path: Path) -> None:
    env = environment(DATABASE_URL=f"postgres://nobody@127.0.0.1:{free_port()}/none", SECRET_KEY=KEY)
    done = manage(*TRY, "--since", "1", env=env, cwd=tmp_path)
    [line] = done.stderr.strip().splitlines()
    assert (done.returncode, line[:43]) == (1, "CommandError: The database cannot be used: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--policy", "a.yaml"], "one of the arguments --since --orders is required"),
        (["--since", "1"], "the following arguments are required: --policy"),
        ([*TRY[1:], "--since", "1", "--orders", "a.csv"], "argument --orders: not allowed with argument --since"),
        ([*TRY[1:], "--since", "0"], "argument --since: '0' is not a whole number from 1 to 365"),
        ([*TRY[1:], "--since", "366"], "argument --since: '366' is not a whole number from 1 to 365"),
        ([*TRY[1:], "--since", "1.5"], "argument --since: '1.5' is not a whole number from 1 to 365"),
        ([*TRY[1:], "--since", "1", "--picture", "it.pdf"], "argument --picture: 'it.pdf' must end in .svg"),
        ([*TRY[1:], "--since", "1", "--differences", "it.txt"], "argument --differences: 'it.txt' must end in .csv"),
        ([*TRY[1:], "--since", "1", "--picture", ""], "argument --picture: '' must end in .svg"),
    ],
)
def test_an_argument_that_makes_no_sense_is_a_usage_error(arguments: list[str], complaint: str) -> None:
    env = environment(DATABASE_URL="postgres://nobody@127.0.0.1:1/none", SECRET_KEY=KEY)
    done = manage("simulate_allocation", *arguments, env=env)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].endswith(complaint)


def test_ctrl_c_ends_it_in_one_line(real: dict[str, str], tmp_path: Path) -> None:
    fifo = tmp_path / "orders.csv"
    os.mkfifo(fifo)
    command = [sys.executable, str(MANAGE), *TRY, "--orders", str(fifo)]
    process = subprocess.Popen(command, env=real, cwd=tmp_path, stdout=-1, stderr=-1, text=True)
    with fifo.open("w"):  # it has begun to read, and waits for more
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, stdout) == (130, "")
    assert stderr.splitlines() == ["CommandError: Interrupted; what was not finished was rolled back."]
    assert list(tmp_path.iterdir()) == [fifo]
