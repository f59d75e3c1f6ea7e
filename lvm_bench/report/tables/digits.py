"""The digits of a number that a report shows: one rule for the terminal, the page, CSV, Markdown and LaTeX."""

import math
from functools import cache

MOST_DIGITS = 8  # behind the decimal point

LEAST = 0.5 * 10.0**-MOST_DIGITS  # a smaller deviation would be shown as 0

ROUNDING = 1e-12  # of the mean: a smaller deviation comes from the sum of equal numbers


@cache  # each cell is written in five forms
def written(mean: float, std: float, n: int) -> tuple[str, str]:
    """A mean and its deviation as text: two digits of the deviation and at most four of the mean.

    The mean has more where the deviation would else be 0. The deviation is "" for one run and where runs do not differ.
    """
    if not math.isfinite(mean):
        return "nan" if math.isnan(mean) else "∞" if mean > 0 else "−∞", ""
    if n == 1 or math.isnan(std) or std < max(LEAST, ROUNDING * abs(mean)):
        if 0 < abs(mean) < LEAST:
            return f"{mean:.1e}", ""
        return plain(mean, 0 if float(mean).is_integer() else _within(3 - _exponent(mean))), ""
    first, fourth = -_exponent(std), 3 - _exponent(mean or std)  # places of the digits behind the decimal point
    digits = _within(min(first + 1, max(first, fourth)))
    return plain(mean, digits), plain(std, digits)


def number(mean: float, std: float, n: int) -> str:
    """`mean ± std`, or the mean alone, with the digits of `written`."""
    return " ± ".join(filter(None, written(mean, std, n)))


def plain(value: float, digits: int) -> str:
    """A number with so many digits behind the decimal point and commas between thousands; never `-0`."""
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value)))


def _within(digits: int) -> int:
    return max(0, min(digits, MOST_DIGITS))
