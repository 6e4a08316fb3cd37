"""The token buckets of the rate limit in Redis, one for each API token; `foundation.access.limits` takes from them.

Nothing rests on them but the limit itself. A bucket ends when it would be full again, and a full one needs no key.
"""

from hashlib import sha1
from pathlib import Path

from redis.exceptions import NoScriptError, ResponseError

from stock.counters import copies

TAKE = (Path(__file__).parent / "allowance.lua").read_text(encoding="utf-8")
TAKE_SHA = sha1(TAKE.encode(), usedforsecurity=False).hexdigest()


def take(actor: str, *, per_second: int, burst: int, least: int, more: int) -> tuple[int, float] | None:
    """Take `least` units of the actor's bucket, up to `more` in addition; or none, if there are fewer.

    Returns the units, and if none, the seconds until there will be enough. None if Redis does not answer, or takes no
    writes. Never raises.
    """
    arguments = (1, f"allowance:{actor}", per_second, burst, least, more)
    answers = copies.ask("allowance", [("EVALSHA", TAKE_SHA, *arguments)])
    if answers is not None and isinstance(answers[0], NoScriptError):
        answers = copies.ask("allowance", [("EVAL", TAKE, *arguments)])
    if answers is None or isinstance(answers[0], ResponseError):
        return None
    taken, wait_ms = answers[0]
    return int(taken), int(wait_ms) / 1_000
