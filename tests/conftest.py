"""Fixtures that every room shares."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
)

MakeDicom = Callable[..., bytes]

# The same examples everywhere, and no time limit: a busy machine is no error.
settings.register_profile("seeded", deadline=None, derandomize=True)
settings.load_profile("seeded")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Call a file's bytes by the argument's name.

    Their own text is long and, where an archive holds the time, another one in every process; tests
    that run in several processes must have the same names in all.
    """
    return argname if isinstance(val, bytes) and len(val) > 16 else None


def write_dicom(
    pixels: np.ndarray | bytes,
    *,
    syntax: UID = ExplicitVRLittleEndian,
    without: tuple[str, ...] = (),
    shape: tuple[int, ...] | None = None,
    **attributes: Any,
) -> bytes:
    """Return a computed radiograph; `pixels` may be one compressed frame, then of `shape`."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    dataset.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.2"
    dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.3"
    dataset.Modality = "CR"
    dataset.PatientID = "patient"
    dataset.ViewPosition = "PA"
    compressed = isinstance(pixels, bytes)
    shape = shape or pixels.shape
    dataset.Rows, dataset.Columns = shape[:2]
    dataset.SamplesPerPixel = 3 if len(shape) == 3 else 1
    if len(shape) == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "RGB" if len(shape) == 3 else "MONOCHROME2"
    dataset.BitsAllocated = 8 if compressed else pixels.dtype.itemsize * 8
    dataset.PixelRepresentation = 0 if compressed else int(pixels.dtype.kind == "i")
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.BitsStored = attributes.get("BitsStored", dataset.BitsAllocated)
    dataset.HighBit = attributes.get("HighBit", dataset.BitsStored - 1)
    if compressed:
        dataset.PixelData = encapsulate([pixels])
    else:
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if compressed or dataset.BitsAllocated == 8 else "OW"
    for keyword in without:
        delattr(dataset, keyword)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def make_dicom() -> MakeDicom:
    """Return `make_dicom(pixels, syntax=…, without=…, **attributes)`: the bytes of a file."""
    return write_dicom


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261124)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's caches out of the tests, and the tests out of the user's caches."""
    monkeypatch.setenv("PNEUMOSCOPE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real radiographs in Kaggle's layout, where one is named."""
    named = os.environ.get("PNEUMOSCOPE_DATA")
    if not named or not Path(named).is_dir():
        pytest.skip("PNEUMOSCOPE_DATA names no folder of real radiographs")
    return Path(named).resolve()


@pytest.fixture(scope="session")
def originals(real_data: Path) -> Path:
    """A hundred of the real radiographs at their original size, class folders."""
    folder = real_data.parent / "originals"
    if not folder.is_dir():
        pytest.skip(f"no originals beside {real_data}")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small networks train faster on one thread than on two that wait for each other."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty small phantoms in class folders; read-only."""
    from pneumoscope.datasets.phantom import write_phantoms

    folder = tmp_path_factory.mktemp("phantoms") / "set"
    write_phantoms(folder, 60, seed=3, size=64)
    return folder


#: Small images, few epochs.
QUICK = (
    "preprocessing.size=64",
    "baseline.epochs=2",
    "finetuned.epochs=2",
    "baseline.batch_size=8",
    "finetuned.batch_size=8",
    "precision=fp32",
)


@pytest.fixture(scope="session")
def quick() -> tuple[str, ...]:
    """Return settings that make a run of seconds."""
    return QUICK


@pytest.fixture(scope="session")
def finished_run(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished classic run on the phantoms; read-only.

    Of a seed with which so short a training learns something: the classes' logits differ.
    """
    from pneumoscope.training import Silent, TrainingRequest, load_recipe, train

    out = tmp_path_factory.mktemp("runs") / "quick"
    cache = tmp_path_factory.mktemp("run-cache")
    before = os.environ.get("PNEUMOSCOPE_CACHE")
    os.environ["PNEUMOSCOPE_CACHE"] = str(cache)
    try:
        recipe = load_recipe("classic", QUICK)
        train(TrainingRequest(phantoms, out, recipe, weights="none", seed=2), Silent())
    finally:
        if before is None:
            del os.environ["PNEUMOSCOPE_CACHE"]
        else:
            os.environ["PNEUMOSCOPE_CACHE"] = before
    return out


@pytest.fixture(scope="session")
def bundle(finished_run: Path) -> Path:
    """The bundle of the finished run; read-only."""
    return finished_run / "bundle"


# -- a real PostgreSQL ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The folder of the socket of a PostgreSQL of the tests' own; nobody else can reach it."""
    programs = _find_postgresql()
    if programs is None:
        reason = "no PostgreSQL: initdb is neither in PATH nor in /usr/lib/postgresql"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}; packages.apt names what the build machine needs")
        pytest.skip(reason)
    # A socket's path has a hundred letters at most, and pytest's folders are closed to others.
    place = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(place, "postgres", "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    data = place / "data"

    def control(*arguments: str) -> None:
        command = [*as_user, *arguments]
        subprocess.run(command, check=True, cwd=place, stdout=subprocess.DEVNULL)

    quick = f"-c listen_addresses= -c unix_socket_directories={place} -c fsync=off"
    made = ["-D", str(data), "-U", "pneumoscope", "-A", "trust", "-E", "UTF8", "--no-sync"]
    pg_ctl = [str(programs / "pg_ctl"), "-D", str(data), "-w"]
    try:
        control(str(programs / "initdb"), *made)
        control(*pg_ctl, "-o", quick, "-l", str(place / "log"), "start")
        try:
            yield str(place)
        finally:
            control(*pg_ctl, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def postgresql_database(postgresql_server: str) -> Iterator[Callable[[], str]]:
    """Make an empty database on a real PostgreSQL and return its address; dropped afterwards."""
    import psycopg

    names: list[str] = []
    server = f"postgresql://pneumoscope@/postgres?host={postgresql_server}"
    with psycopg.connect(server, autocommit=True) as connection:

        def create() -> str:
            names.append(f"test_{uuid.uuid4().hex}")
            connection.execute(f"CREATE DATABASE {names[-1]}")
            return f"postgresql://pneumoscope@/{names[-1]}?host={postgresql_server}"

        yield create
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgresql(postgresql_database: Callable[[], str]) -> str:
    """The address of an empty database on a real PostgreSQL."""
    return postgresql_database()


def _find_postgresql() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest of several."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(installed, key=lambda path: float(path.parts[-3]), default=None)
    return newest.parent if newest else None
