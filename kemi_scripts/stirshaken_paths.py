"""Where kamailio_app and its packages are: beside this directory, in .venv or in $STIRSHAKEN_VENV.

The virtualenv goes in front of the system's packages: Debian's cryptography is older than what we need.
"""

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def extend():
    """Put the virtualenv's packages and the project in front of everything but the script's directory."""
    venv = os.environ.get("STIRSHAKEN_VENV", os.path.join(_ROOT, ".venv"))
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for path in (_ROOT, os.path.join(venv, "lib", version, "site-packages")):
        if path in sys.path:
            sys.path.remove(path)
        sys.path.insert(1, path)


def handler():
    """The handler object of kamailio_app. Says what is missing if it cannot be imported; an error stops the start."""
    extend()
    try:
        from kamailio_app.adapters.kamailio import handler as make
    except ImportError as error:
        import KSR

        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        KSR.err(f"stirshaken: not started: {error.name} is missing for Python {version}; run: make -C {_ROOT} install\n")
        raise
    return make()
