import re

from collegium.charts import Bar, bars, numbers
from collegium.study.report.document import HALF, NARROW, WIDE
from collegium.study.report.drawn import drawing


def width(svg):
    return int(re.search(r'width="(\d+)"', svg)[1])


def test_a_chart_is_drawn_once_for_each_screen():
    items = [Bar("sent", 41.0)]
    for half, wide in ((False, WIDE), (True, HALF)):
        found = drawing(bars, items, title="Cost", numbers=numbers(items), half=half)
        assert (width(found.wide), width(found.narrow)) == (wide, NARROW)
        assert found.half == half
