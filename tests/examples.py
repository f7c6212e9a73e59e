"""`make documents`: writes cfg/examples, the files that cfg/EXPLAIN.md works with: calls of November 2023, signed for tests.

Made of the published vectors in tests/vectors/generated, so that they are the same octets each time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.unit.explain.pcap import Capture, Hop
from tests.unit.explain.support import message
from tests.unit.explain.test_capture import response

ROOT: Final = Path(__file__).resolve().parents[1]
EXAMPLES: Final = ROOT / "cfg/examples"
VECTORS: Final = ROOT / "tests/vectors/generated"
NOW: Final = 1_700_000_010  # of the vectors
HOP: Final = Hop()
_X5U: Final = "https://cr.example.test/1234/chain_leaf1234.pem"
_LOG: Final = "Nov 14 22:13:{:02} edge kamailio[712]: INFO: <script>: stirshaken: "
_SETTINGS: Final = """# Settings for the examples of ../EXPLAIN.md: an edge that trusts the STI-CA of the test vectors.
[verification]
ca_file = "ca.pem"

[cache]
state_dir = ""
"""


def field(vector: str) -> str:
    """An Identity header field with a vector's PASSporT."""
    return f"Identity: {(VECTORS / vector).read_text().strip()};info=<{_X5U}>;alg=ES256;ppt=shaken"


def invite(vector: str = "", call_id: str = "call@192.0.2.1", *more: str) -> str:
    fields = [field(vector)] if vector else []
    return message(*fields, *more).replace("Call-ID: call@192.0.2.1", f"Call-ID: {call_id}")


def answer(code: int, call_id: str, *fields: str) -> str:
    return response(code, *fields).replace("Call-ID: call@192.0.2.1", f"Call-ID: {call_id}")


def write(directory: Path) -> None:
    """All of them."""
    (directory / "chains").mkdir(parents=True, exist_ok=True)
    (directory / "stirshaken.toml").write_text(_SETTINGS)
    (directory / "ca.pem").write_bytes((VECTORS / "cert_root.pem").read_bytes())
    (directory / "chains" / "chain_leaf1234.pem").write_bytes((VECTORS / "chain_leaf1234.pem").read_bytes())
    (directory / "invite.txt").write_bytes(invite("09_stale.jwt").encode())
    (directory / "identity.txt").write_text(f"{field('01_good_A.jwt')}\n")
    _capture().write(directory / "calls.pcap")
    (directory / "kamailio.log").write_text(_log())


def _capture() -> Capture:
    capture = Capture()
    capture.udp(NOW, HOP, invite("01_good_A.jwt", "1@192.0.2.1", "X-Large: " + "x" * 1500))
    capture.udp(NOW + 0.3, HOP.back(), answer(200, "1@192.0.2.1"))
    stir = 'Reason: STIR ;cause=403 ;text="Stale Date"'
    for number, vector, code in ((2, "09_stale.jwt", 403), (3, "09_stale.jwt", 403), (4, "17_dest_mismatch.jwt", 200)):
        capture.udp(NOW + number, HOP, invite(vector, f"{number}@192.0.2.1"))
        capture.udp(NOW + number + 0.3, HOP.back(), answer(code, f"{number}@192.0.2.1", *([stir] if code == 403 else [])))
    capture.tcp(NOW + 5, Hop(source_port=40001), invite("02_good_B.jwt", "5@192.0.2.1"))
    capture.udp(NOW + 6, HOP, invite("", "6@192.0.2.1"))
    return capture


def _log() -> str:
    failures = (("iat_stale", 403, "3600 s old"), ("iat_stale", 403, "3601 s old"), ("x5u_timeout", 436, "2 s"))
    lines = [
        f"{_LOG.format(20 + number)}verify call-id={number}@192.0.2.1 result=failed token={token} code={code} "
        f"verstat=No-TN-Validation us=90: {why}"
        for number, (token, code, why) in enumerate(failures)
    ]
    lines.append(f"{_LOG.format(40)}verify call-id=9@192.0.2.1 result=valid verstat=TN-Validation-Passed us=80")
    return "\n".join(["Nov 14 22:13:19 edge systemd[1]: something else", *lines, ""])


if __name__ == "__main__":
    write(EXAMPLES)
