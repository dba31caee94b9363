"""A first draft of a table's mapping, each line with the reason why: by names, by codes, by what the values look like.

    >>> from collegium.study.manifest import read as study_of
    >>> study = study_of({"title": "t", "purpose": "p", "method": {"kind": "statistics"}, "variables": {
    ...     "age": {"kind": "number", "unit": "years"}, "sex": {"kind": "category", "categories": ["F", "M"]}}})
    >>> columns = {"Geburtsdatum": ["03.02.1950"] * 20, "Aufnahme": ["04.02.2020"] * 20, "Geschlecht": ["W", "M"] * 10}
    >>> print(draft(columns, study, "stays"))
    # A draft for 'stays' and study 't'. Read every line: a guess says why, and may be wrong.
    mapping: 1
    dates: DD.MM.YYYY
    columns:
      age: {from: Geburtsdatum, until: Aufnahme}  # from birth to a later date, by their names and their dates
      sex: {from: Geschlecht, values: {W: F, M: M}}  # 'Geschlecht' is another word for sex
    <BLANKLINE>

It is written for the hospital and stays there. Of its values it names only codes that stand in ten rows or more.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from collegium.data import units
from collegium.data.files import COMMA, MISSING, NUMBER, Load, texts
from collegium.data.identifiers import look, said
from collegium.study.manifest import Study
from collegium.study.schema import Variable

ROWS, WIDE, FEWEST, SURE = 20_000, 2_000, 10, 0.62
ALIKE = (  # words that columns have for the same thing
    ("age", "alter", "edad", "eta", "leeftijd", "alder", "lebensalter", "age at admission"),
    ("sex", "gender", "geschlecht", "sexe", "sexo", "sesso", "geslacht", "genre", "kon"),
    ("weight", "gewicht", "poids", "peso", "kg", "body weight"), ("height", "groesse", "grose", "grosse", "taille", "talla", "body height"),
    ("length of stay", "los", "verweildauer", "liegedauer", "duree de sejour", "estancia", "time in hospital"),
    ("heart rate", "hr", "pulse", "puls", "herzfrequenz", "hf"), ("diagnosis", "icd", "diag", "diagnose", "hauptdiagnose", "diagnostic"),
    ("systolic blood pressure", "sbp", "rr sys", "systolisch", "sys bp", "systolic"), ("temperature", "temp", "temperatur"),
    ("diastolic blood pressure", "dbp", "rr dia", "diastolisch", "dia bp", "diastolic"),
    ("smoker", "smoking", "raucher", "tabac", "fumador"),
    ("ejection fraction", "ef", "lvef"), ("death", "died", "verstorben", "exitus", "deces", "deceased"), ("bmi", "body mass index"),
    ("readmitted", "readmission", "wiederaufnahme", "rehospitalisation", "readmissao"), ("ward", "station", "abteilung", "unit", "service"),
)  # fmt: skip
BEGINS = r"(birth|born|geb|naiss|nacim|nascita|dob|geboort)", r"(admi|aufnahm|einweis|entree|ingreso|came|start|begin|visit|index|opname)"
ENDS = r"(admi|aufnahm|einweis|entree|ingreso|came|start|visit|index|opname)", r"(discharg|entlass|sortie|alta|left|end|ontslag|follow)"
SAME = (
    ("f", "female", "w", "weiblich", "woman", "femme", "femenino", "femminile", "vrouw", "frau", "mujer"),
    ("m", "male", "mannlich", "maennlich", "man", "homme", "masculino", "maschile", "mann", "hombre"),
    ("no", "0", "nein", "non", "false", "n", "f", "nee", "negative", "neg"),
    ("yes", "1", "ja", "oui", "si", "true", "y", "j", "t", "positive", "pos"),
)  # fmt: skip
STYLES = {
    "DD.MM.YYYY": r"\d{1,2}\.\d{1,2}\.\d{4}",
    "DD/MM/YYYY": r"\d{1,2}/\d{1,2}/\d{4}",
    "YYYY/MM/DD": r"\d{4}/\d{1,2}/\d{1,2}",
    "DD-MM-YYYY": r"\d{1,2}-\d{1,2}-\d{4}",
    "DD.MM.YY": r"\d{1,2}\.\d{1,2}\.\d{2}",
    "YYYYMMDD": r"(19|20)\d{6}",
    "": r"\d{4}-\d{1,2}-\d{1,2}",
}


class Match(NamedTuple):
    """A column that may be a variable: how sure that is, and why."""

    column: str
    score: float
    why: str


def sample(load: Load, study: Study) -> dict[str, list[str]]:
    """The first rows of every column as text; of a table with thousands of columns, those whose names come near a variable's."""
    header, _ = load([])
    if len(header) > WIDE:
        near = spoken(study)
        header = tuple(name for name in header if near & {said(name), *said(name).split()} or name in study.variables)
    out: dict[str, list[str]] = {name: [] for name in header if name}
    for batch in load([*out])[1]:
        for name, values in batch.items():
            out[name] += [word or "" for word in texts(values).to_pylist()]
        if len(next(iter(out.values()))) >= ROWS:
            break
    return {name: ["" if word.strip() in MISSING else word.strip() for word in words] for name, words in out.items()}


