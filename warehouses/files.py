"""Files that staff hand in: read strictly, and what is wrong with them said in sentences, all of it at once."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from inventory_project.foundation.errors import Invalid

MAX_SHOWN = 80  # characters of what stands in a file, in a sentence about it
MAX_DIGITS = 1_000  # of a whole number that is shown as such; Python refuses to write very long ones


class Replaced(NamedTuple):
    """How many rows were made, changed, found as they should be, and deleted, to be what a file says."""

    created: int
    changed: int
    unchanged: int
    deleted: int

    def __str__(self) -> str:
        made = f"{self.created:,} made, {self.changed:,} changed"
        return f"{made}, {self.unchanged:,} as they were, {self.deleted:,} deleted"


def invalid(path: Path | str, problems: list[str], *, told: int | None = None) -> Invalid:
    """The refusal of a file: a sentence for each problem in `detail`, and the list among its extra facts.

    With `told` the first so many of them, and how many more there are.
    """
    if told is not None and len(problems) > told:
        problems = [*problems[:told], f"And {len(problems) - told:,} more."]
    return Invalid(f"{path}: {' '.join(problems)}", problems=problems)


def shown(value: Any) -> str:
    """What stands in the file, for a sentence about it: short, and as one would write it in code."""
    return _cut("".join(islice(_pieces(value), MAX_SHOWN + 1)))  # no piece is empty: so many are too long


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def _pieces(value: Any) -> Iterator[str]:
    """The repr of a value bit by bit, for the whole of it may be endless: a list of YAML can hold itself."""
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

    Raises Invalid where it cannot be read, is larger, binary, or not UTF-8.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(max_bytes + 1)  # and not all of it: no endless device is read
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
    """What an entry must say under a key, in words, and whether a value is that."""

    wanted: str
    accepts: Callable[[Any], bool]
    is_required: bool = True


def yaml_list(path: Path | str, *, key: str, most: int, max_bytes: int) -> tuple[list[Any], list[str]]:
    """The list that the YAML file has under its one key, of 1 to `most` entries; and what is wrong beside it.

    Raises Invalid where the file cannot be read, is larger than `max_bytes`, or is no YAML.
    """
    written = text(path, max_bytes=max_bytes)
    try:
        content = yaml.load(written, Loader=_StrictLoader)  # noqa: S506  # a SafeLoader
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none, a number without end
        raise invalid(path, [f"The file is not YAML: {' '.join(str(error).split())}."]) from error
    except RecursionError as error:
        raise invalid(path, ["The file is nested too deeply."]) from error
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        return [], [f"The file must have the one key `{key}`, with a list."]
    problems = [f"Unknown key {shown(other)} beside `{key}`." for other in content if other != key]
    entries = content[key]
    if not 1 <= len(entries) <= most:
        return [], [*problems, f"A file lists 1 to {most} {key}, not {len(entries)}."]
    return entries, problems


def named(kind: str, position: int, entry: Any, *, key: str) -> str:
    """Which entry of the list a sentence is about: its kind and position, and what it has under the key if a text."""
    name = entry.get(key) if isinstance(entry, dict) else None
    return f"{kind} {position} ({_cut(name)})" if isinstance(name, str) else f"{kind} {position}"


def problems_of(entry: Any, rules: Mapping[str, Rule], *, form: str) -> list[str]:
    """What is wrong with an entry, a sentence each; `form` says what it must be a mapping with."""
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
    """YAML in which a key given twice is an error; PyYAML would silently keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping. Raises ConstructorError for a key given twice, and for a merge."""
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
