"""The keys that sign: which pairs are loaded, which are refused, and that no key is ever shown."""

from __future__ import annotations

import os
import stat
import traceback
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.errors import FAILURES, KeyPairRefused, StirError
from kamailio_app.lab.pki import Issued, ServiceProvider, expired
from kamailio_app.runtime.choice import Choices
from kamailio_app.runtime.keystore import load_signers, make_signer, read_pair
from kamailio_app.sti_as import Signer

from ..builders import DAY, NOW, authority, hierarchy, issue, pem, provider, refused

URL = "https://cr.example.test/{name}.pem"
NAME = "sp1234"


def drop(
    directory: Path, issued: Issued | None = None, name: str = NAME, *, key: bytes | None = None, mode: int = 0o600
) -> Path:
    """Put a pair into the directory; `key` replaces the key file's octets."""
    issued = issued or provider()
    issued.write(directory, name)
    if key is not None:
        (directory / f"{name}.key").write_bytes(key)
    (directory / f"{name}.key").chmod(mode)
    return directory


def load(directory: Path, now: float = NOW) -> Signer:
    return make_signer(NAME, read_pair(directory, NAME), URL, now)


# --- Accepted ---------------------------------------------------------------------------------------------------


def test_pair_becomes_a_signer(tmp_path: Path) -> None:
    loaded = load(drop(tmp_path))
    certificate = provider().certificate
    assert (loaded.name, loaded.x5u, loaded.spcs) == (NAME, "https://cr.example.test/sp1234.pem", ("1234",))
    assert (loaded.not_before, loaded.not_after) == (NOW - 3600, NOW + 30 * DAY)
    assert loaded.fingerprint == certificate.fingerprint(SHA256()).hex()
    assert loaded.key.public_key() == certificate.public_key()
    assert loaded.authority == TNAuthList(spcs=("1234",))


def test_signer_knows_the_numbers_that_its_certificate_speaks_for(tmp_path: Path) -> None:
    numbers = TNAuthList(ranges=(TelephoneNumberRange("12155550100", 100),), numbers=("12155550999",))
    loaded = load(drop(tmp_path, hierarchy().service_provider(ServiceProvider(tnauthlist=numbers))))
    assert (loaded.spcs, loaded.authority) == ((), numbers)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_pkcs_8_and_sec_1_are_accepted(tmp_path: Path, form: PrivateFormat) -> None:
    octets = provider().key.private_bytes(Encoding.PEM, form, NoEncryption())
    assert load(drop(tmp_path, key=octets)).spcs == ("1234",)


def test_ec_parameters_before_a_sec_1_key_do_not_matter(tmp_path: Path) -> None:
    # As `openssl ecparam -genkey` writes it
    octets = provider().key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    assert load(drop(tmp_path, key=parameters + octets)).spcs == ("1234",)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o440])
def test_owner_and_group_may_read(tmp_path: Path, mode: int) -> None:
    assert load(drop(tmp_path, mode=mode))


def test_chain_in_any_order_is_accepted(tmp_path: Path) -> None:
    drop(tmp_path)
    (tmp_path / f"{NAME}.pem").write_bytes(pem(hierarchy().intermediate.certificate, provider().certificate))
    assert load(tmp_path).spcs == ("1234",)


# --- Refused ----------------------------------------------------------------------------------------------------


def test_key_without_certificate_is_incomplete(tmp_path: Path) -> None:
    (drop(tmp_path) / f"{NAME}.pem").unlink()
    with refused("pair_incomplete"):
        load(tmp_path)


def test_certificate_without_key_is_incomplete(tmp_path: Path) -> None:
    (drop(tmp_path) / f"{NAME}.key").unlink()
    with refused("pair_incomplete"):
        load(tmp_path)


@pytest.mark.parametrize("suffix", ["key", "pem"])
def test_file_that_cannot_be_read(tmp_path: Path, suffix: str) -> None:
    file = drop(tmp_path) / f"{NAME}.{suffix}"
    file.unlink()
    file.mkdir()
    with refused("pair_unreadable"):
        load(tmp_path)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o601, 0o660, 0o620, 0o610, 0o777])
