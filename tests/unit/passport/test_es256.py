"""ES256: r||s of 64 octets, and nothing else."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from kamailio_app.passport import es256
from kamailio_app.passport.encoding import from_base64url

KEY = ec.derive_private_key(0x6B5936E9BC2E535E6FB0991DB1E0B420CD8285288D3D3668CD9C3AA73FD967BD, ec.SECP256R1())
PUBLIC = KEY.public_key()
MESSAGE = b"header.payload"
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

# The worked bytes of a PASSporT with a known key
SIGNED = (
    b"eyJhbGciOiJFUzI1NiIsInBwdCI6InNoYWtlbiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9jci5leGFtcGxlLnRlc3QvMTIzNC9jaGFpbl9s"
    b"ZWFmMTIzNC5wZW0ifQ."
    b"eyJhdHRlc3QiOiJBIiwiZGVzdCI6eyJ0biI6WyIxMjE1NTU1MDEzMSJdfSwiaWF0IjoxNzAwMDAwMDAwLCJvcmlnIjp7InRuIjoiMTIxNTU1NTAxMjEifSwi"
    b"b3JpZ2lkIjoiMTIzZTQ1NjctZTg5Yi0xMmQzLWE0NTYtNDI2NjU1NDQwMDAwIn0"
)
SIGNATURE = "kTUNSPNhJf8IVXKi4FeiDJ5XQNeS3pJVnHoIkt332H0Qk8VmsMh0WET5V-EV_Iv-IzMahU7mNxg3tSLfIHvSag"


def der(signature: bytes) -> bytes:
    return encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))


def test_worked_bytes_verify() -> None:
    assert es256.verify(SIGNED, from_base64url(SIGNATURE), PUBLIC)


def test_every_signature_has_64_octets_and_verifies() -> None:
    for number in range(300):
        signature = es256.sign(b"%d" % number, KEY)
        assert len(signature) == es256.SIGNATURE_OCTETS == 64
        assert es256.verify(b"%d" % number, signature, PUBLIC)


@pytest.mark.parametrize("start", [0, 32], ids=["r", "s"])
def test_short_numbers_are_padded_on_the_left_and_verify(start: int) -> None:
    # One signature in 256 has such an r; 100000 without one do not happen
    for number in range(100_000):
        signature = es256.sign(b"%d" % number, KEY)
        if signature[start] == 0:
            assert len(signature) == 64
            assert es256.verify(b"%d" % number, signature, PUBLIC)
            return
    pytest.fail("no short number")


def test_high_s_verifies() -> None:
    # JWS has no low-s rule: (r, n-s) is as good
    signature = es256.sign(MESSAGE, KEY)
    r, s = signature[:32], int.from_bytes(signature[32:], "big")
    assert es256.verify(MESSAGE, r + (ORDER - s).to_bytes(32, "big"), PUBLIC)


def test_der_signature_does_not_verify() -> None:
    signature = es256.sign(MESSAGE, KEY)
    assert decode_dss_signature(der(signature))
    assert not es256.verify(MESSAGE, der(signature), PUBLIC)


@pytest.mark.parametrize("length", [0, 1, 32, 63, 65, 96, 128])
def test_any_other_length_does_not_verify(length: int) -> None:
    signature = es256.sign(MESSAGE, KEY)
    assert not es256.verify(MESSAGE, (signature * 2)[:length], PUBLIC)


@pytest.mark.parametrize(
    ("r", "s"), [(0, 0), (0, 1), (1, 0), (1, 1), (ORDER, ORDER), (ORDER, 1), (1, ORDER), (2**256 - 1, 2**256 - 1)]
)
def test_r_and_s_out_of_range_do_not_verify(r: int, s: int) -> None:
    assert not es256.verify(MESSAGE, r.to_bytes(32, "big") + s.to_bytes(32, "big"), PUBLIC)


@pytest.mark.parametrize("bit", range(0, 512, 37))
def test_one_flipped_bit_does_not_verify(bit: int) -> None:
    signature = bytearray(es256.sign(MESSAGE, KEY))
    signature[bit // 8] ^= 1 << bit % 8
    assert not es256.verify(MESSAGE, bytes(signature), PUBLIC)


def test_other_message_or_key_does_not_verify() -> None:
    signature = es256.sign(MESSAGE, KEY)
    assert not es256.verify(MESSAGE + b" ", signature, PUBLIC)
    assert not es256.verify(MESSAGE, signature, ec.generate_private_key(ec.SECP256R1()).public_key())
