"""Units of measurement as UCUM writes them, and how to get from one to another: also from mg/dL to mmol/L, by the molar mass.

    >>> conversion("mg/dL", "umol/L", "creatinine").apply(1.0).round(1)
    np.float64(88.4)
    >>> conversion("[degF]", "Cel").apply(98.6).round(1), conversion("months", "years").apply(18)
    (np.float64(37.0), np.float64(1.5))

A unit is a product of atoms with prefixes and powers, as in `10*9/L`, `kg/m2`, `mL/min/{1.73_m2}`. Words that people write for
UCUM's codes are understood too: years, mmHg, µmol/L. What cannot be converted raises `DataError` and says what is lacking.

Sources: the Unified Code for Units of Measure, version 2.2 (atoms and prefixes); molar masses from the standard atomic weights
of IUPAC 2021, of proteins as laboratories use them: haemoglobin by its monomer; HbA1c by the master equation of IFCC and NGSP
(Hoelzel 2004, doi:10.1373/clinchem.2003.024802); insulin by 6.00 nmol for an international unit.
"""

import math
import re
from functools import cache
from typing import NamedTuple

import numpy as np

from collegium.errors import DataError

Dimensions = tuple[tuple[str, int], ...]


class Unit(NamedTuple):
    """A unit by its dimensions: what it measures is `factor` times the base units, after `zero` was added."""

    factor: float
    dimensions: Dimensions
    zero: float = 0.0


class Conversion(NamedTuple):
    """From one unit to another: times `factor`, plus `add`."""

    factor: float
    add: float = 0.0

    def apply(self, values: "np.ndarray | float") -> np.ndarray:
        """The values in the other unit."""
        return np.asarray(values, np.float64) * self.factor + self.add

    @property
    def same(self) -> bool:
        """Whether nothing changes."""
        return math.isclose(self.factor, 1) and not self.add


PREFIXES = {
    "T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "h": 1e2, "da": 1e1, "d": 1e-1, "c": 1e-2, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12,
    "f": 1e-15,
}  # fmt: skip
METRIC: dict[str, tuple[float, dict[str, int], float]] = {  # atoms that take a prefix: factor, dimensions, zero
    "m": (1, {"m": 1}, 0), "g": (1, {"g": 1}, 0), "s": (1, {"s": 1}, 0), "K": (1, {"K": 1}, 0), "Cel": (1, {"K": 1}, 273.15),
    "L": (1e-3, {"m": 3}, 0), "l": (1e-3, {"m": 3}, 0), "mol": (1, {"mol": 1}, 0), "eq": (1, {"eq": 1}, 0), "osm": (1, {"osm": 1}, 0),
    "U": (1 / 60e6, {"mol": 1, "s": -1}, 0), "kat": (1, {"mol": 1, "s": -1}, 0), "[IU]": (1, {"IU": 1}, 0),
    "Pa": (1e3, {"g": 1, "m": -1, "s": -2}, 0), "bar": (1e8, {"g": 1, "m": -1, "s": -2}, 0),
    "m[Hg]": (133.322e6, {"g": 1, "m": -1, "s": -2}, 0), "m[H2O]": (9.80665e6, {"g": 1, "m": -1, "s": -2}, 0),
    "J": (1e3, {"g": 1, "m": 2, "s": -2}, 0), "cal": (4184, {"g": 1, "m": 2, "s": -2}, 0), "W": (1e3, {"g": 1, "m": 2, "s": -3}, 0),
    "Hz": (1, {"s": -1}, 0), "V": (1, {"V": 1}, 0), "Gy": (1, {"m": 2, "s": -2}, 0),
}  # fmt: skip
PLAIN: dict[str, tuple[float, dict[str, int], float]] = {
    "min": (60, {"s": 1}, 0), "h": (3600, {"s": 1}, 0), "d": (86400, {"s": 1}, 0), "wk": (7 * 86400, {"s": 1}, 0),
    "mo": (30.4375 * 86400, {"s": 1}, 0), "a": (365.25 * 86400, {"s": 1}, 0), "%": (1e-2, {}, 0), "1": (1, {}, 0),
    "[ppth]": (1e-3, {}, 0), "[ppm]": (1e-6, {}, 0), "[degF]": (5 / 9, {"K": 1}, 459.67), "[lb_av]": (453.59237, {"g": 1}, 0),
    "[oz_av]": (28.349523125, {"g": 1}, 0), "[in_i]": (0.0254, {"m": 1}, 0), "[ft_i]": (0.3048, {"m": 1}, 0),
    "[pH]": (1, {"pH": 1}, 0), "[drp]": (5e-8, {"m": 3}, 0),
}  # fmt: skip
WORDS = {
    "year": "a", "years": "a", "yr": "a", "yrs": "a", "y": "a", "month": "mo", "months": "mo", "week": "wk", "weeks": "wk", "day": "d",
    "days": "d", "hour": "h", "hours": "h", "hrs": "h", "minute": "min", "minutes": "min", "seconds": "s", "second": "s", "count": "1",
    "counts": "1", "fraction": "1", "fractions": "1", "ratio": "1", "percent": "%", "per cent": "%", "mmhg": "mm[Hg]", "cmh2o": "cm[H2O]",
    "°c": "Cel", "celsius": "Cel", "°f": "[degF]", "fahrenheit": "[degF]", "bpm": "/min", "beats/min": "/min", "breaths/min": "/min",
    "lb": "[lb_av]", "lbs": "[lb_av]", "pound": "[lb_av]", "pounds": "[lb_av]", "oz": "[oz_av]", "in": "[in_i]", "inch": "[in_i]",
    "inches": "[in_i]", "ft": "[ft_i]", "feet": "[ft_i]", "grams": "g", "kilograms": "kg", "metres": "m", "centimetres": "cm",
    "millimetres": "mm", "ph": "[pH]", "litres": "L", "ml/min/1.73m2": "mL/min", "ml/min/1.73 m2": "mL/min",
}  # fmt: skip
EXACT = {"G/L": "10*9/L", "T/L": "10*12/L", "K/uL": "10*3/uL", "M/uL": "10*6/uL"}  # as analysers of blood cells write them
SPOKEN = {"a": "years", "mo": "months", "wk": "weeks", "d": "days", "h": "hours", "1": "fractions", "[lb_av]": "pounds", "g": "grams",
          "[in_i]": "inches", "m": "metres", "mm": "millimetres", "cm": "centimetres", "[degF]": "°F", "Cel": "°C", "umol/L": "µmol/L",
          "mm[Hg]": "mmHg"}  # fmt: skip


