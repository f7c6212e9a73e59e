"""Private keys in files: made once, for their owner alone, and named by fingerprints."""

from __future__ import annotations

import errno
import os
import stat
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from josepy.jwk import JWKEC

from kamailio_app.errors import StirError
from kamailio_app.lifecycle.files import write_new
from kamailio_app.lifecycle.keys import fingerprint, new_key, read_key, write_key
from kamailio_app.runtime.keystore import private_key

from ..builders import refused

KEY = new_key()


def pem(key: object) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined,no-any-return]


def file(place: Path, octets: bytes, mode: int = 0o600) -> Path:
    path = place / "a.key"
    path.touch(mode=0o600)
    path.write_bytes(octets)
    path.chmod(mode)
    return path


def test_key_is_on_p256_and_another_each_time() -> None:
    assert isinstance(new_key().curve, ec.SECP256R1)
    assert new_key().private_numbers() != new_key().private_numbers()


# --- Writing ------------------------------------------------------------------------------------------------------


def test_key_is_pkcs8_and_comes_back(tmp_path: Path) -> None:
    write_key(tmp_path / "a.key", KEY)
    assert (tmp_path / "a.key").read_bytes() == pem(KEY)
    assert read_key(tmp_path / "a.key").private_numbers() == KEY.private_numbers()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_nobody_else_may_read_it_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    former = os.umask(mask)
    try:
        write_key(tmp_path / "a.key", KEY)
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600


def test_nobody_else_could_ever_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = os.open

    def open_(path: Path, flags: int, mode: int = 0o777) -> int:
        opened.append((flags & os.O_EXCL, mode))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", open_)
    write_key(tmp_path / "a.key", KEY)
    assert opened[0] == (os.O_EXCL, 0o600)


def test_key_with_a_passphrase_is_read_with_it_alone(tmp_path: Path) -> None:
    write_key(tmp_path / "a.key", KEY, b"correct horse")
    assert b"ENCRYPTED PRIVATE KEY" in (tmp_path / "a.key").read_bytes()
    assert read_key(tmp_path / "a.key", b"correct horse").private_numbers() == KEY.private_numbers()
    with refused("key_malformed"):
        read_key(tmp_path / "a.key")
    with refused("key_malformed"):
        read_key(tmp_path / "a.key", b"wrong horse")


def test_key_is_not_written_over(tmp_path: Path) -> None:
    write_key(tmp_path / "a.key", KEY)
    with refused("key_exists"):
        write_key(tmp_path / "a.key", new_key())
    assert (tmp_path / "a.key").read_bytes() == pem(KEY)


def test_neither_is_what_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "a.key").symlink_to(tmp_path / "elsewhere")
    with refused("key_exists"):
        write_key(tmp_path / "a.key", KEY)
    assert not (tmp_path / "elsewhere").exists()


def test_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with refused("file_unwritable"):
        write_key(tmp_path / "nowhere" / "a.key", KEY)


def test_disk_that_is_full_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with refused("file_unwritable"):
        write_key(tmp_path / "a.key", KEY)
    assert list(tmp_path.iterdir()) == []