def test_key_that_others_may_read_or_change(tmp_path: Path, mode: int) -> None:
    with refused("key_permissions"):
        load(drop(tmp_path, mode=mode))


PKCS_8 = provider().key_pem


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"garbage",
        PKCS_8[: len(PKCS_8) // 2],
        PKCS_8.replace(b"A", b"B"),
        provider().pem,
        provider().key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        provider().key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        provider().key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
        provider().key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret")),
    ],
    ids=["empty", "garbage", "cut off", "damaged", "certificate", "public key", "DER", "encrypted PKCS#8", "encrypted SEC1"],
)
def test_file_that_holds_no_usable_key(tmp_path: Path, octets: bytes) -> None:
    with refused("key_malformed"):
        load(drop(tmp_path, key=octets))


def test_encrypted_key_is_called_so(tmp_path: Path) -> None:
    octets = provider().key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    with pytest.raises(KeyPairRefused, match="is encrypted"):
        load(drop(tmp_path, key=octets))


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["P-384", "secp256k1", "RSA", "Ed25519"],
)
def test_key_that_is_not_on_p_256(tmp_path: Path, key: Any) -> None:
    with refused("key_curve_unsupported"):
        load(drop(tmp_path, key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())))


def test_key_of_another_certificate(tmp_path: Path) -> None:
    with refused("key_mismatch"):
        load(drop(tmp_path, key=hierarchy().service_provider().key_pem))


@pytest.mark.parametrize("octets", [b"", b"garbage", PKCS_8, provider().pem[:100]])
def test_file_that_holds_no_certificate(tmp_path: Path, octets: bytes) -> None:
    (drop(tmp_path) / f"{NAME}.pem").write_bytes(octets)
    with refused("certificate_malformed"):
        load(tmp_path)


def test_expired_certificate(tmp_path: Path) -> None:
    with refused("certificate_expired"):
        load(drop(tmp_path, hierarchy().service_provider(expired(ServiceProvider(), NOW))))


def test_pair_that_was_accepted_before_is_not_asked_for_its_validity_again(tmp_path: Path) -> None:
    drop(tmp_path, hierarchy().service_provider(expired(ServiceProvider(), NOW)))
    assert make_signer(NAME, read_pair(tmp_path, NAME), URL, None).not_after == NOW - DAY


def test_certificate_of_tomorrow(tmp_path: Path) -> None:
    with refused("certificate_not_yet_valid"):
        load(drop(tmp_path, hierarchy().service_provider(ServiceProvider(not_before=NOW + DAY))))


@pytest.mark.parametrize(
    "issued",
    [
        hierarchy().service_provider(ServiceProvider(ca=True)),
        hierarchy().service_provider(ServiceProvider(digital_signature=False)),
        hierarchy().service_provider(ServiceProvider(with_tnauthlist=False)),
        hierarchy().service_provider(ServiceProvider(tnauthlist=b"\x30\x00")),
        issue(hierarchy().intermediate, x509.BasicConstraints(ca=False, path_length=None)),
    ],
    ids=["CA", "usage", "no TNAuthList", "malformed TNAuthList", "nothing"],
)
def test_certificate_that_no_verifier_would_accept(tmp_path: Path, issued: Issued) -> None:
    with refused("certificate_unfit"):
        load(drop(tmp_path, issued))


def test_certificate_on_p_384_is_unfit_whatever_the_key(tmp_path: Path) -> None:
    issued = hierarchy().service_provider(ServiceProvider(curve=ec.SECP384R1()))
    with refused("certificate_unfit"):
        load(drop(tmp_path, issued, key=PKCS_8))


def test_pair_without_a_url_to_publish_it_under_is_refused(tmp_path: Path) -> None:
    drop(tmp_path)
    with refused("public_cert_url_missing"):
        make_signer(NAME, read_pair(tmp_path, NAME), "", NOW)
    loaded = load_signers(tmp_path, "", NOW)
    assert (dict(loaded.signers), dict(loaded.pairs)) == ({}, {})
    ((name, error),) = loaded.refused
    assert (name, error.token) == (NAME, "public_cert_url_missing")


