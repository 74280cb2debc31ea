"""Heat-maps: the activation map laid over the radiograph, at full resolution.

An influence map says where the network's answer came from, not where pneumonia is: saliency maps
localise worse than radiologists do (Saporta et al. 2022, doi:10.1038/s42256-022-00536-x).
"""

from __future__ import annotations

import io
import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pneumoscope._files import write_atomically
from pneumoscope._probability import format_probability
from pneumoscope.errors import ImageError
from pneumoscope.images import Geometry, Radiograph, read, spread_over_image
from pneumoscope.runtime.finding import Finding, WarningCode

CAPTION = "influence map, not the location of pneumonia"
#: The strongest tint, where the influence is largest.
MAX_OPACITY = 0.55
#: Bytes of an image's name that its heat-map keeps: file systems take 255 in all.
_LONGEST = 160
# Anchors of "inferno" (Nathaniel Smith and Stefan van der Walt, matplotlib, CC0): perceptually
# uniform, and rising in lightness, so that it reads in black and white too.
_ANCHORS = (
    (0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85),
    (227, 89, 51), (249, 140, 10), (249, 201, 50), (252, 255, 164),
)  # fmt: skip


def scale_map(
    activation_map: NDArray[np.float32], probability: float, threshold: float
) -> NDArray[np.float32]:
    """Return influence for pneumonia, float32 [7, 7] in 0..1.

    Negative influence is cut (the ReLU of Grad-CAM). The largest value becomes 1 only where
    pneumonia is called; below the threshold it becomes probability / threshold, so that the map of
    a normal image does not light up.
    """
    positive = np.maximum(activation_map, 0)
    peak = float(positive.max())
    if peak <= 0:
        return np.zeros_like(positive)
    strength = min(1.0, probability / threshold) if threshold > 0 else 1.0
    return (positive / peak * strength).astype(np.float32)


def draw_heatmap(
    radiograph: Radiograph,
    activation_map: NDArray[np.float32],
    probability: float,
    threshold: float,
    geometry: Geometry = Geometry.STRETCH,
) -> NDArray[np.uint8]:
    """Return the overlay, uint8 [H, W, 3], as large as the radiograph's pixels."""
    height, width = radiograph.pixels.shape
    grey = (radiograph.pixels.astype(np.float32) / ((1 << radiograph.bits) - 1) * 255)[..., None]
    influence = scale_map(activation_map, probability, threshold)
    wide = spread_over_image(influence, width, height, geometry).clip(0, 1)
    colour = paint_influence(wide)
    opacity = (wide * MAX_OPACITY)[..., None]
    return np.rint(grey * (1 - opacity) + colour * opacity).astype(np.uint8)


def paint_influence(influence: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return colours of influence in 0..1, float32 [H, W, 3] in 0..255; light is most."""
    return _COLOURS[(influence * 255).astype(np.uint8)]


def encode_heatmap(radiograph: Radiograph, finding: Finding) -> bytes:
    """Return the overlay with its caption below, as the bytes of a JPEG.

    Raises
    ------
    ValueError
        The finding has no activation map.
    """
    if finding.activation_map is None or finding.probability is None or finding.threshold is None:
        raise ValueError(f"{finding.path} has no answer, so no heat-map")
    overlay = Image.fromarray(
        draw_heatmap(
            radiograph,
            finding.activation_map,
            finding.probability,
            finding.threshold,
            finding.geometry,
        )
    )
    stream = io.BytesIO()
    _add_caption(overlay, finding).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def save_heatmap(
    folder: Path, finding: Finding, image: str | os.PathLike[str] | bytes | Radiograph
) -> tuple[Path, Path]:
    """Write the overlay (JPEG) and the raw 7×7 map (.npy) and return their paths.

    A file is read again, since large ones are answered at a reduced scale, and the overlay has all
    of their pixels. Names carry the start of the image's hash: two files of one name do not
    collide.

    Raises
    ------
    ImageError
        The image is not the one that the finding is about, or can no longer be read.
    """
    radiograph = image if isinstance(image, Radiograph) else read(image, name=finding.path)
    if radiograph.sha256 != finding.sha256:
        raise ImageError(f"{finding.path} has changed since it was answered.")
    name = Path(finding.path).stem.encode(errors="replace")[:_LONGEST].decode(errors="ignore")
    stem = f"{name or 'image'}-{radiograph.sha256[:8]}"
    if finding.activation_map is None:
        raise ValueError(f"{finding.path} has no answer, so no heat-map")
    picture, raw = folder / f"{stem}.heatmap.jpg", folder / f"{stem}.activation_map.npy"
    write_atomically(picture, encode_heatmap(radiograph, finding))
    stream = io.BytesIO()
    np.save(stream, finding.activation_map, allow_pickle=False)
    write_atomically(raw, stream.getvalue())
    return picture, raw


def _add_caption(overlay: Image.Image, finding: Finding) -> Image.Image:
    """Return the picture with lines below: the answer, and what the colours are not."""
    assert finding.probability is not None
    assert finding.threshold is not None  # where there is a map, there is an answer
    decision = finding.decision.value if finding.decision else ""
    lines = [
        f"{decision}  probability {format_probability(finding.probability)}  "
        f"threshold {format_probability(finding.threshold)}",
        f"{CAPTION} · research use, not a diagnosis",
    ]
    if WarningCode.PHANTOM_MODEL in finding.warnings:
        lines.append("trained on synthetic phantoms: for demonstrations only")
    size = max(10, overlay.width // 45)
    font = ImageFont.load_default(size)
    while size > 10 and font.getlength(lines[1]) > overlay.width - size:
        size -= 1
        font = ImageFont.load_default(size)
    # Beside a small image the words stay legible and whole: the board is wider then.
    width = max(overlay.width, *(size + math.ceil(font.getlength(line)) for line in lines))
    height = overlay.height + round(size * (0.5 + 1.35 * len(lines)))
    board = Image.new("RGB", (width, height), (0, 0, 0))
    board.paste(overlay, (0, 0))
    draw = ImageDraw.Draw(board)
    for row, line in enumerate(lines):
        place = (size // 2, overlay.height + round(size * (0.35 + 1.35 * row)))
        draw.text(place, line, fill=(235, 235, 235), font=font)
    return board


def _build_colours() -> NDArray[np.float32]:
    anchors = np.array(_ANCHORS, np.float32)
    at = np.linspace(0, 1, len(anchors))
    levels = np.linspace(0, 1, 256)
    return np.stack([np.interp(levels, at, anchors[:, c]) for c in range(3)], 1).astype(np.float32)


_COLOURS = _build_colours()