class Substance(NamedTuple):
    """What a laboratory measures: its molar mass in g/mol, its charge, and names that columns have for it."""

    mass: float
    charge: int = 0
    names: tuple[str, ...] = ()


SUBSTANCES = {
    "albumin": Substance(66_437, names=("alb",)), "ammonia": Substance(17.031, names=("nh3", "ammoniak")),
    "bicarbonate": Substance(61.017, 1, ("hco3", "bikarbonat")), "bilirubin": Substance(584.66, names=("bili", "tbil")),
    "bnp": Substance(3464), "calcium": Substance(40.078, 2, ("ca", "kalzium")), "chloride": Substance(35.45, 1, ("cl", "chlorid")),
    "cholesterol": Substance(386.65, names=("chol", "cholesterin", "hdl", "ldl", "hdl_cholesterol", "ldl_cholesterol")),
    "cortisol": Substance(362.46), "creatinine": Substance(113.12, names=("crea", "krea", "creat", "kreatinin", "creatinina", "scr")),
    "digoxin": Substance(780.94), "folate": Substance(441.40, names=("folic_acid", "folsaeure")),
    "glucose": Substance(180.156, names=("gluc", "glukose", "blood_sugar", "blutzucker", "bz", "glucosa", "glycaemia")),
    "haemoglobin": Substance(16_114, names=("hemoglobin", "hb", "hgb", "haemoglobin", "hamoglobin")),
    "homocysteine": Substance(135.18), "iron": Substance(55.845, names=("fe", "eisen")), "insulin": Substance(5808),
    "lactate": Substance(90.08, names=("laktat", "lac")), "lithium": Substance(6.94, 1), "magnesium": Substance(24.305, 2, ("mg",)),
    "nt_probnp": Substance(8457, names=("ntprobnp", "nt-probnp", "probnp")), "oestradiol": Substance(272.38, names=("estradiol",)),
    "paracetamol": Substance(151.16, names=("acetaminophen",)), "phosphate": Substance(30.974, names=("phosphat", "phosphorus")),
    "potassium": Substance(39.098, 1, ("kalium", "potassio")), "progesterone": Substance(314.46),
    "sodium": Substance(22.990, 1, ("natrium", "sodio")), "testosterone": Substance(288.42),
    "thyroxine": Substance(776.87, names=("t4", "ft4")), "triiodothyronine": Substance(650.97, names=("t3", "ft3")),
    "transferrin": Substance(79_570), "triglycerides": Substance(885.4, names=("trig", "triglyceride", "tg")),
    "urea": Substance(60.056, names=("harnstoff", "uree")), "urea_nitrogen": Substance(28.014, names=("bun",)),
    "uric_acid": Substance(168.11, names=("urate", "harnsaeure")), "vancomycin": Substance(1449.3),
    "vitamin_b12": Substance(1355.4, names=("b12", "cobalamin")), "vitamin_d": Substance(400.64, names=("25_oh_d", "calcidiol")),
    "hba1c": Substance(math.nan, names=("glycated_haemoglobin", "hemoglobin_a1c", "a1c", "hb_a1c")),
}  # fmt: skip
FAMILIES = (  # units that stand in for one another in hospitals, the usual ones first
    ("a", "mo", "d"), ("d", "h", "wk"), ("kg", "[lb_av]", "g"), ("cm", "[in_i]", "m", "mm"), ("m", "cm", "[in_i]"), ("%", "1"), ("1", "%"),
    ("Cel", "[degF]", "K"), ("mm[Hg]", "kPa", "cm[H2O]"), ("mg/dL", "mmol/L", "umol/L", "mg/L", "g/L"),
    ("mmol/L", "mg/dL", "umol/L", "meq/L", "g/L"), ("umol/L", "mg/dL", "mmol/L"), ("g/dL", "g/L", "mmol/L"),
    ("g/L", "g/dL", "mg/dL", "mmol/L"),
    ("mg/L", "mg/dL", "ug/mL"), ("ng/mL", "ug/L", "nmol/L", "ng/L"), ("ng/L", "ug/L", "pmol/L"), ("pmol/L", "ng/L", "nmol/L"),
    ("mmol/mol", "%"), ("10*9/L", "/uL"), ("/uL", "10*9/L"), ("mL/min", "mL/s"), ("U/L", "ukat/L"), ("L", "mL"), ("mL", "L"),
)  # fmt: skip
GUESSED = ("glucose", "creatinine", "cholesterol", "haemoglobin")  # tried where nothing tells what was measured


