"""How many questions must the test have, so that a true gain is found often enough?

All conditions of the gate must hold together. With the normal approximation each fails with a probability that falls
with the number of questions; the number is large enough when the sum of these probabilities is at most 1 − power
(Boole), whatever the conditions have to do with one another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

MOST_QUESTIONS = 100_000
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Condition:
    """A bound that must hold: the true difference lies ``slack`` above what its lower bound must be above.

    ``sd`` is that of the difference on one question; ``share`` says on how many of the questions it can be measured.
    """

    name: str
    sd: float
    slack: float
    share: float = 1.0


def needed_items(
    sd_of_differences: float,
    *,
    expected_gain: float,
    min_gain: float,
    alpha: float,
    power: float,
    others: Sequence[Condition] = (),
) -> int | None:
    """Fewest questions with which all conditions hold together with the power; None where no number does.

    The target's: lower bound (one-sided, ``alpha``) above 0 and mean ≥ ``min_gain``, when the true gain is
    ``expected_gain``. Never fewer than in which chance alone makes all signs agree less often than ``alpha``.
    """
    slacks = [expected_gain - min_gain, expected_gain, *(one.slack for one in others)]
    spreads = [sd_of_differences, *(one.sd for one in others)]
    if min(slacks) <= 0 or not all(map(math.isfinite, [*slacks, *spreads])):
        return None

    def enough(n: int) -> bool:
        missed = _target_missed(n, sd_of_differences, expected_gain, min_gain, alpha)
        return missed + sum(_missed(n, one, alpha) for one in others) <= 1 - power

    return _smallest(enough, max(2, math.ceil(math.log2(1 / alpha))))


def upper_sd(sd: float, n: int, *, confidence: float = 0.8) -> float:
    """A standard deviation that the true one exceeds in at most 1 − confidence of the pilots of ``n`` questions.

    From the chi-square distribution of a normal sample's variance: a pilot of ten may easily show too little spread,
    and a number computed from it would promise too much.
    """
    from scipy.special import gammaincinv

    freedom = n - 1
    return sd * math.sqrt(freedom / (2 * float(gammaincinv(freedom / 2, 1 - confidence))))


def _target_missed(n: int, sd: float, gain: float, min_gain: float, alpha: float) -> float:
    error = sd / math.sqrt(n)
    least = max(min_gain, _critical(n, alpha) * error)
    return _below(gain - least, error)


def _missed(n: int, condition: Condition, alpha: float) -> float:
    measured = int(n * condition.share)
    if measured < 2:
        return 1.0
    error = condition.sd / math.sqrt(measured)
    return _below(condition.slack - _critical(measured, alpha) * error, error)


def _below(room: float, error: float) -> float:
    """Probability that an estimate with this standard error falls short by more than the room."""
    if error == 0:
        return 0.0 if room >= 0 else 1.0
    return _NORMAL.cdf(-room / error)


def _critical(n: int, alpha: float) -> float:
    from scipy.special import stdtrit

    return -float(stdtrit(n - 1, alpha))


def _smallest(enough: Callable[[int], bool], least: int) -> int | None:
    """Every condition is easier with more questions, so the numbers that are enough have no gaps."""
    high = least
    while not enough(high):
        if high >= MOST_QUESTIONS:
            return None
        least, high = high + 1, min(2 * high, MOST_QUESTIONS)
    while least < high:
        middle = (least + high) // 2
        least, high = (least, middle) if enough(middle) else (middle + 1, high)
    return high
