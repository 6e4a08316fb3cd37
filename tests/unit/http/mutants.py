"""Bodies near to valid ones: what clients with mistakes, and attackers, send."""

import random
import re
from collections.abc import Iterator

NUMBERS = (
    "0", "-0", "1", "-1", "01", "1.0", "1e0", "1E2", "1.5", "9", "10", "60", "61", "100", "10000", "10001", "+1",
    "9223372036854775807", "9223372036854775808", "99999999999999999999", "999999999999999999999", "1e400", "NaN",
    "Infinity", "0x1", "1_0", "true", "null", '"1"', "[1]", "{}", "",
)  # fmt: skip
TEXTS = (
    '""', '" "', '"a"', "null", "true", "1", "[]", "{}", '"WH-SP-001"', '"wh-sp-001"', '" wh-sp-001"', '"wh-sp-001 "',
    '"wh_sp"', '"-wh"', '"01310-100"', '" 01310-100 "', '"01310-100 "', '"0131\\u0030"', '"é"', '"01310\\n"',
    '"a\x00b"', '"01.310-100"', '"N/A"', '"-\x7f"',
    '"12345678901234567"', '"1234567890123456"', '"1234567890123456 "', '"x' + "y" * 70 + '"',
    '"018F4E3A-7C1B-7D2E-9A40-3F5B6C7D8E9F"', '"018f4e3a7c1b7d2e9a403f5b6c7d8e9f"',
    '"{018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f}"', '"urn:uuid:018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f"',
    '"018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9g"', '"018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f\\n"', '"018f4e3a-7c1b-7d2e-9a40"',
)  # fmt: skip
CHARACTERS = '"\\{}[]:,0123456789-+.eE truefalsn\t\r\n \x00\x1f\x7fé\u2028\ud800'
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+|true|false|null|[{}\[\],:]|\s+')


def of(body: str, name: str) -> Iterator[bytes]:
    """Endless, and the same for the same name: the body with one to three changes, each as a client could make it."""
    seed = random.Random(name)  # noqa: S311  # no secret
    while True:
        text = body
        for _ in range(seed.choice((1, 1, 1, 2, 3))):
            text = seed.choice((_other_value, _twice, _without, _other_character, _spread))(text, seed)
        yield text.encode("utf-8", "surrogatepass")


def _spans(text: str) -> list[re.Match[str]]:
    return list(_TOKENS.finditer(text)) or [re.match("", text)]  # type: ignore[list-item]  # it matches


def _other_value(text: str, seed: random.Random) -> str:
    token = seed.choice(_spans(text))
    return text[: token.start()] + seed.choice(seed.choice((NUMBERS, TEXTS))) + text[token.end() :]


def _twice(text: str, seed: random.Random) -> str:
    """A stretch of the text stands twice, such as a name with its value or an item."""
    spans = _spans(text)
    begin = seed.choice(spans).start()
    end = begin + seed.randint(1, 90)
    return text[:end] + seed.choice(("", ",", ", ")) + text[begin:]


def _without(text: str, seed: random.Random) -> str:
    begin = seed.randrange(len(text) + 1)
    return text[:begin] + text[begin + seed.randint(1, 40) :]


def _other_character(text: str, seed: random.Random) -> str:
    place = seed.randrange(len(text) + 1)
    return text[:place] + seed.choice(CHARACTERS) + text[place + seed.randint(0, 1) :]


def _spread(text: str, seed: random.Random) -> str:
    """White space where JSON allows it, and where it does not."""
    token = seed.choice(_spans(text))
    return text[: token.start()] + seed.choice(("\n", "  ", "\t", "\r\n", "\x0b", "\u00a0")) + text[token.start() :]