def known(unit: str) -> bool:
    """Whether a text is a unit that can be converted.

    >>> known("mL/min/{1.73_m2}"), known("furlongs")
    (True, False)
    """
    try:
        parsed(unit)
    except DataError:
        return False
    return True


@cache
def parsed(unit: str) -> Unit:
    """A unit from its UCUM code or a common word. Raises `DataError` naming the part that is not known."""
    text = code(unit)
    factor, dimensions, zero, sign = 1.0, dict[str, int](), 0.0, 1
    parts = re.split(r"([./])", re.sub(r"\{[^{}]*\}", "", text))
    for part in parts:
        if part in ("/", "."):
            sign = -1 if part == "/" else 1
        elif part:
            f, found, z = atom(part, unit)
            factor *= f**sign
            zero = z if len(parts) == 1 else 0.0
            for name, power in found.items():
                dimensions[name] = dimensions.get(name, 0) + sign * power
    return Unit(factor, tuple(sorted((name, power) for name, power in dimensions.items() if power)), zero)


def code(unit: str) -> str:
    """The UCUM code for a unit as it was written."""
    text = unit.strip().replace("µ", "u").replace("μ", "u").replace("²", "2").replace("³", "3")
    text = re.sub(r"10[\^*]{1,2}(\d+)", r"10*\1", EXACT.get(text) or WORDS.get(text.casefold(), text))
    text = re.sub(r"\b([mu]?)[Ee]q\b", r"\1eq", re.sub(r"(?<![\[A-Za-z])([mukn]?)IU(?![\]A-Za-z])", r"\1[IU]", text))
    return re.sub(r"^x ?(?=10\*)", "", text)


def atom(part: str, whole: str) -> tuple[float, dict[str, int], float]:
    """One atom with prefix and power: factor, dimensions and zero."""
    if power := re.fullmatch(r"10\*(\d{1,2})", part):
        return 10.0 ** int(power[1]), {}, 0.0
    if times := re.fullmatch(r"(\d+)(\D.*)", part):  # as in g/24h
        factor, dimensions, zero = atom(times[2], whole)
        return int(times[1]) * factor, dimensions, zero
    name, exponent = part, 1
    if part not in PLAIN and (split := re.fullmatch(r"(.*?[A-Za-z\]%])([+-]?\d)", part)):
        name, exponent = split[1], int(split[2])
    scale, found = 1.0, PLAIN.get(name) or METRIC.get(name)
    if found is None:
        for prefix, size in PREFIXES.items():
            if name.startswith(prefix) and name[len(prefix) :] in METRIC:
                scale, found = size, METRIC[name[len(prefix) :]]
    if found is None:
        raise DataError(
            f"{whole!r} is not a unit that is known here ({part!r} is not)",
            hint="write it as UCUM does: mg/dL, umol/L, mm[Hg], a for years",
        )
    return (scale * found[0]) ** exponent, {key: value * exponent for key, value in found[1].items()}, found[2]


