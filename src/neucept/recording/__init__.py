"""Record what named layers of a network do on inputs. Knows PyTorch, no statistics.

Beside it, what runs a network from a layer on: `tail`, the part after a layer, and `agreement`, the share of
predictions that hold with some of a layer's neurons replaced.
"""

from neucept.recording.intervention import agreement
from neucept.recording.recorder import list_layers, record
from neucept.recording.recording import Recording
from neucept.recording.subnetwork import tail
from neucept.recording.task import Binary, Classes, MultiLabel, Regression, Scores, Task
from neucept.recording.units import Auto, Channels, Elements, Encoder, Token, Units

__all__ = [
    "Auto",
    "Binary",
    "Channels",
    "Classes",
    "Elements",
    "Encoder",
    "MultiLabel",
    "Recording",
    "Regression",
    "Scores",
    "Task",
    "Token",
    "Units",
    "agreement",
    "list_layers",
    "record",
    "tail",
]
