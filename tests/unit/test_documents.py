"""The documents say what the code does: settings, commands, paths, codes, metrics, events, invariants, links."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from drf_spectacular.generators import SchemaGenerator

from inventory_project.foundation.http import problems
from reservations import events as reservation_events
from reservations.analysis import audit
from stock import events as stock_events

ROOT = Path(settings.BASE_DIR)
PACKAGES = ("inventory_project", "warehouses", "stock", "reservations")
READERS = {
    "text",
    "whole",
    "positive_decimal",
    "switch",
    "choice",
    "country",
    "server_url",
}  # of environment.py; name, then default


def markdown_files() -> list[Path]:
    """Every page that git would keep."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("*/**/*.md")]
    return sorted(page for page in pages if not page.relative_to(ROOT).parts[0].startswith("."))


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """The text below a heading, up to the next heading of the same level."""
    level = heading.partition(" ")[0]
    return re.split(rf"(?m)^{level} ", text.partition(f"\n{heading}\n")[2])[0]


def first_cells(text: str) -> list[list[str]]:
    """The rows of the tables in a text, without heads and rules, as lists of cells."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"(?m)^\|.*\|$", text)]
    rules = [i for i, row in enumerate(rows) if set("".join(row)) <= {"-"}]
    return [row for i, row in enumerate(rows) if i not in rules and i + 1 not in rules]


def source_trees() -> Iterator[ast.Module]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ast.parse(path.read_text(encoding="utf-8"))


# --- settings ------------------------------------------------------------------------------------------------------


def variables_of_settings() -> dict[str, str | None]:
    """Each variable that settings.py reads, with its default; None where that depends on something."""
    tree = ast.parse(page("inventory_project/settings.py"))
    found: dict[str, str | None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in READERS:
            found[ast.literal_eval(node.args[0])] = _default_of(node)
    return found


def _default_of(call: ast.Call) -> str | None:
    assert isinstance(call.func, ast.Name)
    named = [keyword.value for keyword in call.keywords if keyword.arg == "default"]
    if call.func.id == "server_url" or not (named or call.args[1:]):
        return ""
    default = (named or call.args[1:])[0]
    if not isinstance(default, ast.Constant):
        return None
    if isinstance(default.value, bool):
        return "on" if default.value else "off"
    return str(default.value)


def variables_of_compose() -> dict[str, str]:
    """Each variable that docker-compose.yml takes from outside, with its default; an empty one where it must be set."""
    found: list[tuple[str, str, str]] = re.findall(r"(?<!\$)\$\{([A-Z_]+):([-?])([^}]*)\}", page("docker-compose.yml"))
    return {name: rest if rule == "-" else "" for name, rule, rest in found}


def variables_of_example() -> dict[str, str]:
    lines: list[tuple[str, str]] = re.findall(r"(?m)^#([A-Z][A-Z0-9_]*)=(.*)$", page(".env.example"))
    assert len(dict(lines)) == len(lines)
    return dict(lines)


def test_settings_are_read_by_calls_that_this_test_sees() -> None:
    readers, values = page("inventory_project/environment.py"), page("inventory_project/settings.py")
    assert re.findall(r"[ (]env\.\w+", readers + values) == [" env.ENVIRON"]
    assert not re.findall(r"os\.(environ|getenv)", readers + values)


def test_the_example_file_has_every_variable_and_no_other() -> None:
    of_compose_alone = variables_of_compose().keys() - variables_of_settings().keys()
    assert variables_of_example().keys() == variables_of_settings().keys() | of_compose_alone


def test_the_example_file_has_the_defaults() -> None:
    example, compose = variables_of_example(), variables_of_compose()
    fixed = {name: default for name, default in variables_of_settings().items() if default is not None}
    of_compose_alone = {name: compose[name] for name in compose.keys() - variables_of_settings().keys()}
    assert {name: example[name] for name in fixed} == fixed
    assert {name: example[name] for name in of_compose_alone} == of_compose_alone


def test_nothing_in_the_example_file_is_in_force() -> None:
    assert [line for line in page(".env.example").splitlines() if line and not line.startswith("#")] == []


def test_the_page_of_settings_has_every_variable_once_with_its_default() -> None:
    rows = first_cells(section(page("docs/reference/configuration.md"), "## Environment"))
    shown = {name.strip("`"): default for name, default, _ in rows}
    assert len(shown) == len(rows)
    assert shown.keys() == variables_of_settings().keys()
    fixed = {name: default for name, default in variables_of_settings().items() if default}
    assert {name: shown[name] for name in fixed} == {name: f"`{default}`" for name, default in fixed.items()}


# --- commands and targets ------------------------------------------------------------------------------------------


def test_the_page_of_commands_has_every_command_of_ours_and_no_other() -> None:
    commands = {
        path.stem
        for package in PACKAGES
        for path in (ROOT / package).rglob("management/commands/*.py")
        if path.stem != "__init__"
    }
    rows = first_cells(page("docs/reference/commands.md"))
    assert {row[0].strip("`") for row in rows} == commands


def test_contributing_has_every_make_target_and_no_other() -> None:
    targets = set(re.findall(r"(?m)^([a-z0-9-]+):.*## ", page("Makefile")))
    rows = first_cells(section(page("CONTRIBUTING.md"), "## Set up"))
    assert {row[0].strip("`").removeprefix("make ") for row in rows} == targets


# --- the API -------------------------------------------------------------------------------------------------------


def openapi_operations() -> dict[tuple[str, str], dict[str, Any]]:
    """What the OpenAPI document says of each method and path."""
    generator: Any = SchemaGenerator  # it has no types
    paths = generator().get_schema(request=None, public=True)["paths"]
    return {(method.upper(), path): operation for path in paths for method, operation in paths[path].items()}


def test_the_table_of_paths_is_that_of_the_openapi_document() -> None:
    rows = [row for row in first_cells(section(page("docs/reference/api.md"), "## Paths")) if len(row) == 5]
    assert {(row[0], row[1].strip("`")) for row in rows} == openapi_operations().keys()


def test_the_table_of_paths_names_the_scopes_of_the_openapi_document() -> None:
    rows = [row for row in first_cells(section(page("docs/reference/api.md"), "## Paths")) if len(row) == 5]
    operations = openapi_operations()
    for method, path, _, _, scope in rows:
        description = operations[method, path.strip("`")]["description"]
        assert description.endswith(f"Needs the scope {scope}."), (method, path)


def codes_in_source() -> set[str]:
    """The codes of all refusals that a caller of the API can meet, with those that the framework's errors get."""
    families = {"Invalid", "NotFound", "Conflict", "Unavailable", "problem", "response"}
    never_by_http = {
        "refused",  # the base class
        "name_in_use",  # a token's name: commands and the admin alone make tokens
        *("broker_unavailable", "topology_mismatch"),  # no request waits for RabbitMQ
        "order_rejected",  # in an inventory.rejected
    }
    found: set[str] = set()
    for tree in source_trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found |= set(re.findall(r"(?m)^code(?:: str)? = '(\w+)'$", "\n".join(map(ast.unparse, node.body))))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in families:
                given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
                found |= {str(value.value) for value in given if isinstance(value, ast.Constant)}
    return found - never_by_http


