"""All that is known of one target, or of every class: `analyse` and `audit` measure it. Draws nothing."""

from neucept.analysis.analysis import Analysis, Reliability, TopInputs
from neucept.analysis.auditing import audit
from neucept.analysis.every_class import Audit, Outcome
from neucept.analysis.measuring import analyse

__all__ = ["Analysis", "Audit", "Outcome", "Reliability", "TopInputs", "analyse", "audit"]
