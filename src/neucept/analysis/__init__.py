"""All that is known of one target, or of every class: `analyse` and `audit` measure it. Draws nothing."""

from neucept.analysis.analysis import Analysis, Reliability, TopInputs
from neucept.analysis.auditing import audit
from neucept.analysis.drifting import Drift, drift
from neucept.analysis.every_class import Audit
from neucept.analysis.measuring import analyse
from neucept.analysis.outcome import Outcome

__all__ = ["Analysis", "Audit", "Drift", "Outcome", "Reliability", "TopInputs", "analyse", "audit", "drift"]
