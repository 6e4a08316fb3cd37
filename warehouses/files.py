"""Reads the files that staff load: strictly, and with every problem reported at once, one sentence each."""

import csv
import io
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import yaml

from inventory_project.foundation import values
from inventory_project.foundation.errors import Invalid

MAX_SHOWN = 80  # characters of a file's value that a message quotes


class Replaced(NamedTuple):
    """How many rows were created, updated, left unchanged and deleted so that the table matches a file."""

    created: int
    changed: int
    unchanged: int
    deleted: int

    def __str__(self) -> str:
        written = f"{self.created:,} created, {self.changed:,} updated"
        return f"{written}, {self.unchanged:,} unchanged, {self.deleted:,} deleted"


def invalid(path: Path | str, problems: list[str], *, most: int | None = None) -> Invalid:
    """The refusal of a file: `detail` has a sentence for each problem, and `extra["problems"]` has them as a list.

    With `most`, only that many problems are listed, followed by the number of the others.
    """
    if most is not None and len(problems) > most:
        problems = [*problems[:most], f"And {len(problems) - most:,} more."]
    return Invalid(f"{path}: {' '.join(problems)}", problems=problems)


def shown(value: Any) -> str:
    """A value from the file as a message quotes it: its repr, shortened to MAX_SHOWN characters."""
    return _cut("".join(islice(_pieces(value), MAX_SHOWN + 1)))  # no piece is empty, so this many always suffice


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def _pieces(value: Any) -> Iterator[str]:
    """The repr of a value in pieces, because the whole may be endless: a YAML list can contain itself."""
    if isinstance(value, (list, tuple)):
        yield "[" if isinstance(value, list) else "("
        for i, each in enumerate(value):
            yield from [", "] if i else []
            yield from _pieces(each)
        yield "]" if isinstance(value, list) else ")"
    elif isinstance(value, dict):
        yield "{"
        for i, (key, each) in enumerate(value.items()):
            yield from [", "] if i else []
            yield from _pieces(key)
            yield ": "
            yield from _pieces(each)
        yield "}"
    elif isinstance(value, str):
        yield repr(value[: MAX_SHOWN + 1])
    else:
        yield repr(value)


