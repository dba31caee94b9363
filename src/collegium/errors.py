"""Every error a user can meet: what happened, and the way out.

* CollegiumError                 base of all errors raised on purpose; `.hint` says what to try
  - StudyError                   the manifest cannot be run as written: mend the file
  - DataError                    a site's table does not fit the study: mend the mapping or the table
  - UpdateError                  an update cannot be added to the round's sum
  - FrameError                   bytes that are not a frame of arrays: cut short, altered or hostile
  - RunError                     a run stopped: too few sites, too many clipped entries, a failed step
  - PolicyRefusal                a hospital's own rules said no; not a fault
  - IdentityError                a key, a signature or a join code is wrong, used or out of date
  - NotAllowed                   a known person or site asked for what its role does not give
  - NotFound                     no study, run, site, model or file of that name
  - ConflictError                the thing is in another state than the request needs
  - LinkError                    the coordinator, or a hospital's database, cannot be reached; names what failed
  - StorageError                 the disk is full, read-only or damaged

Each class has a stable `code` for machines and an `exit_code` for the command line.
"""


class CollegiumError(Exception):
    """Base of all errors raised on purpose: a sentence that names place, found and wanted, and a hint."""

    code, exit_code = "failed", 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class StudyError(CollegiumError):
    """The study manifest cannot be run as written."""

    code, exit_code = "study", 2


class DataError(CollegiumError):
    """A site's table does not fit the study's schema."""

    code = "data"


class UpdateError(CollegiumError):
    """A site's update does not have the form that the round asked for."""

    code = "update"


class FrameError(CollegiumError):
    """These bytes are not a whole, well-formed frame of arrays."""

    code, exit_code = "frame", 8


class RunError(CollegiumError):
    """A run stopped before its end; what it had learned is kept."""

    code = "run"


class PolicyRefusal(CollegiumError):
    """The site's own policy does not allow this."""

    code, exit_code = "refused", 5


class IdentityError(CollegiumError):
    """A key, signature or join code does not hold."""

    code, exit_code = "identity", 8


class NotAllowed(CollegiumError):
    """The caller is known, but may not do this."""

    code, exit_code = "not_allowed", 5


class NotFound(CollegiumError):
    """There is nothing of that name here."""

    code, exit_code = "not_found", 6


class ConflictError(CollegiumError):
    """The thing asked for is in another state than the request needs."""

    code, exit_code = "conflict", 7


class LinkError(CollegiumError):
    """The coordinator, or a hospital's own database, cannot be reached; the message names the hop that failed."""

    code, exit_code = "link", 4


class StorageError(CollegiumError):
    """The disk is full, read-only or damaged."""

    code = "storage"


def by_code(code: str) -> type[CollegiumError]:
    """The class whose stable code this is; the base class for a code of a later version."""
    return next((kind for kind in CollegiumError.__subclasses__() if kind.code == code), CollegiumError)
