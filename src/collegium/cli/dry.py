"""`collegium study start --dry-run`: what would be asked of whom, and what each hospital would send, before anybody is asked."""

from collections.abc import Mapping, Sequence
from typing import Any

from collegium.cli.shell import Screen
from collegium.errors import ConflictError, NotFound
from collegium.study import manifest
from collegium.study.manifest import Study


def asked(screen: Screen, study: Study, joined: Sequence[Mapping[str, Any]], chosen: Sequence[str]) -> tuple[dict[str, Any], str]:
    """The document and the text. Raises `NotFound` and `ConflictError` where the coordinator would not start the run."""
    from collegium.study import outflow  # local: whoever starts a run for good does not wait for it
    from collegium.study.report.spoken import size

    sites = those(study, joined, chosen)
    steps = outflow.steps(study, sites=len(sites))
    most = outflow.added([step.sums for step in steps])
    document: dict[str, Any] = {
        "study": manifest.digest(study),
        "title": study.title,
        "sites": sites,
        "reads": [*study.variables],
        "steps": [
            {"name": one.name, "holds": one.held, "numbers": one.numbers, "nbytes": one.nbytes, "rounds": one.rounds} for one in steps
        ],
        "bytes": most,
        "started": False,
    }
    rows = [(step.name, size(step.nbytes), step.rounds, step.held) for step in steps]
    who = f", of patients told apart by {study.patient}" if study.patient else ""
    total = "How much that is in all cannot be told before" if most is None else f"That is at most {size(most)} from each hospital in all"
    parts = [
        f"{study.title}, digest {document['study'][:12]}: {len(sites)} of {len(joined)} hospitals would be asked, "
        f"{study.quorum} must answer a round.",
        screen.table([(one["name"], one["seen"], one["version"]) for one in sites], ("hospital", "last seen", "version")),
        screen.filled(f"Each reads {', '.join(study.variables)}{who}, if its policy says yes, and sends:"),
        screen.table(rows, ("step", "in a round, at most", "rounds, at most", "what its update holds")),
        screen.filled(f"{total}. Before the first sum of a step each also says how large its numbers are, roughly. No record is sent."),
        "Nothing was submitted or started.",
    ]
    return document, "\n\n".join(parts)


def those(study: Study, joined: Sequence[Mapping[str, Any]], chosen: Sequence[str]) -> list[dict[str, Any]]:
    """The sites that would take part."""
    known = {str(one["name"]): dict(one) for one in joined}
    if strange := sorted(set(chosen) - known.keys()):
        raise NotFound(f"no site {strange[0]!r} has joined", hint=f"joined are: {', '.join(sorted(known)) or 'none'}")
    names = sorted(set(chosen) or known)
    if len(names) < (least := max(study.sites.minimum, study.quorum)):
        says = f"the study needs {least} sites, {len(names)} would take part"
        raise ConflictError(says, hint="invite more with `collegium site invite`, or lower `sites: {minimum: ...}` in the manifest")
    return [known[name] for name in names]
