"""Simulated studies under masks: the results of those without, bytes and all."""

import numpy as np
import pytest

import collegium
from collegium import tree as T
from collegium.errors import IdentityError, StudyError
from collegium.privacy import ring

STUDY = {
    "title": "Age", "purpose": "A test.", "method": {"kind": "glm"}, "held_out": {"test": 3}, "sites": {"minimum": 1},
    "variables": {"age": {"kind": "number"}, "sex": {"kind": "category", "categories": ["F", "M"]}, "ill": {"kind": "binary"}},
    "outcome": {"task": "binary", "target": "ill"},
}  # fmt: skip
METHODS = {
    "glm": {"kind": "glm"},
    "averaging": {"kind": "averaging", "hidden": [3], "rounds": 5, "local": {"steps": 2}},
    "sixteen bits": {"kind": "averaging", "hidden": [3], "rounds": 5, "local": {"steps": 2}, "bits": 16},
    "statistics": {"kind": "statistics", "correlations": True},
}


def hospitals(count):
    rng = np.random.default_rng(7)
    ages = [rng.normal(60, 10, 30 + 7 * (n % 5)) for n in range(count)]
    return {
        f"h{n:03}": {
            "age": age, "sex": np.where(rng.random(len(age)) < 0.5, "F", "M"),
            "ill": (rng.random(len(age)) < 1 / (1 + np.exp(-(age - 60) / 8))).astype(float),
        }
        for n, age in enumerate(ages)
    }  # fmt: skip


def both(study, sites):
    """The run without masks and with them, after the same results were seen of both."""
    plain, masked = (collegium.simulate(study, sites, pooled=False, secure=secure) for secure in (False, True))
    before, after = T.flatten(plain.trees), T.flatten(masked.trees)
    assert before.keys() == after.keys()
    for name, leaf in before.items():
        np.testing.assert_array_equal(np.asarray(after[name]), np.asarray(leaf), err_msg=name)
    assert "secure" not in plain.run
    return masked.run["secure"]


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_results_are_the_bytes_of_a_run_without_masks(method):
    spent = both(STUDY | {"method": method}, hospitals(5))
    assert spent["cohorts"] == 1
    assert spent["badge"].startswith("protects against the coordinator, even if it lies and 2 of the other sites help it")
    assert spent["rounds"] > 2
    assert spent["bytes_a_site_and_round"] > 100
    assert spent["seconds"] > 0


def test_keys_are_made_anew_when_an_epoch_has_used_them(monkeypatch):
    spent = both(STUDY | {"privacy": {"epoch": 2}}, hospitals(3))
    assert spent["rounds"] > 4


def test_more_sites_than_one_sum_takes_are_summed_by_cohorts():
    spent = both(STUDY | {"privacy": {"cohort": 8, "because": "to see how a large federation is cut"}}, hospitals(9))
    assert spent["cohorts"] == 2
    assert "the coordinator sees the sums of 2 cohorts, this one of 4 sites" in spent["badge"]


@pytest.mark.parametrize("cohort", [{}, {"cohort": 8, "because": "to see how a large federation is cut"}])
def test_sums_that_sites_check_are_the_same_bytes(cohort):
    assert both(STUDY | {"sites": {"minimum": 3}, "privacy": {"verified": True, **cohort}}, hospitals(9))["cohorts"] == (2 if cohort else 1)


def test_a_sum_that_is_altered_is_found_by_the_first_site_that_checks_it(monkeypatch):
    honest = ring.add

    def lying(total, vector, start, layout):
        honest(total, vector, start, layout)
        total[:8].view("<u8")[:] += 1

    monkeypatch.setattr(ring, "add", lying)
    with pytest.raises(IdentityError, match="the sum is not that of the vectors that were sent"):
        collegium.simulate(STUDY | {"sites": {"minimum": 3}, "privacy": {"verified": True}}, hospitals(3), pooled=False, secure=True)


def test_a_single_site_has_nobody_to_hide_among():
    with pytest.raises(StudyError, match="a secure sum needs three sites, found 1"):
        collegium.simulate(STUDY, hospitals(1), pooled=False, secure=True)


def test_two_sites_hide_from_the_coordinator_alone():
    assert both(STUDY, hospitals(2))["badge"].startswith("protects against the coordinator only")
