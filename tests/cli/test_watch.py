"""What a person sees of a run that goes on."""

from collegium.cli.shell import Screen
from collegium.cli.watch import Lines, board


def test_the_board_says_who_is_waited_for():
    status = {
        "status": "running",
        "stage": "fit",
        "round": 3,
        "sites": ["a", "b", "c"],
        "answered": [],
        "waiting": ["b"],
        "left": {"c": "no"},
    }
    assert board(status, {"says": "went on"}).splitlines() == [
        "running - fit, round 3",
        "a  waits",
        "b  computes",
        "c  left: no",
        "went on",
    ]


def test_an_event_is_a_line(capsys):
    event = {"at": "2026-01-02T03:04:05Z", "says": "round 1", "kind": "round", "id": 1}
    with Lines(Screen(), jsonl=False) as plain, Lines(Screen(), jsonl=True) as stream:
        plain.tell(event)
        stream.tell(event)
    shown = capsys.readouterr()
    assert shown.err == "03:04:05 round 1\n"
    assert '"schema_version": 1' in shown.out
