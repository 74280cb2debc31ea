"""The grey pipeline of DICOM: stored values, modality, VOI, polarity; as the standard writes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pneumoscope.errors import ImageError
from pneumoscope.images import read, read_grey_values

MakeDicom = Callable[..., bytes]

WINDOW = {"WindowCenter": 2048, "WindowWidth": 3000}


def _table(entries: np.ndarray, first: int, depth: int, order: str = "<") -> list[Dataset]:
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, depth]
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item.LUTData = entries.astype(f"{order}u2").tobytes()
    item["LUTData"].VR = "OW"
    return [item]


def _gamma(count: int, depth: int) -> np.ndarray:
    """Return a curve that rises to the top of its depth."""
    return np.rint(np.linspace(0, 1, count) ** 2 * ((1 << depth) - 1)).astype(np.uint16)


# Window functions against PS3.3 C.11.2.1.2 and C.11.2.1.3, written out ------------------------


def _linear(x: float, c: float, w: float) -> float:
    if x <= c - 0.5 - (w - 1) / 2:
        return 0.0
    if x > c - 0.5 + (w - 1) / 2:
        return 1.0
    return (x - (c - 0.5)) / (w - 1) + 0.5


def _linear_exact(x: float, c: float, w: float) -> float:
    if x <= c - w / 2:
        return 0.0
    if x > c + w / 2:
        return 1.0
    return (x - c) / w + 0.5


def _sigmoid(x: float, c: float, w: float) -> float:
    return float(1 / (1 + np.exp(-4 * (x - c) / w)))


@pytest.mark.parametrize(
    ("function", "formula"),
    [
        (None, _linear),
        ("LINEAR", _linear),
        ("LINEAR_EXACT", _linear_exact),
        ("SIGMOID", _sigmoid),
    ],
)
@pytest.mark.parametrize(
    ("centre", "width"), [(2048, 4096), (1000, 500), (2000.5, 1), (0, 100), (40, 2), (9000, 20)]
)
def test_windows_follow_the_standards_formulas(
    make_dicom: MakeDicom,
    chest: np.ndarray,
    function: str | None,
    formula: Callable[[float, float, float], float],
    centre: float,
    width: float,
) -> None:
    named = {"VOILUTFunction": function} if function else {}
    data = make_dicom(chest, BitsStored=12, WindowCenter=centre, WindowWidth=width, **named)
    with np.errstate(over="ignore"):
        expected = [round(formula(float(x), centre, width) * 65535) for x in chest.flat]
    assert np.abs(read(data).pixels.ravel().astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("slope", "intercept"), [(1, -1024), (2, 0), (0.5, 100), (-1, 4095), (1e-3, 0)]
)
def test_rescaling_comes_before_the_window(
    make_dicom: MakeDicom, chest: np.ndarray, slope: float, intercept: float
) -> None:
    centre, width = 2048 * slope + intercept, 3000 * abs(slope)
    data = make_dicom(
        chest,
        BitsStored=12,
        RescaleSlope=slope,
        RescaleIntercept=intercept,
        WindowCenter=centre,
        WindowWidth=width,
        VOILUTFunction="LINEAR_EXACT",
    )
    expected = np.clip((chest * float(slope) + intercept - centre) / width + 0.5, 0, 1) * 65535
    assert np.abs(read(data).pixels - expected).max() <= 1


# The same against DCMTK ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "options"),
    [
        (WINDOW, ["+Wi", "1"]),
        # alternatives: the first is meant
        ({"WindowCenter": [2048, 100], "WindowWidth": [3000, 50]}, ["+Wi", "1"]),
        (WINDOW | {"PhotometricInterpretation": "MONOCHROME1"}, ["+Wi", "1"]),
        (WINDOW | {"VOILUTFunction": "SIGMOID"}, ["+Wi", "1", "+Wfs"]),
        (WINDOW | {"RescaleSlope": 1, "RescaleIntercept": -500}, ["+Wi", "1"]),
        (WINDOW | {"RescaleSlope": 2, "RescaleIntercept": -1000}, ["+Wi", "1"]),
        ({"VOILUTSequence": _table(_gamma(4096, 16), 0, 16)}, ["+Wl", "1"]),
        ({"VOILUTSequence": _table(_gamma(4096, 12), 0, 12)}, ["+Wl", "1"]),
        # covers a part only: the ends are held
        ({"VOILUTSequence": _table(_gamma(1000, 16), 1500, 16)}, ["+Wl", "1"]),
        ({"VOILUTSequence": _table(_gamma(4096, 8), 0, 8)}, ["+Wl", "1"]),
        # a table goes before a window
        (WINDOW | {"VOILUTSequence": _table(_gamma(4096, 16), 0, 16)}, ["+Wl", "1"]),
        # after rescaling, the table's first value is a rescaled one
        (
            {
                "RescaleSlope": 1,
                "RescaleIntercept": -1000,
                "VOILUTSequence": _table(_gamma(4096, 16), -1000, 16),
            },
            ["+Wl", "1"],
        ),
        (
            {"ModalityLUTSequence": _table(_gamma(4096, 12), 0, 12)} | WINDOW,
            ["+Wi", "1"],
        ),
        # neither table nor window: the used range
        ({}, ["+Wm"]),
        ({"PhotometricInterpretation": "MONOCHROME1"}, ["+Wm"]),
    ],
)
def test_the_grey_pipeline_agrees_with_dcmtk(
    dcmtk: Any,
    make_dicom: MakeDicom,
    chest: np.ndarray,
    attributes: dict[str, Any],
    options: list[str],
) -> None:
    """Within one level of 65535, which is rounding.

    DCMTK shifts a table's entries up to 16 bits where ours are scaled, so white is 65520 for it
    after a table of 12 bits. It also cuts rescaled values to whole numbers: fractions are tested
    against the formula above.
    """
    shift = 0
    if "VOILUTSequence" in attributes:
        shift = 16 - attributes["VOILUTSequence"][0].LUTDescriptor[2]
    data = make_dicom(chest, BitsStored=12, **attributes)
    rendered = dcmtk.render(data, *options) * (65535 / ((65535 >> shift) << shift))
    assert np.abs(read(data).pixels - rendered).max() <= 1


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        WINDOW,
        WINDOW | {"VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": 9000, "WindowWidth": 20},  # outside of every value
        {"WindowCenter": 2000.5, "WindowWidth": 1},  # a step
        WINDOW | {"RescaleSlope": 2, "RescaleIntercept": -1000},
        WINDOW | {"RescaleSlope": -1, "RescaleIntercept": 4095},
        WINDOW | {"ModalityLUTSequence": _table(_gamma(4096, 12), 0, 12)},
        WINDOW | {"VOILUTFunction": "SIGMOID"},
        {"VOILUTSequence": _table(_gamma(4096, 16), 0, 16)},
    ],
)
def test_a_viewer_begins_with_what_the_network_sees(
    make_dicom: MakeDicom, chest: np.ndarray, attributes: dict[str, Any], inverse: bool
) -> None:
    if inverse:
        attributes = attributes | {"PhotometricInterpretation": "MONOCHROME1"}
    data = make_dicom(chest, BitsStored=12, **attributes)
    grey = read_grey_values(data)
    low, high = grey.window
    shown = np.clip((grey.values - low) / (high - low), 0, 1) * 65535
    assert np.abs(read(data).pixels - shown).max() <= 1


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("slope", [2, -0.5])
def test_a_viewer_has_every_value_in_the_files_own_units(
    make_dicom: MakeDicom, chest: np.ndarray, slope: float, photometric: str, signed: bool
) -> None:
    stored = chest.astype(np.int16) - 2048 if signed else chest
    data = make_dicom(
        stored,
        BitsStored=12,
        PixelRepresentation=int(signed),
        PhotometricInterpretation=photometric,
        RescaleSlope=slope,
        RescaleIntercept=-1024,
        WindowCenter=0,
        WindowWidth=50,  # narrow: the picture that the network sees loses most
    )
    grey = read_grey_values(data)
    np.testing.assert_allclose(grey.slope * grey.values + grey.intercept, stored * slope - 1024.0)
    assert grey.bits == 12
    assert grey.values.max() < 1 << 12


def test_a_viewer_has_the_pixels_of_what_is_no_dicom_file(
    encode: Callable[..., bytes], rng: np.random.Generator
) -> None:
    data = encode(rng.integers(0, 65536, (20, 30)).astype(np.uint16), "PNG")
    grey = read_grey_values(data)
    np.testing.assert_array_equal(grey.values, read(data).pixels)
    assert (grey.bits, grey.window, grey.slope, grey.intercept) == (16, (0, 65535), 1, 0)


@pytest.mark.parametrize("depth", range(8, 17))
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_every_stored_depth_agrees_with_dcmtk(
    dcmtk: Any, make_dicom: MakeDicom, chest: np.ndarray, depth: int, signed: bool
) -> None:
    values = (chest.astype(np.int64) << 4 >> (16 - depth)) - (1 << (depth - 1)) * signed
    full = 1 << depth
    stored = values.astype(np.uint16) & np.uint16(full - 1)
    data = make_dicom(
        stored,
        BitsStored=depth,
        PixelRepresentation=int(signed),
        WindowCenter=0 if signed else full // 2,
        WindowWidth=full * 3 // 4,
    )
    radiograph = read(data)
    assert radiograph.bits == 16
    assert np.abs(radiograph.pixels.astype(int) - dcmtk.render(data, "+Wi", "1")).max() <= 1


# What must hold without a second opinion -------------------------------------------------------


@pytest.mark.parametrize(
    "voi",
    [
        WINDOW,
        WINDOW | {"VOILUTFunction": "SIGMOID"},
        {},
        {"VOILUTSequence": _table(_gamma(4096, 12), 0, 12)},
    ],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_monochrome1_is_the_inverse_of_its_monochrome2_twin(
    make_dicom: MakeDicom, chest: np.ndarray, voi: dict[str, Any], bits: int
) -> None:
    pixels, stored = (chest, 12) if bits == 16 else ((chest >> 4).astype(np.uint8), 8)
    twins = [
        read(make_dicom(pixels, BitsStored=stored, PhotometricInterpretation=name, **voi))
        for name in ("MONOCHROME1", "MONOCHROME2")
    ]
    top = (1 << bits) - 1
    # Halves are rounded to even: the two may differ by one.
    assert np.abs(top - twins[0].pixels.astype(int) - twins[1].pixels).max() <= 1
    assert [twin.photometric_interpretation for twin in twins] == ["MONOCHROME1", "MONOCHROME2"]


def test_a_film_stored_inverted_shows_the_same_anatomy(
    make_dicom: MakeDicom, chest: np.ndarray
) -> None:
    dense = read(make_dicom(chest, BitsStored=12))
    airy = make_dicom(4095 - chest, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    assert np.abs(dense.pixels.astype(int) - read(airy).pixels).max() <= 1


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "INVERSE", True),  # says it twice, as the standard wants; means it once
    ],
)
def test_presentation_shape_inverts_once(
    make_dicom: MakeDicom, chest: np.ndarray, photometric: str, shape: str, inverted: bool
) -> None:
    radiograph = read(
        make_dicom(
            chest,
            BitsStored=12,
            PhotometricInterpretation=photometric,
            PresentationLUTShape=shape,
        )
    )
    assert radiograph.pixels[0, 0] == (65535 if inverted else 0)


@pytest.mark.parametrize(
    ("syntax", "order"),
    [(ExplicitVRLittleEndian, "<"), (ImplicitVRLittleEndian, "<"), (ExplicitVRBigEndian, ">")],
    ids=["explicit", "implicit", "big endian"],
)
def test_tables_are_read_in_the_files_byte_order(
    make_dicom: MakeDicom, chest: np.ndarray, syntax: Any, order: str
) -> None:
    curve = _gamma(4096, 12)
    data = make_dicom(
        chest, BitsStored=12, syntax=syntax, VOILUTSequence=_table(curve, 0, 12, order)
    )
    expected = np.rint(curve[chest] / 4095 * 65535)
    np.testing.assert_array_equal(read(data).pixels, expected)


def test_a_table_of_bytes_may_be_packed_two_a_word(
    make_dicom: MakeDicom, chest: np.ndarray
) -> None:
    curve = _gamma(4096, 8)
    packed = _table(curve, 0, 8)
    packed[0].LUTData = curve.astype(np.uint8).tobytes()
    data = make_dicom(chest, BitsStored=12, VOILUTSequence=packed)
    np.testing.assert_array_equal(read(data).pixels, curve[chest].astype(int) * 257)


def test_a_table_of_65536_entries_states_zero(make_dicom: MakeDicom, chest: np.ndarray) -> None:
    curve = _gamma(65536, 16)
    data = make_dicom(chest * np.uint16(16), VOILUTSequence=_table(curve, 0, 16))
    np.testing.assert_array_equal(read(data).pixels, curve[chest * np.uint16(16)])


def test_bits_above_the_stored_ones_are_ignored(
    make_dicom: MakeDicom, chest: np.ndarray, rng: np.random.Generator
) -> None:
    overlay = rng.integers(0, 16, chest.shape).astype(np.uint16) << 12
    with_overlay = read(make_dicom(chest | overlay, BitsStored=12, **WINDOW))
    without = read(make_dicom(chest, BitsStored=12, **WINDOW))
    np.testing.assert_array_equal(with_overlay.pixels, without.pixels)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_unused_bits_below_the_stored_ones_are_dropped(
    make_dicom: MakeDicom, dcmtk: Any, chest: np.ndarray, photometric: str
) -> None:
    facts = {"BitsStored": 12, "PhotometricInterpretation": photometric, **WINDOW}
    lowest = make_dicom(chest, **facts)
    highest = make_dicom(chest << 4, HighBit=15, **facts)
    np.testing.assert_array_equal(read(highest).pixels, read(lowest).pixels)
    np.testing.assert_array_equal(read_grey_values(highest).values, read_grey_values(lowest).values)
    np.testing.assert_array_equal(dcmtk.render(highest), dcmtk.render(lowest))


def test_bits_beyond_those_there_are_are_refused(make_dicom: MakeDicom, chest: np.ndarray) -> None:
    for high in (10, 16):
        with pytest.raises(ImageError, match=rf"12 bits below bit {high + 1} of 16 are no pixel"):
            read(make_dicom(chest, BitsStored=12, HighBit=high))


@pytest.mark.parametrize(
    ("padding", "filled"),
    [
        ({"PixelPaddingValue": 60_000}, [60_000]),
        ({"PixelPaddingValue": 5_000, "PixelPaddingRangeLimit": 4_990}, [4_990, 4_996, 5_000]),
    ],
    ids=["value", "range"],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_what_only_fills_the_frame_has_no_part_in_the_range(
    make_dicom: MakeDicom,
    chest: np.ndarray,
    padding: dict[str, int],
    filled: list[int],
    photometric: str,
) -> None:
    plain = make_dicom(chest, PhotometricInterpretation=photometric)
    padded = chest.copy()
    padded[:4] = np.resize(filled, (4, 64))
    padded[4, 0], padded[4, 1] = chest.min(), chest.max()
    file = make_dicom(padded, PhotometricInterpretation=photometric, **padding)
    np.testing.assert_array_equal(read(file).pixels[5:], read(plain).pixels[5:])
    grey, wanted = read_grey_values(file), read_grey_values(plain)
    ends = [[g.slope * end + g.intercept for end in g.window] for g in (grey, wanted)]
    assert ends[0] == pytest.approx(ends[1])


def test_a_frame_of_padding_alone_is_stretched_as_any(make_dicom: MakeDicom) -> None:
    file = make_dicom(np.full((5, 5), 7, np.uint16), PixelPaddingValue=7)
    assert not read(file).pixels.any()


def test_a_flat_image_without_window_is_black(make_dicom: MakeDicom) -> None:
    assert not read(make_dicom(np.full((5, 5), 700, np.uint16))).pixels.any()


@pytest.mark.parametrize(
    "attributes",
    [
        {"WindowCenter": None, "WindowWidth": None},
        {"WindowCenter": 2048},
        {"WindowCenter": 0, "WindowWidth": 0},
        {"PixelPaddingValue": None},
        {"WindowCenter": 100, "WindowWidth": None},
        {"VOILUTSequence": []},
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"ModalityLUTSequence": []},
    ],
)
def test_empty_elements_are_as_absent(
    make_dicom: MakeDicom, chest: np.ndarray, attributes: dict[str, Any]
) -> None:
    plain = read(make_dicom(chest, BitsStored=12))
    np.testing.assert_array_equal(
        read(make_dicom(chest, BitsStored=12, **attributes)).pixels, plain.pixels
    )


def test_who_and_how_are_taken_from_the_header(make_dicom: MakeDicom, chest: np.ndarray) -> None:
    radiograph = read(make_dicom(chest, PatientID=" 0815 ", ViewPosition="AP"), name="scan")
    assert (radiograph.patient_id, radiograph.view) == ("0815", "AP")
    assert radiograph.modality == "CR"
    assert radiograph.original_size == (64, 48)
    assert radiograph.source == "scan"
    nameless = read(make_dicom(chest, without=("PatientID", "ViewPosition")))
    assert (nameless.patient_id, nameless.view) == (None, None)


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"WindowCenter": 10, "WindowWidth": 0.5}, "window of centre 10 and width 0.5 means"),
        (
            {"WindowCenter": 10, "WindowWidth": -3, "VOILUTFunction": "SIGMOID"},
            "width -3 means nothing",
        ),
        (WINDOW | {"VOILUTFunction": "CUBIC"}, "window function 'CUBIC' is unknown"),
        ({"RescaleSlope": 0, "RescaleIntercept": 5}, "to be rescaled by 0 and 5"),
        (
            {"VOILUTSequence": _table(_gamma(100, 12), 0, 3)},
            "look-up table has 100 entries, 100 of 3 bits due",
        ),
    ],
)
def test_a_pipeline_that_means_nothing_is_refused(
    make_dicom: MakeDicom, chest: np.ndarray, attributes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ImageError, match=sentence):
        read(make_dicom(chest, BitsStored=12, **attributes))


def test_a_table_with_too_few_entries_is_refused(make_dicom: MakeDicom, chest: np.ndarray) -> None:
    short = _table(_gamma(4096, 12), 0, 12)
    short[0].LUTDescriptor = [60_000, 0, 12]
    with pytest.raises(ImageError, match="has 8192 entries, 60000 of 12 bits due"):
        read(make_dicom(chest, BitsStored=12, VOILUTSequence=short))
