"""Dead letters as a person reads them. Anybody may have sent anything; nothing of it acts on a page or a terminal."""

import json
from dataclasses import dataclass
from typing import Self

from inventory_project.foundation.errors import Invalid
from inventory_project.foundation.http.parsing import parse_object
from inventory_project.foundation.messaging.rabbitmq.dead_letters import DeadLetter

MAX_IN_LINE = 500  # characters
MAX_LAID_OUT = 20_000  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A dead letter in texts that can be printed; `left_out` is how many bytes of its body are not shown."""

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
        """What is shown of it."""
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
    """The body: indented where it is JSON that the service can read, else as it came."""
    if letter.body and letter.size == len(letter.body):
        try:
            indented = json.dumps(parse_object(letter.body), indent=2, ensure_ascii=False)
        except Invalid:
            pass
        else:
            if len(indented) <= MAX_LAID_OUT:
                return printable(indented)
    return printable(letter.body)


def in_line(said: str | bytes, most: int = MAX_IN_LINE) -> str:
    """Said on one line, and cut."""
    line = printable(said[: most + 1]).replace("\n", r"\n")
    return line if len(line) <= most else f"{line[:most]}..."


def printable(said: str | bytes) -> str:
    """With each character spelled out that is no sign of its own, such as one that turns the text around."""
    text = said if isinstance(said, str) else said.decode("utf-8", "backslashreplace")
    return "".join(
        sign if sign.isprintable() or sign == "\n" else sign.encode("unicode_escape").decode() for sign in text
    )