def test_permissions_are_those_of_the_file_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever may write to the directory could change the file between a look and the reading
    drop(tmp_path, mode=0o644)

    def harmless(*_arguments: Any, **_options: Any) -> os.stat_result:
        return os.stat_result((stat.S_IFREG | 0o600, *[0] * 9))

    monkeypatch.setattr(Path, "stat", harmless)
    monkeypatch.setattr(os, "stat", harmless)
    with refused("key_permissions"):
        read_pair(tmp_path, NAME)


def test_every_refusal_of_the_table_is_tested_here() -> None:
    text = Path(__file__).read_text("utf-8")
    for token, row in FAILURES.items():
        if row.error is KeyPairRefused:
            assert f'refused("{token}")' in text, token


# --- The directory ----------------------------------------------------------------------------------------------


def test_directory_that_is_not_there_holds_no_pairs(tmp_path: Path) -> None:
    loaded = load_signers(tmp_path / "none", URL, NOW)
    assert (dict(loaded.signers), loaded.refused) == ({}, ())


def test_all_pairs_are_loaded_and_other_files_left_alone(tmp_path: Path) -> None:
    drop(tmp_path, name="a")
    drop(tmp_path, hierarchy().service_provider(ServiceProvider("5678")), name="b")
    (tmp_path / "anchors.pem").write_bytes(b"whatever")
    (tmp_path / "README").write_text("text")
    loaded = load_signers(tmp_path, URL, NOW)
    assert {name: pair.spcs for name, pair in loaded.signers.items()} == {"a": ("1234",), "b": ("5678",)}
    assert loaded.refused == ()


def test_one_refused_pair_does_not_touch_the_others(tmp_path: Path) -> None:
    drop(tmp_path, name="good")
    drop(tmp_path, name="bad", mode=0o644)
    loaded = load_signers(tmp_path, URL, NOW)
    assert list(loaded.signers) == ["good"]
    assert [(name, error.token) for name, error in loaded.refused] == [("bad", "key_permissions")]


def test_refused_pair_leaves_the_one_in_use_in_use(tmp_path: Path) -> None:
    drop(tmp_path)
    before = load_signers(tmp_path, URL, NOW)
    (tmp_path / f"{NAME}.key").write_bytes(b"half a key")
    after = load_signers(tmp_path, URL, NOW, before)
    assert after.signers[NAME] is before.signers[NAME]
    assert after.pairs[NAME] is before.pairs[NAME]
    assert [(name, error.token) for name, error in after.refused] == [(NAME, "key_malformed")]


@pytest.mark.parametrize("suffix", ["key", "pem"])
def test_pair_in_use_stays_in_use_while_a_file_of_it_is_missing(tmp_path: Path, suffix: str) -> None:
    drop(tmp_path)
    before = load_signers(tmp_path, URL, NOW)
    (tmp_path / f"{NAME}.{suffix}").unlink()
    after = load_signers(tmp_path, URL, NOW, before)
    assert after.signers[NAME] is before.signers[NAME]
    assert after.pairs[NAME] is before.pairs[NAME]
    assert [(name, error.token) for name, error in after.refused] == [(NAME, "pair_incomplete")]


def test_pair_that_was_removed_whole_is_gone(tmp_path: Path) -> None:
    drop(tmp_path)
    before = load_signers(tmp_path, URL, NOW)
    (tmp_path / f"{NAME}.key").unlink()
    (tmp_path / f"{NAME}.pem").unlink()
    after = load_signers(tmp_path, URL, NOW, before)
    assert (dict(after.signers), dict(after.pairs), after.refused) == ({}, {}, ())


def test_directory_that_cannot_be_read_leaves_all_in_use(tmp_path: Path) -> None:
    before = load_signers(drop(tmp_path), URL, NOW)
    file = tmp_path / "file"
    file.write_text("no directory")
    after = load_signers(file, URL, NOW, before)
    assert (after.signers, after.pairs) == (before.signers, before.pairs)
    assert [error.token for _, error in after.refused] == ["pair_unreadable"]


