"""The two networks of the NeuCEPT paper's experiments."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LeNet(nn.Module):
    """LeNet for digits of 32 x 32 pixels: 61,706 parameters with 10 outputs, 61,026 with 2.

    The paper's "conv3" is the output of ``feature_extractor.7`` (120 neurons), its "linear0" that of
    ``classifier.1`` (84 neurons).

    Parameters
    ----------
    n_classes : int
        Number of outputs.

    Examples
    --------
    >>> import torch
    >>> LeNet(n_classes=2)(torch.zeros(3, 1, 32, 32)).shape
    torch.Size([3, 2])
    >>> sum(parameter.numel() for parameter in LeNet().parameters())
    61706
    """

    def __init__(self, n_classes: int = 10) -> None:
        super().__init__()
        self.feature_extractor = nn.Sequential(
            nn.Conv2d(1, 6, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(16, 120, 5),
            nn.Tanh(),
        )
        self.classifier = nn.Sequential(nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, n_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits, (n, n_classes), of images (n, 1, 32, 32)."""
        logits: Tensor = self.classifier(torch.flatten(self.feature_extractor(images), 1))
        return logits


class VGG11(nn.Module):
    """A slim VGG with nine convolutions for 32 x 32 colour images: 2,976,938 parameters with 10 outputs.

    The outputs of the eighth and ninth convolution, after batch normalisation and ReLU, are those of
    ``features.28`` and ``features.31`` (256 neurons each).

    Parameters
    ----------
    n_classes : int
        Number of outputs.

    Examples
    --------
    >>> import torch
    >>> VGG11(n_classes=2).eval()(torch.zeros(3, 3, 32, 32)).shape
    torch.Size([3, 2])
    """

    _PLAN: tuple[int, ...] = (64, 0, 96, 0, 128, 128, 0, 256, 256, 0, 256, 0, 256, 256)  # widths; 0 is a pooling

    def __init__(self, n_classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in self._PLAN:
            if width:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                channels = width
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits, (n, n_classes), of images (n, 3, 32, 32)."""
        logits: Tensor = self.classifier(torch.flatten(self.features(images), 1))
        return logits
