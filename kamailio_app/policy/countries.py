"""What differs by country: how numbers are dialled, what a service provider code looks like, what is done in an outage.

Data, each with its source. Trust anchors are files of the settings: those of one country are not another's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kamailio_app.tn import NumberPlan


@dataclass(frozen=True, slots=True)
class Country:
    """`spc` and `bypass_token` are patterns. Where there is no `bypass_header`, calls that cannot be signed have no token."""

    name: str
    plan: NumberPlan
    spc: str
    administrator: str
    bypass_header: str = ""
    bypass_token: str = ""
    sources: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)

    def is_spc(self, text: str) -> bool:
        return re.fullmatch(self.spc, text, re.ASCII) is not None

    def is_bypass_token(self, text: str) -> bool:
        return bool(self.bypass_token) and re.fullmatch(self.bypass_token, text, re.ASCII) is not None


_NANP: Final = NumberPlan("1", "1", "011", 10)
_FOUR: Final = "[0-9A-Z]{4}"

COUNTRIES: Final[Mapping[str, Country]] = {
    country.name: country
    for country in (
        Country(
            "us",
            _NANP,
            _FOUR,
            administrator="iconectiv",
            sources={
                "plan": "North American Numbering Plan (ITU-T E.164 country code 1)",
                "spc": "OCN of NECA; ATIS-1000080: 0-9 and A-Z; all certificates seen but one have four",
                "administrator": "FCC, STI-GA",
            },
        ),
        Country(
            "ca",
            _NANP,
            _FOUR,
            administrator="CST-GA's",
            sources={
                "plan": "North American Numbering Plan (ITU-T E.164 country code 1)",
                "spc": "OCN of NECA, as in the US",
                "administrator": "CRTC 2019-403: an STI-PA, trust list and CRL of its own",
            },
        ),
        Country(
            "fr",
            NumberPlan("33", "0", "00", 9),
            "[0-9A-Z]{6}",
            administrator="APNF",
            bypass_header="Identity-Bypass",
            bypass_token="[0-9A-Z]{6}-[0-9A-Z-]{1,16}",
            sources={
                "plan": "French numbering plan (ITU-T E.164 country code 33)",
                "spc": "APNF man-openapi 1.8.0: ^[0-9A-Z]{6}$",
                "administrator": "law 2020-901: APNF is STI-PA, STI-CA and STI-CR",
                "bypass_header": "APNF man-openapi 1.8.0, BypassTokenId; P-Identity-Bypass in older implementations",
                "bypass_token": "APNF man-openapi 1.8.0, BypassTokenId: SPC, hyphen, 1 to 16 of A-Z, 0-9 and hyphen",
            },
        ),
    )
}
