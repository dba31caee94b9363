"""Lines of the fields of a YAML file."""

import yaml

from collegium.study.places import places


def test_every_key_has_its_line():
    root = yaml.compose("a: 1\nb:\n  c: {d: 2}\n  e: [1]\n", Loader=yaml.SafeLoader)
    assert places(root) == {"a": 1, "b": 2, "b.c": 3, "b.c.d": 3, "b.e": 4}
    assert places(None) == {}
