"""A file of orders to be tried is taken whole or not at all, and each bad row is told by its number."""

from pathlib import Path
from uuid import UUID

import pytest
from pytest_django import Settings

from inventory_project.foundation.errors import Invalid
from reservations.analysis.simulation import order_file
from warehouses.allocation.terms import Line

A, B = UUID("5f0c6b1e-3a51-4d6e-9c1b-0d5a7f2e1001"), UUID("5f0c6b1e-3a51-4d6e-9c1b-0d5a7f2e1002")
HEADER = "order,product_id,quantity,postal_code\n"
GOOD = f"1,{A},2,01310-100\n"


def load(tmp_path: Path, content: str | bytes) -> order_file.OrderFile:
    path = tmp_path / "orders.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return order_file.load(path)


def problems_of(tmp_path: Path, content: str | bytes) -> list[str]:
    with pytest.raises(Invalid) as refusal:
        load(tmp_path, content)
    problems: list[str] = refusal.value.extra["problems"]
    assert refusal.value.detail == f"{tmp_path / 'orders.csv'}: {' '.join(problems)}"
    return problems


def orders_of(file: order_file.OrderFile) -> list[tuple[str, str, tuple[Line, ...]]]:
    return [(name, order.postal_code, order.lines) for name, order in file.orders.items()]


def test_rows_of_the_same_order_are_one_order_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows = f"2,{A},1,01310-100,\n1,{A},3,,wh-sp-001\n2,{B},1,01310-100,\n2,{A},4,01310-100,\n1,{A},1,,\n"
    file = load(tmp_path, f"{HEADER.strip()},warehouse_id\n{rows}")
    assert orders_of(file) == [
        ("2", "01310-100", (Line(A, 5, None), Line(B, 1, None))),
        ("1", "", (Line(A, 3, "wh-sp-001"), Line(A, 1, None))),
    ]
    assert {key: list(lines) for key, lines in file.product_lines.items()} == {A: [2, 3, 5, 6], B: [4]}
    assert {key: list(lines) for key, lines in file.warehouse_lines.items()} == {"wh-sp-001": [3]}


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + (HEADER + GOOD).encode(),
        (HEADER + GOOD).replace("\n", "\r\n").encode(),
        (HEADER + GOOD).replace("\n", "\r").encode(),
        (HEADER + "\n" + GOOD + "\n\n").encode(),
        (HEADER + f' 1 , {str(A).upper()} ,2,"01310-100"').encode(),
    ],
)
def test_marks_line_ends_spaces_and_quotes_do_no_harm(tmp_path: Path, content: bytes) -> None:
    assert orders_of(load(tmp_path, content)) == [("1", "01310-100", (Line(A, 2, None),))]


COLUMNS = (
    "Line 1: the first line must name the columns order,product_id,quantity,postal_code, and warehouse_id where it"
)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", f"{COLUMNS} is used."),
        (GOOD.encode(), f"{COLUMNS} is used; it is '1,{A},2,01310-100'."),
        (
            HEADER.replace(",", ";").encode(),
            "The file has a header and no rows.",
        ),
        (HEADER.encode(), "The file has a header and no rows."),
        (b"PK\x03\x04\x00\x00", "The file is binary, not text."),
        (HEADER.encode() + GOOD.encode() + b"1,\xff", "Line 3: the file is not UTF-8."),
        ((HEADER + GOOD).encode("utf-16"), "The file is binary, not text."),
        (HEADER.encode() + b'1,"' + GOOD.encode(), "Line 2: this is not CSV: unexpected end of data."),
    ],
)
def test_a_file_that_is_no_list_of_orders_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    assert problems_of(tmp_path, content) == [problem]


@pytest.mark.parametrize(
    "quantity", ["0", "-1", "1.5", "1e3", "", "\u0663", "1_000", "+1", "9" * 10, "0x10", "=1+1", "02"]
)
def test_a_quantity_is_a_whole_number(tmp_path: Path, quantity: str) -> None:
    problem = f"Line 2: quantity must be a whole number of units from 1, not {quantity!r}."
    assert problems_of(tmp_path, f"{HEADER}1,{A},{quantity},\n") == [problem]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (f",{A},1,", "order must be 1 to 64 printable characters, not ''."),
        ("1,5,1,", "product_id must be a UUID, not '5'."),
        (f"1,{{{A}}},1,", f"product_id must be a UUID, not '{{{A}}}'."),
        (f"1,{A},1,12345678901234567", "postal_code must be at most 16 printable characters, not '12345678901234567'."),
        (f"1,{A},1", "a row has 4 values, not 3."),
        (f"1,{A},1,,wh-sp-001", "a row has 4 values, not 5."),
    ],
)
def test_what_is_wrong_in_a_row_is_said(tmp_path: Path, row: str, problem: str) -> None:
    assert problems_of(tmp_path, f"{HEADER}{GOOD}{row}\n") == [f"Line 3: {problem}"]


def test_a_warehouse_that_can_be_none_is_told(tmp_path: Path) -> None:
    content = f"{HEADER.strip()},warehouse_id\n1,{A},1,,WH 1\n"
    assert problems_of(tmp_path, content) == [
        "Line 2: warehouse_id must be the id of a warehouse, or empty, not 'WH 1'."
    ]


def test_all_bad_rows_are_told_at_once_in_their_order(tmp_path: Path, settings: Settings) -> None:
    settings.RESERVATION_MAX_QUANTITY, settings.RESERVATION_MAX_LINES = 10, 1
    rows = f"1,{A},6,\n1,{A},5,\n2,{A},1,80010-000\n2,{B},1,\n3,{A},1,\n3,{B},1,\nx,y,z\n"
    assert problems_of(tmp_path, HEADER + rows) == [
        f"Line 2: the order asks for 11 units of product {A}; an order may have 10 at most.",
        "Line 5: order 2 has another postal code in line 4.",
        "Line 6: the order has 2 lines; an order may have 1 at most.",
        "Line 8: a row has 4 values, not 3.",
    ]


def test_of_very_many_bad_rows_the_first_are_told(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, HEADER + "x\n" * 2_500)
    assert (len(problems), problems[99], problems[100]) == (
        101,
        "Line 101: a row has 4 values, not 1.",
        "And 2,400 more.",
    )


def test_a_file_with_more_rows_than_can_be_kept_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_file, "MAX_ROWS", 3)
    assert len(load(tmp_path, HEADER + GOOD * 3).orders) == 1
    assert problems_of(tmp_path, HEADER + GOOD * 5) == ["Line 5: there are more than 3 rows."]
    monkeypatch.setattr(order_file, "MAX_BYTES", 40)
    assert problems_of(tmp_path, HEADER + GOOD) == ["The file is larger than 0 MB."]


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as refusal:
        order_file.load(tmp_path / "none.csv")
    assert refusal.value.detail == f"{tmp_path / 'none.csv'}: The file cannot be read: No such file or directory."
