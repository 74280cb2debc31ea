"""The anatomy of a phantom: how many centimetres of tissue lie behind each pixel.

Coordinates are those of a frontal image, as if facing the patient: x from -1 (left edge) to 1, y
from -1 (top) to 1. All shapes are smooth functions of position, drawn in a pose of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

Field = NDArray[np.float64]
#: A pixel shows lung where more of its path than this is lung.
AERATED = 0.25


@dataclass(frozen=True)
class Body:
    """What makes one patient; a second image of the patient keeps it."""

    width: float
    lung_height: float
    lung_width: float
    heart_width: float
    heart_shift: float
    rib_spacing: float
    rib_slope: float
    rib_strength: float
    thickness: float
    arms: float
    vessel_seed: int


@dataclass(frozen=True)
class Tissue:
    """Path lengths in cm of soft-tissue equivalent, float64 [H, W]."""

    soft: Field
    bone: Field
    lungs: Field
    """How much of a pixel's path is lung, 0..1: where disease can be."""
    hilum_distance: Field
    """Distance from the nearer hilum, in image halves."""


def draw_body(rng: np.random.Generator) -> Body:
    """Draw a patient."""
    return Body(
        width=rng.uniform(0.80, 0.95),
        lung_height=rng.uniform(0.92, 1.12),
        lung_width=rng.uniform(0.92, 1.08),
        heart_width=rng.uniform(0.33, 0.43),
        heart_shift=rng.uniform(0.06, 0.14),
        rib_spacing=rng.uniform(0.150, 0.180),
        rib_slope=rng.uniform(0.22, 0.42),
        rib_strength=rng.uniform(0.8, 1.3),
        thickness=rng.uniform(11.0, 15.0),
        arms=rng.uniform(0.0, 1.0),
        vessel_seed=int(rng.integers(2**32)),
    )


def build_tissue(body: Body, rng: np.random.Generator, size: int) -> Tissue:
    """Project a patient in a new pose: rotation, scale, shift and breath vary by image."""
    x, y = _draw_pose(rng, size)
    breath = rng.uniform(-0.06, 0.06)
    lungs, domes = _build_lungs(x, y, body, breath, rng)
    torso = _build_torso(x, y, body)
    heart = _build_heart(x, y, body, breath)
    mediastinum = _ridge(x + 0.01 * np.sin(3 * y), 0.115 + 0.05 * _rise(y, -0.75, -0.3, 0.08), 0.05)
    trachea = _ridge(x, 0.045, 0.02) * (1 - _step(y, -0.22, 0.05))
    air = lungs * (1 - 0.97 * heart) * (1 - 0.95 * mediastinum)
    soft = body.thickness * torso
    soft = soft - 0.62 * body.thickness * air * torso
    soft = soft - 0.16 * body.thickness * trachea * torso
    soft = soft + 1.1 * heart + 1.3 * mediastinum * torso
    soft = soft + 1.3 * domes * torso
    soft = soft - _build_stomach_bubble(x, y, body, breath, rng) * 0.35 * body.thickness
    vessels = draw_vessels(body, x, y, size)
    soft = soft + 2.1 * vessels * air
    bone = _build_spine(x, y) + _build_ribs(x, y, body) * torso + _build_shoulders(x, y, body)
    hilum = np.minimum(np.hypot(x - 0.2, y + 0.02), np.hypot(x + 0.2, y + 0.02))
    return Tissue(np.maximum(soft, 0.2 * torso), bone, air, hilum)


def _draw_pose(rng: np.random.Generator, size: int) -> tuple[Field, Field]:
    line = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(line, line)
    angle = np.deg2rad(rng.uniform(-5, 5))
    scale = rng.uniform(0.92, 1.08)
    x, y = x - rng.uniform(-0.06, 0.06), y - rng.uniform(-0.06, 0.06)
    turned = scale * (x * np.cos(angle) + y * np.sin(angle))
    return turned, scale * (y * np.cos(angle) - x * np.sin(angle))


def _build_torso(x: Field, y: Field, body: Body) -> Field:
    """Chord through an elliptic chest, with neck above and arms beside."""
    shoulders = _rise(y, -1.02, -0.78, 0.10)
    half = (
        body.width
        * (0.34 + 0.72 * shoulders - 0.06 * _rise(y, -0.5, 0.3, 0.3))
        * (1 + 0.03 * np.sin(2.2 * y))
    )
    chord = np.sqrt(np.clip(1 - (np.abs(x) / np.maximum(half, 0.1)) ** 2.6, 0, 1))
    arm = (
        body.arms
        * 0.42
        * _ridge(np.abs(x) - (body.width + 0.16), 0.11, 0.05)
        * _step(y, -0.35, 0.2)
    )
    return np.clip(0.30 * (chord > 0) + 0.70 * chord, 0, 1) + arm


