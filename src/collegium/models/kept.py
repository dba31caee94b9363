"""What a site's agent keeps of a finished run, made into a model: `models/RUN` in the site's folder becomes one for `model use`.

The agent loads no array and so keeps the results as they came. The first who asks for the model adds weights, study and card
in the form that every model has.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from collegium import tree as T
from collegium import wire
from collegium.algorithms.compare import REASONS
from collegium.study import manifest

RESULTS, STUDY, RUN, CARD = "results.safetensors", "study.json", "run.json", "card.json"


def complete(folder: Path) -> bool:
    """Make a model of a kept run, if it is one that has none yet; whether `folder` holds a model now."""
    if (folder / CARD).is_file():
        return True
    if not ((folder / RESULTS).is_file() and (folder / STUDY).is_file()):
        return False
    from collegium.models.card import card
    from collegium.models.predict import save

    study, results = manifest.read((folder / STUDY).read_text()), wire.decode((folder / RESULTS).read_bytes())
    if "params" not in results.get("fit", {}):
        return False  # statistics leave no model
    made: dict[str, Any] = card(study, results, sites=hospitals(results), created=time.strftime("%d %B %Y"), first=first(folder))
    save(folder, study, results, made)
    return True


def first(folder: Path) -> str | None:
    """The digest of the weights that training began from, "" where they were drawn; None where an older agent did not keep it."""
    return str(json.loads((folder / RUN).read_text())["first"]) if (folder / RUN).is_file() else None


def hospitals(results: T.Tree) -> int:
    """How many hospitals the comparison counted; 0 where there was none, for the results do not say."""
    counted = results.get("compare", {}).get("sites", {})
    return sum(int(np.asarray(counted.get(name, 0))) for name in ("compared", *REASONS))


def found(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The folders below this one that hold a model, and the card of each; kept runs are made into models on the way."""
    for path in sorted(folder.rglob(RESULTS)):
        complete(path.parent)
    for path in sorted(folder.rglob(CARD)):
        try:
            card = json.loads(path.read_bytes())
            yield path.parent, {name: card[name] for name in ("title", "purpose", "created", "output", "trained_on", "quality")}
        except (ValueError, KeyError, TypeError):
            continue  # another program's card
