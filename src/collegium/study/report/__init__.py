"""The report of a run, for a doctor and a data-protection officer: one HTML file that needs nothing else, and the same in text.

`Record` gathers what is known, a module for each subject makes sections of it, and `page` or `plain` shows them. What a run
did not measure is said to be not measured; a small group of patients is hidden wherever it could be worked out.
"""

from collegium.study.report.page import html
from collegium.study.report.plain import text

__all__ = ["html", "text"]