def spoken(study: Study) -> set[str]:
    """The words under which a variable of the study may be found: its name, its other names, its code, what is measured."""
    out = set[str]()
    for name, v in study.variables.items():
        plain_name, what = said(name), units.substance(name)
        out |= {plain_name, *(word for word in plain_name.split() if len(word) > 3), *said(v.code).split()}
        out |= {word for words in ALIKE if one_of(plain_name, words) for word in words}
        out |= {what, *units.SUBSTANCES[what].names} if what else set()
    return out


def draft(columns: Mapping[str, Sequence[str]], study: Study, table: str) -> str:
    """The file, ready to be read and mended; what is right as it stands is left out."""
    found = {name: best(columns, name, v) for name, v in study.variables.items()}
    lines = [line for name, v in study.variables.items() for line in told(columns, name, v, found[name])]
    used = [columns[match.column] for match in found.values() if match]
    dates = style(word for words in columns.values() for word in words[:200] if words)
    head = [f"# A draft for {table!r} and study {study.title!r}. Read every line: a guess says why, and may be wrong.", "mapping: 1"]
    if any(count(words, COMMA) > 0.2 for words in used):
        head.append('decimal: ","')
    if dates:
        head.append(f"dates: {dates}")
    if marks := markers(found, columns, study):
        head.append(f"missing: {json.dumps(marks, ensure_ascii=False)}  # stand in ten rows or more among numbers")
    return "\n".join([*head, "columns:", *lines]) + "\n"


def told(columns: Mapping[str, Sequence[str]], name: str, v: Variable, match: Match | None) -> Iterator[str]:
    """A variable's line, and remarks on what has to be decided."""
    ends = between(columns, name, v) if match is None and units.code(v.unit) in ("a", "mo", "d", "h", "wk") else None
    if ends:
        yield f"  {plain(name)}: {{from: {plain(ends[0])}, until: {plain(ends[1])}}}  # {ends[2]}"
        return
    if match is None:
        may = "; it may be absent" if not v.required else ""
        yield f"  # {plain(name)}: no column looks like it{may}"
        return
    if v.kind == "category" and not v.categories and (met := look(match.column, columns[match.column])):
        yield f"  # {plain(name)}: {match.column!r} looks like it, but seems to hold {met.kind} of patients, {met.why}"
        return
    parts, why, open_ = [f"from: {plain(match.column)}"], [match.why], list[str]()
    if v.kind == "number" and v.unit:
        unit, reason = unit_of(match.column, columns[match.column], name, v)
        if unit and units.code(unit) != units.code(v.unit):
            parts.append(f"unit: {plain(unit)}")
            why.append(reason)
    elif v.categories or v.kind == "binary":
        pairs, open_ = worded(columns[match.column], v)
        if any(a != b for a, b in pairs.items()):
            parts.append(f"values: {{{', '.join(f'{plain(a)}: {plain(b)}' for a, b in pairs.items())}}}")
    if parts == [f"from: {plain(name)}"]:
        yield f"  # {plain(name)}: stands in the table under its name, and needs no rule"
    else:
        yield f"  {plain(name)}: {{{', '.join(parts)}}}  # {'; '.join(why)}"
    if open_:
        yield f"  #   which of {v.allowed} are {', '.join(map(repr, open_))}? What is not mapped counts as missing"


def best(columns: Mapping[str, Sequence[str]], name: str, v: Variable) -> Match | None:
    """The column that most probably is the variable."""
    matches = sorted((scored(column, words, name, v) for column, words in columns.items()), key=lambda match: -match.score)
    return matches[0] if matches and matches[0].score >= SURE else None


