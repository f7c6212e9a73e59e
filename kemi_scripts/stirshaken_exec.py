"""Sign and verify from native routing scripts: python_exec("stir_sign"), python_exec("stir_verify").

A stub on purpose. Kamailio re-imports this file at app_python.reload, and a file that fails to import takes Kamailio
down; so it holds nothing that can fail. Everything is in kamailio_app.adapters.kamailio.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
if _HERE not in sys.path:
    sys.path.insert(0, _HERE)

import stirshaken_paths  # noqa: E402 - finds the package and its virtualenv


def mod_init():
    """Kamailio calls this once before it forks. An exception here stops the start."""
    return stirshaken_paths.handler()
