"""What a value from outside means: one rule for each kind of value, at every door.

HTTP, messages, files, the admin and commands read texts, ids, numbers and moments by these functions. A door adds only
what its format says (in JSON a number is no text) and where the mistake is. Each function returns the value that the
text means, or raises WrongValue.
"""

import re
import unicodedata
from datetime import UTC, datetime
from uuid import UUID

CANONICAL_UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
MAX_PARTS = 4  # characters that Unicode composes into one
BREAKING = ("Cc", "Cs", "Zl", "Zp")  # categories: control characters, halves of pairs, ends of lines and paragraphs
JOINERS = "\u200c\u200d"  # how letters of Persian or Hindi join, and what an emoji consists of
_VARIANTS = re.compile("[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # which form the letter before has
_BLANKS = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"  # letters and marks that show nothing

EMPTY = "The text must not be empty."
_UUID = re.compile(CANONICAL_UUID)
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")
_DECIMAL = re.compile(r"[+-]?(0|[1-9][0-9]{0,14})(\.[0-9]{1,20})?")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)", re.ASCII)


class WrongValue(ValueError):
    """The text is no value of this kind. `code` is for programs, the sentence `detail` for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


# --- texts ---------------------------------------------------------------------------------------------------------


def read_name(text: str, *, most: int) -> str:
    """A text that people read, such as a product's name or a reason: one line of 1 to `most` characters.

    It is in Unicode's normal form C, without the white space around it. Joiners and variation selectors are kept,
    because some scripts are written with them; any other character that cannot be seen is refused.
    """
    return _line(text, most=most, is_identifier=False)


def read_identifier(text: str, *, most: int) -> str:
    """A text that is compared with others, such as an SKU, a reference or a region: as a name, and stricter.

    Nothing in it is invisible, and its only white space is the plain space. So two of them that look the same only
    because of how their letters are composed are the same.
    """
    return _line(text, most=most, is_identifier=True)


def composed(text: str) -> str:
    """The text in the normal form that names and identifiers have; rows from before this rule may have another."""
    return unicodedata.normalize("NFC", text)


def spellings(text: str) -> list[str]:
    """The forms in which a row that was written before the rule may have this name or identifier."""
    return list({text, unicodedata.normalize("NFD", text)})


def printable(text: str, *, kept: str = "") -> str:
    """The text with escapes for characters that cannot be printed, except those in `kept`: for logs and terminals."""
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in kept else sign.encode("unicode_escape").decode() for sign in text
    )


def _line(text: str, *, most: int, is_identifier: bool) -> str:
    trimmed = text.strip()
    if not trimmed:
        raise WrongValue("blank", EMPTY)
    too_long = WrongValue("max_length", f"The text may have {most} characters at most.")
    if len(trimmed) > most * MAX_PARTS:  # before the rest, because sorting very many accents takes long
        raise too_long
    line = unicodedata.normalize("NFC", trimmed)
    if not (line.isascii() and line.isprintable()):
        for character in line:
            _refuse_unseen(character, is_identifier=is_identifier)
    if len(line) > most:
        raise too_long
    return line


def _refuse_unseen(character: str, *, is_identifier: bool) -> None:
    category = unicodedata.category(character)
    if category in BREAKING:
        raise WrongValue("control", "Control characters are not allowed.")
    is_shaping = character in JOINERS or _VARIANTS.match(character) is not None
    is_unseen = is_shaping or category == "Cf" or character in _BLANKS
    is_other_space = category == "Zs" and character != " "
    if (is_unseen and (is_identifier or not is_shaping)) or (is_other_space and is_identifier):
        raise WrongValue("invisible", f"The character U+{ord(character):04X} cannot be seen and is not allowed here.")


# --- ids, numbers and moments --------------------------------------------------------------------------------------


def read_uuid(text: str) -> UUID:
    """The id in its canonical form with hyphens, in either case."""
    if not _UUID.fullmatch(text):
        raise WrongValue("invalid", "A UUID such as 018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f is required.")
    return UUID(text)


def read_whole(text: str) -> int:
    """The whole number in plain digits: no plus, no leading zero, nothing between the digits, 19 of them at most."""
    if not _WHOLE.fullmatch(text):
        raise WrongValue("invalid", "A whole number in plain digits is required.")
    return int(text)


def read_decimal(text: str) -> float:
    """The number in plain decimal such as -23.55: no leading zero, no exponent, a point and no comma."""
    if not _DECIMAL.fullmatch(text):
        raise WrongValue("invalid", "A number in plain decimal such as -23.55 is required.")
    return float(text)


def read_moment(text: str) -> datetime:
    """The moment in UTC, from a text in ISO 8601 with its offset from UTC."""
    wrong = WrongValue("invalid", "A moment with its offset is required, such as 2026-11-22T09:30:00Z.")
    if not _MOMENT.fullmatch(text):
        raise wrong
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):  # the 30th of February; the year 1 at +14:00
        raise wrong from None
