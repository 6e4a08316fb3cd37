from pathlib import Path

import pytest
from django.conf import settings

from inventory_project.foundation.errors import Invalid
from warehouses import catalogue

GOOD = "{id: wh-a, name: A, region: north, priority: 1}"


def problems_of(tmp_path: Path, text: str | bytes) -> list[str]:
    path = tmp_path / "warehouses.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(Invalid) as refusal:
        catalogue.load(path)
    assert refusal.value.code == "invalid"
    assert refusal.value.detail.startswith(f"{path}: ")
    problems: list[str] = refusal.value.extra["problems"]
    return problems


def problem_of_entry(tmp_path: Path, entry: str) -> str:
    [problem] = problems_of(tmp_path, f"warehouses: [{entry}]")
    return problem


def test_the_file_of_the_project_has_the_three_warehouses_with_their_places() -> None:
    warehouses = catalogue.load(settings.BASE_DIR / "fixtures" / "warehouses.yaml")
    assert [(w.id, w.name, w.region, w.priority) for w in warehouses] == [
        ("wh-sp-001", "DC Sao Paulo", "southeast", 1),
        ("wh-rj-001", "DC Rio de Janeiro", "southeast", 2),
        ("wh-pr-001", "DC Curitiba", "south", 1),
    ]
    assert [(w.postal_code, w.latitude, w.longitude) for w in warehouses] == [
        ("01001-000", -23.5505, -46.6333),
        ("20010-000", -22.9035, -43.1764),
        ("80020-100", -25.4295, -49.2719),
    ]


def test_the_form_of_the_specification_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "warehouses.yaml"
    path.write_text("warehouses:\n  - id: wh-sp-001\n    name: DC\n    region: southeast\n    priority: 1\n")
    [warehouse] = catalogue.load(str(path))
    assert (warehouse.id, warehouse.postal_code, warehouse.latitude, warehouse.longitude) == (
        "wh-sp-001",
        "",
        None,
        None,
    )


