"""`python -m kamailio_app.lab.authority`: the certificates of a small telephone network, into directories for containers.

    certificates/  the provider's private key and chain, where its edge signs with them
    published/     the chain, where the repository serves it
    trust/         the root of the STI-CA, for those who verify; it also certifies the repository's web server
    web/           the repository's TLS key and certificate

What is there and good for another day stays. The authority's own keys are never written.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Final

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.lab.pki import Hierarchy

ANCHORS: Final = "trusted-sti-ca.pem"
_DAY: Final = 86400
_PARTS: Final = ("certificates", "published", "trust", "web")


def issue(directory: Path, web_name: str, now: float) -> str:
    """Make all of it: the name of the provider's pair. A new pair has a new name and so a new x5u URL (RFC 8224 7.3)."""
    for part in _PARTS:
        (directory / part).mkdir(parents=True, exist_ok=True)
    certificates, published, trust, web = (directory / part for part in _PARTS)
    for old in (*certificates.glob("sp1234-*"), *published.glob("sp1234-*"), *web.glob("web.*")):
        old.unlink()
    hierarchy = Hierarchy(now)
    provider = hierarchy.service_provider()
    name = f"sp1234-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}"
    (trust / ANCHORS).write_bytes(hierarchy.root.pem)
    (published / f"{name}.pem").write_bytes(provider.chain_pem)
    hierarchy.web_server([web_name]).write(web, "web")
    provider.write(certificates, name)
    return name


def in_use(directory: Path, now: float) -> str:
    """The name of a pair that is there and good for another day, or nothing."""
    for chain in sorted((directory / "certificates").glob("sp1234-*.pem"), reverse=True):
        ends = parse_chain(chain.read_bytes())[0].not_valid_after_utc.timestamp()
        if ends > now + _DAY and chain.with_suffix(".key").exists() and (directory / "trust" / ANCHORS).exists():
            return chain.stem
    return ""


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m kamailio_app.lab.authority", description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--web-name", default="localhost", help="host name of the repository (default: %(default)s)")
    arguments = parser.parse_args()
    os.umask(0o022)
    now = time.time()
    if name := in_use(arguments.directory, now):
        print(f"{name}: there already")
        return 0
    print(f"{issue(arguments.directory, arguments.web_name, now)}: issued")
    return 0


if __name__ == "__main__":
    sys.exit(main())
