"""Allocation policies from a YAML file, to simulate or to put in force. A file is accepted as a whole or rejected."""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.db import transaction

from inventory_project.foundation import database
from warehouses import files
from warehouses.allocation import policies
from warehouses.allocation.policies import BUILT_IN, Policy
from warehouses.catalogue import read_region
from warehouses.files import Replaced, Rule, number_reader, whole_reader
from warehouses.models import AllocationPolicy

logger = logging.getLogger(__name__)

RULED = ("tolerance_km", "split", "most_parcels")
MAX_PROBLEMS = 20
MAX_POLICIES = 1_000  # one for each region; far more is a wrong file
MAX_NUMBER = 10**9  # beyond it, a number is not even told to be too large for a policy
MAX_BYTES = 1024 * 1024  # several times what that many policies take; the path may be an endless device


@transaction.atomic
def put_in_force(wanted: Mapping[str, Policy], *, actor: str) -> Replaced:
    """Replace all policies by these, which are by region. Each change is logged with the old policy.

    All of it happens or nothing. A repeat writes nothing, so no process has to read the policies again.
    """
    database.keep_other_writers_out(AllocationPolicy)
    held = {row.region: row for row in AllocationPolicy.objects.all()}
    superfluous = [row for region, row in held.items() if region not in wanted]
    changed = [row for region, row in held.items() if region in wanted and row.as_policy() != wanted[region]]
    new = [AllocationPolicy(region=region) for region in wanted if region not in held]
    for row in superfluous:
        _log("policy deleted", row, policy=None, actor=actor)
        row.delete()
    for row in (*changed, *new):
        rules = wanted[row.region]
        _log("policy put in force", row, policy=rules, actor=actor)
        row.preferences = list(rules.preferences)
        for name in RULED:
            setattr(row, name, getattr(rules, name))
        if row.pk:
            row.save(update_fields=["preferences", *RULED, "updated_at"])
        else:
            row.save(force_insert=True)
    return Replaced(
        created=len(new),
        changed=len(changed),
        unchanged=len(held) - len(superfluous) - len(changed),
        deleted=len(superfluous),
    )


def _log(event: str, row: AllocationPolicy, *, policy: Policy | None, actor: str) -> None:
    before = row.as_policy() if row.pk else None
    logger.info(event, extra={"region": str(row), "policy": str(policy), "before": str(before), "actor": actor})


def load(path: Path | str) -> dict[str, Policy]:
    """The policies that the YAML file at `path` lists, by region.

    Settings that a policy leaves out are those of the built-in policy. Raises Invalid with one sentence for each
    problem, also as the list `extra["problems"]`.
    """
    entries, problems = files.yaml_list(path, key="policies", most=MAX_POLICIES, max_bytes=MAX_BYTES)
    found = []
    for position, entry in enumerate(entries, start=1):
        policy, wrong = _policy(entry)
        name = files.named("Policy", position, entry, key="region")
        problems += [f"{name}: {problem}" for problem in wrong]
        found += [policy] if policy else []
    for region, count in Counter(policy.region for policy in found).items():
        if count > 1:
            whose = f"The region {region}" if region else "Every other region"
            problems.append(f"{whose} has {count} policies.")
    if problems:
        raise files.invalid(path, problems, most=MAX_PROBLEMS)
    return {policy.region: policy for policy in found}


def _policy(entry: Any) -> tuple[Policy | None, list[str]]:
    """The policy of one entry and no problems, or None and its problems, one sentence each."""
    found, wrong = files.read_entry(entry, RULES, form="preferences, and any other settings")
    if wrong:
        return None, wrong
    policy = Policy(
        region=found.get("region", ""),
        preferences=tuple(found["preferences"]),
        tolerance_km=found.get("tolerance_km", BUILT_IN.tolerance_km),
        split=found.get("split", BUILT_IN.split),
        most_parcels=found.get("most_parcels"),
    )
    wrong = list(policies.problems(policy).values())
    return (None if wrong else policy), wrong


def _read_names(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError
    return value


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


RULES = {
    "region": Rule("1 to 64 printable characters; leave it out for every other region", read_region, False),
    "preferences": Rule("a list of names", _read_names),
    "tolerance_km": Rule("a number of kilometres", number_reader(-MAX_NUMBER, MAX_NUMBER), False),
    "split": Rule(f"one of {', '.join(policies.SPLITS)}", _read_text, False),
    "most_parcels": Rule("a whole number", whole_reader(-MAX_NUMBER, MAX_NUMBER), False),
}
