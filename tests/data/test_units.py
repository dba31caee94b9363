"""Units: what laboratories convert every day comes out as their tables have it, and nothing is converted by accident."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium.data import units
from collegium.data.units import conversion, rivals, substance
from collegium.errors import DataError

TABLE = [  # from, to, substance, the factor that laboratory handbooks print
    ("mg/dL", "umol/L", "creatinine", 88.4), ("mg/dL", "mmol/L", "glucose", 0.0555), ("mg/dL", "mmol/L", "cholesterol", 0.02586),
    ("mg/dL", "umol/L", "bilirubin", 17.1), ("g/dL", "mmol/L", "haemoglobin", 0.6206), ("mg/dL", "mmol/L", "urea", 0.1665),
    ("mg/dL", "mmol/L", "urea_nitrogen", 0.357), ("mg/dL", "mmol/L", "triglycerides", 0.01129), ("mg/dL", "umol/L", "uric_acid", 59.48),
    ("mg/dL", "mmol/L", "calcium", 0.2495), ("mg/dL", "mmol/L", "phosphate", 0.3229), ("meq/L", "mmol/L", "calcium", 0.5),
    ("mEq/L", "mmol/L", "potassium", 1), ("mg/dL", "mmol/L", "lactate", 0.111), ("ug/dL", "umol/L", "iron", 0.1791),
    ("pg/mL", "pmol/L", "nt_probnp", 0.1182), ("ng/mL", "nmol/L", "vitamin_d", 2.496), ("uIU/mL", "pmol/L", "insulin", 6.0),
    ("lb", "kg", "", 0.4536), ("inches", "cm", "", 2.54), ("mmHg", "kPa", "", 0.13332), ("10^9/L", "/uL", "", 1000),
    ("G/L", "10*9/L", "", 1),
    ("K/uL", "10*9/L", "", 1), ("U/L", "ukat/L", "", 0.016667), ("years", "months", "", 12), ("%", "1", "", 0.01), ("g/24h", "g/d", "", 1),
    ("mL/min/1.73m2", "mL/min", "", 1), ("kg/m²", "kg/m2", "", 1), ("µg/L", "ng/mL", "", 1),
]  # fmt: skip


@pytest.mark.parametrize(("found", "wanted", "of", "factor"), TABLE)
def test_a_factor_is_the_one_in_the_handbooks(found: str, wanted: str, of: str, factor: float):
    way, back = conversion(found, wanted, of), conversion(wanted, found, of)
    assert way.factor == pytest.approx(factor, rel=2e-3)
    assert way.factor * back.factor == pytest.approx(1)
    assert way.add == 0


def test_temperatures_and_glycated_haemoglobin_have_a_zero_of_their_own():
    assert conversion("[degF]", "Cel").apply(98.6) == pytest.approx(37)
    assert conversion("°C", "°F").apply(37) == pytest.approx(98.6)
    assert conversion("K", "Cel").apply(310.15) == pytest.approx(37)
    assert conversion("%", "mmol/mol", "hba1c").apply(6.5) == pytest.approx(47.5, abs=0.1)
    assert conversion("mmol/mol", "%", "hba1c").apply(48) == pytest.approx(6.54, abs=0.01)


@pytest.mark.parametrize(
    ("found", "wanted", "of", "says", "way"),
    [
        ("furlongs", "m", "", "'furlongs' is not a unit", "UCUM"),
        ("kg", "cm", "", "cannot be converted", "name the substance"),
        ("mg/dL", "mmol/L", "", "cannot be converted", "of: creatinine"),
        ("mg/dL", "mmol/L", "creatinin", "did you mean 'creatinine'", "sql"),
        ("mL", "d", "glucose", "for glucose", "sql"),
        ("K/L", "10*9/L", "", "cannot be converted", "sql"),
    ],
)
def test_what_cannot_be_converted_says_why(found: str, wanted: str, of: str, says: str, way: str):
    with pytest.raises(DataError, match=says) as caught:
        conversion(found, wanted, of)
    assert way in caught.value.hint


@pytest.mark.parametrize(
    ("name", "of"),
    [("Krea (mg/dl)", "creatinine"), ("bun", "urea_nitrogen"), ("Harnstoff", "urea"), ("Hb", "haemoglobin"),
     ("HDL-Cholesterin", "cholesterol"), ("camera", ""), ("age", ""), ("Kalium", "potassium")],
)  # fmt: skip
def test_a_substance_is_known_by_its_name(name: str, of: str):
    assert substance(name) == of


@given(st.sampled_from(list(TABLE)), st.floats(-1e6, 1e6))
def test_there_and_back_again(row: tuple[str, str, str, float], value: float):
    found, wanted, of, _ = row
    assert conversion(wanted, found, of).apply(conversion(found, wanted, of).apply(value)) == pytest.approx(value, abs=1e-6)


def test_every_family_converts_to_its_head_and_every_substance_has_a_mass():
    for family in units.FAMILIES:
        assert all(units.known(unit) for unit in family)
    assert [name for name, facts in units.SUBSTANCES.items() if name != "hba1c" and not facts.mass > 0] == []
    assert [said for _, said, _ in rivals("g/dL")][:1] == ["g/L"]
