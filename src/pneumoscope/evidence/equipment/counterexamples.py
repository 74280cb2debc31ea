"""What the input gate learns to reject, all of it made up: radiographs spoilt, and things drawn.

Real images of other kinds would be few, and would have to be handed on with every bundle's recipe.
Drawn ones are endless and free. Outlines and shading suffice, for the gate reads no more than 64
pixels a side: limbs, skulls, slices, ultrasound fans, pages, plots, objects, textures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Square = NDArray[np.uint8]
Field = NDArray[np.floating[Any]]
#: Pixels a side of all that is made here.
SIDE = 128

# -- radiographs, changed --------------------------------------------------------------------------


def vary(rng: np.random.Generator, square: Square) -> Square:
    """Return the radiograph as another machine, pose or cut might have made it: still usable."""
    middle = SIDE / 2
    zoom, angle = rng.uniform(0.8, 1.45), np.deg2rad(rng.uniform(-10, 10))
    across, down = zoom * rng.uniform(0.9, 1.1, 2)
    shift = rng.uniform(-0.1, 0.1, 2) * SIDE
    a, b = np.cos(angle) * across, np.sin(angle) * down
    d, e = -np.sin(angle) * across, np.cos(angle) * down
    affine = (
        *(a, b, middle - (a + b) * middle + shift[0]),
        *(d, e, middle - (d + e) * middle + shift[1]),
    )
    border = int(rng.integers(60)) if rng.random() < 0.25 else 0
    image = Image.fromarray(square).transform(
        (SIDE, SIDE),
        Image.Transform.AFFINE,
        affine,
        Image.Resampling.BILINEAR,
        fillcolor=border,
    )
    grey = (np.asarray(image) / 255.0) ** rng.uniform(0.5, 2)
    grey = grey * rng.uniform(0.7, 1.1) * 255 + rng.uniform(0, 25)
    if rng.random() < 0.6:  # uneven exposure
        grey = grey * np.exp(draw_noise(rng, 3.5) * rng.uniform(0, 0.25))
        grey = grey * (1 + rng.uniform(-0.35, 0.35) * (draw_gradient(rng) / 127.5 - 1))
    image = Image.fromarray(_to_grey(grey))
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5)))
    if rng.random() < 0.4:  # a lead marker
        x, y = rng.uniform(0, SIDE, 2)
        box = (x, y, x + rng.uniform(2, 14), y + rng.uniform(2, 7))
        ImageDraw.Draw(image).rectangle(box, fill=int(rng.integers(180, 256)))
    return np.asarray(image)


def turn(rng: np.random.Generator, square: Square) -> Square:
    """Return the radiograph on its side or on its head."""
    turns: list[Callable[[Square], Square]] = [
        lambda s: np.rot90(s, 1),
        lambda s: np.rot90(s, 2),
        lambda s: np.rot90(s, 3),
        lambda s: s[::-1],
        lambda s: s.T,
    ]
    return np.ascontiguousarray(turns[rng.integers(len(turns))](square))


def crop(rng: np.random.Generator, square: Square) -> Square:
    """Return a half or less of the radiograph, stretched to a square."""
    shapes = [
        (rng.uniform(0.25, 0.55), rng.uniform(0.6, 1)),
        (rng.uniform(0.6, 1), rng.uniform(0.25, 0.5)),
        (rng.uniform(0.2, 0.55),) * 2,
    ]
    width, height = shapes[rng.integers(3)]
    x, y = rng.uniform(0, 1 - width) * SIDE, rng.uniform(0, 1 - height) * SIDE
    box = (x, y, x + width * SIDE, y + height * SIDE)
    return _stretch(square, box)


def shuffle(rng: np.random.Generator, square: Square) -> Square:
    """Return the tiles of the radiograph in another order."""
    count = int(rng.choice([2, 4]))
    step = SIDE // count
    tiles = square.reshape(count, step, count, step).swapaxes(1, 2).reshape(-1, step, step)
    order = rng.permutation(len(tiles))
    if (order == np.arange(len(tiles))).all():
        order = order[::-1]
    grid = tiles[order].reshape(count, count, step, step)
    return np.ascontiguousarray(grid.swapaxes(1, 2).reshape(SIDE, SIDE))


# -- fields ----------------------------------------------------------------------------------------


def draw_noise(rng: np.random.Generator, slope: float) -> Field:
    """Return noise whose power falls with frequency to the power `slope`: mean 0, deviation 1."""
    down, across = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.rfftfreq(SIDE), indexing="ij")
    frequency = np.hypot(down, across)
    frequency[0, 0] = 1 / SIDE
    waves = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
    field = np.fft.irfft2(waves * frequency ** (-slope / 2), s=(SIDE, SIDE))
    return np.asarray((field - field.mean()) / field.std())


def draw_gradient(rng: np.random.Generator) -> Square:
    """Return light falling from one side, or around a point."""
    down, across = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        field = across * np.cos(angle) + down * np.sin(angle)
    else:
        x, y = rng.uniform(-0.5, 0.5, 2)
        field = np.hypot(across - x, down - y) * rng.choice([-1, 1])
    field = (field - field.min()) / (field.max() - field.min())
    return _to_grey(field ** rng.uniform(0.5, 2) * 255)


def _draw_clouds(rng: np.random.Generator) -> Square:
    noise = draw_noise(rng, rng.uniform(0, 3.2))
    return _to_grey(rng.uniform(60, 190) + noise * rng.uniform(15, 70))


# -- things ----------------------------------------------------------------------------------------


def _draw_leaves(rng: np.random.Generator) -> Square:
    """Things that cover one another, of all sizes: the "dead leaves" of photographs' statistics."""
    image = Image.new("L", (SIDE, SIDE), int(rng.integers(256)))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(10, 200)):
        radius = min(80.0, 3 / rng.uniform(0.02, 1) ** 0.7)
        _draw_shape(
            rng, pen, rng.uniform(-10, SIDE + 10, 2), (radius, radius * rng.uniform(0.3, 1))
        )
    return _finish(rng, image, blur=2, grain=20)


