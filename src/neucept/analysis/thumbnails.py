"""Small pictures and texts of all recorded inputs, kept with a run so that it can be drawn without the data."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from neucept import storage
from neucept.errors import InputError, missing
from neucept.inputs import Inputs
from neucept.progress import progress as show_progress

SIDE = 96  # pixels of the longer side
MOST = 20_000  # inputs that are kept; of more, a random sample
_KIND = "Thumbnails"
_QUALITY = 85


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """Pictures of at most 96 pixels, or texts, of n inputs; a data source for reports, and for nothing else.

    Attributes
    ----------
    content : array
        uint8: all pictures (JPEG or PNG) or texts (UTF-8), one after the other.
    ends : array
        (n,) int64: where that of each input ends.
    texts : bool
        Whether they are texts.

    Examples
    --------
    >>> inputs = Inputs.of(np.random.default_rng(0).random((5, 1, 8, 8), np.float32))
    >>> thumbnails = keep(inputs, progress=False)
    >>> len(thumbnails), thumbnails.picture(3).shape
    (5, (8, 8))
    """

    content: np.ndarray
    ends: np.ndarray
    texts: bool = False

    def __len__(self) -> int:
        return len(self.ends)

    def __repr__(self) -> str:
        return f"Thumbnails({len(self)} {'texts' if self.texts else 'pictures'}, {len(self.content) / 2**20:.1f} MB)"

    def __getitem__(self, row: int) -> Tensor:
        raise InputError("A run keeps pictures of its inputs, not the inputs: give data= where the network is run.")

    def _bytes(self, row: int) -> bytes:
        start = int(self.ends[row - 1]) if row else 0
        return bytes(self.content[start : int(self.ends[row])].tobytes())

    def picture(self, row: int) -> np.ndarray:
        """Input as a picture, uint8 (H, W) or (H, W, 3); gray where it was left out."""
        if self.texts:
            raise InputError("These inputs are texts, not pictures.")
        try:
            from PIL import Image
        except ImportError as error:
            raise missing("pillow", "report") from error
        held = self._bytes(row)
        if not held:
            return np.full((8, 8), 128, np.uint8)
        with Image.open(io.BytesIO(held), formats=["JPEG", "PNG"]) as image:
            if max(image.size) > SIDE:
                raise InputError(f"The picture of input {row} has {image.width} x {image.height} pixels: damaged.")
            return np.array(image.convert("L" if image.mode == "L" else "RGB"))

    def text(self, row: int) -> str | None:
        """Input as a text; None for pictures."""
        return self._bytes(row).decode("utf-8", "replace") if self.texts else None

    def save(self, path: str | Path) -> Path:
        """Write to a folder; `Thumbnails.open` reads it."""
        return storage.save(path, _KIND, {"texts": self.texts}, {"content": self.content, "ends": self.ends})

    @classmethod
    def open(cls, path: str | Path) -> Thumbnails:
        """Open what `save` wrote; the pictures stay on disk until they are used."""
        with storage.opened(path, _KIND, lazy=True) as (facts, arrays):
            content, ends = arrays["content"], np.asarray(arrays["ends"])
            if content.dtype != np.uint8 or (np.diff(ends, prepend=0) < 0).any() or ends[-1:].sum() != len(content):
                raise ValueError("the lengths of its parts")
            return cls(content, ends, bool(facts["texts"]))


def keep(inputs: Inputs, seed: int = 0, progress: bool = True) -> Thumbnails | None:
    """Make small pictures, or keep the texts, of all inputs; None for inputs that are neither.

    Of more than 20,000 inputs a random sample is kept.
    """
    n = len(inputs)
    if n == 0:
        return None
    as_text = inputs.text(0) is not None
    if not as_text and inputs.picture(0) is None:
        return None
    kept = np.arange(n) if n <= MOST else np.random.default_rng(seed).choice(n, MOST, replace=False)
    wanted, parts = np.zeros(n, bool), []
    wanted[kept] = True
    with show_progress("keeping small pictures of the inputs", len(kept), progress) as advance:
        for row in range(n):
            if wanted[row]:
                parts.append(str(inputs.text(row)).encode() if as_text else _encode(inputs.picture(row)))
                advance(1)
            else:
                parts.append(b"")
    content = np.frombuffer(b"".join(parts), np.uint8)
    return Thumbnails(content, np.cumsum([len(part) for part in parts], dtype=np.int64), as_text)


def _encode(picture: np.ndarray | None) -> bytes:
    """Encode a picture: without loss where that is small, as of digits and CIFAR-10."""
    from PIL import Image

    if picture is None:
        return b""
    image, buffer = Image.fromarray(picture), io.BytesIO()
    if max(image.size) <= SIDE // 2:
        image.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()
    if max(image.size) > SIDE:
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
