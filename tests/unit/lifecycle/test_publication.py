"""What a stranger sees at a chain's URL: a repository that is right, and one deviation after another."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.crl import read_crl
from kamailio_app.credentials.x5u import X5uRules
from kamailio_app.lab.dns import NameServer
from kamailio_app.lab.pki import Hierarchy, Issued, ServiceProvider
from kamailio_app.lab.repository import FOREVER, Answer, Repository
from kamailio_app.lifecycle import publication
from kamailio_app.lifecycle.publication import STRANGER, Finding, Seen, look
from kamailio_app.runtime.provider import PublicationRules

from ..builders import refused

HOST = "cr.example.test"
RIGHT = {
    "url": "good",
    "port": "warning",  # a laboratory's
    "name": "good",
    "address": "warning",  # a laboratory's
    "connect": "good",
    "tls": "warning",  # a laboratory's roots
    "status": "good",
    "type": "good",
    "encoding": "good",
    "cache": "good",
    "size": "good",
    "time": "good",
    "octets": "good",
    "chain": "good",
    "path": "good",
    "profile": "good",
    "fetch": "good",
}


@dataclass
class Place:
    """A repository by the name cr.example.test, what is expected of it, and who looks."""

    hierarchy: Hierarchy
    provider: Issued
    ca_file: Path
    names: NameServer
    repository: Repository
    now: float

    def look(self, name: str = "sp1234.pem", *, url: str = "", **changes: Any) -> Seen:
        """`changes`: of the fetch rules, or of what `look` is told."""
        told: dict[str, Any] = {
            "expected_chain": self.provider.chain_pem,
            "rules": PublicationRules(None, self.ca_file, 300, 24),
            "anchors": TrustAnchors([self.hierarchy.root.certificate]),
            "now": self.now,
            "revocations": None,
        }
        told.update({name: changes.pop(name) for name in tuple(changes) if name in told})
        port = self.repository.port
        lab = replace(
            STRANGER, private_addresses=True, x5u=X5uRules(frozenset({port})), dns_servers=(self.names.address,), timeout=1.0
        )
        return look(url or self.repository.url(name), **told, fetch=replace(lab, **changes))

    def answer(self, **what: Any) -> None:
        self.repository.answers["sp1234.pem"] = Answer(**{"body": self.provider.chain_pem, **what})

    def finding(self, check: str, **changes: Any) -> Finding:
        """What one check says where all others say what they do of a place that is right."""
        seen = self.look(**changes)
        found = graded(seen)
        assert {name: grade for name, grade in found.items() if name != check} == {
            name: grade for name, grade in RIGHT.items() if name != check
        }
        (finding,) = [finding for finding in seen.findings if finding.check == check]
        assert seen.ok == finding.ok
        return finding


def graded(seen: Seen) -> dict[str, str]:
    return {finding.check: finding.grade for finding in seen.findings}


def words(seen: Seen, check: str) -> str:
    (found,) = [finding.words for finding in seen.findings if finding.check == check]
    return found


@pytest.fixture(scope="module")
def hierarchy() -> Hierarchy:
    return Hierarchy(time.time())


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    with NameServer() as server:
        server.names[HOST] = [["127.0.0.1"]]
        server.names["mixed.example.test"] = [["127.0.0.1", "10.1.2.3"]]
        yield server


@pytest.fixture(scope="module")
def module_place(hierarchy: Hierarchy, names: NameServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("publication")
    ca_file = directory / "ca.pem"
    ca_file.write_bytes(hierarchy.root.pem)
    identity = hierarchy.web_server([HOST, "mixed.example.test"])
    with Repository(directory, identity, name=HOST) as repository:
        yield Place(hierarchy, hierarchy.service_provider(), ca_file, names, repository, time.time())


@pytest.fixture
def place(module_place: Place) -> Place:
    module_place.repository.answers.clear()
    module_place.repository.chains.clear()
    module_place.repository.chains["sp1234.pem"] = module_place.provider.chain_pem
    return module_place


def test_what_is_right_is_good_and_every_check_says_where_it_comes_from(place: Place) -> None:
    seen = place.look()
    assert graded(seen) == RIGHT
    assert seen.ok
    assert seen.bad() == ""
    assert all(finding.clause and finding.words for finding in seen.findings)
    assert words(seen, "octets") == "those of the local chain"
    assert words(seen, "name") == "127.0.0.1"


def test_a_public_repository_with_web_roots_is_good_in_all(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publication, "is_public", lambda _address: True)
    monkeypatch.setattr(publication, "DEFAULT_RULES", X5uRules(frozenset({place.repository.port})))
    monkeypatch.setenv("SSL_CERT_FILE", str(place.ca_file))
    assert set(graded(place.look(rules=PublicationRules(None, None, 300, 24))).values()) == {"good"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://cr.example.test/sp1234.pem", "not https"),
        ("https://user@cr.example.test/sp1234.pem", "userinfo"),
        ("https://cr.example.test/sp1234.pem?v=1", "query or fragment"),
        ("https://192.0.2.1/sp1234.pem", "no host name"),
        ("https://cr.example.test:99999/sp1234.pem", "port"),
        ("https://cr.example.test/ sp1234.pem", "length or characters"),
        ("", "length or characters"),
        ("https://[::1/x", "no host name"),
    ],
)
def test_url_that_verifiers_refuse_is_not_fetched(place: Place, url: str, said: str) -> None:
    seen = look(
        url,
        None,
        rules=PublicationRules(None, None, 300, 24),
        anchors=TrustAnchors([]),
        now=place.now,
    )
    assert not seen.ok
    assert graded(seen) == {"url": "bad"}
    assert said in seen.bad()


def test_port_that_others_do_not_connect_to_is_bad_unless_the_settings_have_it(place: Place) -> None:
    seen = place.look(x5u=X5uRules())
    assert graded(seen) == {**RIGHT, "port": "bad", "fetch": "bad"}
    assert "443 and 8443" in words(seen, "port")


def test_private_address_is_bad_unless_the_settings_have_it(place: Place) -> None:
    seen = place.look(private_addresses=False)
    assert graded(seen) == {**RIGHT, "address": "bad", "fetch": "bad"}
    assert "x5u_refused" in words(seen, "fetch")
    assert place.look(private_addresses=False, permit=("127.0.0.0/8",)).ok


def test_one_private_address_among_several_is_named(place: Place) -> None:
    seen = place.look(
        url=f"https://mixed.example.test:{place.repository.port}/sp1234.pem", private_addresses=False, permit=("127.0.0.1/32",)
    )
    assert graded(seen)["address"] == "bad"
    assert "10.1.2.3" in words(seen, "address")


def test_name_that_does_not_exist_is_bad(place: Place) -> None:
    seen = place.look(url=f"https://absent.example.test:{place.repository.port}/sp1234.pem")
    assert graded(seen) == {"url": "good", "port": "warning", "name": "bad"}


def test_port_where_nobody_listens_is_bad(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    seen = place.look(url=f"https://{HOST}:{port}/sp1234.pem", x5u=X5uRules(frozenset({port})))
    assert graded(seen) == {**dict.fromkeys(("url", "name"), "good"), **dict.fromkeys(("port", "address"), "warning")} | {
        "connect": "bad",
        "fetch": "bad",
    }


def test_server_that_never_answers_is_bad_and_does_not_hold_us_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publication, "_PATIENCE", 0.3)
    place.answer(delay=FOREVER)
    began = time.monotonic()
    seen = place.look(timeout=0.3)
    assert time.monotonic() - began < 5
    assert (graded(seen)["connect"], graded(seen)["fetch"]) == ("bad", "bad")
    assert "x5u_timeout" in words(seen, "fetch")
    assert not seen.ok


@pytest.mark.parametrize(
    ("called", "ends", "said"), [([HOST], -3600, "expired"), (["other.example.test"], 86400 * 90, "Hostname mismatch")]
)
def test_certificate_of_the_web_server_that_is_no_good_is_bad(
    place: Place, tmp_path: Path, called: list[str], ends: float, said: str
) -> None:
    identity = place.hierarchy.web_server(called, not_after=place.now + ends) if ends > 0 else ended(place)
    with Repository(tmp_path, identity, name=HOST) as repository:
        repository.chains["sp1234.pem"] = place.provider.chain_pem
        seen = replace(place, repository=repository).look()
    assert (graded(seen)["tls"], graded(seen)["fetch"]) == ("bad", "bad")
    assert said in words(seen, "tls")
    assert "octets" not in graded(seen)


def ended(place: Place) -> Issued:
    past = Hierarchy(place.now)
    past.root, past.now = place.hierarchy.root, place.now - 86400 * 40
    return past.web_server([HOST], not_after=place.now - 3600)


def test_certificate_of_the_web_server_that_ends_soon_is_a_warning(place: Place) -> None:
    finding = place.finding("tls", now=place.now + 20 * 86400)
    assert finding.grade == "warning"
    assert finding.words.endswith("renew it")


def test_roots_that_strangers_do_not_have_are_bad_without_the_option(place: Place) -> None:
    seen = place.look(rules=PublicationRules(None, None, 300, 24))
    assert graded(seen)["tls"] == "bad"
    assert "self-signed" in words(seen, "tls") or "unable to get" in words(seen, "tls")


def test_roots_that_are_not_there_are_a_mistake_of_the_settings(place: Place, tmp_path: Path) -> None:
    with refused("tls_roots_unreadable"):
        place.look(rules=PublicationRules(None, tmp_path / "absent.pem", 300, 24))


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [(404, {}, "404"), (301, {"Location": "https://elsewhere.example\t.test/"}, "no redirect"), (503, {}, "503")],
)
def test_status_other_than_200_is_bad(place: Place, status: int, headers: dict[str, str], said: str) -> None:
    place.answer(status=status, headers=headers)
    seen = place.look()
    assert (graded(seen)["status"], graded(seen)["fetch"]) == ("bad", "bad")
    assert said in words(seen, "status")
    assert not graded(seen).keys() & {"octets", "type", "path"}


@pytest.mark.parametrize(
    "raw", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc", b"HTTP/1.1 2\r\n\r\n"]
)
def test_what_is_no_http_is_bad(place: Place, raw: bytes) -> None:
    place.answer(raw=raw)
    seen = place.look()
    assert (graded(seen)["status"], graded(seen)["fetch"]) == ("bad", "bad")


@pytest.mark.parametrize("text", ["application/x-pem-file", "text/plain", ""])
def test_other_media_types_are_a_warning(place: Place, text: str) -> None:
    place.answer(headers={"Content-Type": text})
    finding = place.finding("type")
    assert (finding.grade, (text or "none") in finding.words) == ("warning", True)


def test_media_type_may_have_parameters_and_capitals(place: Place) -> None:
    place.answer(headers={"Content-Type": "Application/PEM-certificate-chain; charset=us-ascii"})
    assert place.finding("type").grade == "good"


@pytest.mark.parametrize(("text", "grade"), [("max-age=60", "good"), ("no-store, max-age=3600", "warning"), ("", "warning")])
def test_cache_control_says_how_long(place: Place, text: str, grade: str) -> None:
    place.answer(headers={"Cache-Control": text})
    assert place.finding("cache").grade == grade


def test_compressed_chain_is_bad(place: Place) -> None:
    place.answer(headers={"Content-Encoding": "gzip"})
    seen = place.look()
    assert graded(seen) == {**RIGHT, "encoding": "bad", "fetch": "bad"}


def test_size_is_looked_at(place: Place) -> None:
    chain = place.provider.chain_pem
    place.answer(body=chain + b"\n" * 20000)
    assert graded(place.look()) == {**RIGHT, "size": "warning", "octets": "warning"}
    place.answer(body=chain + b"\n" * 70000)
    assert graded(place.look()) == {**RIGHT, "size": "bad", "octets": "warning", "fetch": "bad"}


def test_body_without_end_is_bad_and_ends(place: Place) -> None:
    place.answer(body=b"", endless="body")
    seen = place.look()
    assert (graded(seen)["size"], graded(seen)["fetch"]) == ("bad", "bad")


def test_slow_answer_is_a_warning(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publication, "_SLOW", 0.1)
    place.answer(delay=0.15)
    assert place.finding("time").grade == "warning"


def test_other_octets_of_the_same_certificates_are_a_warning(place: Place) -> None:
    place.answer(body=place.provider.chain_pem.replace(b"\n", b"\r\n"))
    finding = place.finding("octets")
    assert finding.grade == "warning"
    assert "same certificates" in finding.words


def test_other_issuers_are_a_warning(place: Place) -> None:
    assert place.finding("octets", expected_chain=place.provider.pem).grade == "warning"


def test_another_certificate_is_bad(place: Place) -> None:
    place.answer(body=place.hierarchy.service_provider().chain_pem)
    finding = place.finding("octets")
    assert finding.grade == "bad"
    assert "another certificate" in finding.words


def test_without_a_local_chain_any_good_one_will_do(place: Place) -> None:
    assert graded(place.look(expected_chain=None)) == {name: grade for name, grade in RIGHT.items() if name != "octets"}


@pytest.mark.parametrize("body", [b"", b"<html>", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_bad(place: Place, body: bytes) -> None:
    place.answer(body=body)
    seen = place.look()
    assert {graded(seen)[check] for check in ("chain", "path", "octets")} == {"bad"}
    assert "credential_malformed" in words(seen, "path")


def test_chain_that_begins_with_the_ca_is_bad(place: Place) -> None:
    place.answer(body=place.hierarchy.intermediate.pem + place.provider.pem)
    assert graded(place.look()) == {**RIGHT, "octets": "warning", "chain": "bad"}


def test_chain_with_the_root_or_out_of_order_is_a_warning(place: Place) -> None:
    root = place.hierarchy.root.pem
    for body in (place.provider.chain_pem + root, place.provider.pem + root + place.hierarchy.intermediate.pem):
        place.answer(body=body)
        assert graded(place.look()) == {**RIGHT, "octets": "warning", "chain": "warning"}


def test_der_is_a_warning(place: Place) -> None:
    alone = place.hierarchy.service_provider(issuer=place.hierarchy.root)
    place.answer(body=alone.certificate.public_bytes(Encoding.DER))
    assert graded(place.look(expected_chain=alone.pem)) == {**RIGHT, "octets": "warning", "chain": "warning"}


def test_missing_intermediate_is_bad(place: Place) -> None:
    place.answer(body=place.provider.pem)
    seen = place.look(expected_chain=place.provider.pem)
    assert graded(seen)["path"] == "bad"
    assert "credential_untrusted" in words(seen, "path")
    assert "profile" not in graded(seen)


def test_certificate_of_tomorrow_is_a_warning_and_one_of_yesterday_bad(place: Place) -> None:
    for begins, ends, grade in ((1, 2, "warning"), (-2, -1, "bad")):
        day = ServiceProvider(not_before=place.now + begins * 86400, not_after=place.now + ends * 86400)
        issued = place.hierarchy.service_provider(day)
        place.answer(body=issued.chain_pem)
        assert graded(place.look(expected_chain=issued.chain_pem))["path"] == grade


def test_revoked_certificate_is_bad(place: Place) -> None:
    roots = TrustAnchors([place.hierarchy.policy_root.certificate])
    octets = place.hierarchy.crl([place.provider.certificate])
    revocations = read_crl(octets, roots, place.now, signers=[place.hierarchy.policy_signer.certificate])
    seen = place.look(revocations=revocations)
    assert graded(seen)["path"] == "bad"
    assert "credential_revoked" in words(seen, "path")


def test_without_anchors_nothing_is_validated_and_that_is_said(place: Place) -> None:
    seen = place.look(anchors=TrustAnchors([]))
    assert graded(seen)["path"] == "warning"
    assert seen.ok
    assert "ca_file" in words(seen, "path")


def test_what_breaks_the_profile_is_a_warning(place: Place) -> None:
    odd = place.hierarchy.service_provider(ServiceProvider(common_name="Lab 1234"))
    place.answer(body=odd.chain_pem)
    finding = place.finding("profile", expected_chain=odd.chain_pem)
    assert finding.grade == "warning"
    assert "common name" in finding.words


def test_what_others_wrote_is_shown_in_one_line(place: Place) -> None:
    place.answer(status=302, headers={"Location": "https://x.example/\x1b[2J\xff"})
    assert all(finding.words.isascii() and finding.words.isprintable() for finding in place.look().findings)


@given(
    body=st.binary(max_size=400) | st.tuples(st.integers(0, 1900), st.binary(max_size=9)),
    fields=st.dictionaries(st.sampled_from(["Cache-Control", "Content-Type", "Expires", "Age", "Date"]), st.text(max_size=60)),
)
def test_whatever_comes_back_every_check_has_something_to_say(
    module_place: Place, body: bytes | tuple[int, bytes], fields: dict[str, str]
) -> None:
    chain = module_place.provider.chain_pem
    octets = body if isinstance(body, bytes) else chain[: body[0]] + body[1] + chain[body[0] + len(body[1]) :]
    rules, anchors = PublicationRules(None, None, 300, 24), TrustAnchors([module_place.hierarchy.root.certificate])
    view = publication._View("https://cr.example.test/x.pem", chain, rules, anchors, module_place.now, STRANGER)
    view.answer = publication._Answer(200, CIMultiDictProxy(CIMultiDict(fields)), octets)
    said = {check: judge(view) for check, _clause, judge in publication._CHECKS}
    assert all(said[check] for check in ("type", "cache", "size", "octets", "chain", "path"))
    if octets == chain:
        assert said["octets"] == ("good", "those of the local chain")
