"""From a clinical question to a study that hospitals are asked for: a draft, its check in words, its start."""

from pathlib import Path
from typing import Any

from collegium.client import draft
from collegium.client.network import Network
from collegium.errors import CollegiumError, DataError
from collegium.study import manifest
from collegium.study.outflow import added, steps
from collegium.study.plan import stages
from collegium.web.app import Ask, Go, Shown
from collegium.words import words

KINDS = {
    "averaging": "A score, by training in rounds: a regression or a network", "trees": "A score, by boosted trees",
    "glm": "What goes with the outcome: a regression with standard errors", "cox": "What goes with the time until an event: hazard ratios",
    "survival": "Who lives longer: survival curves and their comparison",
}  # fmt: skip


def blank(network: Network, ask: Ask) -> Shown:
    """Where a draft begins: a template, or the columns of a file."""
    return Shown("new.html", {"templates": draft.TEMPLATES, "kinds": KINDS})


def drafted(network: Network, ask: Ask) -> Shown:
    """A draft of a template or of a file's columns, to be read and mended."""
    file, form = ask.form.get("file", "").strip(), ask.form
    path = Path(file).expanduser() if file else None
    if path and not path.is_file():
        raise DataError(f"there is no file {file[:200]!r} on this machine", hint="go back and check its path")
    columns = {name: form.get(name, "").strip() or None for name in ("target", "time", "patient")}
    kind, template = form.get("kind") or draft.KINDS[0], form.get("template") or draft.TEMPLATES[0]
    text = draft.begun(kind, template, "study.yaml", path, **columns)
    for name in ("title", "purpose"):
        if given := " ".join(form.get(name, "").split()):
            text = draft.worded(text, name, given)
    return edited(network, text)


def edited(network: Network, text: str) -> Shown:
    """A draft with what is wrong in it, or what it asks of hospitals."""
    trouble, facts = "", dict[str, Any]()
    try:
        study = manifest.read(text)
        sent = steps(study, sites=max(len(network.sites()), study.sites.minimum))
        plan = [(stage.name, stage.rounds) for stage in stages(study)]
        facts = {
            "digest": manifest.digest(study), "words": words(manifest.digest(study)), "asks": draft.said(study), "secure": study.secure,
            "minimum": study.sites.minimum, "bytes": added([step.whole for step in sent]), "rounds": sum(rounds for _, rounds in plan),
            "reads": [(name, v.kind, v.unit or ", ".join(v.categories[:6]), v.meaning) for name, v in study.variables.items()],
        }  # fmt: skip
    except CollegiumError as e:
        trouble = f"{e}{f' ({e.hint})' if e.hint else ''}"
    return Shown("draft.html", {"text": text, "trouble": trouble, "study": facts, "sites": [one["name"] for one in network.sites()]})


def checked(network: Network, ask: Ask) -> Shown:
    """The draft as it was mended."""
    return edited(network, ask.form.get("manifest", "").replace("\r\n", "\n"))


def started(network: Network, ask: Ask) -> Shown | Go:
    """Submit a study, sign its participants, begin its run."""
    text, sites = ask.form.get("manifest", "").replace("\r\n", "\n"), list(ask.many.get("site", ()))
    study = manifest.read(text)
    if ask.form.get("digest") != manifest.digest(study):
        return edited(network, text)  # changed since it was shown: what is started has been read
    if len(sites) < study.sites.minimum:
        raise DataError(f"{len(sites)} hospitals are ticked, the study wants at least {study.sites.minimum}", hint="go back and tick more")
    run = network.start(study, sites)
    told = f"It has begun. Read these words to each hospital's data steward: {words(manifest.digest(study))}"
    return Go(f"/studies/{run.name}", told)
