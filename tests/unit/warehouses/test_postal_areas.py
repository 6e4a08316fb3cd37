"""A file of postal areas is taken whole or refused with a sentence for each thing that is wrong."""

from pathlib import Path

import pytest
from django.conf import settings

from inventory_project.foundation.errors import Invalid
from warehouses import postal_areas
from warehouses.allocation import geography
from warehouses.allocation.geography import Area, Point, PostalAreas

HEADER = "country,prefix,latitude,longitude,name,region,kind"
PAULISTA = "BR,01310,-23.5614,-46.6558,Bela Vista,southeast,place"


def areas_of(tmp_path: Path, content: str | bytes) -> list[tuple[object, ...]]:
    path = tmp_path / "areas.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    columns = ("country", "prefix", "latitude", "longitude", "name", "region", "is_region")
    return [tuple(getattr(area, column) for column in columns) for area in postal_areas.load(path)]


def problems_of(tmp_path: Path, content: str | bytes) -> list[str]:
    with pytest.raises(Invalid) as refusal:
        areas_of(tmp_path, content)
    problems: list[str] = refusal.value.extra["problems"]
    assert refusal.value.code == "invalid"
    assert refusal.value.detail == f"{tmp_path / 'areas.csv'}: {' '.join(problems)}"
    return problems


def problems_of_row(tmp_path: Path, row: str) -> list[str]:
    return problems_of(tmp_path, f"{HEADER}\n{row}\n")


# --- what is taken -------------------------------------------------------------------------------------------------


def test_a_file_is_read_with_its_comments_above(tmp_path: Path) -> None:
    content = (
        f'# About this file, "its sources\n#\n\n{HEADER}\n{PAULISTA}\nBR,69,-3.119,-60.0217,Amazonas,north,region\n'
    )
    assert areas_of(tmp_path, content) == [
        ("BR", "01310", -23.5614, -46.6558, "Bela Vista", "southeast", False),
        ("BR", "69", -3.119, -60.0217, "Amazonas", "north", True),
    ]


@pytest.mark.parametrize(
    "content",
    [
        f"\ufeff{HEADER}\n{PAULISTA}\n",
        f"\ufeff# comment\r\n{HEADER}\r\n{PAULISTA}\r\n",
        f"{HEADER}\r{PAULISTA}\r",
        f"{HEADER}\n\n{PAULISTA}\n\n\n",
        f"{HEADER}\n{PAULISTA}",
        f"{HEADER.replace(',', ' , ')}\n{PAULISTA.replace(',', ' , ')}\n",
        f'{HEADER}\n"BR","01310","-23.5614","-46.6558","Bela Vista","southeast","place"\n',
        f"{HEADER}\n{PAULISTA.replace('BR', 'br')}\n",
        f"{HEADER}\n{PAULISTA.replace('01310', '01-310')}\n",
        f"{HEADER}\n{PAULISTA.replace('-23.5614', '-23.56140')}\n",
    ],
    ids=["mark", "mark-crlf", "cr", "empty-lines", "no-last-end", "spaces", "quotes", "small", "hyphen", "zeros"],
)
def test_other_spellings_of_the_same_row_are_the_same_area(tmp_path: Path, content: str) -> None:
    assert areas_of(tmp_path, content) == [("BR", "01310", -23.5614, -46.6558, "Bela Vista", "southeast", False)]


def test_values_may_go_to_the_edge_of_what_the_columns_hold(tmp_path: Path) -> None:
    widest = f"GB,{'sw1a' * 4},-90,+180,{'x' * 200},,region"
    assert areas_of(tmp_path, f'{HEADER}\n{widest}\nPT,1,90,-180,"Lisboa, ""A Branca""",{"y" * 64},place\n') == [
        ("GB", "SW1A" * 4, -90.0, 180.0, "x" * 200, "", True),
        ("PT", "1", 90.0, -180.0, 'Lisboa, "A Branca"', "y" * 64, False),
    ]