def test_name_shows_a_whole_key_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Power that fails before the disk has it leaves no key of that name, which a later run would take for one."""
    synchronized: list[tuple[bool, bool]] = []

    def watched(descriptor: int) -> None:
        directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synchronized.append((directory, (tmp_path / "a.key").exists()))

    monkeypatch.setattr(os, "fsync", watched)
    write_key(tmp_path / "a.key", KEY)
    assert synchronized == [(False, False), (True, True)]
    assert [path.name for path in tmp_path.iterdir()] == ["a.key"]


def test_other_files_are_written_once_too(tmp_path: Path) -> None:
    write_new(tmp_path / "a.csr", b"one")
    with refused("file_exists"):
        write_new(tmp_path / "a.csr", b"two")
    assert (tmp_path / "a.csr").read_bytes() == b"one"


# --- Reading ------------------------------------------------------------------------------------------------------


def test_group_may_read_it(tmp_path: Path) -> None:
    assert read_key(file(tmp_path, pem(KEY), 0o640)).private_numbers() == KEY.private_numbers()


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o620, 0o601, 0o666])
def test_others_may_not(tmp_path: Path, mode: int) -> None:
    with refused("key_permissions"):
        read_key(file(tmp_path, pem(KEY), mode))


def test_sec1_key_is_read(tmp_path: Path) -> None:
    octets = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert read_key(file(tmp_path, octets)).private_numbers() == KEY.private_numbers()


def test_passphrase_for_a_key_that_has_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(StirError, match=r"^key_malformed: a\.key is not encrypted$"):
        read_key(file(tmp_path, pem(KEY)), b"x")


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
)
def test_other_keys_are_of_no_use(tmp_path: Path, key: object) -> None:
    with refused("key_curve_unsupported"):
        read_key(file(tmp_path, pem(key)))


def test_file_that_is_not_there_or_no_file_is_said(tmp_path: Path) -> None:
    with refused("key_unreadable"):
        read_key(tmp_path / "nowhere.key")
    with refused("key_unreadable"):
        read_key(tmp_path)


@given(st.binary(max_size=300) | st.binary(max_size=30).map(lambda octets: pem(KEY)[:90] + octets + pem(KEY)[90:]))
def test_any_octets_are_a_key_or_one_of_ours(octets: bytes) -> None:
    try:
        key = private_key("a.key", octets)
    except StirError as error:
        assert error.token in {"key_malformed", "key_curve_unsupported"}  # noqa: PT017
        assert not any(line in str(error) for line in pem(KEY).decode().splitlines()[1:-1])  # noqa: PT017
    else:
        assert isinstance(key, ec.EllipticCurvePrivateKey)


# --- Fingerprints -------------------------------------------------------------------------------------------------


def rfc7517_key() -> ec.EllipticCurvePublicKey:
    """The first key of RFC 7517 appendix A.1."""
    coordinates = ("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM")
    x, y = (int.from_bytes(urlsafe_b64decode(f"{each}=")) for each in coordinates)
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def test_jwk_is_the_thumbprint_of_rfc_7638() -> None:
    # RFC 7638 has none for this key; josepy is what the ACME client signs with
    for key in (rfc7517_key(), KEY.public_key()):
        assert fingerprint(key, "jwk") == f"SHA256 {JWKEC(key=key).thumbprint().hex(':').upper()}"


def test_coordinates_have_32_octets_even_if_they_begin_with_zero() -> None:
    small = next(key for key in map(ec.derive_private_key, range(1, 9000), [ec.SECP256R1()] * 9000) if _begins_with_zero(key))
    assert fingerprint(small.public_key(), "jwk") == f"SHA256 {JWKEC(key=small.public_key()).thumbprint().hex(':').upper()}"


def _begins_with_zero(key: ec.EllipticCurvePrivateKey) -> bool:
    numbers = key.public_key().public_numbers()
    return min(numbers.x, numbers.y) < 1 << 248


def test_spki_is_the_digest_of_the_der() -> None:
    # openssl pkey -pubin -outform DER | sha256sum
    assert fingerprint(rfc7517_key(), "spki") == (
        "SHA256 51:B9:44:CD:FA:54:4D:4C:32:73:AA:6B:F3:50:62:5A:7D:D5:3B:BB:6A:71:72:32:74:F5:38:B1:9A:20:77:60"
    )


def test_fingerprint_is_as_rfc_9448_5_4_writes_it() -> None:
    name, octets = fingerprint(KEY.public_key(), "jwk").split(" ")
    assert (name, len(octets.split(":")), octets) == ("SHA256", 32, octets.upper())


@pytest.mark.parametrize(
    ("octets", "token", "advice"),
    [
        (b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n", "key_malformed", "That is a certificate"),
        (b"nothing", "key_malformed", "`shakenctl key new FILE`"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "key_curve_unsupported", "`shakenctl key new FILE`"),
        (pem(KEY).replace(b"PRIVATE", b"ENCRYPTED PRIVATE"), "key_malformed", "--passphrase-file"),
    ],
)
def test_next_step_is_about_the_file_that_was_named(tmp_path: Path, octets: bytes, token: str, advice: str) -> None:
    path = file(tmp_path, octets)
    if b"PRIVATE" not in octets:
        path.chmod(0o644)  # no secret is in it
    with pytest.raises(StirError) as caught:
        read_key(path)
    assert (caught.value.token, advice in caught.value.advice) == (token, True)
