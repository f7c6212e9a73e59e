"""A straight line through samples by least squares, and what its slope says of a leak. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    NO_LEAK = "no leak"
    LEAK = "leak"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Slope:
    """KiB per hour, and its standard error: neighbouring samples are alike, so fewer count than there are."""

    kib_per_hour: float
    error: float


def slope(seconds: Sequence[float], kib: Sequence[float]) -> Slope:
    """Errors: ValueError for less than three samples or all at one moment."""
    count = len(seconds)
    if count < 3 or count != len(kib):
        raise ValueError(f"{count} times, {len(kib)} samples: a line with an error needs three")
    mean_x, mean_y = sum(seconds) / count, sum(kib) / count
    spread = sum((x - mean_x) ** 2 for x in seconds)
    if not spread:
        raise ValueError("all samples at one moment")
    rise = sum((x - mean_x) * (y - mean_y) for x, y in zip(seconds, kib, strict=True)) / spread
    left = [y - mean_y - rise * (x - mean_x) for x, y in zip(seconds, kib, strict=True)]
    squares = sum(each * each for each in left)
    error = math.sqrt(squares / effective(left) / spread)
    return Slope(rise * 3600, error * 3600)


def effective(left: Sequence[float]) -> float:
    """Degrees of freedom of residuals that depend on their neighbours: as of an autoregressive process of order 1."""
    squares = sum(each * each for each in left)
    if not squares:
        return len(left) - 2
    alike = sum(a * b for a, b in itertools.pairwise(left)) / squares
    alike = min(max(alike, 0.0), 0.99)
    return max(1.0, (len(left) - 2) * (1 - alike) / (1 + alike))


def verdict(found: Slope, limit: float) -> Verdict:
    """With two standard errors to both sides; `limit` in KiB per hour."""
    if found.kib_per_hour - 2 * found.error > limit:
        return Verdict.LEAK
    if found.kib_per_hour + 2 * found.error <= limit:
        return Verdict.NO_LEAK
    return Verdict.UNDECIDED
