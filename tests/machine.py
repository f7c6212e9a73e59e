"""What figures depend on: the machine and the versions of all that takes part."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

import psutil

from kamailio_app import __version__


def machine() -> dict[str, str]:
    """The hardware and its kernel."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "CPU": cpu[1] if cpu else platform.machine(),
        "Cores": str(os.cpu_count()),
        "Memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "Kernel": f"{platform.system()} {platform.release()}",
    }


def in_short() -> str:
    """The hardware, in one line."""
    known = machine()
    return f"{known['CPU']}, {known['Cores']} cores, {known['Memory']}, {known['Kernel']}"


def versions() -> dict[str, str]:
    """Of the programs; "?" for what is not there or does not say."""
    return {
        "kamailio-stirshaken": __version__,
        "Kamailio": _found(r"version: kamailio (\S+)", "kamailio", "-v"),
        "Python in Kamailio": _found(r"Python (\S+)", "/usr/bin/python3", "--version"),
        "secsipid package": _found(r"(\S+)", "dpkg-query", "-W", "-f", "${Version}", "kamailio-secsipid-modules"),
        "SIPp": _found(r"SIPp v(\d\S*?)\.?\s", "sipp", "-v"),
        "Python of the lab": platform.python_version(),
    }


def _found(pattern: str, *command: str) -> str:
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except OSError:
        return "?"
    match = re.search(pattern, run.stdout + run.stderr)
    return match[1] if match else "?"