def _draw_objects(rng: np.random.Generator) -> Square:
    """A few things before an even ground: icons, logos, products."""
    image = Image.new("L", (SIDE, SIDE), int(rng.choice([0, 255, int(rng.integers(256))])))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 7)):
        _draw_shape(rng, pen, rng.normal(SIDE / 2, 18, 2), tuple(rng.uniform(8, 60, 2)))
    return _finish(rng, image, blur=1.5, grain=12)


def _draw_page(rng: np.random.Generator) -> Square:
    """Lines of words, here and there a picture; a quarter of them bright on dark."""
    image = Image.new("L", (SIDE, SIDE), 255)
    pen = ImageDraw.Draw(image)
    count, margin = int(rng.integers(3, 28)), rng.uniform(0, 20)
    height = SIDE / count
    for line in range(count):
        x = margin + rng.choice([0, 0, rng.uniform(0, 30)])
        end = SIDE - margin - rng.choice([0, rng.uniform(0, 70)])
        while x < end and rng.random() > 0.02:
            width = min(rng.uniform(2, height * 1.5 + 4), end - x)
            bottom = (line + rng.uniform(0.5, 0.8)) * height
            box = (x, (line + 0.25) * height, x + width, bottom)
            pen.rectangle(box, fill=int(rng.integers(140)))
            x += width + rng.uniform(1, 3 + height * 0.3)
    if rng.random() < 0.4:
        x, y = rng.uniform(0, SIDE - 30, 2)
        box = (x, y, x + rng.uniform(15, 70), y + rng.uniform(10, 50))
        pen.rectangle(box, fill=int(rng.integers(30, 230)), outline=0)
    page = _finish(rng, image, blur=0.8, grain=6)
    return 255 - page if rng.random() < 0.25 else page


def _draw_plot(rng: np.random.Generator) -> Square:
    image = Image.new("L", (SIDE, SIDE), 255)
    pen = ImageDraw.Draw(image)
    low, high = rng.uniform(8, 25), rng.uniform(100, 120)
    pen.rectangle((low, low * 0.6, high, high), outline=0)
    for _ in range(rng.integers(1, 5)):
        x = np.linspace(low, high, 30)
        y = (low + high) / 2 + np.cumsum(rng.normal(0, 5, 30))
        pen.line(list(zip(x, y, strict=True)), fill=int(rng.integers(160)), width=2)
    for bar in range(rng.integers(12)):
        x0, top = low + 5 + bar * 8, rng.uniform(low, high)
        pen.rectangle((x0, top, x0 + 5, high), fill=int(rng.integers(50, 200)))
    plot = np.asarray(image)
    return plot if rng.random() < 0.8 else 255 - plot


