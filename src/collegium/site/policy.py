"""What the hospital allows: `policy.yaml` in the site's folder. Without it, and where it is silent, the answer is no.

    level: 1                  # 0 statistics only, 1 also the recipes that come with Collegium
    recipes: [readmission]    # or "*"
    min_sites: 3              # a sum of fewer hospitals is not joined
    publish_line: false       # whether this hospital's own line of results may be shown to the others
    auto_approve: true        # false: only studies that this hospital's data steward approved (`invites`)
    min_verified: 2           # partners whose fingerprint the steward must have compared; else what secure sums need
    tables:
      admissions:
        columns: [age, sex, readmitted]   # or "*"
        min_rows: 50
        objected: opt_out               # a column that marks patients who objected
        waived: {plz3: three digits of a postcode name nobody}
    objections: objected.txt  # patients who objected: a file in this folder

A refusal names the rule and its line, so that a steward can tell what to change, if it should be changed at all.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collegium.errors import PolicyRefusal
from collegium.site.config import ConfigError, write
from collegium.study.places import places

EXAMPLE = """\
# What studies may do at this hospital. What is not allowed here is refused.
level: 1                  # 0 statistics only, 1 also the recipes that come with Collegium
recipes: "*"              # or a list, such as [readmission, tabular]
min_sites: 3              # a sum of fewer hospitals is not joined
publish_line: false       # whether this hospital's own line of results may be shown to the others
auto_approve: false       # false: only studies that our data steward signed: collegium invite list
tables: {}
#  admissions:
#    columns: "*"          # or a list, such as [age, sex, readmitted]
#    min_rows: 50
"""
RULES: dict[str, type | tuple[type, ...]] = {
    "level": int, "recipes": (list, str), "min_sites": int, "publish_line": bool, "auto_approve": bool,
    "min_verified": int, "objections": str, "tables": dict,
}  # fmt: skip
TABLE_RULES: dict[str, type | tuple[type, ...]] = {
    "columns": (list, str), "min_rows": int, "objected": str, "waived": dict,
}  # fmt: skip
LEVELS = {"statistics": 0}  # every other method trains or fits, level 1
WORDS = {str: "a text", int: "a whole number", bool: "true or false", list: "a list", dict: "a mapping", (list, str): 'a list or "*"'}


@dataclass(frozen=True)
class TablePolicy:
    """What may be done with one table."""

    columns: tuple[str, ...] = ()
    min_rows: int = 10
    objected: str = ""
    waived: Mapping[str, str] = field(default_factory=dict)  # columns that seem to name patients and may be read, and why
    line: int = 0


@dataclass(frozen=True)
class Policy:
    """The hospital's rules; the defaults allow nothing."""

    path: Path
    level: int = -1
    recipes: tuple[str, ...] = ()
    min_sites: int = 3
    publish_line: bool = False
    auto_approve: bool = False
    objections: str = ""
    min_verified: int | None = None  # not set: as many as a secure sum over the participants needs to hide this site
    tables: Mapping[str, TablePolicy] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)

    def at(self, rule: str) -> str:
        """Where a rule stands, for a refusal."""
        line = self.lines.get(rule, 0)
        return f"{self.path.name} line {line}" if line else f"{self.path.name}, which does not set {rule!r}"


def load(path: Path) -> Policy:
    """The policy of a file; one that allows nothing if there is no such file. Raises `ConfigError` with line and nearest name."""
    return read(path, path.read_text()) if path.exists() else Policy(path)


def read(path: Path, text: str) -> Policy:
    """The policy of a text that stands in that file, or is to. Raises `ConfigError`."""
    import yaml  # local: joining writes the example without it

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as e:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(e).split())}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: a policy is a mapping of rules, found {type(document).__name__}")
    lines = places(root)
    judged(path, document, RULES, lines, "")
    for name, rules in document.get("tables", {}).items():
        if not isinstance(rules, dict):
            raise ConfigError(
                f"{path} line {lines[f'tables.{name}']}: table {name!r} wants a mapping such as {{columns: [age], min_rows: 50}}"
            )
        judged(path, rules, TABLE_RULES, lines, f"tables.{name}.")
    if document.get("level", 0) not in (0, 1):
        raise ConfigError(f"{path} line {lines['level']}: level is {document['level']}; wanted 0 (statistics) or 1 (also built-in recipes)")
    tables = {
        str(name): TablePolicy(**{**rules, "columns": names(rules.get("columns", ()))}, line=lines[f"tables.{name}"])
        for name, rules in document.get("tables", {}).items()
    }
    rest = {name: value for name, value in document.items() if name not in ("recipes", "tables")}
    return Policy(path, recipes=names(document.get("recipes", ())), tables=tables, lines=lines, **rest)