def test_the_table_of_refusals_has_every_code_with_its_status() -> None:
    rows = first_cells(section(page("docs/reference/api.md"), "## Refusals"))
    shown = {row[0].strip("`"): int(row[1]) for row in rows}
    of_frameworks = {code: status for status, code in problems.CODE_OF_STATUS.items()}
    assert codes_in_source() - shown.keys() - {"conflict"} == set()  # every conflict has a code of its own
    assert shown.keys() <= codes_in_source() | of_frameworks.keys()
    known = {code: status for code, status in of_frameworks.items() if code in shown}
    assert {code: shown[code] for code in known} == known


# --- metrics, events, invariants -----------------------------------------------------------------------------------


def test_the_table_of_metrics_has_every_metric_of_ours_and_no_other() -> None:
    made: set[str] = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for kind, name in re.findall(
            r"\b(Counter|Gauge|Histogram|GaugeMetricFamily)\(\s*\"(inventory_\w+)\"", path.read_text(encoding="utf-8")
        ):
            made.add(f"{name}_total" if kind == "Counter" else name)
    rows = first_cells(section(page("docs/operating/operations.md"), "## Metrics"))
    assert {row[0].strip("`").partition("{")[0] for row in rows} == made


def test_the_tables_of_events_have_every_event_and_no_other() -> None:
    names = {
        value
        for module in (reservation_events, stock_events)
        for value in vars(module).values()
        if isinstance(value, str) and value.startswith("inventory.")
    }
    text = page("docs/reference/events.md")
    rows = first_cells(section(text, "## Of reservations")) + first_cells(section(text, "## Of stock"))
    assert {row[0].strip("`") for row in rows} == names


def test_the_page_of_invariants_has_a_section_for_each_with_its_promise() -> None:
    text = page("docs/operating/invariants.md")
    assert re.findall(r"(?m)^## (I\d+)$", text) == [f"I{number}" for number in range(1, 15)]
    for invariant in audit.invariants(with_counters=True):
        assert f"**{invariant.promise}**" in section(text, f"## {invariant.name}"), invariant.name


# --- links and versions --------------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """The anchors that a page's headings get, as the usual renderers make them."""
    text = re.sub(r"(?ms)^```.*?^```", "", path.read_text(encoding="utf-8"))
    headings = re.findall(r"(?m)^#+ (.*)$", text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", markdown_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    text = re.sub(r"(?ms)^```.*?^```", "", path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        assert found.exists(), target
        assert found.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(found), target


def test_every_decision_is_in_the_list_of_decisions() -> None:
    folder = ROOT / "docs" / "concepts" / "decisions"
    listed = re.findall(r"\]\((\d{4}-[^)]+)\)", page("docs/concepts/decisions/README.md"))
    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))


def test_the_newest_version_of_the_changelog_is_that_of_the_project() -> None:
    newest = re.findall(r"(?m)^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", page("CHANGELOG.md"))[0]
    version = tomllib.loads(page("pyproject.toml"))["project"]["version"]
    assert newest == version == settings.SPECTACULAR_SETTINGS["VERSION"]
