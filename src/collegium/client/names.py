"""Names cut short: the first letters of a study or a run are enough, as long as only one begins so."""

import difflib
from collections.abc import Iterable

from collegium.errors import ConflictError, NotFound


def pick(text: str, known: Iterable[str], what: str) -> str:
    """The one known name that `text` is or begins. Raises `NotFound` or `ConflictError` with what may have been meant.

    >>> pick("4a", ["4a81", "77e0"], "run")
    '4a81'
    """
    names = sorted(known)
    if text in names:
        return text
    found = [name for name in names if name.startswith(text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConflictError(f"{text!r} may be {' or '.join(found[:5])}", hint="write a few letters more")
    near = difflib.get_close_matches(text, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names[:10])}" if names else f"there is no {what} yet"
    raise NotFound(f"there is no {what} {text!r}", hint=hint)
