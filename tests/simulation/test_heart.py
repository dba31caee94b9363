"""The demo's patients: mended as the published counts say, and refused when they are others."""

from pathlib import Path

import pytest

from collegium.errors import DataError, NotFound
from collegium.simulation import heart
from collegium.study import manifest

HEAD = "id,age,sex,dataset,cp,trestbps,chol,fbs,restecg,thalch,exang,oldpeak,slope,ca,thal,num"
ROWS = [
    "1,63,Male,Cleveland,typical angina,145,233,TRUE,lv hypertrophy,150,FALSE,2.3,downsloping,0,fixed defect,0",
    "304,28,Male,Cleveland,atypical angina,130,132,FALSE,lv hypertrophy,185,FALSE,0,,,,0",
    "598,32,Male,Switzerland,typical angina,0,0,,normal,127,FALSE,0.7,upsloping,,,1",
    "860,58,Male,VA Long Beach,asymptomatic,150,219,FALSE,st-t abnormality,118,TRUE,0,,,,2",
    "908,58,Male,VA Long Beach,asymptomatic,150,219,FALSE,st-t abnormality,118,TRUE,0,,,,2",
]


def test_what_is_known_to_be_wrong_is_mended():
    found = heart.mend(dict(zip(HEAD.split(","), row.split(","), strict=True)) for row in ROWS)
    assert {name: (len(one.rows), one.diseased) for name, one in found.items()} == {
        "cleveland": (1, 0), "hungary": (1, 0), "switzerland": (1, 1), "long-beach": (1, 1),
    }  # fmt: skip
    swiss = found["switzerland"].rows[0]
    assert (swiss["cholesterol"], swiss["resting_pressure"], swiss["high_blood_sugar"]) == ("", "", "")
    assert swiss["st_depression"] == "0.7"
    assert found["hungary"].rows[0]["st_depression"] == "0"  # a zero that is a measurement stays


def test_the_table_holds_what_the_study_asks_for():
    study = manifest.read(heart.study())
    found = heart.mend([dict(zip(HEAD.split(","), ROWS[0].split(","), strict=True))])
    row = found["cleveland"].rows[0]
    assert row.keys() == {*study.variables, study.patient}
    for name, variable in study.variables.items():
        assert not variable.categories or row[name] in variable.categories
    assert study.method.rounds == 50


def test_another_table_is_refused(tmp_path: Path):
    file = tmp_path / "heart_disease_uci.csv"
    file.write_text("\n".join([HEAD, *ROWS]))
    with pytest.raises(DataError, match="not the table that was examined"):
        heart.read(file)


def test_the_whole_table_where_it_is_installed():
    try:
        file = heart.path()
    except NotFound as e:
        pytest.skip(f"{e}: {heart.INSTALL}")
    found = heart.read(file)
    assert {name: (len(one.rows), one.diseased) for name, one in found.items()} == {
        "cleveland": (303, 139), "hungary": (293, 106), "switzerland": (123, 115), "long-beach": (199, 148),
    }  # fmt: skip