def _build_lungs(
    x: Field, y: Field, body: Body, breath: float, rng: np.random.Generator
) -> tuple[Field, Field]:
    """Return lung thickness, 0..1, and the domes of the diaphragm below, 0..1."""
    lungs, domes = np.zeros_like(x), np.zeros_like(x)
    for side in (-1, 1):
        centre = side * 0.43 * body.lung_width * body.width
        u = (x - centre) * side  # outwards is positive
        apex = -0.80 * body.lung_height
        half = 0.36 * body.lung_width * body.width
        # Narrow at the apex, straight within, bowed without.
        narrowing = np.sqrt(np.clip(1 - ((y - 0.25) / (0.25 - apex)) ** 2, 0, 1)) ** 0.9
        outer = (
            half * (0.10 + 0.90 * np.where(y < 0.25, narrowing, 1.0)) * (0.94 + 0.06 * np.cos(y))
        )
        inner = half * (0.30 + 0.62 * np.where(y < 0.25, narrowing, 1.0))
        across = np.where(u > 0, u / np.maximum(outer, 1e-3), -u / np.maximum(inner, 1e-3))
        profile = np.clip(1 - across**4, 0, 1) ** 0.55
        dome_top = 0.50 + breath + (0.05 if side > 0 else 0.0) + rng.uniform(-0.02, 0.02)
        dome = dome_top + 0.17 * (u / half + 0.10) ** 2
        above = 1 - _step(y, dome, 0.018)
        top = _step(y, apex, 0.03)
        lungs = np.maximum(lungs, profile * above * top)
        inside = np.clip(1 - np.abs(across) ** 8, 0, 1)
        domes = np.maximum(domes, _step(y, dome, 0.02) * inside)
    return gaussian_filter(lungs, 1.0), domes


def _build_heart(x: Field, y: Field, body: Body, breath: float) -> Field:
    centre_x, centre_y = body.heart_shift, 0.26 + 0.5 * breath
    tilt = 0.55
    u = (x - centre_x) * np.cos(tilt) + (y - centre_y) * np.sin(tilt)
    v = -(x - centre_x) * np.sin(tilt) + (y - centre_y) * np.cos(tilt)
    radius = np.hypot(u / (body.heart_width * 1.05), v / (body.heart_width * 0.82))
    knob = np.hypot((x - 0.09) / 0.085, (y + 0.33) / 0.09)  # the aortic arch
    return np.maximum(1 - _step(radius, 1.0, 0.10), 0.8 * (1 - _step(knob, 1.0, 0.12)))


def _build_stomach_bubble(
    x: Field, y: Field, body: Body, breath: float, rng: np.random.Generator
) -> Field:
    centre = 0.36 * body.width + rng.uniform(-0.05, 0.05)
    across, down = rng.uniform(0.10, 0.17), rng.uniform(0.05, 0.09)
    level = 0.74 + breath + rng.uniform(-0.03, 0.05)
    radius = np.hypot((x - centre) / across, (y - level) / down)
    return rng.uniform(0.2, 1.0) * (1 - _step(radius, 1.0, 0.12))


def _build_spine(x: Field, y: Field) -> Field:
    """Vertebral bodies, with discs between them and pedicles at their sides."""
    bodies = 0.75 + 0.25 * np.tanh(3 * np.sin(2 * np.pi * y / 0.155))
    column = _ridge(x, 0.085, 0.02) * bodies
    pedicles = _ridge(np.abs(x) - 0.055, 0.015, 0.01) * (np.sin(2 * np.pi * y / 0.155) > 0.4)
    bone: Field = 0.95 * column + 0.5 * gaussian_filter(pedicles, 0.8)
    return bone


