"""torchvision's ResNet50 with one linear logit, cut so that frozen parts can be computed once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

#: The convolutional parts in the order of the forward pass; a cut may fall behind any of them.
PARTS = ("stem", "layer1", "layer2", "layer3", "layer4")


class NetworkOutput(NamedTuple):
    """What one forward pass gives: everything that a finding and its explanation need."""

    logit: Tensor
    """Pneumonia logit, float [N]."""
    activation_map: Tensor
    """Class-activation map of the pneumonia logit, float [N, H/32, W/32], in logit units."""
    features: Tensor
    """Globally averaged last feature map, float [N, 2048]."""


class PneumoniaResNet50(ResNet):  # type: ignore[misc]  # torchvision has no types
    """ResNet50 (He et al. 2016, doi:10.1109/CVPR.2016.90) with one pneumonia logit.

    Global average pooling, dropout and one linear unit follow the last feature map, so that the
    class-activation map (Zhou et al. 2016, doi:10.1109/CVPR.2016.319) comes with the forward pass
    and equals Grad-CAM on `layer4` up to scale and ReLU. Parameter names are torchvision's and
    timm's. Input: float [N, 3, H, W], normalised as the preprocessing spec says.
    """

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__(Bottleneck, [3, 4, 6, 3], num_classes=1)
        self.dropout = nn.Dropout(dropout)

    def run_part(self, part: str, x: Tensor) -> Tensor:
        """Run one of `PARTS` on the output of the part before it."""
        if part == "stem":
            x = self.conv1(x)
            x = self.bn1(x)
            x = self.relu(x)
            return self.maxpool(x)  # type: ignore[no-any-return]
        return getattr(self, part)(x)  # type: ignore[no-any-return]

    def run_parts(self, x: Tensor, after: str | None = None, upto: str = "layer4") -> Tensor:
        """Run the parts behind `after` (from the image where None) up to and with `upto`."""
        start = 0 if after is None else PARTS.index(after) + 1
        for part in PARTS[start : PARTS.index(upto) + 1]:
            x = self.run_part(part, x)
        return x

    def classify(self, feature_map: Tensor) -> Tensor:
        """Return the logit, float [N], of the last feature map, float [N, 2048, H, W]."""
        return self.classify_features(feature_map.mean((2, 3)))

    def classify_features(self, features: Tensor) -> Tensor:
        """Return the logit, float [N], of pooled features, float [N, 2048]."""
        return self.fc(self.dropout(features))[:, 0]  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Return the pneumonia logit, float [N], of normalised images, float [N, 3, H, W]."""
        return self.classify(self.run_parts(x))

    def explain(self, x: Tensor) -> NetworkOutput:
        """Return logit, activation map and features of normalised images in one pass."""
        feature_map = self.run_parts(x)
        features = feature_map.mean((2, 3))
        weight = self.fc.weight.view(1, -1, 1, 1)
        return NetworkOutput(
            logit=self.classify_features(features),
            activation_map=(feature_map * weight).sum(1),
            features=features,
        )


def initialise_head(network: PneumoniaResNet50, seed: int) -> None:
    """Draw the linear head afresh, small and seeded, independent of the global random state."""
    generator = torch.Generator().manual_seed(seed)
    nn.init.normal_(network.fc.weight, std=0.01, generator=generator)
    nn.init.zeros_(network.fc.bias)