def test_the_same_prefix_may_stand_in_two_countries(tmp_path: Path) -> None:
    assert len(areas_of(tmp_path, f"{HEADER}\n{PAULISTA}\n{PAULISTA.replace('BR', 'PT')}\n")) == 2


# --- what is refused -----------------------------------------------------------------------------------------------

COUNTRY = "country must be the two letters of ISO 3166, such as BR"
PREFIX = "prefix must be 1 to 16 letters and digits"
LATITUDE = "latitude must be degrees between -90 and 90, such as -23.55"
LONGITUDE = "longitude must be degrees between -180 and 180, such as -46.63"
NAME = "name must be 1 to 200 printable characters"
REGION = "region must be at most 64 printable characters without a comma"
KIND = "kind must be one of place, region"


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("BR", "", f"{COUNTRY}, not ''."),
        ("BR", "BRA", f"{COUNTRY}, not 'BRA'."),
        ("BR", "B1", f"{COUNTRY}, not 'B1'."),
        ("BR", "ÉÉ", f"{COUNTRY}, not 'ÉÉ'."),
        ("BR", "#R", f"{COUNTRY}, not '#R'."),
        ("01310", "", f"{PREFIX}, not ''."),
        ("01310", "-", f"{PREFIX}, not '-'."),
        ("01310", "013*", f"{PREFIX}, not '013*'."),
        ("01310", "\u0660\u0661", f"{PREFIX}, not '\u0660\u0661'."),
        ("01310", "1" * 17, f"{PREFIX}, not '{'1' * 17}'."),
        ("-23.5614", "", f"{LATITUDE}, not ''."),
        ("-23.5614", "south", f"{LATITUDE}, not 'south'."),
        ("-23.5614", "nan", f"{LATITUDE}, not 'nan'."),
        ("-23.5614", "-inf", f"{LATITUDE}, not '-inf'."),
        ("-23.5614", "1_0", f"{LATITUDE}, not '1_0'."),
        ("-23.5614", '"-23,56"', f"{LATITUDE}, not '-23,56'."),
        ("-23.5614", "90.0001", f"{LATITUDE}, not '90.0001'."),
        ("-23.5614", "\u0662\u0663", f"{LATITUDE}, not '\u0662\u0663'."),
        ("-46.6558", "-180.1", f"{LONGITUDE}, not '-180.1'."),
        ("-46.6558", "9" * 400, f"{LONGITUDE}, not '{'9' * 57}...'."),
        ("Bela Vista", "", f"{NAME}, not ''."),
        ("Bela Vista", " ", f"{NAME}, not ''."),
        ("Bela Vista", "Bela\tVista", f"{NAME}, not 'Bela\\tVista'."),
        ("Bela Vista", "Bela\u202eVista", f"{NAME}, not 'Bela\\u202eVista'."),
        ("Bela Vista", "x" * 201, f"{NAME}, not '{'x' * 57}...'."),
        ("southeast", "y" * 65, f"{REGION}, not '{'y' * 57}...'."),
        ("southeast", '"south, east"', f"{REGION}, not 'south, east'."),
        ("southeast", "\x07", f"{REGION}, not '\\x07'."),
        ("place", "", f"{KIND}, not ''."),
        ("place", "town", f"{KIND}, not 'town'."),
        ("place", "Region", f"{KIND}, not 'Region'."),
    ],
)
def test_each_wrong_value_has_its_sentence_with_the_line(
    tmp_path: Path, column: str, value: str, sentence: str
) -> None:
    wrong = PAULISTA.replace(column, value, 1)
    assert problems_of_row(tmp_path, wrong) == [f"Line 2: {sentence}"]


@pytest.mark.parametrize(("row", "count"), [("BR", 1), (PAULISTA.removesuffix(",place"), 6), (f"{PAULISTA},x", 8)])
def test_a_row_has_as_many_values_as_there_are_columns(tmp_path: Path, row: str, count: int) -> None:
    assert problems_of_row(tmp_path, row) == [f"Line 2: a row has 7 values, not {count}."]


