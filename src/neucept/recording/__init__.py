"""Record what named layers of a network do on inputs. Knows PyTorch, no statistics."""

from neucept.recording.record import list_layers, record
from neucept.recording.recording import Recording

__all__ = ["Recording", "list_layers", "record"]