def test_without_public_url_no_pair_stays_in_use(tmp_path: Path) -> None:
    before = load_signers(drop(tmp_path), URL, NOW)
    after = load_signers(tmp_path, "", NOW, before)
    assert (dict(after.signers), dict(after.pairs)) == ({}, {})
    file = tmp_path / "file"
    file.write_text("no directory")
    after = load_signers(file, "", NOW, before)
    assert (dict(after.signers), [error.token for _, error in after.refused]) == ({}, ["pair_unreadable"])


def test_what_was_kept_is_said(tmp_path: Path) -> None:
    drop(tmp_path, name="a")
    drop(tmp_path, name="b", mode=0o644)
    before = load_signers(tmp_path, URL, NOW)
    assert (before.kept, [name for name, _ in before.refused]) == (frozenset(), ["b"])
    (tmp_path / "a.key").write_bytes(b"half a key")
    assert load_signers(tmp_path, URL, NOW, before).kept == {"a"}
    file = tmp_path / "file"
    file.write_text("no directory")
    assert load_signers(file, URL, NOW, before).kept == {"a"}


def test_new_files_replace_the_pair_in_use(tmp_path: Path) -> None:
    before = load_signers(drop(tmp_path), URL, NOW)
    drop(tmp_path, hierarchy().service_provider(ServiceProvider("5678")))
    after = load_signers(tmp_path, URL, NOW, before)
    assert after.signers[NAME].spcs == ("5678",)


# --- Pairs whose time is over or to come, and shared keys ---------------------------------------------------------


def later(begins: float = NOW + DAY) -> Issued:
    return hierarchy().service_provider(ServiceProvider(not_before=begins))


def test_pair_of_tomorrow_is_loaded_and_waits(tmp_path: Path) -> None:
    loaded = load_signers(drop(tmp_path, later()), URL, NOW)
    assert (list(loaded.signers), list(loaded.pairs), loaded.refused) == ([NAME], [NAME], ())


def test_pair_of_tomorrow_does_not_take_the_place_of_one_that_signs(tmp_path: Path) -> None:
    before = load_signers(drop(tmp_path), URL, NOW)
    after = load_signers(drop(tmp_path, later()), URL, NOW, before)
    assert after.signers[NAME] is before.signers[NAME]
    assert [(name, error.token) for name, error in after.refused] == [(NAME, "certificate_not_yet_valid")]
    assert after.kept == {NAME}
    # The day after it does
    assert load_signers(tmp_path, URL, NOW + DAY, after).signers[NAME].not_before == NOW + DAY


@pytest.mark.parametrize("former", [later(NOW + 2 * DAY), hierarchy().service_provider(expired(ServiceProvider(), NOW))])
def test_pair_of_tomorrow_takes_the_place_of_one_that_does_not_sign(tmp_path: Path, former: Issued) -> None:
    before = load_signers(drop(tmp_path, former), URL, NOW)
    after = load_signers(drop(tmp_path, later()), URL, NOW, before)
    assert (after.signers[NAME].not_before, after.refused) == (NOW + DAY, ())


def test_expired_pair_is_refused_and_known_so_that_whoever_names_it_hears_why(tmp_path: Path) -> None:
    loaded = load_signers(drop(tmp_path, hierarchy().service_provider(expired(ServiceProvider(), NOW))), URL, NOW)
    assert [(name, error.token) for name, error in loaded.refused] == [(NAME, "certificate_expired")]
    assert (list(loaded.signers), list(loaded.pairs), loaded.kept) == ([NAME], [NAME], frozenset())


def test_expired_pair_does_not_replace_the_one_in_use(tmp_path: Path) -> None:
    before = load_signers(drop(tmp_path), URL, NOW)
    after = load_signers(drop(tmp_path, hierarchy().service_provider(expired(ServiceProvider(), NOW))), URL, NOW, before)
    assert after.signers[NAME] is before.signers[NAME]
    assert ([error.token for _, error in after.refused], set(after.kept)) == (["certificate_expired"], {NAME})


