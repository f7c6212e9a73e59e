"""Calls for the record, and what is on disk of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kamailio_app.runtime.record import Record, RecordRules
from kamailio_app.runtime.record_store import places

NOON = 1_796_126_400.0  # 2026-12-01T12:00:00Z
TODAY = "calls-2026-12-01.jsonl"
ORIGID = "de305d54-75b4-431b-adb2-eb6b9e546014"
CALL: dict[str, Any] = {
    "time": NOON,
    "call_id": "1@pbx.example.com",
    "trunk": "pbx",
    "customer": "acme",
    "orig": "12155550121",
    "dest": "12155550131",
    "attest": "A",
    "origid": ORIGID,
    "spc": "1234",
    "fingerprint": "ab" * 32,
    "rule": "own",
    "us": 43,
    "token": "",
    "result": "signed",
}


def put(record: Record, **fields: Any) -> bool:
    """A call as any other, but for these fields."""
    return record.put(*(CALL | {name: value for name, value in fields.items() if name != "x5u"}).values(), **_x5u(fields))


def _x5u(fields: dict[str, Any]) -> dict[str, Any]:
    return {"x5u": fields["x5u"]} if "x5u" in fields else {}


def rules(directory: Path, **other: Any) -> RecordRules:
    return RecordRules(calls=True, directory=directory, days=other.pop("days", 10_000), **other)


def calls(directory: Path) -> list[dict[str, Any]]:
    """All lines of all files, the oldest file first. Errors: ValueError if one is not whole."""
    found = []
    for place in places(directory):
        text = place.file(directory).read_text()
        assert not text or text.endswith("\n")
        found += [json.loads(line) for line in text.splitlines()]
    return found


def call_ids(directory: Path) -> list[str]:
    return [call["call_id"] for call in calls(directory)]
