"""The commands that the documents show in their `console` blocks, with what they are shown to print."""

import re
import shlex
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

ADDRESS = "http://localhost:3006"


@dataclass(frozen=True, slots=True)
class Shown:
    """One command as a shell would split it, with what it prints."""

    words: list[str]
    printed: str

    @property
    def is_request(self) -> bool:
        """Whether it sends a request to the service."""
        return self.words[0] == "curl"


@dataclass(frozen=True, slots=True)
class Request:
    """What a command with curl sends. Of its options this knows -X, -H and -d."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None

    @classmethod
    def of(cls, shown: Shown) -> "Request":
        """Raises ValueError for what curl would not send to the service in this way."""
        program, *words = shown.words
        options: dict[str, list[str]] = {"-X": [], "-H": [], "-d": []}
        urls = []
        rest = iter(words)
        for word in rest:
            if word in options:
                options[word].append(next(rest))
            else:
                urls.append(word)
        [url] = urls
        if program != "curl" or not url.startswith(ADDRESS):
            raise ValueError(f"No request to the service: {shown.words}")
        body = "&".join(options["-d"]) if options["-d"] else None
        [method] = options["-X"] or ["GET" if body is None else "POST"]
        headers = dict(header.split(": ", 1) for header in options["-H"])
        return cls(method, url.removeprefix(ADDRESS), headers, body)


def commands(page: str, *, below: str = "") -> list[Shown]:
    """All commands of a page of this repository in their order, or those below one of its headings."""
    text = (Path(settings.BASE_DIR) / page).read_text(encoding="utf-8")
    if below:
        level = below.partition(" ")[0]
        text = re.split(rf"(?m)^{level} ", text.partition(f"\n{below}\n")[2])[0]
    return [
        shown
        for block in re.finditer(r"(?ms)^( *)```console\n(.*?)^\1```$", text)
        for shown in _in_block(textwrap.dedent(block[2]))
    ]


def _in_block(block: str) -> list[Shown]:
    found = []
    for part in re.split(r"(?m)^\$ ", block)[1:]:
        lines = part.splitlines()
        for number in range(1, len(lines) + 1):
            words = _split("\n".join(lines[:number]))
            if words is not None:
                found.append(Shown(words, "\n".join(lines[number:]).strip()))
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
