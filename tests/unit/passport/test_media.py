"""Media keys: the fingerprints of an SDP, as they are signed."""

from __future__ import annotations

import pytest

from kamailio_app.passport.media import MediaKey, media_keys, media_members

from ..builders import refused

SHA1 = "4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB"


def test_each_fingerprint_is_signed_once_and_sorted() -> None:
    sdp = (
        "v=0\r\n"
        "a=fingerprint:SHA-256 02:1a\r\n"
        "m=audio 54609 UDP/TLS/RTP/SAVP 0\r\n"
        f"a=fingerprint:sha-1 {SHA1.lower()}\r\n"
        "a=fingerprint:sha-256 01:FF  \n"
        "a=fingerprint:sha-256 02:1A\r\n"
    )
    keys = media_keys(sdp)
    assert keys == (MediaKey("sha-1", SHA1.replace(":", "")), MediaKey("sha-256", "01FF"), MediaKey("sha-256", "021A"))
    assert media_members(keys)[1] == {"alg": "sha-256", "dig": "01FF"}


@pytest.mark.parametrize(
    "sdp", ["", "v=0\r\ns=-\r\n", "x a=fingerprint:sha-1 00\r\n", "a=fingerprint:md5 00:11\r\na=fingerprint:MD2 00"]
)
def test_no_fingerprint_no_keys(sdp: str) -> None:
    assert media_keys(sdp) == ()


def test_sdp_is_one_part_of_a_body_among_others() -> None:
    body = "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\na=fingerprint:sha-1 00:11\r\n--b--\r\n"
    assert media_keys(body) == (MediaKey("sha-1", "0011"),)


@pytest.mark.parametrize(
    "sdp",
    [
        "a=fingerprint:",
        "a=fingerprint:sha-256",
        "a=fingerprint:sha-256 ",
        "a=fingerprint:sha-256 0",
        "a=fingerprint:sha-256 00:1",
        "a=fingerprint:sha-256 0011",
        "a=fingerprint:sha-256 00:11:",
        "a=fingerprint:sha-256 00:GG",
        'a=fingerprint:sha"256 00:11',
        "a=fingerprint:sha-256 " + ":".join(["00"] * 65),
        "a=fingerprint:" + "s" * 33 + " 00",
        "a=fingerprint:sha-256 \u0660\u0660",
        "\r\n".join(f"a=fingerprint:sha-256 {number:02X}" for number in range(33)),
        "v=0\r\n" * 20_000,
    ],
)
def test_what_is_no_fingerprint_is_refused(sdp: str) -> None:
    with refused("claim_malformed"):
        media_keys(sdp)
