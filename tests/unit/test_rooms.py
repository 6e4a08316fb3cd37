"""The documents name the same floors and rooms as the import contracts, in the same order."""

import re
import tomllib
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)


def layers_of_contract() -> list[list[str]]:
    """The modules on each floor of the contract in pyproject.toml, from the top."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = [contract["layers"] for contract in contracts if contract["id"] == "floors"]
    return [[module.strip() for module in layer.split(":")] for layer in layers]


def floors_of_contract() -> list[str]:
    """The packages of the contract, from the top, where the modules of inventory_project stand for it."""
    top, *others = layers_of_contract()
    assert {module.partition(".")[0] for module in top} == {"inventory_project"}
    return ["inventory_project", *(package for (package,) in others)]


def floors_of_table(document: str) -> list[str]:
    """The packages in a document's table of floors, from the top."""
    text = (ROOT / document).read_text(encoding="utf-8")
    rows: list[tuple[str, str]] = re.findall(r"(?m)^\| (\d) \| `([\w.]+)` \|", text)
    assert [number for number, _ in rows] == ["4", "3", "2", "1", "0"]
    return [package for _, package in rows]


def test_the_top_floor_is_every_module_of_inventory_project_but_the_foundation() -> None:
    found = {
        path.stem
        for path in (ROOT / "inventory_project").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }

    top = layers_of_contract()[0]

    assert sorted(top) == sorted(f"inventory_project.{name}" for name in found - {"__init__", "foundation"})


def test_the_page_on_architecture_has_the_floors_of_the_contract() -> None:
    assert floors_of_table("docs/concepts/architecture.md") == floors_of_contract()


def test_the_rules_for_contributors_have_the_floors_of_the_contract() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rule = re.findall(r"(?ms)^- \*\*Floors\*\*.*?(?=^- )", text)

    assert len(rule) == 1
    assert re.findall(r"`([\w.]+)`", rule[0]) == floors_of_contract()


APPS = ("reservations", "stock", "warehouses")


def rooms_of_contract(app: str) -> list[tuple[str, list[str]]]:
    """The rooms of an app from the top: the name of each, which stands in a comment, and its modules."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    [block] = re.findall(rf'(?ms)^id = "rooms-of-{app}"$.*?^\]$', text)
    rows: list[tuple[str, str]] = re.findall(r'(?m)^    "([^"]+)",  # (.+)$', block)
    return [(name, modules.split(" : ")) for modules, name in rows]


def rooms_of_table(app: str) -> list[tuple[str, list[str]]]:
    """The rooms in the table of docs/concepts/architecture.md, with the modules of each."""
    text = (ROOT / "docs/concepts/architecture.md").read_text(encoding="utf-8")
    [table] = re.findall(rf"(?ms)^\| `{app}` \| modules \| does \|\n\|---\|---\|---\|\n(.*?)\n\n", text)
    rows = [line.strip("|").split("|") for line in table.splitlines()]
    return [(name.strip(), re.findall(r"`(\w+)`", modules)) for name, modules, _ in rows]


@pytest.mark.parametrize("app", APPS)
def test_the_page_on_architecture_has_the_rooms_of_the_contract(app: str) -> None:
    assert rooms_of_table(app) == rooms_of_contract(app)


@pytest.mark.parametrize("app", APPS)
def test_the_rules_for_contributors_have_the_rooms_of_the_contract(app: str) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    [names] = re.findall(rf"(?m)^  - `{app}`: (.+)$", text)

    assert names.split(", ") == [name for name, _ in rooms_of_contract(app)]
