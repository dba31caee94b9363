"""What boosted trees go by: each variable's share of all that splits gained, as a chart and a table."""

from collegium.algorithms.forest import importance
from collegium.charts import Bar, bars, written
from collegium.charts import numbers as as_table
from collegium.study.manifest import Trees
from collegium.study.plan import column
from collegium.study.report.document import Block, Grid, Record, Say, Section
from collegium.study.report.drawn import drawing
from collegium.study.report.spoken import counted, share

MOST = 30  # variables in the chart
MEANING = (
    "Every split of a tree makes the estimates fit better; a variable's share says how much of that came from splits that ask for it. "
    "It is about this model, and no sign of a cause: of two variables that tell the same, one may take all of it. Variables with "
    "many values, and rare categories, tend to look more important than they are."
)


def what_it_goes_by(record: Record, method: Trees) -> Section:
    """The section, whether or not there are trees."""
    title = "What does the model go by?"
    fit = record.results.get("fit")
    if not fit:
        return Section("importance", title, [Say(f"Not measured: the run {record.stands}, and there are no trees.")])
    found = importance([column(name, record.study.variables[name]) for name in record.study.features], fit)
    asked = [one for one in found if one[2]]
    trees = fit["params"]["feature"].shape
    grown = f"{counted(trees[0] * trees[1], 'tree')} of depth {method.depth} at most, grown in {counted(int(fit['rounds']), 'round')}."
    blocks: list[Block] = [Say(f"{grown} {MEANING}")]
    if not asked:
        return Section("importance", title, [*blocks, Say("No split was worth making: every patient gets the same estimate.", "warning")])
    shown = [Bar(name, 100 * part) for name, part, _ in asked[:MOST]]
    note = f"Shown are the first {MOST}; the table has all." if len(asked) > MOST else ""
    numbers = as_table(shown, places=1, head={"label": "Variable", "value": "Share of the gain, %"})
    chart = drawing(bars, shown, title="Share of the gain", numbers=numbers, note=note, x_label="% of the gain", places=1)
    rows = [[name, share(part, 1), written(uses, 0)] for name, part, uses in asked]
    never = [name for name, _, uses in found if not uses]
    rest = f"Never asked: {', '.join(never)}." if never else ""
    return Section("importance", title, [*blocks, chart, Grid("Variables", ["Variable", "Share of the gain", "Splits"], rows, note=rest)])