def test_a_comment_among_the_rows_is_no_row(tmp_path: Path) -> None:
    assert problems_of_row(tmp_path, f"{PAULISTA}\n# and more") == ["Line 3: a row has 7 values, not 1."]


def test_a_prefix_given_twice_is_told_with_both_lines(tmp_path: Path) -> None:
    content = f"# comment\n{HEADER}\n{PAULISTA}\n\n{PAULISTA.replace('BR,01310', 'br,01-310')}\n"
    assert problems_of(tmp_path, content) == [
        "Line 5: the prefix 01310 of BR was given before, in line 3.",
    ]


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    content = f"# comment\n{HEADER}\nBRA,01310,91,-46,A,south,town\n{PAULISTA}\nBR,,0,0,B,south,place\n"
    assert problems_of(tmp_path, content) == [
        f"Line 3: {COUNTRY}, not 'BRA'.",
        f"Line 3: {LATITUDE}, not '91'.",
        f"Line 3: {KIND}, not 'town'.",
        f"Line 5: {PREFIX}, not ''.",
    ]


@pytest.mark.parametrize(("count", "last"), [(20, "Line 21: {}"), (21, "And 1 more."), (1_520, "And 1,500 more.")])
def test_of_many_problems_twenty_are_told_and_the_others_counted(tmp_path: Path, count: int, last: str) -> None:
    problems = problems_of(tmp_path, "\n".join([HEADER, *["BR"] * count]))
    assert problems[:20] == [f"Line {n}: a row has 7 values, not 1." for n in range(2, 22)]
    assert problems[-1] == last.format("a row has 7 values, not 1.")
    assert len(problems) == min(count, 21)


WANTED = f"the first line without # must name the columns: {HEADER}"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", f"Line 1: {WANTED}; there is none."),
        ("\n\n", f"Line 3: {WANTED}; there is none."),
        ("# only\n# comments\n", f"Line 3: {WANTED}; there is none."),
        (HEADER, "The file has a header and no rows."),
        (f"# comment\n{HEADER}\n\n", "The file has a header and no rows."),
        (PAULISTA, f"Line 1: {WANTED}; it is {PAULISTA!r}."),
        (HEADER.upper(), f"Line 1: {WANTED}; it is {HEADER.upper()!r}."),
        (HEADER.replace(",", ";"), "The file has a header and no rows."),
        (HEADER.replace(",kind", ""), f"Line 1: {WANTED}; it is {HEADER.replace(',kind', '')!r}."),
        (f"# comment\n{HEADER},more\n{PAULISTA},x", f"Line 2: {WANTED}; it is {HEADER + ',more'!r}."),
        (f"{HEADER}\n{PAULISTA}\n\x00", "The file is binary, not text."),
        (f"{HEADER}\n{PAULISTA}\n".encode("utf-16"), "The file is binary, not text."),
        (
            f"{HEADER}\n{PAULISTA}\nBR,8,-25,-49,Paran\u00e1,south,region".encode("latin-1"),
            "Line 3: the file is not UTF-8.",
        ),
        (f'{HEADER}\nBR,8,-25,-49,"Paran\n', "Line 2: this is not CSV: unexpected end of data."),
        (f'{HEADER}\nBR,8,-25,-49,"A"b,south,region\n', "Line 2: this is not CSV: ',' expected after '\"'."),
        (f"{HEADER}\n{'x' * 200_000}", "Line 2: this is not CSV: field larger than field limit (131072)."),
    ],
)
def test_what_is_no_table_of_postal_areas_is_refused_with_one_sentence(
    tmp_path: Path, content: str | bytes, problem: str
) -> None:
    assert problems_of(tmp_path, content) == [problem]


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.csv", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(Invalid) as refusal:
            postal_areas.load(path)
        assert refusal.value.detail == f"{path}: The file cannot be read: {reason}."


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(Invalid, match=r"The file is larger than 32 MB\."):
        postal_areas.load("/dev/zero")


