"""Padding is no token: the neurons of a text are the same in any batch, however its mask is called and written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import neucept
from neucept.recording import Token

DRAWS = torch.Generator().manual_seed(0)
TEXTS = [torch.randint(2, 50, (int(n),), generator=DRAWS) for n in torch.randint(3, 20, (24,), generator=DRAWS)]
Make = Callable[[Tensor, Tensor], Any]


class Reader(nn.Module):
    """A text network that reads the last token, and takes anything beside the numbers of its tokens."""

    def __init__(self, padding: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.decoder = nn.Embedding(50, 8, padding_idx=padding), nn.Linear(8, 8)
        self.hidden, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **rest: Tensor) -> Tensor:
        """Return logits."""
        if "decoder_input_ids" in rest:
            self.decoder(self.embedding(rest["decoder_input_ids"]))
        return self.head(self.hidden(self.embedding(input_ids))[:, 0])


def batches(size: int, make: Make, left: bool) -> DataLoader[Any]:
    def collate(items: list[Tensor]) -> Any:
        longest = max(map(len, items))
        ids, mask = torch.zeros(2, len(items), longest, dtype=torch.long)
        for row, text in enumerate(items):
            place = slice(longest - len(text), longest) if left else slice(0, len(text))
            ids[row, place], mask[row, place] = text, 1
        return make(ids, mask)

    return DataLoader(TEXTS, size, collate_fn=collate)  # type: ignore[arg-type]


def check(make: Make, layer: str = "hidden", left: bool = False, padding: int | None = None, **settings: Any) -> None:
    one, many = (
        neucept.record(Reader(padding), batches(size, make, left), [layer], progress=False, **settings)
        for size in (1, 8)
    )
    np.testing.assert_allclose(one.activations(layer), many.activations(layer), atol=1e-5)
    assert np.abs(one.activations(layer)).min(axis=1).max() > 0


MASKS: dict[str, Make] = {
    "attention_mask": lambda ids, mask: mask,
    "mask": lambda ids, mask: mask.bool(),
    "input_mask": lambda ids, mask: mask.float(),
    "token_mask": lambda ids, mask: mask,
    "key_padding_mask": lambda ids, mask: mask == 0,
    "padding_mask": lambda ids, mask: mask,
    "pad_mask": lambda ids, mask: mask == 0,
    "lengths": lambda ids, mask: mask.sum(1),
    "attention_mask: added": lambda ids, mask: (1.0 - mask) * -1e4,
    "attention_mask: added to 4-D scores": lambda ids, mask: (1.0 - mask[:, None, None, :]) * -1e9,
    "attention_mask: 3-D": lambda ids, mask: mask[:, None, :],
    "attention_mask: causal": lambda ids, mask: (
        mask.bool()[:, None, None] & torch.ones(1, 1, *[mask.shape[1]] * 2).tril().bool()
    ),
}


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("name", MASKS)
def test_a_mask_of_any_name_and_type(name: str, left: bool) -> None:
    if name == "lengths" and left:
        pytest.skip("lengths say that padding is on the right")
    key = name.partition(":")[0]
    check(lambda ids, mask: {"input_ids": ids, key: MASKS[name](ids, mask)}, left=left)


def test_a_padding_mask_that_hides() -> None:
    check(lambda ids, mask: {"input_ids": ids, "padding_mask": mask == 0})


def test_the_padding_number_of_an_embedding() -> None:
    check(lambda ids, mask: {"input_ids": ids, "token_type_ids": torch.zeros_like(ids)}, padding=0)


@pytest.mark.parametrize("position", [0, 1, -1])
@pytest.mark.parametrize("left", [False, True])
def test_tokens_are_counted_from_the_real_ones(position: int, left: bool) -> None:
    check(lambda ids, mask: {"input_ids": ids, "attention_mask": mask}, left=left, neurons=Token(position))


def test_a_decoder_has_a_mask_of_its_own() -> None:
    def both(ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        few = torch.full((len(ids), 3), 7)
        return {
            "input_ids": few,
            "attention_mask": torch.ones_like(few),
            "decoder_input_ids": ids,
            "decoder_attention_mask": mask,
        }

    check(both, layer="decoder")


def test_no_mask_is_said() -> None:
    with pytest.warns(UserWarning, match="no attention mask was found"):
        neucept.record(Reader(), batches(2, lambda ids, mask: ids, False), ["hidden"], progress=False)
