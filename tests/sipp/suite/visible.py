"""Text from the wire, made fit to be shown: it may hold anything that an attacker writes into a header."""

from __future__ import annotations

from typing import Final

_PICTURES: Final = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: "\u2421",
    # What XML cannot hold (surrogates, non-characters), what a terminal obeys (C1), what turns the reading direction
    **{code: f"\\u{code:04x}" for code in (*range(0x80, 0xA0), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF)},
    **{code: f"\\u{code:04x}" for code in (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}


def visible(text: str) -> str:
    """The text with LF for CR LF and every control character as a picture (`␀`, `␍`) or in digits."""
    return text.replace("\r\n", "\n").translate(_PICTURES)