def test_as_many_rows_as_are_allowed_are_read_and_one_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert postal_areas.MAX_AREAS == 100_000
    monkeypatch.setattr(postal_areas, "MAX_AREAS", 1_000)
    rows = [f"BR,{number:05},0,0,A,south,place" for number in range(1_001)]
    assert len(areas_of(tmp_path, "\n".join([HEADER, *rows[:-1]]))) == 1_000
    assert problems_of(tmp_path, "\n".join([HEADER, *rows])) == [
        "There are more than 1,000 rows; each process has all of them in memory."
    ]


# --- the file of the project ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def brazil() -> PostalAreas:
    """What the file of the project says."""
    rows = postal_areas.load(settings.BASE_DIR / "fixtures" / "postal_areas_br.csv")
    assert 3_000 <= len(rows) <= 9_000
    assert {row.country for row in rows} == {"BR"}
    assert {row.region for row in rows} == {"north", "northeast", "central-west", "southeast", "south"}
    assert [row.prefix for row in rows] == sorted(row.prefix for row in rows)
    assert all(-34 <= row.latitude <= 6 and -74 <= row.longitude <= -32 for row in rows)
    return PostalAreas(
        [
            Area(row.country, row.prefix, Point(row.latitude, row.longitude), row.name, row.region, row.is_region)
            for row in rows
        ],
        home="BR",
    )


@pytest.mark.parametrize(
    ("code", "town", "region", "point"),
    [
        ("01310-100", "São Paulo, SP", "southeast", Point(-23.5505, -46.6333)),
        ("20040-020", "Rio de Janeiro, RJ", "southeast", Point(-22.9068, -43.1729)),
        ("80010-000", "Curitiba, PR", "south", Point(-25.4284, -49.2733)),
        ("90010-000", "Porto Alegre, RS", "south", Point(-30.0346, -51.2177)),
        ("69005-000", "Manaus, AM", "north", Point(-3.1190, -60.0217)),
        ("70040-010", "Brasília, DF", "central-west", Point(-15.7939, -47.8828)),
        ("40020-000", "Salvador, BA", "northeast", Point(-12.9714, -38.5014)),
        ("60060-000", "Fortaleza, CE", "northeast", Point(-3.7319, -38.5267)),
        ("66010-000", "Belém, PA", "north", Point(-1.4558, -48.4902)),
        ("88010-000", "Florianópolis, SC", "south", Point(-27.5954, -48.5480)),
        ("13010-000", "Campinas, SP", "southeast", Point(-22.9056, -47.0608)),
        ("11010-000", "Santos, SP", "southeast", Point(-23.9608, -46.3336)),
        ("78005-000", "Cuiabá, MT", "central-west", Point(-15.6014, -56.0979)),
        ("69900-000", "Rio Branco, AC", "north", Point(-9.9740, -67.8076)),
        ("30110-000", "Belo Horizonte, MG", "southeast", Point(-19.9167, -43.9345)),
        ("50010-000", "Recife, PE", "northeast", Point(-8.0476, -34.8770)),
        ("64000-000", "Teresina, PI", "northeast", Point(-5.0892, -42.8019)),
    ],
)
def test_the_cities_of_brazil_are_found(brazil: PostalAreas, code: str, town: str, region: str, point: Point) -> None:
    area, precision = brazil.locate(code)
    assert area is not None
    assert (area.name, area.region, precision in ("prefix", "exact")) == (town, region, True)
    assert geography.great_circle_km(area.point, point) < 30


def test_every_code_of_brazil_meets_a_region_at_least(brazil: PostalAreas) -> None:
    beginnings = [f"{number:02}" for number in range(1, 100)]
    for rest in ("000-000", "999-999", "500-000"):
        assert [start for start in beginnings if brazil.locate(start + rest).area is None] == ["10"]  # never given out