def _draw_tiles(rng: np.random.Generator) -> Square:
    count = int(rng.choice([2, 4, 8, 16]))
    board = np.indices((count, count)).sum(0) % 2 * rng.uniform(60, 255)
    values = rng.uniform(0, 255, (count, count)) if rng.random() < 0.6 else board
    return _to_grey(np.kron(values, np.ones((SIDE // count, SIDE // count))))


# -- medicine, but no chest radiograph -------------------------------------------------------------


def _draw_slice(rng: np.random.Generator) -> Square:
    """An ellipse of organs before black, as in CT and MR."""
    image = Image.new("L", (SIDE, SIDE), 0)
    pen = ImageDraw.Draw(image)

    def put(x: float, y: float, width: float, height: float, grey: float) -> None:
        pen.ellipse((x - width, y - height, x + width, y + height), fill=int(grey))

    if rng.random() < 0.3:  # the field of view
        put(SIDE / 2, SIDE / 2, 63, 63, rng.uniform(20, 120))
    x, y = SIDE / 2 + rng.normal(0, 3, 2)
    width, height = rng.uniform(25, 62, 2)
    if rng.random() < 0.6:  # bone or fat
        put(x, y, width, height, rng.uniform(120, 255))
        width, height = np.array([width, height]) * rng.uniform(0.85, 0.97, 2)
    put(x, y, width, height, rng.uniform(60, 200))
    for _ in range(rng.integers(1, 16)):
        right, down = rng.uniform(-0.75, 0.75, 2)
        size, grey = rng.uniform(0.04, 0.4, 2), rng.uniform(0, 255)
        for side in (1, -1) if rng.random() < 0.6 else (1,):
            centre = x + side * right * width, y + down * height
            put(*centre, size[0] * width, size[1] * height, grey)
    field = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.5))), float)
    field *= 1 + draw_noise(rng, 2) * rng.uniform(0, 0.2)
    field += np.abs(draw_noise(rng, 0)) * rng.uniform(0, 8)
    return np.ascontiguousarray(np.rot90(_to_grey(field), int(rng.integers(4))))


def _draw_limb(rng: np.random.Generator) -> Square:
    """One or two long bones, perhaps with a joint; or a hand."""
    soft, bone = _draw_hand(rng) if rng.random() < 0.33 else _draw_bones(rng)
    field = rng.uniform(0, 40) + np.sqrt(soft) * rng.uniform(40, 110)
    field = field + np.sqrt(bone) * rng.uniform(50, 140)
    grey = _to_grey(field * (1 + draw_noise(rng, 2) * 0.05) + draw_noise(rng, 0) * 3)
    grey = 255 - grey if rng.random() < 0.2 else grey
    return np.ascontiguousarray(np.rot90(grey, int(rng.choice([0, 0, 0, 1, 2, 3]))))


def _draw_bones(rng: np.random.Generator) -> tuple[Field, Field]:
    bone = np.zeros((SIDE, SIDE))
    top, width = rng.uniform(35, 93), rng.uniform(14, 45)
    bottom, count = top + rng.normal(0, 12), rng.integers(1, 3)
    joint = rng.uniform(30, 100) if rng.random() < 0.6 else None
    for start, end in [(-10.0, joint), (joint, 140.0)] if joint else [(-10.0, 140.0)]:
        for index in range(count):
            aside = (index - (count - 1) / 2) * width * 0.7
            x0 = top + (bottom - top) * max(start, 0) / SIDE + aside
            x1 = top + (bottom - top) * end / SIDE + aside * 0.8
            radii = rng.uniform(0.12, 0.32, 2) * width
            bone = np.maximum(bone, _draw_capsule((x0, start + 2), (x1, end - 2), *radii))
    soft = _draw_capsule((top, -20), (bottom, 150), width, width * rng.uniform(0.6, 1.1))
    return soft, bone


