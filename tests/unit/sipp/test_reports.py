"""The reports of the SIPp suite: what a CI system, a person and the documentation read of a run."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from lxml import etree, html

from tests.sipp.suite import clause, junit, matrix, message, page
from tests.sipp.suite.outcome import Finding, Result, Run, Status, Step
from tests.sipp.suite.rows import natural, sides
from tests.sipp.suite.visible import visible

HOSTILE: Final = "<script>alert(1)</script>]]>\x00\x1b[2J\ud800\uffff\"'&`|{{ 7 * 7 }}"
TARGETS: Final = ("ours", "theirs")
GOOD: Final = Finding("final response", "200 OK", "200 OK", True)
BAD: Final = Finding("final response", "438 Invalid Identity Header", "200 OK", False)


def result(
    target: str = "ours", scenario: str = "attest", case: str = "", status: Status = Status.PASSED, **members: Any
) -> Result:
    about = {"title": "A call is signed", "about": "Policy says A.", "clauses": ("RFC 8224 4.1 step 2",), "side": "sign"}
    return Result(target, scenario, case, **{**about, "status": status, "seconds": 0.25, **members})


def run(*results: Result, **members: Any) -> Run:
    rest: dict[str, Any] = {
        "started": 1_700_000_000.5,
        "seconds": 12.0,
        "command": "python -m tests.sipp",
        "machine": "two cores",
        "versions": {"SIPp": "3.6.1", "kamailio": "5.6.3"},
        "targets": TARGETS,
        "titles": {"ours": "our edge", "theirs": "their module"},
    }
    return Run(results=results, **{**rest, **members})


def hostile() -> Run:
    """The worst text that a test can think of, in every member that can hold it."""
    finding = Finding(HOSTILE, HOSTILE, HOSTILE, False)
    step = Step(
        0.1, "caller", "system", HOSTILE, f"INVITE sip:x SIP/2.0\r\nSubject: {HOSTILE}\r\nIdentity: {HOSTILE}\r\n\r\n{HOSTILE}"
    )
    stray = replace(step, sender=HOSTILE)
    rest = {"title": HOSTILE, "about": HOSTILE, "clauses": (f"RFC 8224 {HOSTILE}",), "reason": HOSTILE, "findings": (finding,)}
    every = [
        result(target, HOSTILE, HOSTILE, status, **rest, steps=(step, stray), log=(HOSTILE,), side=side)
        for target in (HOSTILE, "theirs")
        for side in ("sign", HOSTILE)
        for status in Status
    ]
    names = {"targets": (HOSTILE, "theirs"), "titles": {HOSTILE: HOSTILE}, "versions": {HOSTILE: HOSTILE}}
    return run(*every, **names, command=HOSTILE, machine=HOSTILE)


MIXED: Final = run(
    result(case="A", findings=(GOOD,)),
    result("theirs", case="A", status=Status.FAILED, findings=(GOOD, BAD)),
    result(scenario="verstat", side="verify", clauses=("TS 24.229 7.2A.20",)),
    result("theirs", "verstat", status=Status.NOT_SUPPORTED, reason="sets none", side="verify", clauses=("TS 24.229 7.2A.20",)),
    result("theirs", "x5u", "timeout", Status.ERROR, side="verify", reason="SIPp hangs", log=("a line",)),
)


def passport(**claims: Any) -> str:
    parts = [{"alg": "ES256", "ppt": "shaken"}, claims]
    encoded = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return f"{'.'.join(encoded)}.c2ln;info=<https://cr.example.test/c.pem>;alg=ES256;ppt=shaken"


def step(text: str, sender: str = "caller", receiver: str = "system") -> Step:
    return Step(0.5, sender, receiver, text.partition("\r\n")[0], text)


def written(what: Run, path: Path) -> str:
    page.write(what, path)
    return path.read_text("utf-8")


class TestJUnit:
    @staticmethod
    def xml(what: Run, path: Path) -> etree._Element:
        junit.write(what, path)
        return etree.parse(path, etree.XMLParser(recover=False)).getroot()

    def test_a_suite_per_target_and_a_case_per_result(self, tmp_path: Path) -> None:
        root = self.xml(MIXED, tmp_path / "junit.xml")
        cases = [(s.get("name"), c.get("classname"), c.get("name"), c.get("time")) for s in root for c in s.iter("testcase")]
        assert cases == [
            ("ours", "ours", "attest[A]", "0.25"),
            ("ours", "ours", "verstat", "0.25"),
            ("theirs", "theirs", "attest[A]", "0.25"),
            ("theirs", "theirs", "verstat", "0.25"),
            ("theirs", "theirs", "x5u[timeout]", "0.25"),
        ]

    def test_statuses_are_counted_and_told(self, tmp_path: Path) -> None:
        theirs = self.xml(MIXED, tmp_path / "junit.xml")[1]
        assert [theirs.get(count) for count in ("tests", "failures", "errors", "skipped", "time")] == [
            "3",
            "1",
            "1",
            "1",
            "0.75",
        ]
        failure, skipped, error = (theirs.find(f".//{kind}") for kind in ("failure", "skipped", "error"))
        assert failure is not None
        assert failure.get("message") == "final response: expected 438 Invalid Identity Header, got 200 OK"
        assert failure.text == "A call is signed\nfinal response: expected 438 Invalid Identity Header, got 200 OK"
        assert skipped is not None
        assert skipped.get("message") == "sets none"
        assert error is not None
        assert error.get("message") == "SIPp hangs"

    def test_only_what_did_not_pass_has_output(self, tmp_path: Path) -> None:
        suites = self.xml(MIXED, tmp_path / "junit.xml")
        assert not list(suites[0].iter("system-out"))
        assert "a line" in [out.text for out in suites[1].iter("system-out")]

    def test_where_it_ran(self, tmp_path: Path) -> None:
        suite = self.xml(MIXED, tmp_path / "junit.xml")[0]
        assert suite.get("timestamp") == "2023-11-14T22:13:20Z"
        assert {p.get("name"): p.get("value") for p in suite.iter("property")} == {
            "title": "our edge",
            "machine": "two cores",
            "command": "python -m tests.sipp",
            "version.SIPp": "3.6.1",
            "version.kamailio": "5.6.3",
        }

    def test_hostile_text_gives_well_formed_xml(self, tmp_path: Path) -> None:
        root = self.xml(hostile(), tmp_path / "junit.xml")
        assert {case.get("name") for case in root.iter("testcase")} == {f"{visible(HOSTILE)}[{visible(HOSTILE)}]"}


class TestPage:
    def test_hostile_text_stays_text(self, tmp_path: Path) -> None:
        text = written(hostile(), tmp_path / "page.html")
        root = html.document_fromstring(text)
        assert [script.text for script in root.iter("script")] == [Path(page.__file__).with_name("page.js").read_text("utf-8")]
        assert "<script>alert" not in text
        assert "49" not in root.xpath("string(//h3)")
        assert visible(HOSTILE) in {heading.text for heading in root.iter("h3")}
        assert not re.search(r"[\x00-\x08\x0b-\x1f]", text)
        attributes = {name for element in root.iter() for name in map(str, element.attrib)}
        assert not [name for name in attributes if name.startswith("on")]

    def test_nothing_is_loaded_from_elsewhere(self, tmp_path: Path) -> None:
        root = html.document_fromstring(written(MIXED, tmp_path / "page.html"))
        assert not root.xpath("//*[@src] | //*[@srcset] | //iframe | //object | //img")
        assert [link.get("href", "")[:5] for link in root.iter("link")] == ["data:"]
        assert not re.search(r"@import|url\(", "".join(style.text or "" for style in root.iter("style")))
        assert "default-src 'none'" in root.xpath("string(//meta[@http-equiv]/@content)")

    def test_a_cell_per_row_and_target_leads_to_its_result(self, tmp_path: Path) -> None:
        root = html.document_fromstring(written(MIXED, tmp_path / "page.html"))
        rows = root.xpath("//table[@class='matrix']/tbody/tr")
        words = [[cell.text_content().strip() for cell in row.findall("td")] for row in rows]
        assert words == [["✓passed", "✗failed"], ["✓passed", "\u2013not supported"], ["not run", "!error"]]
        anchors = [link.get("href", "")[1:] for link in root.xpath("//table[@class='matrix']//a")]
        assert len(set(anchors)) == len(anchors) == 8
        assert all(len(root.xpath("//*[@id=$name]", name=name)) == 1 for name in anchors)

    def test_only_failures_are_open(self, tmp_path: Path) -> None:
        root = html.document_fromstring(written(MIXED, tmp_path / "page.html"))
        assert root.xpath("//details[@open]/@id") == ["theirs-sign-attest-A", "theirs-verify-x5u-timeout"]

    def test_the_same_case_twice_is_two_results(self, tmp_path: Path) -> None:
        root = html.document_fromstring(written(run(result(), result(status=Status.FAILED)), tmp_path / "page.html"))
        assert root.xpath("//details/@id") == ["ours-sign-attest", "ours-sign-attest--2"]

    @pytest.mark.parametrize(
        ("results", "verdict", "good"),
        [
            ([], "Nothing was run", False),
            ([result(status=Status.NOT_SUPPORTED)], "Nothing passed", False),
            ([result()], "All 1 passed", True),
            ([result(), result("theirs", status=Status.NOT_SUPPORTED)], "All 1 passed, 1 not supported", True),
            ([result(), result("theirs", status=Status.ERROR)], "1 of 2 could not be run", False),
            (MIXED.results, "1 of 5 failed, 1 could not be run", False),
        ],
    )
    def test_verdict(self, results: list[Result], verdict: str, good: bool, tmp_path: Path) -> None:
        root = html.document_fromstring(written(run(*results), tmp_path / "page.html"))
        assert root.findtext(".//h1") == verdict
        assert bool(root.xpath("//div[contains(@class, 'masthead good')]")) is good
        assert bool(root.xpath("//link[contains(@href, '1a7f4b')]")) is good

    def test_a_long_run_makes_no_huge_page(self, tmp_path: Path) -> None:
        vias = "Via: SIP/2.0/UDP 192.0.2.1\r\n" * 10
        invite = f"INVITE sip:x SIP/2.0\r\n{vias}Identity: {passport(attest='A', origid='0' * 400)}\r\n\r\nv=0\r\n"
        reply = f"SIP/2.0 200 OK\r\n{vias}"
        steps = (step(invite), step(invite, "system", "callee"), *[step(reply, "system")] * 8)
        page.write(run(*(result(case=str(number), steps=steps) for number in range(150))), tmp_path / "page.html")
        assert (tmp_path / "page.html").stat().st_size < 3_000_000


class TestMatrix:
    def test_rows_by_side(self) -> None:
        rows = [line for line in matrix.text(MIXED).splitlines() if re.match(r"\| `|## (Sign|Verif)", line)]
        assert rows == [
            "## Signing",
            "| `attest[A]` | A call is signed | RFC 8224 4.1 step 2 | passed | **failed** |",
            "## Verifying",
            "| `verstat` | A call is signed | TS 24.229 7.2A.20 | passed | not supported |",
            "| `x5u[timeout]` | A call is signed | RFC 8224 4.1 step 2 | not run | **error** |",
        ]

    @pytest.mark.parametrize(
        "line",
        [
            "5 results on 2 systems: 2 passed, 1 failed, 1 not supported, 1 error.",
            "| our edge | 2 | 0 | 0 | 0 | 2 | 0.5 |",
            "| their module | 0 | 1 | 1 | 1 | 3 | 0.8 |",
            "| RFC 8224 4.1 step 2 | 1 of 1 | **0 of 2** |",
            "| TS 24.229 7.2A.20 | 1 of 1 | 0 of 1 |",
            "- their module, `attest[A]`: final response: expected 438 Invalid Identity Header, got 200 OK",
            "- their module, `x5u[timeout]`: SIPp hangs",
            "- their module: sets none (`verstat`)",
            "- 2023-11-14 22:13:20 UTC, 12 s",
            "- kamailio 5.6.3, SIPp 3.6.1",
            "- `python -m tests.sipp`",
        ],
    )
    def test_counts_reasons_origin(self, line: str) -> None:
        assert line in matrix.text(MIXED).splitlines()

    def test_the_order_of_results_does_not_matter(self) -> None:
        assert matrix.text(replace(MIXED, results=MIXED.results[::-1])) == matrix.text(MIXED)

    def test_the_same_case_twice_shows_the_worse(self) -> None:
        assert "| **failed** | not run |" in matrix.text(run(result(), result(status=Status.FAILED), result()))

    def test_hostile_text_breaks_no_table(self) -> None:
        text = matrix.text(hostile())
        rows = [line for line in text.splitlines() if line.startswith("| ") and "script" in line and "alert" in line]
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} <= {4, 6, 8}
        assert not re.search(r"(?<!\\)<script", re.sub(r"(`+) .*? \1", "", text))

    def test_an_empty_run_has_no_empty_tables(self) -> None:
        text = matrix.text(run())
        assert "0 results on 2 systems" in text
        assert "Signing" not in text
        assert "By clause" not in text


class TestMessage:
    def test_the_place_in_the_ladder(self) -> None:
        lanes = {
            ("caller", "system"): ("01", False),
            ("system", "caller"): ("01", True),
            ("system", "callee"): ("12", False),
            ("callee", "caller"): ("02", True),
            ("system", "system"): ("", False),
            ("nobody", "caller"): ("", False),
        }
        for (sender, receiver), lane in lanes.items():
            seen = message.read(step("ACK sip:x SIP/2.0", sender, receiver))
            assert (seen.lane, seen.leftwards) == lane

    @pytest.mark.parametrize(
        ("text", "label", "kind"),
        [
            ("INVITE sip:x SIP/2.0\r\n\r\nv=0\r\n", "INVITE (SDP)", "request"),
            ("SIP/2.0 180 Ringing\r\n\r\n", "180 Ringing", "provisional"),
            ("SIP/2.0 200 OK\r\n\r\n", "200 OK", "final"),
            ("SIP/2.0 302 Moved\r\n\r\n", "302 Moved", "redirect"),
            ("SIP/2.0 438 Invalid Identity Header\r\n\r\n", "438 Invalid Identity Header", "refusal"),
            ("", "", "request"),
        ],
    )
    def test_the_arrow(self, text: str, label: str, kind: str) -> None:
        seen = message.read(step(text))
        assert (seen.label, seen.kind) == (label, kind)

    def test_an_identity_header_is_marked_with_its_folded_lines_and_decoded(self) -> None:
        field = f"identity : {passport(attest='A', iat=1_700_000_000)}\r\n ;x=1"
        seen = message.read(
            step(f"INVITE sip:x SIP/2.0\r\nTo: <sip:x>\r\n{field}\r\nFrom: <sip:y>;verstat=TN-Validation-Failed\r\n\r\nbody")
        )
        assert [span.kind for span in seen.spans] == ["start", "plain", "identity", "stir", "plain"]
        assert seen.spans[2].text == field.replace("\r\n", "\n") + "\n"
        assert seen.chips == ("Identity", "TN-Validation-Failed")
        [found] = seen.passports
        assert (json.loads(found.claims), found.issued) == ({"attest": "A", "iat": 1_700_000_000}, "2023-11-14 22:13:20 UTC")
        assert found.parameters == "info=<https://cr.example.test/c.pem>;alg=ES256;ppt=shaken"

    def test_the_spans_are_the_message(self) -> None:
        text = f"INVITE sip:x SIP/2.0\r\nDate: now\r\ny:{passport()}, {passport()}\r\nA: b\r\n\r\nv=0\r\n\r\nmore"
        seen = message.read(step(text))
        assert "".join(span.text for span in seen.spans) == text.replace("\r\n", "\n")
        assert len(seen.passports) == 2

    def test_reasons_are_named(self) -> None:
        seen = message.read(step('SIP/2.0 438 No\r\nReason: STIR;cause=438;text="x"\r\nReason: STIR ;cause=437\r\n\r\n'))
        assert seen.chips == ("STIR 438", "STIR 437")

    @pytest.mark.parametrize(
        "value", ["", "..c2ln", "a.b.c", "eyJ.YQ.x", "=" * 9, "....", "\x00", "e30.e30", "A" * 60000 + "." + "B" * 60000 + "."]
    )
    def test_what_is_no_passport_is_only_shown(self, value: str) -> None:
        assert message.read(step(f"INVITE sip:x SIP/2.0\r\nIdentity: {value}\r\n\r\n")).passports == ()


class TestClause:
    @pytest.mark.parametrize(
        ("text", "linked", "href"),
        [
            ("RFC 8224 6.2.2 step 4", "RFC 8224 6.2.2", "https://www.rfc-editor.org/rfc/rfc8224#section-6.2.2"),
            ("RFC 8224 s4", "RFC 8224 s4", "https://www.rfc-editor.org/rfc/rfc8224#section-4"),
            ("RFC 8725 §2", "RFC 8725 §2", "https://www.rfc-editor.org/rfc/rfc8725#section-2"),
            ("RFC 6125, section 6.4", "RFC 6125, section 6.4", "https://www.rfc-editor.org/rfc/rfc6125#section-6.4"),
            ("RFC 8225 Appendix A.1", "RFC 8225 Appendix A.1", "https://www.rfc-editor.org/rfc/rfc8225#appendix-A.1"),
            ("RFC 9410", "RFC 9410", "https://www.rfc-editor.org/rfc/rfc9410"),
            ("RFC 8224 10th try", "RFC 8224", "https://www.rfc-editor.org/rfc/rfc8224"),
            ("see ATIS-1000074 5.3.1", "ATIS-1000074 5.3.1", "https://access.atis.org/"),
            ("ATIS-1000082", "ATIS-1000082", "https://access.atis.org/"),
            ("TS 24.229 7.2A.20", "TS 24.229 7.2A.20", "https://www.3gpp.org/dynareport/24229.htm"),
        ],
    )
    def test_known_ones_are_links(self, text: str, linked: str, href: str) -> None:
        pieces = list(clause.pieces(text))
        assert "".join(piece.text for piece in pieces) == text
        assert [piece for piece in pieces if piece.href] == [clause.Piece(linked, href)]

    def test_two_in_one(self) -> None:
        hrefs = [piece.href.rpartition("/")[2] for piece in clause.pieces("RFC 8225 6, RFC 7518 3.4")]
        assert hrefs == ["rfc8225#section-6", "", "rfc7518#section-3.4"]

    @pytest.mark.parametrize("text", ["decision 12", "ATIS-1000099 1", "javascript:alert(1)", "TS 29.165", "RFC"])
    def test_others_stay_text(self, text: str) -> None:
        assert list(clause.pieces(text)) == [clause.Piece(text)]


def test_rows_are_sorted_as_a_person_counts() -> None:
    assert sorted(["RFC 8224 12.1", "RFC 8224 6.2", "A", "RFC 8224 6.2.2"], key=natural)[1:] == [
        "RFC 8224 6.2",
        "RFC 8224 6.2.2",
        "RFC 8224 12.1",
    ]
    rows = sides(run(result(case="case10"), result(case="case9"), result("theirs", scenario="a")))["Signing"]
    assert [row.first.name for row in rows] == ["a", "attest[case9]", "attest[case10]"]


def test_controls_are_visible() -> None:
    assert visible("a\r\nb\rc\x00\x7f\x9b\u202e\td") == "a\nb␍c␀␡\\u009b\\u202e\td"
