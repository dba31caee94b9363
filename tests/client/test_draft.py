"""A draft keeps its remarks when a person puts other words in; the command that writes one is tested in `tests/cli`."""

import pytest

from collegium.client import draft
from collegium.study import manifest


@pytest.mark.parametrize("says", ["Who comes back?", 'A "quoted" one: yes', "ümläut # no remark", "one\\n"])
def test_words_take_the_place_of_a_templates_however_many_lines_those_have(says: str):
    text = "# a remark\ntitle: folded\n  over lines\n  as YAML does\npurpose: P  # stays\nvariables:\n"
    found = draft.worded(text, "title", says)
    assert found.startswith("# a remark\ntitle: ")
    assert found.endswith("\npurpose: P  # stays\nvariables:\n")
    assert "folded" not in found


@pytest.mark.parametrize("name", draft.TEMPLATES)
def test_each_template_can_be_run_under_other_words(name: str):
    text = draft.worded(draft.worded(draft.begun("averaging", name, "s.yaml"), "title", "Ours"), "purpose", "To see: it works")
    study = manifest.read(text)
    assert (study.title, study.purpose) == ("Ours", "To see: it works")
