import io

from collegium.site.progress import Lines, fitting

KNOWN = {"title": "Readmission", "stages": ["features", "fit"]}


def said(*events):
    out = io.StringIO()
    lines = Lines(out, now=lambda: 0)
    for run, facts in events:
        lines(run, facts, KNOWN if run else {})
    lines.close()
    return [line.split(" ", 1)[1] for line in out.getvalue().splitlines()]


def test_one_line_for_each_event_that_matters():
    assert said(
        ("r", {"status": "running"}),
        ("r", {"stage": 1, "round": 1, "phase": "range", "doing": "computing"}),
        ("r", {"stage": 1, "round": 1, "phase": "sum", "doing": "computing"}),
        ("r", {"stage": 1, "round": 1, "phase": "sum", "doing": "computing"}),
        ("r", {"doing": "waiting"}),
        ("", {"says": "the coordinator can be reached again"}),
        ("r", {"trouble": "the disk is full"}),
        ("r", {"status": "left", "says": "no", "detail": "policy.yaml line 3"}),
        ("r", {"model": "/site/models/r"}),
        ("r", {"status": "finished", "says": "after 3 rounds"}),
    ) == [
        "study 'Readmission' takes part",
        "study 'Readmission': fit, round 1",
        "the coordinator can be reached again",
        "study 'Readmission': the disk is full",
        "study 'Readmission': this site does not take part: policy.yaml line 3",
        "study 'Readmission': the results are in /site/models/r",
        "study 'Readmission' is finished: after 3 rounds",
    ]


def test_a_log_gets_lines_and_a_terminal_a_table(monkeypatch):
    assert isinstance(fitting(io.StringIO()), Lines)

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    table = fitting(Terminal())
    table("r", {"stage": 1, "round": 2}, KNOWN | {"stage": 1, "round": 2, "doing": "computing"})
    table("r", {"trouble": "the disk is full"}, KNOWN)
    table.close()
