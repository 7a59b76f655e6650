"""One vocabulary in two languages: the msgspec structs of the wire as JSON Schema, from which the TypeScript types are made.

`python -m signaling.schema` writes the schema; `--check` compares it with the file and fails when they differ.
"""

from __future__ import annotations

import json
import sys
import typing
from pathlib import Path
from typing import Any

import msgspec

from rooms.commands import COMMANDS
from rooms.events import Event
from rooms.portal import PORTAL
from rooms.pushes import ANSWERS, PUSHES
from signaling.handshake import Auth

SCHEMA = Path(__file__).parent.parent / "web_client" / "src" / "protocol" / "schema.json"


def schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of every object on the wire; `Commands` and `Pushes` map event names to their objects."""
    events = typing.get_args(Event)
    roots = [*COMMANDS.values(), *PUSHES.values(), *ANSWERS, *events, *PORTAL, Auth]
    _, defs = msgspec.json.schema_components(list(dict.fromkeys(roots)), ref_template="#/$defs/{name}")
    for definition in defs.values():
        definition.setdefault("additionalProperties", True)

    def ref(kind: type) -> dict[str, str]:
        return {"$ref": f"#/$defs/{kind.__name__}"}

    defs["Event"] = {"anyOf": [ref(event) for event in events]}
    defs["LogEvent"] = {"allOf": [{"$ref": "#/$defs/Placed"}, {"$ref": "#/$defs/Event"}]}
    for shown in ("LogShown", "Paged"):
        defs[shown]["properties"]["events"] = {"type": "array", "items": {"$ref": "#/$defs/LogEvent"}}
    defs["Commands"] = _table({name: ref(command) for name, command in COMMANDS.items()})
    pushes: dict[str, dict[str, str]] = {name: ref(push) for name, push in PUSHES.items()}
    defs["Pushes"] = _table({**pushes, "log": {"$ref": "#/$defs/LogEvent"}})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Wire",
        "description": "Made by `python -m signaling.schema`; do not edit.",
        "type": "object",
        "properties": {name: {"$ref": f"#/$defs/{name}"} for name in sorted(defs)},
        "additionalProperties": False,
        "$defs": {name: defs[name] for name in sorted(defs)},
    }


def _table(rows: dict[str, dict[str, str]]) -> dict[str, Any]:
    return {"type": "object", "properties": rows, "required": sorted(rows), "additionalProperties": False}


def main() -> int:
    text = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
    if "--check" in sys.argv:
        if not SCHEMA.exists() or SCHEMA.read_text() != text:
            print(
                "web_client/src/protocol/schema.json is not of these structs: run `python -m signaling.schema`",
                file=sys.stderr,
            )
            return 1
        return 0
    SCHEMA.parent.mkdir(parents=True, exist_ok=True)
    SCHEMA.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
