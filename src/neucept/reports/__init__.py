"""Reports: HTML files that draw an `Analysis` or a `Comparison`. Nothing here runs a model.

A report is a list of sections; a further one is an object with ``title``, ``anchor`` and ``render``, see `Section`.
"""

from neucept.reports.components import Html, tag, text
from neucept.reports.document import report
from neucept.reports.page import Section

__all__ = ["Html", "Section", "report", "tag", "text"]
