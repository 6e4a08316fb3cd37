"""The texts of the service are in plain English: retired words stay out, and a limit is called a maximum."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
PACKAGES = ("inventory_project", "warehouses", "stock", "reservations")
# What to say instead: unreachable, gone; again; only; fix; also; must; ours or our own; recently; among; discarded;
# delayed; rejected; in progress; next to or compared with; the process, the client or anyone who.
RETIRED = re.compile(
    r"(?<!km )\baway\b|\banew\b|\balone\b|\bmend(s|ed|ing)?\b|\bbesides?\b|\blikewise\b|\bshall\b|\bof ours\b|"
    r"\bof late\b|\bamid\b|\bput(s|ting)? off\b|\bin hand\b|\bwho(m|so)?ever\b",
    re.IGNORECASE,
)
# Decisions and the log of changes are records of their time.
RECORDS = ("CHANGELOG.md", "docs/concepts/decisions/")


def code() -> list[Path]:
    return sorted(
        path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "migrations" not in path.parts
    )


def pages() -> list[Path]:
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    templates = [path for package in PACKAGES for path in (ROOT / package).rglob("*.html")]
    return sorted(path for path in [*found, *templates] if not str(path.relative_to(ROOT)).startswith(RECORDS))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file that people read: in code its strings and comments, elsewhere everything."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(source.splitlines(), start=1)
        return
    # From Python 3.12 on, the text of an f-string is a token of its own.
    kinds = (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in kinds:
            yield from enumerate(token.string.splitlines(), start=token.start[0])


@pytest.mark.parametrize("path", [*code(), *pages()], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_retired_word_is_in_a_text(path: Path) -> None:
    found = [f"{number}: {line.strip()}" for number, line in texts(path) if RETIRED.search(line)]

    assert found == []


@pytest.mark.parametrize("path", code(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_limit_is_named_max(path: Path) -> None:
    names = [
        target.id
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    ]

    assert [name for name in names if name.startswith("MOST_") or name.endswith("_MAX")] == []