def scored(column: str, words: Sequence[str], name: str, v: Variable) -> Match:
    """How probably a column is a variable: its name, corrected by whether its values could be."""
    score, why = by_name(column, name, v)
    known = [word for word in words if word]
    if not known:
        return Match(column, score - 0.3, why)
    if v.kind == "number":
        numbers = count(known, NUMBER) + count(known, COMMA)
        return Match(column, score if numbers > 0.5 else 0.0, why)
    levels = Counter(known)
    fits = share_of(levels, v)
    if v.categories and fits > 0.8 and len(levels) > 1 and score < 0.7 and set(v.categories) != {"no", "yes"}:
        return Match(column, 0.7 + score / 10, f"its values are those of {name}")
    return Match(column, score * (0.3 if v.categories and fits < 0.05 and len(levels) > 50 else 1), why)


def by_name(column: str, name: str, v: Variable) -> tuple[float, str]:
    """How alike two names are, and in which way."""
    if column == name:
        return 1.0, "the same name"
    a, b = said(without_unit(column)), said(name)
    if v.code and (number := re.search(r"\d+-\d|[A-Z]\d\d", v.code)) and number[0].lower() in column.lower():
        return 0.99, f"its name holds the code {number[0]}"
    if a == b or a.replace(" ", "") == b.replace(" ", ""):
        return 0.98, "the same name, written otherwise"
    if any(one_of(a, words) and one_of(b, words) for words in ALIKE):
        return 0.95, f"{column!r} is another word for {name}"
    if (what := units.substance(a)) and what == units.substance(name):
        return 0.93, f"{column!r} is {what}"
    ratio = SequenceMatcher(None, a, b).ratio()
    meant = set(said(v.meaning).split()) & set(a.split()) - {"of", "in", "the", "at", "a", "as"}
    score = max(0.9 * ratio, 0.65 if meant and set(a.split()) <= set(said(v.meaning).split()) else 0.0)
    return score, "its name comes near" if score == 0.9 * ratio else f"the meaning of {name} has its words"


def one_of(text: str, words: Sequence[str]) -> bool:
    """Whether a name is one of these words, perhaps with one more in front or behind."""
    return any(text == word or (len(word) > 3 and f" {word} " in f" {text} ") for word in words)


def unit_of(column: str, words: Sequence[str], name: str, v: Variable) -> tuple[str, str]:
    """The unit that a column is in, and what tells so; nothing where it seems to be the one wanted."""
    if unit := named_unit(column):
        return unit, f"its name says {unit}"
    values = sorted(float(word.replace(",", ".")) for word in words if re.match(NUMBER, word.replace(",", ".")))
    if len(values) < FEWEST or v.low is None or v.high is None:
        return "", ""
    low, high = float(v.low), float(v.high)
    inside = sum(low <= value <= high for value in values) / len(values)
    for unit, spoken, way in units.rivals(v.unit, units.substance(name) or units.substance(column)):
        moved = [float(way.apply(value)) for value in values]
        if inside < 0.5 and sum(low <= value <= high for value in moved) >= 0.95 * len(values):
            return unit, f"its values fit {v.allowed} {v.unit} only as {spoken}: check it"
    return "", ""


def named_unit(column: str) -> str:
    """A unit at the end of a column's name: `Krea (mg/dl)`, `glucose_mmol_l`, `weight_kg`."""
    inside = re.search(r"[\[(]([^\])]+)[\])]\s*$", column)
    if inside:
        return found_unit(inside[1])
    parts = re.split(r"[ _.]+", column)
    for many in (3, 2, 1):
        if len(parts) > many and (unit := found_unit("/".join(parts[-many:]))) and (many > 1 or len(parts[-1]) > 1):
            return unit
    return ""


def without_unit(column: str) -> str:
    """A column's name without the unit at its end."""
    bare = re.sub(r"[\[(][^\])]*[\])]\s*$", "", column)
    parts = re.split(r"[ _.]+", bare)
    for many in (3, 2, 1):
        if len(parts) > many and found_unit("/".join(parts[-many:])) and (many > 1 or len(parts[-1]) > 1):
            return " ".join(parts[:-many])
    return bare


