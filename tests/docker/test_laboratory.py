"""What the containers of the laboratory run, without containers."""

from __future__ import annotations

import stat
import time
from pathlib import Path

from kamailio_app.lab import authority
from kamailio_app.lab.callee import complete, verstat
from kamailio_app.lab.sipp import messages
from kamailio_app.runtime.keystore import load_signers

_MESSAGE = """----------------------------------------------- 2026-11-23 17:16:42.{number}00000
UDP message received [400] bytes :

INVITE sip:+12155550131@192.0.2.22:5060 SIP/2.0
From: <sip:+12155550121{verstat}@192.0.2.21>;tag=1
Call-ID: {number}@192.0.2.21

"""


def test_what_the_authority_issues_is_a_pair_that_signs_and_that_others_cannot_read(tmp_path: Path) -> None:
    name = authority.issue(tmp_path, "certificates.example.net", time.time())
    loaded = load_signers(tmp_path / "certificates", "https://certificates.example.net/{name}.pem", time.time())
    assert list(loaded.signers) == [name]
    assert loaded.refused == ()
    assert (tmp_path / "published" / f"{name}.pem").read_bytes() == (tmp_path / "certificates" / f"{name}.pem").read_bytes()
    for key in tmp_path.rglob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_the_keys_of_the_authority_itself_are_nowhere(tmp_path: Path) -> None:
    name = authority.issue(tmp_path, "localhost", time.time())
    holders = {path.name for path in tmp_path.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()}
    assert holders == {f"{name}.key", "web.key"}


def test_a_pair_stays_until_its_last_day_and_a_new_one_has_a_new_url(tmp_path: Path) -> None:
    now = time.time()
    first = authority.issue(tmp_path, "localhost", now)
    assert authority.in_use(tmp_path, now + 28 * 86400) == first
    assert authority.in_use(tmp_path, now + 29 * 86400 + 60) == ""
    second = authority.issue(tmp_path, "localhost", now + 29 * 86400)
    assert second != first
    assert {path.stem for path in (tmp_path / "published").iterdir()} == {second}


def test_a_directory_without_its_trust_anchor_holds_no_pair_in_use(tmp_path: Path) -> None:
    authority.issue(tmp_path, "localhost", time.time())
    (tmp_path / "trust" / authority.ANCHORS).unlink()
    assert authority.in_use(tmp_path, time.time()) == ""


def test_a_growing_trace_is_read_up_to_its_last_message_only() -> None:
    first, second = (_MESSAGE.format(number=number, verstat=";verstat=TN-Validation-Passed") for number in (1, 2))
    assert complete("") == complete(first) == 0
    text = first + second[:200]
    assert [message.header("call-id") for message in messages(text[: complete(text)])] == ["1@192.0.2.21"]


def test_verstat_is_that_of_the_identity_that_counts() -> None:
    (plain,) = messages(_MESSAGE.format(number=1, verstat=""))
    (marked,) = messages(_MESSAGE.format(number=1, verstat=";verstat=No-TN-Validation"))
    asserted = _MESSAGE.format(number=1, verstat=";verstat=TN-Validation-Passed").replace(
        "Call-ID", "P-Asserted-Identity: <sip:+12155550121@192.0.2.21>\nCall-ID"
    )
    assert verstat(plain) == ""
    assert verstat(marked) == "No-TN-Validation"
    assert verstat(messages(asserted)[0]) == ""
