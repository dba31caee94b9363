"""Python runs this file at the start of every process whose PYTHONPATH names this folder: the benchmarks' sites, nobody else.

It puts `still.py` in the place of the tabular recipe and leaves everything else as it is installed, so that a benchmark runs
the real commands.
"""

import os
import sys
from typing import Any


class Still:
    """Finds one module elsewhere."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        if name != "collegium.recipes.tabular":
            return None
        from importlib.util import spec_from_file_location

        return spec_from_file_location(name, os.path.join(os.path.dirname(__file__), "still.py"))


sys.meta_path.insert(0, Still)
