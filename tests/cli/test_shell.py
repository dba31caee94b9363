"""One sentence, a hint and an exit code for every kind of end; one JSON document where programs listen."""

import click
import pytest

from collegium import errors
from collegium.cli.shell import EXIT_CODES, Branch, Screen, Twig, columns, command, execute
from tests.cli.speak import speak


def failing(error: BaseException) -> click.Command:
    def fail(screen: Screen) -> None:
        """Fail."""
        raise error

    return command("fail", fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.RunError("the run failed"), 1),
        (errors.StudyError("no such field"), 2),
        (TimeoutError("not over after 3 s"), 3),
        (errors.LinkError("nobody answers"), 4),
        (errors.NotAllowed("not yours"), 5),
        (errors.NotFound("nothing there"), 6),
        (errors.ConflictError("already stopped"), 7),
        (errors.IdentityError("signature"), 8),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("boom"), 1),
    ],
)
def test_each_kind_of_end_has_its_exit_code(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]):
    assert execute(failing(error), []) == code
    assert code in EXIT_CODES
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.lstrip().startswith("error: ")
    assert "Traceback" not in shown.err


def test_every_error_of_the_tree_has_a_known_exit_code():
    kinds = [errors.CollegiumError, *errors.CollegiumError.__subclasses__()]
    assert {kind.exit_code for kind in kinds} <= EXIT_CODES.keys()


def test_a_program_gets_one_document(capsys: pytest.CaptureFixture[str]):
    import json

    assert execute(failing(errors.NotFound("no study 'x'", hint="collegium study list")), ["--json"]) == 6
    found = json.loads(capsys.readouterr().out)
    assert found == {
        "schema_version": 1, "status": "error", "exit_code": 6, "data": {}, "error_code": "not_found",
        "message": "no study 'x'", "hint": "collegium study list",
    }  # fmt: skip


def test_debug_shows_where_it_came_from(capsys: pytest.CaptureFixture[str]):
    execute(failing(ZeroDivisionError("boom")), ["--debug"])
    assert "Traceback" in capsys.readouterr().err


def test_a_wrong_command_line_says_what_was_meant():
    spoken = speak("stduy", "list")
    assert spoken.code == 2
    assert "did you mean 'study'?" in spoken.err
    assert "hint: collegium --help" in spoken.err
    assert speak("version", "--jsn").code == 2


def test_options_stand_before_or_after_the_command():
    assert speak("--json", "version").document == speak("version", "--json").document


def test_nothing_is_done_without_an_answer():
    asked = Screen()
    with pytest.raises(errors.CollegiumError, match="Nobody is here to answer"):
        asked.agreed("Stop it?")
    Screen(yes=True).agreed("Stop it?")


def test_notes_are_beside_the_data(capsys: pytest.CaptureFixture[str]):
    Screen().note("round 3")
    Screen(quiet=True).note("round 4")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "round 3\n")


def test_tables_are_aligned_and_may_be_empty():
    assert columns([]) == ""
    assert columns([("a", 1.5), ("long", None)], ("name", "n")).splitlines() == ["name    n", "a     1.5", "long    -"]


def test_a_cell_cannot_move_the_cursor():
    assert columns([("\x1b[2Jtitle\nmore", 1)]) == " [2Jtitle more  1"


def test_a_branch_names_its_twigs():
    branch = Branch("b", "A branch.", {"t": Twig("collegium.cli.about:version", "A twig.")})
    ctx = click.Context(branch.build())
    assert branch.build().list_commands(ctx) == ["t"]
