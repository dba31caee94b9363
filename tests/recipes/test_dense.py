from collegium.recipes import dense
from collegium.study import layers


def test_the_network_is_the_one_that_the_coordinator_started():
    module = dense.module_of(layers.first(6, (5, 4), 3, seed=8))
    assert {name.replace(".", "/"): tuple(p.shape) for name, p in module.named_parameters()} == layers.shapes(6, (5, 4), 3)


def test_ten_layers_stay_in_order():
    module = dense.module_of(layers.first(2, (3,) * 10, 1, seed=1))
    assert [name for name, _ in module.named_children()] == [str(n) for n in range(11)]
