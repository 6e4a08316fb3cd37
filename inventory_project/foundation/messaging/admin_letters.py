"""Dead letters as printable text. Their content is untrusted and must not affect a web page or a terminal."""

import json
from dataclasses import dataclass
from typing import Self

from inventory_project.foundation import values
from inventory_project.foundation.errors import Invalid
from inventory_project.foundation.http.parsing import parse_object
from inventory_project.foundation.messaging.rabbitmq.dead_letters import DeadLetter

MAX_IN_LINE = 500  # characters
MAX_LAID_OUT = 20_000  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintableLetter:
    """A dead letter whose texts are safe to print. `left_out` is the number of bytes of the body that are cut off."""

    key: str
    message_id: str
    exchange: str
    routing_key: str
    tries: int
    reason: str
    body: str
    size: int
    left_out: int

    @classmethod
    def of(cls, letter: DeadLetter) -> Self:
        """The printable form of a dead letter."""
        return cls(
            key=letter.key,
            message_id=in_line(letter.message_id or ""),
            exchange=in_line(letter.exchange),
            routing_key=in_line(letter.routing_key),
            tries=letter.tries,
            reason=in_line(letter.reason),
            body=laid_out(letter),
            size=letter.size,
            left_out=letter.size - len(letter.body),
        )


def laid_out(letter: DeadLetter) -> str:
    """The body as printable text: indented if it is JSON that the service can read, otherwise as it came."""
    if letter.body and letter.size == len(letter.body):
        try:
            indented = json.dumps(parse_object(letter.body), indent=2, ensure_ascii=False)
        except Invalid:
            pass
        else:
            if len(indented) <= MAX_LAID_OUT:
                return printable(indented)
    return printable(letter.body)


def in_line(content: str | bytes, most: int = MAX_IN_LINE) -> str:
    """The text on one line, printable, cut after `most` characters."""
    line = printable(content[: most + 1]).replace("\n", r"\n")
    return line if len(line) <= most else f"{line[:most]}..."


def printable(content: str | bytes) -> str:
    """The text with escapes for unprintable characters, for instance for one that reverses the direction."""
    text = content if isinstance(content, str) else content.decode("utf-8", "backslashreplace")
    return values.printable(text, kept="\n")