def _build_ribs(x: Field, y: Field, body: Body) -> Field:
    """Tubes of bone: their edges, where a ray runs longest in the cortex, are brightest."""
    ribs = np.zeros_like(x)
    reach = np.abs(x) / body.width
    for number in range(10):
        start = -0.86 + number * body.rib_spacing
        # Behind, ribs rise a little from the spine, then sweep down and out.
        behind = (
            start
            - 0.06 * np.sin(np.pi * np.clip(reach, 0, 1))
            + (body.rib_slope * (0.6 + 0.08 * number) * reach**2.2)
        )
        width = 0.026 + 0.012 * np.clip(1 - reach, 0, 1)
        fade = _step(reach, 0.10, 0.03) * (1 - _step(reach, 0.97, 0.03))
        ribs += _tube(y - behind, width) * fade
        # In front they run inwards and down, thinner, and end in cartilage that does not show.
        if 1 <= number <= 7:
            front = start + 0.27 + 0.34 * (1 - reach) * (0.8 + 0.06 * number)
            shown = _step(reach, 0.42 + 0.012 * number, 0.06) * (1 - _step(reach, 0.97, 0.03))
            ribs += 0.55 * _tube(y - front, 0.024) * shown
    return 1.25 * body.rib_strength * ribs


def _build_shoulders(x: Field, y: Field, body: Body) -> Field:
    """Clavicles, scapulae and upper arms."""
    reach = np.abs(x) / body.width
    clavicle = -0.66 - 0.10 * reach - 0.05 * np.sin(2 * np.pi * reach)
    bone = (
        0.85
        * _tube(y - clavicle, 0.030)
        * _step(reach, 0.10, 0.02)
        * (1 - _step(reach, 0.93, 0.03))
    )
    blade_edge = 0.80 - 0.22 * (y + 0.6)
    blade = _step(reach, blade_edge, 0.012) * (1 - _step(y, -0.12, 0.12)) * _step(y, -0.66, 0.04)
    arm = body.arms * _tube(np.abs(x) - (body.width + 0.12), 0.05) * _step(y, -0.45, 0.1)
    return bone + 0.30 * blade + 0.9 * arm


def draw_vessels(body: Body, x: Field, y: Field, size: int) -> Field:
    """Draw the patient's pulmonary vessels, tapering trees from each hilum, 0..1."""
    rng = np.random.default_rng(body.vessel_seed)
    scale = 2
    canvas = Image.new("L", (size * scale, size * scale), 0)
    pen = ImageDraw.Draw(canvas)

    def grow(px: float, py: float, angle: float, width: float, depth: int) -> None:
        if depth == 0 or width < 0.35:
            return
        length = rng.uniform(0.07, 0.12) * (0.75 + 0.08 * depth)
        qx, qy = px + length * np.cos(angle), py + length * np.sin(angle)
        ends = [(v + 1) / 2 * size * scale for v in (px, py, qx, qy)]
        shade = int(np.clip(70 + 24 * width, 0, 255))
        pen.line(ends, fill=shade, width=max(1, round(width * scale * size / 224)))
        for turn in (rng.normal(-0.35, 0.15), rng.normal(0.35, 0.15)):
            if rng.random() < 0.88:
                grow(qx, qy, angle + turn, width * rng.uniform(0.62, 0.85), depth - 1)

    for side in (-1, 1):
        for angle in np.linspace(-1.25, 1.35, 7) + rng.normal(0, 0.08, 7):
            heading = angle if side > 0 else np.pi - angle
            grow(side * 0.17, rng.uniform(-0.08, 0.10), heading, rng.uniform(2.0, 3.4), 6)
    drawn = np.asarray(canvas.resize((size, size), Image.Resampling.BOX)) / 255
    # The trees are drawn upright; the pose is applied by looking them up where the body is.
    columns = np.clip(((x + 1) / 2 * size).astype(int), 0, size - 1)
    rows = np.clip(((y + 1) / 2 * size).astype(int), 0, size - 1)
    blurred: Field = gaussian_filter(drawn[rows, columns], 0.7)
    return blurred


def _step(value: Field | float, edge: Field | float, softness: float) -> Field:
    """Rise from 0 to 1 about an edge."""
    return 1 / (1 + np.exp(-np.clip((value - edge) / (softness / 2), -40, 40)))  # type: ignore[no-any-return]


def _rise(value: Field, low: float, high: float, softness: float) -> Field:
    """Rise from 0 to 1 between two places."""
    return _step(value, (low + high) / 2, (high - low) / 2 + softness)


def _ridge(value: Field, half: Field | float, softness: float) -> Field:
    """Be 1 within `half` of zero, falling off softly."""
    return 1 - _step(np.abs(value), half, softness)


def _tube(distance: Field, half: Field | float) -> Field:
    """Chord through a hollow tube: bright rims, a darker middle."""
    outer = np.sqrt(np.clip(1 - (distance / half) ** 2, 0, 1))
    inner = np.sqrt(np.clip(0.5 - (distance / half) ** 2, 0, 1))
    return outer - 0.75 * inner