def _draw_hand(rng: np.random.Generator) -> tuple[Field, Field]:
    wrist = np.array([SIDE / 2 + rng.normal(0, 8), rng.uniform(80, 105)])
    x, y = wrist
    soft = _draw_capsule(wrist, (x, y + 60), 20, 13)
    bone = _draw_capsule((x - 5, y + 10), (x - 4, y + 70), 6, 4)
    bone = np.maximum(bone, _draw_capsule((x + 6, y + 10), (x + 5, y + 70), 4, 4))
    for angle in np.linspace(-0.75, 0.75, 5) + rng.normal(0, 0.08, 5):
        ahead = np.array([np.sin(angle), -np.cos(angle)])
        start, length = wrist + ahead * 10, rng.uniform(14, 24)
        for part in range(4):
            end = start + ahead * length
            bone = np.maximum(bone, _draw_capsule(start, end, 3.2 - 0.4 * part, 2.6 - 0.4 * part))
            soft = np.maximum(soft, _draw_capsule(start, end, 8, 7))
            start, length = end + ahead * 1.5, length * 0.7
    for _ in range(8):
        place = wrist + rng.normal(0, 6, 2)
        bone = np.maximum(bone, _draw_capsule(place, place + rng.normal(0, 2, 2), 5, 5))
    return soft, bone


def _draw_skull(rng: np.random.Generator) -> Square:
    down, across = np.mgrid[:SIDE, :SIDE].astype(float)
    width, height = rng.uniform(38, 58), rng.uniform(45, 62)
    across = (across - SIDE / 2 - rng.normal(0, 4)) / width
    down = (down - SIDE / 2 - rng.normal(0, 4)) / height
    radius, level = np.hypot(across, down), rng.uniform(0, 0.3)
    field = rng.uniform(5, 30) + (radius < 1) * rng.uniform(60, 120)
    field = field + np.exp(-(((radius - 0.96) / 0.03) ** 2)) * rng.uniform(40, 110)
    for side in (-1, 1):  # the orbits
        hole = ((across - side * 0.38) / 0.22) ** 2 + ((down - level) / 0.16) ** 2
        field = field - np.exp(-(hole**2)) * rng.uniform(10, 60)
    jaw = (across / 0.4) ** 2 + ((down - 0.75) / 0.2) ** 2
    field = field + np.exp(-jaw) * rng.uniform(20, 90)
    return _to_grey(field * (1 + draw_noise(rng, 2) * 0.1))


def _draw_abdomen(rng: np.random.Generator) -> Square:
    """A spine between hips and gas: a trunk without lungs."""
    down, across = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    field = rng.uniform(90, 160) * np.clip(1 - (across / rng.uniform(0.75, 1.2)) ** 6, 0, 1)
    spine = np.exp(-((across / rng.uniform(0.08, 0.16)) ** 4)) * (down < rng.uniform(0.1, 1.2))
    field = field + spine * rng.uniform(20, 80) * (1 + 0.2 * np.sin(down * rng.uniform(12, 22)))
    if rng.random() < 0.7:
        level = rng.uniform(0, 0.6)
        for side in (-1, 1):
            ring = np.hypot((across - side * 0.45) / 0.38, (down - level) / 0.4)
            field = field + np.exp(-(((ring - 0.85) / 0.15) ** 2)) * rng.uniform(20, 70)
            hip = ((across - side * 0.72) / 0.12) ** 2 + ((down - level - 0.35) / 0.14) ** 2
            field = field + np.exp(-(hip**2)) * rng.uniform(30, 90)
    for _ in range(rng.integers(14)):
        x, y = rng.uniform(-0.6, 0.6, 2)
        width, height = rng.uniform(0.05, 0.2, 2)
        gas = ((across - x) / width) ** 2 + ((down - y) / height) ** 2
        field = field - np.exp(-(gas**2)) * rng.uniform(10, 80)
    return _to_grey(field * (1 + draw_noise(rng, 2) * 0.06))


def _draw_fan(rng: np.random.Generator) -> Square:
    """Speckle in a sector or a box, as in ultrasound."""
    down, across = np.mgrid[0 : 1.15 : SIDE * 1j, -0.7 : 0.7 : SIDE * 1j]
    radius, angle = np.hypot(across, down), np.abs(np.arctan2(across, down))
    inside = (angle < rng.uniform(0.4, 0.85)) & (radius < rng.uniform(0.8, 1.1))
    inside &= radius > rng.uniform(0.02, 0.25)
    if rng.random() < 0.3:
        inside = (np.abs(across) < rng.uniform(0.3, 0.65)) & (down > 0.1)
        inside &= down < rng.uniform(0.6, 1)
    tissue = np.exp(draw_noise(rng, rng.uniform(1, 3)) * 0.7)
    speckle = np.abs(draw_noise(rng, rng.uniform(0, 1)))
    return _to_grey(tissue * speckle * rng.uniform(20, 70) * inside)


