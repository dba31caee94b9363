"""First weights for a study that trains: a model's folder, or a safetensors file with the layers of the study's model.

What comes from a model's folder brings what its inputs were prepared by, and is carried over to what the new run finds; the bare
weights of a file are taken as they are.
"""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import blake3

from collegium import tree as T
from collegium import wire
from collegium.errors import FrameError, NotFound, StudyError
from collegium.models.kept import complete
from collegium.study.manifest import Study
from collegium.study.plan import brought
from collegium.study.schema import Variable

PIECE = 4 << 20


class First(NamedTuple):
    """The file that is brought to the coordinator, and what is in it."""

    path: Path
    given: dict[str, T.Tree]

    @property
    def digest(self) -> str:
        """The file's name at the coordinator."""
        whole = blake3.blake3()
        for _, piece in self.pieces():
            whole.update(piece)
        return whole.hexdigest()

    def pieces(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """The file from a byte on, never whole in memory: where each piece starts, and its bytes."""
        with self.path.open("rb") as file:
            file.seek(start)
            while piece := file.read(PIECE):
                yield start, piece
                start += len(piece)


def first(source: str | os.PathLike[str], study: Study) -> First:
    """First weights, checked against a study. Raises `NotFound`, `FrameError`, and `StudyError` that names the first thing at fault."""
    path = Path(source)
    if path.is_dir():
        path = model(path, study)
    try:
        with path.open("rb") as file:
            held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # a model may be larger than memory
        tree = wire.decode(memoryview(held))
    except (OSError, ValueError) as e:
        why = e.strerror if isinstance(e, OSError) else "it is empty"
        raise NotFound(
            f"the first weights {str(path)!r} cannot be read: {why}", hint="give a model's folder, or a safetensors file"
        ) from None
    except FrameError as e:
        raise FrameError(f"{path.name} holds no weights that can be read: {e}", hint="give a safetensors file") from None
    return First(path, brought(study, tree))


def model(folder: Path, study: Study) -> Path:
    """The weights of a model's folder, whose files are checked, and whose inputs must be the study's."""
    from collegium.models import predict

    complete(folder)
    found = predict.load(folder)
    mine, theirs = (inputs(one) for one in (study, found.study))
    for name in [*mine, *theirs]:
        if mine.get(name) != theirs.get(name):
            at, to = (told(one.get(name)) for one in (theirs, mine))
            says = f"first weights: the input {name!r} is {at} in the model of {found.study.title!r}, and {to} in the study"
            raise StudyError(says, hint="start from a model of the same inputs")
    return folder / predict.WEIGHTS


def inputs(study: Study) -> dict[str, Variable]:
    """What the model of a study reads, as far as the meaning of a weight goes."""
    plain = {"low": None, "high": None, "meaning": "", "required": True}
    return {name: study.variables[name].model_copy(update=plain) for name in study.features}


def told(variable: Variable | None) -> str:
    """A variable in an error."""
    if variable is None:
        return "absent"
    listed = f" of {', '.join(variable.categories)}" if variable.categories else ""
    return f"a {variable.kind}{listed}{f' in {variable.unit}' if variable.unit else ''}"
