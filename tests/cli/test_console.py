"""What a console says in the terminal; its pages are tested where they are made."""

import pytest

from collegium.cli.console import announced
from tests.cli.speak import speak


class Told:
    lively = True

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize("no_browser", [True, False])
def test_each_link_is_printed_and_the_first_is_opened(monkeypatch: pytest.MonkeyPatch, no_browser: bool):
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    screen = Told()
    say = announced(screen, no_browser)  # type: ignore[arg-type]
    say("http://127.0.0.1:1/enter?link=a")
    say("http://127.0.0.1:1/enter?link=b")
    assert opened == ([] if no_browser else ["http://127.0.0.1:1/enter?link=a"])
    assert ["=a" in screen.notes[0], "=b" in screen.notes[1]] == [True, True]


def test_a_folder_that_is_none_is_said(tmp_path: object):
    assert speak("site", "console", "--folder", tmp_path, "--no-browser").code != 0
    assert speak("console", "--folder", tmp_path, "--no-browser").code == 6