_THINGS: tuple[Callable[[np.random.Generator], Square], ...] = (
    *(_draw_clouds, _draw_leaves, _draw_leaves, _draw_objects, _draw_objects, draw_gradient),
    *(_draw_page, _draw_plot, _draw_tiles, _draw_slice, _draw_slice, _draw_limb, _draw_limb),
    *(_draw_skull, _draw_abdomen, _draw_fan),
)


def draw_thing(rng: np.random.Generator) -> Square:
    """Return a drawing of no chest radiograph, uint8 [128, 128]; one in sixteen is a screen."""
    if rng.random() < 1 / 16:
        square = _draw_screen(rng)
    else:
        square = _THINGS[rng.integers(len(_THINGS))](rng)
    if rng.random() < 0.25:
        box = (*rng.uniform(0, 30, 2), *rng.uniform(90, SIDE, 2))
        return _stretch(square, box)
    return square


def _draw_screen(rng: np.random.Generator) -> Square:
    """Panels of other things before an even ground."""
    screen = np.full((SIDE, SIDE), rng.choice([0, 30, 200, 255]), np.uint8)
    for _ in range(rng.integers(2, 6)):
        panel = Image.fromarray(_THINGS[rng.integers(len(_THINGS))](rng))
        width, height = (int(n) for n in rng.integers(24, 80, 2))
        x, y = (int(n) for n in rng.integers(0, SIDE - 20, 2))
        width, height = min(width, SIDE - x), min(height, SIDE - y)
        screen[y : y + height, x : x + width] = np.asarray(panel.resize((width, height)))
    return screen


# -- inside ----------------------------------------------------------------------------------------


def _to_grey(field: Field) -> Square:
    return np.clip(field, 0, 255).astype(np.uint8)


def _stretch(square: Square, box: tuple[float, ...]) -> Square:
    left, top, right, bottom = box
    return np.asarray(Image.fromarray(square).resize((SIDE, SIDE), box=(left, top, right, bottom)))


def _finish(rng: np.random.Generator, image: Image.Image, blur: float, grain: float) -> Square:
    """Return the drawing as a camera might have seen it."""
    field = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0, blur))), float)
    if rng.random() < 0.3:
        field = field * (0.5 + draw_gradient(rng) / 510)
    return _to_grey(field + draw_noise(rng, rng.uniform(0, 2)) * rng.uniform(0, grain))


def _draw_shape(
    rng: np.random.Generator,
    pen: ImageDraw.ImageDraw,
    centre: NDArray[np.float64],
    size: tuple[float, ...],
) -> None:
    (x, y), (width, height), grey = centre, size, int(rng.integers(256))
    box = (x - width, y - height, x + width, y + height)
    kind = rng.integers(4)
    if kind == 0:
        pen.ellipse(box, fill=grey)
    elif kind == 1:
        pen.rounded_rectangle(box, radius=rng.uniform(0, 8), fill=grey)
    elif kind == 2:
        corners = rng.uniform(-1, 1, (rng.integers(3, 9), 2)) * [width, height] + centre
        pen.polygon([(float(a), float(b)) for a, b in corners], fill=grey)
    else:
        points = rng.normal(0, 0.6, (5, 2)) * [width, height] + centre
        pen.line(
            [(float(a), float(b)) for a, b in points], fill=grey, width=int(rng.integers(2, 12))
        )


def _draw_capsule(start: Any, end: Any, radius: float, other: float) -> Field:
    """Return a rod with thicker ends, 1 on its axis and 0 outside."""
    down, across = np.mgrid[:SIDE, :SIDE].astype(float)
    (x, y), (right, below) = start, np.subtract(end, start)
    along = ((across - x) * right + (down - y) * below) / (right**2 + below**2 + 1e-6)
    along = np.clip(along, 0, 1)
    thick = radius + (other - radius) * along + radius * 0.35 * (2 * along - 1) ** 4
    away = np.hypot(across - x - along * right, down - y - along * below)
    return np.asarray(np.clip(1 - away / thick, 0, 1))
