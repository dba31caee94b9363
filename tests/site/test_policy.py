import json

import pytest

from collegium.errors import PolicyRefusal
from collegium.site import policy
from collegium.site.config import ConfigError
from collegium.study import manifest

STUDY = json.loads(manifest.signed(manifest.read(manifest.EXAMPLE)))
RULES = """level: 1
recipes: [tabular]
min_sites: 3
auto_approve: true
tables:
  stays:
    columns: [age, sex, readmitted, patient_id]
    min_rows: 50
"""


def allowed(tmp_path, rules=RULES, study=STUDY, table="stays"):
    path = tmp_path / "policy.yaml"
    path.write_text(rules)
    return policy.check(policy.load(path), study, table)


def test_what_the_policy_lists_is_allowed(tmp_path):
    assert allowed(tmp_path).min_rows == 50
    assert allowed(tmp_path, RULES.replace("[tabular]", '"*"').replace("[age, sex, readmitted, patient_id]", '"*"'))
    assert allowed(tmp_path, RULES.replace("auto_approve: true", "min_verified: 2"))  # whether it was approved is asked elsewhere


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("level: 1", "level: 0"), "fits a model (level 1), this site allows level 0; see policy.yaml line 1"),
        (("level: 1\n", ""), "this site allows level -1; see policy.yaml, which does not set 'level'"),
        (("[tabular]", "[readmission]"), "uses the recipe 'tabular', which this site does not allow; see policy.yaml line 2"),
        (("min_sites: 3", "min_sites: 4"), "adds up as few as 3 sites, this site joins sums of 4 or more; see policy.yaml line 3"),
        (("  stays", "  labs"), "would read a table that this site's policy does not list; see policy.yaml line 5"),
        (
            ("[age, sex, readmitted, patient_id]", "[age, sex]"),
            "reads patient_id, readmitted, which this site's policy does not list",
        ),
    ],
)
def test_what_it_does_not_list_is_refused_by_rule_and_line(tmp_path, change, words):
    with pytest.raises(PolicyRefusal) as caught:
        allowed(tmp_path, RULES.replace(*change))
    assert words in str(caught.value)
    assert "Thirty-day readmission" in str(caught.value)


def test_without_a_policy_and_by_the_example_nothing_runs(tmp_path):
    with pytest.raises(PolicyRefusal, match="has no policy"):
        policy.check(policy.load(tmp_path / "policy.yaml"), STUDY, "stays")
    with pytest.raises(PolicyRefusal, match="would read a table"):
        allowed(tmp_path, policy.EXAMPLE)
    with pytest.raises(PolicyRefusal):
        allowed(tmp_path, "")


def test_statistics_are_level_0_and_need_no_recipe(tmp_path):
    statistics = STUDY | {"method": {"kind": "statistics"}}
    assert allowed(tmp_path, RULES.replace("level: 1", "level: 0").replace("recipes: [tabular]\n", ""), statistics)


def test_few_rows_are_refused_without_their_number_and_none_are_fine(tmp_path):
    (tmp_path / "policy.yaml").write_text(RULES)
    rules = policy.load(tmp_path / "policy.yaml")
    with pytest.raises(PolicyRefusal, match=r"fewer rows at this site than its policy wants \(50\); see policy.yaml line 8") as caught:
        policy.check_rows(rules, STUDY, "stays", 17)
    assert "17" not in str(caught.value)
    policy.check_rows(rules, STUDY, "stays", 50)
    policy.check_rows(rules, STUDY, "stays", 0)


@pytest.mark.parametrize(
    ("rules", "words", "hint"),
    [
        ("levle: 1", "line 1: rule 'levle' is not known", "did you mean 'level'?"),
        ("auto_accept: true", "line 1: rule 'auto_accept' is not known", "did you mean 'auto_approve'?"),
        ("min_verified: all", "line 1: min_verified is 'all'; wanted a whole number", ""),
        ("level: 2", "line 1: level is 2; wanted 0", ""),
        ("level: yes", "line 1: level is 'True'; wanted a whole number", ""),
        ("level: 1\nrecipes: tabular", "line 2: recipes is 'tabular'; wanted a list of names", ""),
        ("tables:\n  stays:\n    colums: [age]", "line 3: rule 'colums' is not known", "did you mean 'columns'?"),
        ("tables:\n  stays: all", "line 2: table 'stays' wants a mapping", ""),
        ("- level", "a policy is a mapping of rules, found list", ""),
        ("level: [", "not YAML", ""),
    ],
)
def test_a_slip_in_the_policy_is_named_with_its_line(tmp_path, rules, words, hint):
    (tmp_path / "policy.yaml").write_text(rules)
    with pytest.raises(ConfigError) as caught:
        policy.load(tmp_path / "policy.yaml")
    assert words in str(caught.value)
    assert hint in caught.value.hint


def test_a_waiver_is_written_between_the_lines_and_the_rest_stays(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(RULES.replace("  stays:", "  stays:   # the ward system") + "  # the end\n")
    policy.waive(path, "stays", "plz 3", "three digits: nobody")
    policy.waive(path, "stays", "note", 'he said "yes"')
    assert dict(policy.load(path).tables["stays"].waived) == {"plz 3": "three digits: nobody", "note": 'he said "yes"'}
    assert policy.terms(policy.load(path), "stays") == (None, "", frozenset({"plz 3", "note"}))
    kept = [line for line in path.read_text().splitlines() if "waived" not in line and "plz" not in line and "note" not in line]
    assert kept == (RULES.replace("  stays:", "  stays:   # the ward system") + "  # the end\n").splitlines()


def test_a_policy_in_another_form_is_left_to_a_person(tmp_path):
    path = tmp_path / "policy.yaml"
    for rules in ("tables: {stays: {columns: [age]}}\n", "tables:\n  stays: {columns: [age]}\n", "level: 1\n"):
        path.write_text(rules)
        with pytest.raises(ConfigError) as caught:
            policy.waive(path, "stays", "plz", "no one")
        assert caught.value.hint == 'add to policy.yaml under tables: stays: waived: {"plz": "no one"}'
        assert path.read_text() == rules


def test_objections_are_a_file_beside_the_policy_or_a_column(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("objections: no.txt\n" + RULES + "    objected: opt_out\n")
    assert policy.terms(policy.load(path), "stays") == (tmp_path / "no.txt", "opt_out", frozenset())
    assert policy.terms(policy.load(path), "labs") == (tmp_path / "no.txt", "", frozenset())
    path.write_text("objections: [a]\n")
    with pytest.raises(ConfigError, match=r"line 1: objections is .* wanted a text"):
        policy.load(path)