def in_the_year_0(certificate: x509.Certificate) -> bytes:
    """The certificate in DER, its not_after in a year that Python has not."""
    der = bytearray(certificate.public_bytes(Encoding.DER))
    ends = f"{certificate.not_valid_after_utc:%y%m%d%H%M%SZ}".encode()
    at = der.index(b"\x17\x0d" + ends)
    der[at : at + 15] = b"\x18\x0f00000101000000Z"
    # Two octets more: in the validity, in the certificate, and in what is signed of it
    der[at - 16] += 2
    for length in (2, 6):
        der[length : length + 2] = (int.from_bytes(der[length : length + 2]) + 2).to_bytes(2)
    return bytes(der)


def test_pair_that_was_never_valid_does_not_end_the_loading_of_the_others(tmp_path: Path) -> None:
    drop(tmp_path, name="good")
    (drop(tmp_path, name="never") / "never.pem").write_bytes(in_the_year_0(provider().certificate))
    loaded = load_signers(tmp_path, URL, NOW)
    assert list(loaded.signers) == ["good"]
    assert [(name, str(error)) for name, error in loaded.refused] == [
        ("never", "certificate_malformed: year 0 is out of range")
    ]


def certified_again(issued: Issued, spc: str) -> Issued:
    """The same key in another certificate."""
    return issue(hierarchy().intermediate, x509.BasicConstraints(ca=False, path_length=None), authority(spc), key=issued.key)


def test_key_of_two_providers_is_refused_in_both_pairs(tmp_path: Path) -> None:
    drop(tmp_path, name="a")
    drop(tmp_path, certified_again(provider(), "5678"), name="b")
    drop(tmp_path, hierarchy().service_provider(ServiceProvider("9999")), name="c")
    loaded = load_signers(tmp_path, URL, NOW)
    assert [(name, error.token) for name, error in loaded.refused] == [("a", "key_shared"), ("b", "key_shared")]
    assert [error.detail for _, error in loaded.refused] == ["a of 1234 and b of 5678", "b of 5678 and a of 1234"]
    choices = Choices(loaded.signers)
    for name in "ab":
        with refused("key_shared"):
            choices.choose(NOW, name)
    assert choices.choose(NOW, "c") is loaded.signers["c"]


def test_one_providers_next_certificate_may_have_the_same_key(tmp_path: Path) -> None:
    drop(tmp_path, name="a")
    drop(tmp_path, certified_again(provider(), "1234"), name="b")
    assert load_signers(tmp_path, URL, NOW).refused == ()


# --- No key is ever shown ---------------------------------------------------------------------------------------


def shown(thing: object) -> str:
    text = f"{thing!r} {thing} {thing!s}"
    if isinstance(thing, BaseException):
        text += "".join(traceback.format_exception(thing))
    return text


def secrets(octets: bytes) -> list[str]:
    return [line for line in octets.decode().splitlines() if not line.startswith("-")]


def test_signer_and_directory_show_no_key(tmp_path: Path) -> None:
    loaded = load_signers(drop(tmp_path), URL, NOW)
    private = provider().key.private_numbers().private_value
    for text in (shown(loaded), shown(loaded.signers[NAME]), shown(loaded.pairs[NAME])):
        assert not any(secret in text for secret in [*secrets(PKCS_8), str(private), f"{private:x}"])
        assert "PrivateKey" not in text


@pytest.mark.parametrize(
    ("octets", "mode"),
    [
        (PKCS_8.replace(b"\nM", b"\nX", 1), 0o600),
        (PKCS_8[: len(PKCS_8) - 40], 0o600),
        (PKCS_8.replace(b"PRIVATE KEY", b"SECRET KEY"), 0o600),
        (PKCS_8.replace(b"-----BEGIN PRIVATE KEY-----\n", b""), 0o600),
        (PKCS_8, 0o644),
        (hierarchy().service_provider().key_pem, 0o600),
    ],
    ids=["damaged", "cut off", "other name", "no beginning", "permissions", "mismatch"],
)
def test_refusal_shows_no_key_not_even_in_its_traceback(tmp_path: Path, octets: bytes, mode: int) -> None:
    with pytest.raises(StirError) as caught:
        load(drop(tmp_path, key=octets, mode=mode))
    text = shown(caught.value)
    assert not any(secret[:20] in text for secret in secrets(octets))