def waive(path: Path, table: str, column: str, because: str) -> None:
    """Write into the policy that a column of a table may be read though it seems to name patients; the rest stays as it was written.

    Raises `ConfigError` where the file has a form that only a person should change, with the lines to add.
    """
    import json

    rules, lines = load(path), path.read_text().splitlines() if path.exists() else []
    entry = f"{json.dumps(column, ensure_ascii=False)}: {json.dumps(because, ensure_ascii=False)}"
    by_hand = f"add to {path.name} under tables: {table}: waived: {{{entry}}}"
    if table not in rules.tables:
        raise ConfigError(f"{path}: table {table!r} is not listed", hint=by_hand)
    below = rules.lines.get(f"tables.{table}.waived")
    at = below or rules.tables[table].line
    head = lines[at - 1]
    if head.split("#")[0].rstrip().endswith(":"):
        inner = next((line for line in lines[at:] if line.strip() and not line.lstrip().startswith("#")), "")
        indent = " " * (len(inner) - len(inner.lstrip()))
        new = [f"{indent}{entry}"] if below else [f"{indent}waived:", f"{indent}  {entry}"]
        made = "\n".join([*lines[:at], *new, *lines[at:]]) + "\n"
        try:
            if read(path, made).tables[table].waived == {**rules.tables[table].waived, column: because}:
                write(path, made.encode())
                return
        except ConfigError:
            pass
    raise ConfigError(f"{path} line {at}: this line is not changed by a program", hint=by_hand)


def terms(policy: Policy, table: str) -> tuple[Path | None, str, frozenset[str]]:
    """Who objected, as a file and as a column of the table, and which of its columns may be read though they seem to name patients."""
    rules = policy.tables.get(table, TablePolicy())
    file = policy.path.parent / policy.objections if policy.objections else None
    return file, rules.objected, frozenset(map(str, rules.waived))


def names(value: Any) -> tuple[str, ...]:
    """A list of names; `"*"` alone stands for all."""
    return (value,) if isinstance(value, str) else tuple(str(item) for item in value)


def judged(path: Path, found: dict[str, Any], rules: Mapping[str, Any], lines: Mapping[str, int], prefix: str) -> None:
    """Refuse rules that are not known or of another type: a rule with a slip of the pen protects nobody."""
    for name, value in found.items():
        where = f"{path} line {lines.get(f'{prefix}{name}', 0)}"
        if name not in rules:
            near = difflib.get_close_matches(str(name), rules, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known rules: {', '.join(rules)}"
            raise ConfigError(f"{where}: rule {name!r} is not known", hint=hint)
        if not isinstance(value, rules[name]) or (isinstance(value, bool) and rules[name] is not bool):
            raise ConfigError(f"{where}: {name} is {str(value)[:40]!r}; wanted {WORDS[rules[name]]}")
        if isinstance(value, str) and rules[name] == (list, str) and value != "*":
            raise ConfigError(f'{where}: {name} is {value!r}; wanted a list of names, or "*" for all')


def check(policy: Policy, study: Mapping[str, Any], table: str) -> TablePolicy:
    """What the policy allows of `table` to a study (a manifest as JSON). Raises `PolicyRefusal`, naming the rule that said no.

    It allows no study by itself: that takes the steward's approval (`invites`), or `auto_approve`.
    """
    title, method = repr(str(study["title"])), study["method"]
    if not policy.path.exists():
        raise PolicyRefusal(f"study {title} may not run: this site has no policy", hint=f"write {policy.path} first")
    if (wanted := LEVELS.get(method["kind"], 1)) > policy.level:
        raise PolicyRefusal(f"study {title} fits a model (level {wanted}), this site allows level {policy.level}; see {policy.at('level')}")
    recipe = str(method.get("recipe", method["kind"]))
    if wanted and "*" not in policy.recipes and recipe not in policy.recipes:
        raise PolicyRefusal(f"study {title} uses the recipe {recipe!r}, which this site does not allow; see {policy.at('recipes')}")
    if int(study["sites"]["minimum"]) < policy.min_sites:
        few = f"adds up as few as {study['sites']['minimum']} sites, this site joins sums of {policy.min_sites} or more"
        raise PolicyRefusal(f"study {title} {few}; see {policy.at('min_sites')}")
    rules = policy.tables.get(table)
    if rules is None:
        raise PolicyRefusal(f"study {title} would read a table that this site's policy does not list; see {policy.at('tables')}")
    if "*" not in rules.columns and (more := sorted(read_by(study) - set(rules.columns))):
        line = policy.lines.get(f"tables.{table}.columns", rules.line)
        unlisted = f"{', '.join(more)}, which this site's policy does not list"
        raise PolicyRefusal(f"study {title} reads {unlisted}; see {policy.path.name} line {line}")
    return rules


def chosen(policy: Policy, study: Mapping[str, Any], known: Sequence[str]) -> str:
    """The table for a study where nobody named one: the first of the site's that the policy lists and opens to it."""
    names = [name for name in known if name in policy.tables]
    for name in names:
        try:
            check(policy, study, name)
        except PolicyRefusal:
            continue
        return name
    return names[0] if names else ""


def check_rows(policy: Policy, study: Mapping[str, Any], table: str, rows: int) -> None:
    """Raise `PolicyRefusal` if the table has too few rows to hide one patient among them. Their number is not told."""
    rules = policy.tables[table]
    if 0 < rows < rules.min_rows:
        line = policy.lines.get(f"tables.{table}.min_rows", rules.line)
        fewer = f"finds fewer rows at this site than its policy wants ({rules.min_rows})"
        raise PolicyRefusal(f"study {str(study['title'])!r} {fewer}; see {policy.path.name} line {line}")


def read_by(study: Mapping[str, Any]) -> set[str]:
    """Every column that a study reads."""
    held = (study.get("held_out") or {}).get("column", "")
    return set(study["variables"]) | {name for name in (study.get("patient", ""), held) if name}