def text(path: Path | str, *, max_bytes: int) -> str:
    """The text of a file, without a byte order mark; its line ends are left as they are.

    Raises Invalid if the file cannot be read, is larger than `max_bytes`, is binary, or is not UTF-8.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(max_bytes + 1)  # bounded, because the path may be an endless device
    except OSError as error:
        raise invalid(path, [f"The file cannot be read: {error.strerror}."]) from error
    if len(content) > max_bytes:
        raise invalid(path, [f"The file is larger than {max_bytes // 1024**2} MB."])
    if b"\0" in content:
        raise invalid(path, ["The file is binary, not text."])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line_number = content.count(b"\n", 0, error.start) + 1
        raise invalid(path, [f"Line {line_number}: the file is not UTF-8."]) from error


# --- values --------------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """What a value must be: `wanted` says it in words, `read` returns what it means, or raises ValueError."""

    wanted: str
    read: Callable[[Any], Any]
    is_required: bool = True


def text_reader(read: Callable[..., str], most: int, pattern: re.Pattern[str] | None = None) -> Callable[[Any], str]:
    """A `read` for a Rule: a text by `values.read_name` or `values.read_identifier` of this form, if given."""

    def read_text(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError
        found = read(value, most=most)
        if pattern and not pattern.match(found):
            raise ValueError
        return found

    return read_text


def whole_reader(least: int, most: int) -> Callable[[Any], int]:
    """A `read` for a Rule: a whole number in these bounds."""

    def read_whole(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:  # bool is an int to isinstance
            raise ValueError
        return value

    return read_whole


def number_reader(least: float, most: float) -> Callable[[Any], float]:
    """A `read` for a Rule: a number in these bounds."""

    def read_number(value: Any) -> float:
        if type(value) not in (int, float) or not least <= value <= most:
            raise ValueError
        return float(value)

    return read_number


# --- CSV -----------------------------------------------------------------------------------------------------------


class NotCSV(ValueError):
    """The text is not CSV from this line on. The sentence says why."""

    def __init__(self, line: int, error: csv.Error) -> None:
        super().__init__(f"this is not CSV: {error}.")
        self.line = line


def csv_rows(content: str) -> Iterator[tuple[int, list[str]]]:
    """The header and the rows of a CSV text, each with its line number; spaces around a value are dropped.

    What spreadsheets add when they save a file is skipped: empty rows, empty values behind the last column, quotes
    around a comment; and the values may be separated by semicolons. Lines above the header that begin with # are
    comments. Without a header, only the number of the line where it is missing comes, with no values. Raises NotCSV.
    """
    lines = io.StringIO(content, newline="")  # line ends are kept, because csv handles every kind
    above, header = _skip_comments(lines)
    rows = csv.reader(lines, strict=True, delimiter=";" if header.count(";") > header.count(",") else ",")
    width = 0
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            while len(cells) > width and not cells[-1]:
                cells.pop()
            if any(cells):
                width = width or len(cells)
                yield above + rows.line_num, cells
    except csv.Error as error:
        raise NotCSV(above + rows.line_num, error) from error
    if not width:
        yield above + rows.line_num + 1, []


def read_cells(
    columns: Sequence[str],
    cells: Sequence[str],
    rules: Mapping[str, tuple[str, Callable[[str], Any]]],
    *,
    quoted: Callable[[str], str] = shown,
) -> tuple[dict[str, Any], list[str]]:
    """The values of a row by column, and its problems, one sentence each; with problems, values are missing.

    `rules` has for each column what the value must be, in words, and a function that returns what it means or raises
    ValueError. `quoted` is how a sentence quotes a value.
    """
    if len(cells) != len(columns):
        return {}, [f"a row has {len(columns)} values, not {len(cells)}."]
    row: dict[str, Any] = {}
    problems: list[str] = []
    for column, cell in zip(columns, cells, strict=True):
        wanted, read = rules[column]
        try:
            row[column] = read(cell)
        except ValueError:
            problems.append(f"{column} must be {wanted}, not {quoted(cell)}.")
    return row, problems


def _skip_comments(lines: io.StringIO) -> tuple[int, str]:
    """Move to the header. Returns the number of lines above it, and its line; the line is empty if there is none."""
    above = position = 0
    is_quoted = False  # inside a comment in quotes, which may go on in the next line
    for line in lines:
        is_comment = is_quoted or line.startswith(("#", '"#'))
        if not is_comment and line.strip(" ,;\t\r\n"):
            lines.seek(position)
            return above, line
        if is_quoted or line.startswith('"#'):
            is_quoted ^= line.count('"') % 2 == 1
        above += 1
        position += len(line)
    return above, ""


# --- YAML ----------------------------------------------------------------------------------------------------------


def yaml_list(path: Path | str, *, key: str, most: int, max_bytes: int) -> tuple[list[Any], list[str]]:
    """Read the YAML file's list, which is under its only key and has 1 to `most` entries; returns it and the problems.

    Raises Invalid if the file cannot be read, is larger than `max_bytes`, or is not YAML.
    """
    written = text(path, max_bytes=max_bytes)
    try:
        content = yaml.load(written, Loader=_StrictLoader)  # noqa: S506  # a SafeLoader
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number that is too long
        raise invalid(path, [f"The file is not YAML: {' '.join(str(error).split())}."]) from error
    except RecursionError as error:
        raise invalid(path, ["The file is nested too deeply."]) from error
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        return [], [f"The file must have the one key `{key}`, with a list."]
    problems = [f"Unknown key {shown(other)}; `{key}` is the only key." for other in content if other != key]
    entries = content[key]
    if not 1 <= len(entries) <= most:
        return [], [*problems, f"A file lists 1 to {most} {key}, not {len(entries)}."]
    return entries, problems


def named(kind: str, position: int, entry: Any, *, key: str) -> str:
    """The name of a list entry in messages: its kind and position, and its text under `key` if it has one."""
    name = entry.get(key) if isinstance(entry, dict) else None
    return f"{kind} {position} ({values.printable(_cut(name))})" if isinstance(name, str) else f"{kind} {position}"


def read_entry(entry: Any, rules: Mapping[str, Rule], *, form: str) -> tuple[dict[str, Any], list[str]]:
    """What the values of an entry mean, and one sentence for each problem; `form` names the keys it must have."""
    if not isinstance(entry, dict):
        return {}, [f"it must be a mapping with {form}."]
    found: dict[str, Any] = {}
    problems = [f"unknown key {shown(key)}." for key in entry if key not in rules]
    for key, rule in rules.items():
        if key not in entry:
            problems += [f"{key} is missing."] if rule.is_required else []
            continue
        try:
            found[key] = rule.read(entry[key])
        except ValueError:
            problems.append(f"{key} must be {rule.wanted}, not {shown(entry[key])}.")
    return found, problems


class _StrictLoader(yaml.SafeLoader):
    """A YAML loader that takes nothing for a number, a boolean or nothing but what is plainly written as one.

    In YAML 1.1, 010 is 8, 1:30 is 90 and `no` is false; here they are texts. A key given twice is refused, of which
    PyYAML would silently keep the last one, and so are tags, with which a text could be read as a number all the same.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # as in PyYAML itself

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Build a node. Raises ConstructorError for one with a tag."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise _wrong(f"the tag {_cut(event.tag)} is not allowed, write the value without it", event)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping. Raises ConstructorError for a key given twice, and for a merge key."""
        seen: set[str] = set()
        for key in [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]:
            if key.value in seen:
                raise _wrong(f"the key {_cut(key.value)} is given twice", key)
            if key.tag == "tag:yaml.org,2002:merge":  # a few of them, each of ten others, would fill the memory
                raise _wrong("keys cannot be merged by <<, write them out", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


for _kind, _written, _first in (
    ("int", r"0|-?[1-9][0-9]*", "-0123456789"),
    ("float", r"-?(0|[1-9][0-9]*)\.[0-9]+", "-0123456789"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"|~|null|Null|NULL", ["", "~", "n", "N"]),
    ("merge", r"<<", "<"),
):
    _StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_written})\Z"), list(_first))


def _wrong(problem: str, place: Any) -> yaml.YAMLError:
    """The refusal of a node or an event of YAML."""
    return yaml.constructor.ConstructorError(problem=problem, problem_mark=place.start_mark)
