"""`shakenctl explain` beside the real thing: captures by tshark, calls of the real Kamailio, and cfg/EXPLAIN.md, executed."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from kamailio_app.cli.main import main
from kamailio_app.explain.capture import captured_calls
from kamailio_app.explain.credential_checks import CHECKS
from kamailio_app.lab.edge import EXEC, ROOT
from kamailio_app.lab.network import Network
from kamailio_app.lab.pki import ServiceProvider
from tests.examples import EXAMPLES, HOP, NOW, answer, field, invite, write
from tests.integration.conftest import Site
from tests.unit.builders import refused
from tests.unit.explain.pcap import Capture, Hop
from tests.unit.explain.support import message

# --- Captures by tshark -----------------------------------------------------------------------------------------


def read(capture: Capture, directory: Path) -> list[tuple[str, int, str]]:
    """Call-ID, code of the far end and Identity of each call."""
    capture.write(directory / "calls.pcap")
    remarks: list[str] = []
    calls = captured_calls(directory / "calls.pcap", 60, remarks)
    assert remarks == []
    return [(call.packet.message.call_id, call.code, "".join(call.packet.message.values("identity"))) for call in calls]


def test_fragments_are_put_together(tmp_path: Path) -> None:
    capture = Capture()
    capture.udp(NOW, HOP, invite("01_good_A.jwt", "a", "X-Large: " + "x" * 4000))
    capture.udp(NOW + 0.2, HOP.back(), answer(183, "a"))
    capture.udp(NOW + 0.4, HOP.back(), answer(486, "a"))
    capture.udp(NOW + 1, HOP, invite("09_stale.jwt", "b"), mtu=576)
    identities = [field(vector).removeprefix("Identity: ") for vector in ("01_good_A.jwt", "09_stale.jwt")]
    assert read(capture, tmp_path) == [("a", 486, identities[0]), ("b", 0, identities[1])]


@pytest.mark.parametrize("swapped", [False, True], ids=["in-order", "out-of-order"])
def test_segments_are_put_together(tmp_path: Path, swapped: bool) -> None:
    capture = Capture()
    both = invite("01_good_A.jwt", "a") + invite("09_stale.jwt", "b")
    capture.tcp(NOW, Hop(source_port=40000), both, size=700, swapped=swapped)
    identities = [field(vector).removeprefix("Identity: ") for vector in ("01_good_A.jwt", "09_stale.jwt")]
    assert read(capture, tmp_path) == [("a", 0, identities[0]), ("b", 0, identities[1])]


def test_several_messages_in_one_segment_are_several(tmp_path: Path) -> None:
    capture = Capture()
    capture.tcp(NOW, HOP, "".join(invite("", call_id) for call_id in "abc"), size=60000)
    assert [call_id for call_id, _code, _identity in read(capture, tmp_path)] == ["a", "b", "c"]


def test_any_port_and_ipv6_are_read(tmp_path: Path) -> None:
    capture = Capture()
    capture.udp(NOW, Hop("192.0.2.1", "192.0.2.2", 7777, 8888), invite("01_good_A.jwt", "a"))
    capture.udp(NOW, Hop("2001:db8::1", "2001:db8::2"), invite("", "b"))
    assert [call_id for call_id, _code, _identity in read(capture, tmp_path)] == ["a", "b"]


def test_time_and_addresses_are_the_captures(tmp_path: Path) -> None:
    capture = Capture()
    capture.udp(NOW + 0.25, HOP, invite("", "a"))
    capture.write(tmp_path / "calls.pcap")
    (call,) = captured_calls(tmp_path / "calls.pcap", 60, [])
    assert (call.packet.at, call.packet.source, call.packet.destination) == (NOW + 0.25, "192.0.2.1:5060", "192.0.2.2:5060")


def test_capture_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    capture = Capture()
    for call_id in "abc":
        capture.udp(NOW, HOP, invite("", call_id))
    path = tmp_path / "calls.pcap"
    capture.write(path)
    path.write_bytes(path.read_bytes()[:-100])
    remarks: list[str] = []
    calls = captured_calls(path, 60, remarks)
    assert [call.packet.message.call_id for call in calls] == ["a", "b"]
    assert "cut short" in remarks[0]


NO_CAPTURES: Final = [b"\xd4\xc3\xb2\xa1", b"\xd4\xc3\xb2\xa1" + b"\xff" * 500]


@pytest.mark.parametrize("octets", NO_CAPTURES, ids=["short", "junk"])
def test_what_is_no_capture_is_refused(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "calls.pcap").write_bytes(octets)
    with refused("capture_unreadable"):
        captured_calls(tmp_path / "calls.pcap", 60, [])


# --- The real Kamailio ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(network, tmp_path_factory.mktemp("edge"), EXEC) as edge:
        yield edge


def identities(network: Network) -> dict[str, str]:
    """Header lines by the token that they lead to."""
    url = network.repository.url
    expired = network.publish("expired", ServiceProvider(not_before=network.now - 3000, not_after=network.now - 600))
    network.publish("bare", ServiceProvider(with_tnauthlist=False))
    good = network.identity()
    digest, _, parameters = good.partition(";")
    unsigned, _, signature = digest.rpartition(".")
    another = network.identity().partition(".")[0] + "." + network.identity(called="+12155550131").split(".")[1]
    return {
        "": good,
        "identity_missing": "",
        "iat_stale": network.identity(age=100),
        "iat_in_future": network.identity(age=-100),
        "orig_mismatch": network.identity(caller="+12155550199"),
        "dest_mismatch": network.identity(called="+12155550199"),
        "signature_invalid": f"{another}.{signature};{parameters}",
        "identity_malformed": f"x{good[-60:]}",
        "info_mismatch": f"{unsigned}.{signature};info=<{url('other.pem')}>;ppt=shaken",
        "ppt_unsupported": good.replace("ppt=shaken", "ppt=msec"),
        "x5u_http_status": network.identity(x5u=url("nowhere.pem")),
        "x5u_unreachable": network.identity(x5u=f"https://localhost:{network.closed_port}/x.pem"),
        "x5u_refused": network.identity(x5u="https://localhost:1/x.pem"),
        "credential_expired": network.identity(issued=expired, x5u=url("expired.pem")),
        "tnauthlist_missing": network.identity(x5u=url("bare.pem")),
    }


TOKENS: Final = (
    *("", "identity_missing", "iat_stale", "iat_in_future", "orig_mismatch", "dest_mismatch", "signature_invalid"),
    *("identity_malformed", "info_mismatch", "ppt_unsupported", "x5u_http_status", "x5u_unreachable", "x5u_refused"),
    *("credential_expired", "tnauthlist_missing"),
)


@pytest.mark.parametrize("token", TOKENS)
def test_explanation_is_what_kamailio_does(network: Network, site: Site, tmp_path: Path, token: str) -> None:
    identity = identities(network)[token]
    sent: list[bytes] = []
    send = site.carrier._send

    def remember(octets: bytes, target: tuple[str, int]) -> None:
        sent.append(octets)
        send(octets, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site.carrier, "_send", remember)
        call_id = site.carrier.invite(site.target, extra=f"Identity: {identity}\r\n" if identity else "")
    request = site.phone.receive_request("INVITE")
    site.phone.answer(request)
    assert site.carrier.final().code == 486
    words = site.words(call_id)
    assert words.get("token", "") == token
    # The message as it was sent
    (tmp_path / "invite.txt").write_bytes(sent[0])
    arguments = [str(tmp_path / "invite.txt"), "--settings", str(site.edge.settings_file), "--fetch", "--at", "now", "--json"]
    result = CliRunner().invoke(main, ["explain", *arguments])
    told = json.loads(result.stdout)
    assert (told["token"], told["valid"]) == (token, token == "")
    assert told["verstat"] == words["verstat"]
    assert (result.exit_code == 0) == (token == "")
    # The line that Kamailio wrote of it
    line = next(text for text in site.edge.log().splitlines() if call_id in text and "stirshaken: verify" in text)
    result = CliRunner().invoke(main, ["explain", "-", "--json"], input=line)
    counted = json.loads(result.stdout)["counts"]
    assert [(row["what"], row["outcome"]) for row in counted] == [("verify", token or "valid")]


def test_certificate_that_the_edge_has_kept_is_looked_at(network: Network, site: Site) -> None:
    """Offline, beside the edge: what its calls left on the disk, a moment after they ended."""
    site.carrier.invite(site.target, extra=f"Identity: {network.identity()}\r\n")
    site.phone.answer(site.phone.receive_request("INVITE"))
    assert site.carrier.final().code == 486
    text = message(f"Identity: {network.identity()}", date=None)
    arguments = ["explain", "-", "--settings", str(site.edge.settings_file), "--json"]
    told: dict[str, Any] = {}
    deadline = time.monotonic() + 10
    while not told.get("decided") and time.monotonic() < deadline:
        told = json.loads(CliRunner().invoke(main, arguments, input=text).stdout)
    assert told["valid"], told["token"]
    checks = {check["check"]: check["words"] for check in told["headers"][0]["checks"]}
    assert checks["certificate at hand"].startswith("kept on disk by the edge, until ")


# --- The page -----------------------------------------------------------------------------------------------------

PAGE: Final = ROOT / "cfg/EXPLAIN.md"
_BLOCK: Final = re.compile(r"```console\n(.*?)```", re.DOTALL)


def test_examples_of_the_page_are_those_that_are_made(tmp_path: Path) -> None:
    write(tmp_path)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path.relative_to(EXAMPLES): path.read_bytes() for path in EXAMPLES.rglob("*") if path.is_file()}
    assert made == kept, "make documents"


def commands() -> list[tuple[str, str]]:
    """The command lines of the page, and what it says they print."""
    found = []
    for block in _BLOCK.findall(PAGE.read_text("utf-8")):
        for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, output = piece.partition("\n")
            found.append((line, output))
    return found


def performed(line: str) -> Result:
    """A line of the page, in the directory of its files: shakenctl alone, or with something piped into it."""
    before, bar, command = line.rpartition(" | ")
    words = shlex.split(command)
    assert words[:2] == ["shakenctl", "explain"]
    stdin = (EXAMPLES / shlex.split(before)[-1]).read_bytes() if bar else None
    with chdir(EXAMPLES):
        return CliRunner().invoke(main, words[1:], env={"STIRSHAKEN_SETTINGS": "stirshaken.toml"}, input=stdin)


@pytest.mark.parametrize(("line", "output"), commands(), ids=[line for line, _output in commands()])
def test_page_prints_what_it_says(line: str, output: str) -> None:
    result = performed(line)
    said = result.stdout
    assert result.exception is None or isinstance(result.exception, SystemExit)
    lines, shown = said.rstrip("\n").split("\n"), output.rstrip("\n").split("\n")
    if shown[0] == "...":
        assert lines[1 - len(shown) :] == shown[1:]
    elif shown[-1] == "...":
        assert lines[: len(shown) - 1] == shown[:-1]
    else:
        assert lines == shown


def test_page_has_every_check_in_its_order() -> None:
    table = PAGE.read_text("utf-8").partition("<!-- checks: begin -->")[2].partition("<!-- checks: end -->")[0]
    _head, *rows = re.findall(r"^\| (.+?) \| (.+?) \|", table, re.MULTILINE)
    assert rows == [(check.name, check.clause) for check in CHECKS]


def test_page_has_examples_of_everything() -> None:
    lines = " ".join(line for line, _output in commands())
    for what in ("invite.txt", "--identity", "calls.pcap", "--call-id", "kamailio.log", "--json", "iat_stale"):
        assert what in lines