def substance(name: str) -> str:
    """What a variable or a column measures, by its name; nothing if the name does not tell.

    >>> substance("serum_creatinine"), substance("krea"), substance("age")
    ('creatinine', 'creatinine', '')
    """
    words = [word for word in re.split(r"[^a-z0-9]+", name.casefold().replace("ä", "ae")) if word]
    joined = "_".join(words)
    for known, facts in SUBSTANCES.items():
        if any(f"_{alias}_" in f"_{joined}_" for alias in (known, *facts.names) if len(alias) > 2 or alias == joined):
            return known
    return ""


def conversion(found: str, wanted: str, of: str = "") -> Conversion:
    """How to get from the unit found to the unit wanted; `of` is the substance, where mass and amount meet. Raises `DataError`."""
    a, b = parsed(found), parsed(wanted)
    if of and of not in SUBSTANCES:
        import difflib

        near = difflib.get_close_matches(of, SUBSTANCES, 1)
        raise DataError(
            f"{of!r} is not a substance with a known molar mass{f'; did you mean {near[0]!r}?' if near else ''}", hint=OTHERWISE
        )
    if of == "hba1c" and (glycated := hba1c(code(found), code(wanted))):
        return glycated
    ratio = bridged(a, b, of)
    if ratio is None:
        way = (
            "name the substance: `of: creatinine`"
            if not of and {"mol", "g", "eq"} & {n for n, _ in (*a.dimensions, *b.dimensions)}
            else OTHERWISE
        )
        raise DataError(f"{found!r} cannot be converted to {wanted!r}{f' for {of}' if of else ''}", hint=way)
    factor = a.factor / b.factor * ratio
    return Conversion(factor, a.zero * factor - b.zero)


OTHERWISE = "convert it by `sql`, such as sql: number(column) * 0.0259"


def bridged(a: Unit, b: Unit, of: str) -> float | None:
    """What one base unit of `a` is in those of `b`: 1, or a power of molar mass or charge; None if they measure different things."""
    if a.dimensions == b.dimensions:
        return 1.0
    if not of:
        return None
    facts, x, y = SUBSTANCES[of], dict(a.dimensions), dict(b.dimensions)
    bridges = [("g", "mol", 1 / facts.mass)]
    if facts.charge:
        bridges += [("mol", "eq", float(facts.charge)), ("g", "eq", facts.charge / facts.mass)]
    if of == "insulin":
        bridges += [("IU", "mol", 6.00e-9), ("IU", "g", 6.00e-9 * facts.mass)]
    for one, other, ratio in bridges:
        for start, end, times in ((one, other, ratio), (other, one, 1 / ratio)):
            moved = {**x, end: x.get(end, 0) + x.get(start, 0)}
            moved.pop(start, None)
            if x.get(start) and {k: v for k, v in moved.items() if v} == y:
                return float(times ** x[start])
    return None


def hba1c(found: str, wanted: str) -> Conversion | None:
    """NGSP per cent = 0.09148 IFCC mmol/mol + 2.152; both are shares of the haemoglobin, and no factor leads from one to the other."""
    if (found, wanted) == ("%", "mmol/mol"):
        return Conversion(1 / 0.09148, -2.152 / 0.09148)
    return Conversion(0.09148, 2.152) if (found, wanted) == ("mmol/mol", "%") else None


def rivals(unit: str, of: str = "") -> list[tuple[str, str, Conversion]]:
    """Units in which values may have come in place of the one wanted: the unit, its name for people, and the way to the one wanted.

    >>> [said for _, said, _ in rivals("mg/dL", "creatinine")]
    ['mmol/L', 'µmol/L', 'mg/L', 'g/L']
    """
    out = []
    for other in next((family[1:] for family in FAMILIES if family[0] == code(unit)), ()):
        for what in (of,) if of else ("", *GUESSED):
            try:
                way = conversion(other, unit, what)
            except DataError:
                continue
            said = SPOKEN.get(other, other)
            out.append((other, said if of or not what else f"{said} ({what})", way))
            if not what:
                break
    return out
