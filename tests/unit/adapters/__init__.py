"""The adapters. `KSR` exists inside Kamailio only; each test puts a fake into the place of this one."""

import sys
from types import ModuleType

sys.modules.setdefault("KSR", ModuleType("KSR"))
