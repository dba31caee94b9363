"""Numbers as people read them: three decimals in tables, two in sentences, patients rounded, small groups never."""

import math

from collegium.algorithms.compare import Figure
from collegium.charts import written
from collegium.study.report.document import NOT_MEASURED, real

SPACE = "\N{NO-BREAK SPACE}"


def number(value: object, places: int = 3) -> str:
    """A figure for a table; one that is too small for three decimals keeps two digits.

    >>> number(0.81234), number(0.00001234), number(float("nan"))
    ('0.812', '0.000012', 'Not measured')
    """
    found = real(value)
    if found is None:
        return NOT_MEASURED
    if found and abs(found) < 0.5 * 10.0**-places:
        needed = 1 - math.floor(math.log10(abs(found)))
        return written(found, needed) if needed <= 6 else f"{found:.1e}".replace("-", "\N{MINUS SIGN}")
    return written(found, places)


def digits(value: object) -> str:
    """A measured quantity of any size, with about four digits.

    >>> digits(132.4567), digits(0.012341), digits(25000.0)
    ('132.5', '0.01234', '25,000')
    """
    found = real(value)
    if found is None:
        return NOT_MEASURED
    places = 3 - math.floor(math.log10(abs(found))) if found else 0
    return number(found, min(max(places, 0), 6))


def spread(figure: Figure | None, places: int = 3, *, plus: bool = False) -> str:
    """A figure with its 95 % interval, if it has one.

    >>> spread((0.81, 0.78, 0.84)), spread((0.07, 0.05, 0.09), 2, plus=True), spread(None)
    ('0.810 (0.780 to 0.840)', '+0.07 (+0.05 to +0.09)', 'Not measured')
    """
    if figure is None or real(figure[0]) is None:
        return NOT_MEASURED
    said = [signed(end, places) if plus else ended(end, places) for end in figure]
    return said[0] if figure[1] == figure[2] else f"{said[0]} ({said[1]} to {said[2]})"


def signed(value: float, places: int) -> str:
    """A difference, with its sign."""
    return ("+" if round(value, places) > 0 else "") + ended(value, places)


def ended(value: float, places: int) -> str:
    """A number that may be endless."""
    if math.isfinite(value):
        return written(value, places)
    return NOT_MEASURED if math.isnan(value) else "∞" if value > 0 else "\N{MINUS SIGN}∞"


def about(count: object) -> str:
    """A number of patients, rounded down so that nobody can be counted.

    >>> about(15110), about(918), about(7), about(0)
    ('15,100+', '910+', 'fewer than 10', 'none')
    """
    found = real(count)
    if found is None:
        return NOT_MEASURED
    if found < 10:
        return "fewer than 10" if found > 0 else "none"
    step = 10 ** max(1, math.floor(math.log10(found)) - 2)
    return f"{written(found // step * step, 0)}+"


def share(part: object, places: int = 0) -> str:
    """A share of one, in per cent.

    >>> share(0.204) == "20\N{NO-BREAK SPACE}%"
    True
    """
    found = real(part)
    return NOT_MEASURED if found is None else f"{written(100 * found, places)}{SPACE}%"


def chance(p: object) -> str:
    """A p value.

    >>> chance(0.04321), chance(1e-9)
    ('0.043', '< 0.001')
    """
    found = real(p)
    return NOT_MEASURED if found is None else "< 0.001" if found < 0.001 else written(found, 3)


def lasting(seconds: object) -> str:
    """How long something took.

    >>> lasting(0.4), lasting(112), lasting(6720), lasting(3600)
    ('less than a second', '1 min 52 s', '1 h 52 min', '1 h')
    """
    found = real(seconds)
    if found is None or found < 0:
        return NOT_MEASURED
    if found < 1:
        return "less than a second"
    minutes, rest = divmod(round(found), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min")] if hours else [(minutes, "min"), (rest, "s")]
    return " ".join(f"{written(many, 0)} {unit}" for many, unit in parts if many)


def size(count: object) -> str:
    """An amount of data.

    >>> size(812), size(41_300), size(2.5e9)
    ('812 bytes', '41 kB', '2.5 GB')
    """
    found = real(count)
    if found is None or found < 0:
        return NOT_MEASURED
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if found >= unit:
            return f"{written(found / unit, 0 if found >= 10 * unit else 1)} {name}"
    return f"{written(found, 0)} bytes"


def counted(count: int, one: str, many: str = "") -> str:
    """A number of things.

    >>> counted(1, "hospital"), counted(6, "hospital")
    ('1 hospital', '6 hospitals')
    """
    return f"{written(count, 0)} {one if count == 1 else many or one + 's'}"


def listed(names: list[str], most: int = 8) -> str:
    """Names in a sentence.

    >>> listed(["age", "sex", "blood pressure"])
    'age, sex and blood pressure'
    """
    shown = names if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else "none"
