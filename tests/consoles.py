"""The commands that the documents show in their `console` blocks, with what they are shown to print."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Shown:
    """One command as a shell would split it, what it prints, and the paragraph above it."""

    words: list[str]
    printed: str
    paragraph: str


def commands(page: str, *, below: str = "") -> list[Shown]:
    """All commands of a page of this repository in their order, or those below one of its headings."""
    text = (Path(settings.BASE_DIR) / page).read_text(encoding="utf-8")
    if below:
        level = below.partition(" ")[0]
        text = re.split(rf"(?m)^{level} ", text.partition(f"\n{below}\n")[2])[0]
    return [
        shown
        for block in re.finditer(r"(?ms)^```console\n(.*?)^```$", text)
        for shown in _in_block(block[1], _paragraph_before(text, block.start()))
    ]


def _paragraph_before(text: str, place: int) -> str:
    return text[:place].rstrip().rpartition("\n\n")[2]


def _in_block(block: str, paragraph: str) -> list[Shown]:
    found = []
    for part in re.split(r"(?m)^\$ ", block)[1:]:
        lines = part.splitlines()
        for number in range(1, len(lines) + 1):
            words = _split("\n".join(lines[:number]))
            if words is not None:
                found.append(Shown(words, "\n".join(lines[number:]).strip(), paragraph))
                break
        else:
            raise ValueError(f"A command without an end: {part}")
    return found


def _split(command: str) -> list[str] | None:
    """The words of a complete command; None where a quote is open, or a line goes on with the next one."""
    if command.endswith("\\"):
        return None
    try:
        return shlex.split(command.replace("\\\n", " "))
    except ValueError:
        return None
