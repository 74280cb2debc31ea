"""Mild changes of a batch of radiographs, drawn from torch's seeded random state."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pneumoscope.training.recipe import Augmentation


def resize_batch(grey: Tensor, size: int) -> Tensor:
    """Return uint8 [N, 1, size, size] from uint8 [N, 1, H, W], antialiased bilinear."""
    if grey.shape[-1] == size:
        return grey
    return F.interpolate(grey, (size, size), mode="bilinear", antialias=True)


def augment_batch(grey: Tensor, plan: Augmentation) -> Tensor:
    """Return changed copies of uint8 [N, 1, H, W], each image by its own random amounts.

    Geometry is one affine map, bilinear, with the outside black as collimation leaves it. Then
    gamma, contrast about the mean, brightness, Gaussian blur and noise, clipped to the uint8 range.
    """
    n = len(grey)
    image = grey.float() / 255
    image = F.grid_sample(
        image,
        F.affine_grid(_draw_affine(n, plan, grey.device), list(image.shape), align_corners=False),
        align_corners=False,
    )
    image = image.clamp(0, 1) ** torch.exp(_draw(n, plan.gamma, image)[..., None, None, None])
    mean = image.mean((1, 2, 3), keepdim=True)
    image = mean + (image - mean) * (1 + _draw(n, plan.contrast, image)[..., None, None, None])
    image = image + _draw(n, plan.brightness, image)[..., None, None, None]
    if plan.blur:
        image = blur_batch(image, plan.blur * torch.rand(n, device=image.device))
    if plan.noise:
        spread = plan.noise * torch.rand(n, 1, 1, 1, device=image.device)
        image = image + spread * torch.randn_like(image)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def blur_batch(image: Tensor, deviation: Tensor) -> Tensor:
    """Return float [N, 1, H, W], each image blurred by a Gaussian of its own width in pixels."""
    reach = max(1, math.ceil(3 * float(deviation.max())))
    offset = torch.arange(-reach, reach + 1, device=image.device)
    kernels = torch.exp(-0.5 * (offset / deviation.clamp(min=1e-3)[:, None]) ** 2)
    kernels = kernels / kernels.sum(1, keepdim=True)
    n, height, width = len(image), *image.shape[-2:]
    planes = image.view(1, n, height, width)  # one group of the convolution an image
    padded = F.pad(planes, (reach, reach, reach, reach), mode="replicate")
    rows = F.conv2d(padded, kernels[:, None, None, :], groups=n)
    return F.conv2d(rows, kernels[:, None, :, None], groups=n).view(n, 1, height, width)


def _draw_affine(n: int, plan: Augmentation, device: torch.device) -> Tensor:
    """Return float [n, 2, 3] maps from output to input in grid_sample's -1..1 coordinates."""
    like = torch.empty(0, device=device)
    angle = torch.deg2rad(_draw(n, plan.rotation, like))
    scale = 1 + _draw(n, plan.scale, like)
    stretch = torch.exp(_draw(n, plan.aspect, like) / 2)
    rows = torch.stack(
        [
            torch.cos(angle) * scale * stretch,
            -torch.sin(angle) * scale / stretch,
            2 * _draw(n, plan.translation, like),
            torch.sin(angle) * scale * stretch,
            torch.cos(angle) * scale / stretch,
            2 * _draw(n, plan.translation, like),
        ],
        dim=1,
    )
    return rows.view(n, 2, 3)


def _draw(n: int, largest: float, like: Tensor) -> Tensor:
    return (torch.rand(n, device=like.device) * 2 - 1) * largest
