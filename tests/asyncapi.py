"""docs/reference/asyncapi.yaml as a test needs it: whether it is valid AsyncAPI, and whether a message fits it.

`python -m tests.asyncapi FILE` ends with 1 and says what is wrong with the file; `make check` calls it.
"""

import copy
import json
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from cloudevents.core.bindings import rabbitmq
from jsonschema import Draft7Validator, FormatChecker, SchemaError
from pydantic import ValidationError

DOCUMENT = Path(__file__).parent.parent / "docs" / "reference" / "asyncapi.yaml"
CLOUDEVENTS_JSON = "application/cloudevents+json"
Document = dict[str, Any]


@cache
def document() -> Document:
    """The document as it stands."""
    return load(DOCUMENT)


def load(path: Path) -> Document:
    """The document in this file."""
    loaded: Document = yaml.safe_load(path.read_text("utf-8"))
    return loaded


# --- messages against the document ---------------------------------------------------------------------------------


def messages(action: str) -> dict[str, Document]:
    """The messages that the service sends (`send`) or gets (`receive`), by name."""
    operations = [operation for operation in document()["operations"].values() if operation["action"] == action]
    channels = [resolve(document(), operation["channel"]["$ref"]) for operation in operations]
    referred = [message["$ref"] for channel in channels for message in channel["messages"].values()]
    found = [resolve(document(), reference) for reference in referred]
    return {message["name"]: message for message in found}


def schema_of(name: str) -> Document:
    """The JSON Schema of the whole message `name`. Stricter than the document: what it does not name is not there."""
    known = messages("send") | messages("receive")
    return _standing_alone(known[name]["payload"])


def schema_of_part(name: str) -> Document:
    """The JSON Schema of one component, such as `Reserved`, as strict as that of a message."""
    return _standing_alone({"$ref": f"#/components/schemas/{name}"})


def _standing_alone(schema: Document) -> Document:
    return {"allOf": [schema], "components": {"schemas": _strict_schemas()}}


@cache
def _strict_schemas() -> Document:
    schemas: Document = copy.deepcopy(document()["components"]["schemas"])
    for schema in schemas.values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return schemas


def check(instance: Any, schema: Document) -> None:
    """Raises jsonschema's ValidationError if the instance does not fit; `format` counts."""
    Draft7Validator(schema, format_checker=FormatChecker()).validate(instance)


def check_published(body: bytes) -> Document:
    """The event in the body of a message that was published; raises if it is no CloudEvent or not as promised."""
    rabbitmq.from_structured_event(rabbitmq.RabbitMQMessage(headers={}, content_type=CLOUDEVENTS_JSON, body=body))
    event: Document = json.loads(body)
    assert event["type"] in messages("send"), f"{event['type']} is not among the published messages"
    check(event, schema_of(event["type"]))
    return event


# --- the document itself -------------------------------------------------------------------------------------------


def faults(candidate: Document) -> list[str]:
    """What is wrong with it as AsyncAPI 3; empty when nothing is."""
    return [*_wrong_structure(candidate), *_wrong_references(candidate), *_wrong_schemas(candidate)]


def resolve(candidate: Document, reference: str) -> Document:
    """What a reference points to; raises KeyError if nothing is there."""
    found = candidate
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def _wrong_structure(candidate: Document) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own field names shadow pydantic's
        from asyncapi3 import AsyncAPI3  # type: ignore[import-untyped]
    try:
        AsyncAPI3.model_validate(candidate)
    except ValidationError as error:
        said = [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]
        # Most places may hold a reference instead, so of each mistake it also says that it makes no reference.
        apart = [(place, message) for place, message in said if ".Reference" not in place]
        return [f"{place}: {message}" for place, message in apart or said]
    return []


def _wrong_references(candidate: Document) -> Iterator[str]:
    for reference in _references(candidate):
        try:
            resolve(candidate, reference)
        except (KeyError, TypeError):
            yield f"{reference} leads nowhere"
    for name, operation in candidate.get("operations", {}).items():
        own = operation.get("channel", {}).get("$ref", "") + "/messages/"
        for message in operation.get("messages", []):
            if not message["$ref"].startswith(own):
                yield f"operations.{name}: {message['$ref']} is not a message of its channel"


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _wrong_schemas(candidate: Document) -> Iterator[str]:
    for name, schema in candidate.get("components", {}).get("schemas", {}).items():
        try:
            Draft7Validator.check_schema(schema)
        except SchemaError as error:
            yield f"components.schemas.{name}: {error.message}"


if __name__ == "__main__":
    sys.exit("\n".join(faults(load(Path(sys.argv[1])))) or None)
