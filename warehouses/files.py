"""Reads the files that staff load: strictly, and with every problem reported at once, one sentence each."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from inventory_project.foundation.errors import Invalid

MAX_SHOWN = 80  # characters of a file's value that a message quotes
MAX_DIGITS = 1_000  # of a whole number that is quoted in decimal; Python refuses to format very long ones


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
    elif isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
        yield hex(value)
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


# --- YAML ----------------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """What the value under a key must be: `wanted` says it in words, `accepts` checks it."""

    wanted: str
    accepts: Callable[[Any], bool]
    is_required: bool = True


def yaml_list(path: Path | str, *, key: str, most: int, max_bytes: int) -> tuple[list[Any], list[str]]:
    """Read the YAML file's list, which is under its only key and has 1 to `most` entries; returns it and the problems.

    Raises Invalid if the file cannot be read, is larger than `max_bytes`, or is not YAML.
    """
    written = text(path, max_bytes=max_bytes)
    try:
        content = yaml.load(written, Loader=_StrictLoader)  # noqa: S506  # a SafeLoader
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date, a number that is too long
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
    return f"{kind} {position} ({_cut(name)})" if isinstance(name, str) else f"{kind} {position}"


def problems_of(entry: Any, rules: Mapping[str, Rule], *, form: str) -> list[str]:
    """What is wrong with an entry, one sentence for each problem; `form` names the keys it must have."""
    if not isinstance(entry, dict):
        return [f"it must be a mapping with {form}."]
    problems = [f"unknown key {shown(key)}." for key in entry if key not in rules]
    for key, rule in rules.items():
        if key not in entry:
            problems += [f"{key} is missing."] if rule.is_required else []
        elif not rule.accepts(entry[key]):
            problems.append(f"{key} must be {rule.wanted}, not {shown(entry[key])}.")
    return problems


class _StrictLoader(yaml.SafeLoader):
    """A YAML loader that rejects a key given twice; PyYAML would silently keep the last one."""

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


def _wrong(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