def found_unit(text: str) -> str:
    """A text as a unit that is known, litres with a capital; nothing if it is none."""
    for form in (re.sub(r"(?<=[/dm])l\b", "L", text), text):
        if units.known(form) and units.parsed(form) != units.parsed("1"):
            return form
    return ""


def worded(words: Sequence[str], v: Variable) -> tuple[dict[str, str], list[str]]:
    """The frequent codes of a column and the categories that they seem to be; and those of which nobody can tell."""
    known = Counter(word for word in words if word)
    frequent = [word for word, n in known.most_common(60) if n >= FEWEST]
    categories = v.categories or ("0", "1")
    pairs = {word: meant for word in frequent if (meant := category(word, categories))}
    return pairs, [word for word in frequent if word not in pairs]


def category(word: str, categories: Sequence[str]) -> str:
    """The category that a code seems to be."""
    plain_word, named = said(word), {said(one): one for one in categories}
    if word in categories or plain_word in named:
        return word if word in categories else named[plain_word]
    for words in SAME:
        if plain_word in words and (meant := [one for one in categories if said(one) in words]):
            return meant[0] if len(meant) == 1 else ""
    return ""


def share_of(levels: Counter[str], v: Variable) -> float:
    """The share of rows whose code seems to be one of the variable's categories."""
    categories = v.categories or ("0", "1")
    return sum(n for word, n in levels.items() if category(word, categories)) / max(sum(levels.values()), 1)


def between(columns: Mapping[str, Sequence[str]], name: str, v: Variable) -> tuple[str, str, str] | None:
    """Two columns of dates from which a time can be made: birth to admission for an age, admission to discharge for a stay."""
    dated = [column for column, words in columns.items() if (known := [w for w in words if w]) and style(known[:200]) is not None]
    age = units.code(v.unit) == "a"
    starts, stops = (BEGINS[0], ENDS[0]) if age else (BEGINS[1], ENDS[1])
    first = [column for column in dated if re.search(starts, said(column))]
    last = [column for column in dated if re.search(stops, said(column)) and column not in first[:1]]
    if not first or not last:
        return None
    return first[0], last[0], f"from {'birth to a later date' if age else 'one date to the other'}, by their names and their dates"


def style(words: "Sequence[str] | Iterator[str]") -> str | None:
    """The styles of dates among some texts, as the mapping writes them; "" if all are ISO, None if they are no dates."""
    met = Counter[str]()
    american = european = seen = 0
    for word in words:
        if not word:
            continue
        seen += 1
        for name, pattern in STYLES.items():
            if re.fullmatch(rf"{pattern}([ T]\d{{1,2}}:\d{{2}}(:\d{{2}})?)?", word):
                timed = "" if re.fullmatch(pattern, word) else " hh:mm:ss" if word.count(":") == 2 else " hh:mm"
                met[(name + timed) if name else ""] += 1
                if name.startswith("DD/MM"):
                    one, two = (int(part) for part in word.split("/")[:2])
                    american, european = american + (two > 12), european + (one > 12)
                break
    if not seen or (not isinstance(words, Iterator) and sum(met.values()) < 0.8 * seen):
        return None
    names = [name.replace("DD/MM", "MM/DD") if american and not european else name for name, _ in met.most_common() if name]
    return names[0] if len(names) == 1 else f"[{', '.join(names)}]" if names else ""


def markers(found: Mapping[str, Match | None], columns: Mapping[str, Sequence[str]], study: Study) -> list[str]:
    """Texts that stand for a missing value among numbers, such as unbekannt, in ten rows or more."""
    out = Counter[str]()
    for name, match in found.items():
        if match and study.variables[name].kind == "number":
            known = Counter(word for word in columns[match.column] if word and not re.match(NUMBER, word) and not re.match(COMMA, word))
            out.update({word: n for word, n in known.items() if n >= FEWEST and not re.search(r"\d", word)})
    return [word for word, _ in out.most_common(10)]


def count(words: Sequence[str], pattern: str) -> float:
    """The share of the texts there are that have a form."""
    known = [word for word in words if word]
    return sum(bool(re.match(pattern, word)) for word in known) / max(len(known), 1)


def plain(text: str) -> str:
    """A text as YAML takes it inside braces: in quotes where it needs them."""
    safe = re.fullmatch(r"[\w][\w .%+°µ/()²-]*", text) and not re.search(r"\s$|: |#", text)
    return text if safe else json.dumps(text, ensure_ascii=False)