def test_texts_are_trimmed_and_composed_as_at_the_other_doors(tmp_path: Path) -> None:
    path = tmp_path / "warehouses.yaml"
    regions = '[" Parana\\u0301 "]'
    path.write_text(
        f'warehouses: [{{id: " wh-a\\n", name: "Cafe\\u0301 ", region: no, priority: 1, served_regions: {regions}}}]'
    )

    [warehouse] = catalogue.load(path)

    assert (warehouse.id, warehouse.name, warehouse.region, warehouse.served_regions) == (
        "wh-a",
        "Caf\u00e9",
        "no",
        ["Paran\u00e1"],
    )


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{name: A, region: n, priority: 1}", "Warehouse 1: id is missing."),
        ("{id: wh-a, region: n, priority: 1}", "Warehouse 1 (wh-a): name is missing."),
        (
            "{id: WH-1, name: A, region: n, priority: 1}",
            "Warehouse 1 (WH-1): id must be 1 to 64 lower-case letters, digits and hyphens, no hyphen first, "
            "not 'WH-1'.",
        ),
        (
            '{id: "wh-\\n1", name: A, region: n, priority: 1}',
            "Warehouse 1 (wh-\\n1): id must be 1 to 64 lower-case letters, digits and hyphens, no hyphen first, "
            "not 'wh-\\n1'.",
        ),
        (
            "{id: 7, name: A, region: n, priority: 1}",
            "Warehouse 1: id must be 1 to 64 lower-case letters, digits and hyphens, no hyphen first, not 7.",
        ),
        (
            "{id: wh-a, name: A, region: false, priority: 1}",
            "Warehouse 1 (wh-a): region must be 1 to 64 printable characters, not False.",
        ),
        (
            '{id: wh-a, name: "a\\0b", region: n, priority: 1}',
            "Warehouse 1 (wh-a): name must be 1 to 200 printable characters, not 'a\\x00b'.",
        ),
        (
            "{id: wh-a, name: A, region: n, priority: true}",
            "Warehouse 1 (wh-a): priority must be a whole number from 1 to 32767, not True.",
        ),
        (
            "{id: wh-a, name: A, region: n, priority: 0}",
            "Warehouse 1 (wh-a): priority must be a whole number from 1 to 32767, not 0.",
        ),
        (
            "{id: wh-a, name: A, region: n, priority: 1.0}",
            "Warehouse 1 (wh-a): priority must be a whole number from 1 to 32767, not 1.0.",
        ),
        ("{id: wh-a, name: A, region: n, priority: 1, prio: 2}", "Warehouse 1 (wh-a): unknown key 'prio'."),
        (
            "{id: wh-a, name: A, region: n, priority: 1, is_active: false}",
            "Warehouse 1 (wh-a): unknown key 'is_active'.",
        ),
        (
            "{id: wh-a, name: A, region: n, priority: 1, postal_code: 1310100}",
            "Warehouse 1 (wh-a): postal_code must be 1 to 16 letters, digits, spaces and hyphens, in quotes, "
            "not 1310100.",
        ),
        (
            "{id: wh-a, name: A, region: n, priority: 1, latitude: 10}",
            "Warehouse 1 (wh-a): latitude and longitude go together: give both or none.",
        ),
        (
            "{id: wh-a, name: A, region: n, priority: 1, latitude: 90.1, longitude: 0}",
            "Warehouse 1 (wh-a): latitude must be degrees between -90 and 90, not 90.1.",
        ),
        (
            f"{{id: wh-a, name: A, region: n, priority: 1, latitude: {'9' * 400}, longitude: 0}}",
            f"Warehouse 1 (wh-a): latitude must be degrees between -90 and 90, not {'9' * 77}....",
        ),
        (
            "{id: wh-a, name: A, region: n, priority: 1, latitude: 0, longitude: .nan}",
            "Warehouse 1 (wh-a): longitude must be degrees between -180 and 180, not '.nan'.",
        ),
        (
            "{id: wh-a, name: A, region: n, priority: 010}",
            "Warehouse 1 (wh-a): priority must be a whole number from 1 to 32767, not '010'.",
        ),
        (
            "{id: wh-a, name: A, region: n, priority: 1:30}",
            "Warehouse 1 (wh-a): priority must be a whole number from 1 to 32767, not '1:30'.",
        ),
        (
            '{id: wh-a, name: "A\\u200b", region: n, priority: 1}',
            "Warehouse 1 (wh-a): name must be 1 to 200 printable characters, not 'A\\u200b'.",
        ),
        ("just text", "Warehouse 1: it must be a mapping with an id, a name, a region and a priority."),
    ],
)
def test_each_wrong_entry_has_its_sentence(tmp_path: Path, entry: str, problem: str) -> None:
    assert problem_of_entry(tmp_path, entry) == problem


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = f"version: 2\nwarehouses:\n- {GOOD}\n- {GOOD}\n- {{id: wh-b, name: '', region: n, priority: high}}\n"
    assert problems_of(tmp_path, text) == [
        "Unknown key 'version'; `warehouses` is the only key.",
        "Warehouse 3 (wh-b): name must be 1 to 200 printable characters, not ''.",
        "Warehouse 3 (wh-b): priority must be a whole number from 1 to 32767, not 'high'.",
        "The id wh-a is given 2 times.",
    ]


@pytest.mark.parametrize("text", ["", "[]", "warehouses: {}", "warehouses:", "houses: []"])
def test_a_file_without_a_list_of_warehouses_is_refused(tmp_path: Path, text: str) -> None:
    assert problems_of(tmp_path, text) == ["The file must have the one key `warehouses`, with a list."]


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "warehouses: []") == ["A file lists 1 to 10000 warehouses, not 0."]


@pytest.mark.parametrize(
    "text",
    [
        "warehouses: [",
        "warehouses: [{id: wh-a, id: wh-b}]",
        "warehouses: [{id: !!python/name:os.system x}]",
        f"warehouses: [{{priority: {'9' * 5000}}}]",
    ],
)
def test_what_is_no_clean_yaml_is_refused_with_one_sentence(tmp_path: Path, text: str) -> None:
    [problem] = problems_of(tmp_path, text)
    assert problem.startswith("The file is not YAML: ")
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"\xff\xfe\x00", "The file is binary, not text."), (b"\xff", "Line 1: the file is not UTF-8.")],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    assert problems_of(tmp_path, content) == [problem]


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(Invalid, match=r"^/dev/zero: The file is larger than 16 MB\.$"):
        catalogue.load("/dev/zero")


def test_a_key_given_twice_is_named_with_its_line(tmp_path: Path) -> None:
    [problem] = problems_of(tmp_path, "warehouses:\n- id: wh-a\n  id: wh-b\n")
    assert "the key id is given twice" in problem
    assert "line 3" in problem


def test_a_file_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "[" * 20_000) == ["The file is nested too deeply."]


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as refusal:
        catalogue.load(tmp_path / "none.yaml")
    assert refusal.value.extra["problems"] == ["The file cannot be read: No such file or directory."]
