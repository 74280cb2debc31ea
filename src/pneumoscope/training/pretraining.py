"""Pretraining without labels: a backbone learns to know an image again under another look."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pneumoscope._files import write_atomically
from pneumoscope.bundle import ImageHashes
from pneumoscope.datasets import (
    CollectionOptions,
    build_manifest,
    load_pixels,
    open_collection,
    read_manifest,
    write_manifest,
)
from pneumoscope.errors import DataError, RunError
from pneumoscope.images import PreprocessingSpec
from pneumoscope.network import (
    READ_ERRORS,
    BackboneFacts,
    PneumoniaResNet50,
    draw_weights,
    save_backbone,
)
from pneumoscope.training.checkpoint import save_tree
from pneumoscope.training.environment import choose_device, choose_precision
from pneumoscope.training.inputs import PixelInputs
from pneumoscope.training.loop import Observer, derive_seed, one_cycle, report_progress
from pneumoscope.training.recipe import Precision, load_recipe
from pneumoscope.training.resumable_folder import ResumableFolder

#: The recipe whose augmentation makes two looks of an image. Wilder ones, with black borders that
#: differ, taught nothing in as many steps as a processor can take.
_LOOKS = "robust"
_MIN_IMAGES = 20


@dataclass(frozen=True)
class PretrainingRequest:
    """What is pretrained on what, and how."""

    data: Path
    out: Path
    options: CollectionOptions = field(default_factory=CollectionOptions)
    epochs: int = 20
    size: int = 128
    """Side of the images in pixels."""
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    temperature: float = 0.2
    seed: int = 0
    device: str = "auto"


@dataclass(frozen=True)
class PretrainingResult:
    """Where the backbone is, and how well it tells images apart."""

    backbone: Path
    images: int
    agreement: float
    """Share of looks, in the last epoch, whose nearest in their batch was their counterpart."""


class _Projector(nn.Sequential):
    """The head that is thrown away after pretraining; contrast is measured behind it.

    Normalised over the batch, as in the authors' code: features behind a ReLU share one direction,
    beside which images hardly differ, and nothing is learned from how near they are.
    """

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(2048, 512, bias=False),
            nn.BatchNorm1d(512),
            nn.ReLU(inplace=True),
            nn.Linear(512, 128, bias=False),
            nn.BatchNorm1d(128),
        )


def pretrain(
    request: PretrainingRequest, observer: Observer, *, resume: bool = False
) -> PretrainingResult:
    """Train a backbone on images without looking at their labels (SimCLR).

    Two looks of each image are drawn; each must be nearer to its counterpart than to all others
    of the batch (Chen et al. 2020, arXiv:2002.05709). Where the data is split, only `train` is
    used, so that validation and test stay unseen. All randomness of a step comes from (seed,
    epoch, step): a run that is resumed ends as if it had not been interrupted.

    Raises
    ------
    DataError
        There are too few images.
    RunError
        The folder is in use, finished, or holds something else; the training diverged.
    """
    folder = _Folder(request.out)
    with folder.hold(resume):
        try:
            return _Pretraining(folder, request, observer).run()
        except KeyboardInterrupt:
            if folder.started.is_file():
                observer.on_message("Stopped; --resume goes on after the last whole epoch.")
            raise


def read_pretraining(out: Path, device: str = "auto") -> PretrainingRequest:
    """Return what the pretraining in a folder was asked to do, to go on with it.

    Raises
    ------
    RunError
        The folder holds no pretraining, or a damaged one.
    """
    folder = _Folder(out)
    if not folder.started.is_file():
        raise RunError(f"{out} holds no pretraining to resume: name the data to start one.")
    plan = _read_json(folder.record)["plan"]
    try:
        data = Path(plan.pop("data"))
        return PretrainingRequest(data, out, device=device, **plan)
    except (TypeError, KeyError) as error:
        raise RunError(f"{folder.record} is damaged: start anew in another folder.") from error


class _Folder(ResumableFolder):
    """The folder of a pretraining; `state/` serves resuming and goes at the end."""

    noun = "pretraining"
    before_start = frozenset({"manifest.parquet", "state"})

    def __init__(self, path: Path) -> None:
        super().__init__(path, started="pretraining.json", outcome="backbone.safetensors")
        self.record = self.started
        self.backbone = self.outcome
        self.manifest = path / "manifest.parquet"
        self.state = path / "state"
        self.checkpoint = self.state / "checkpoint.pt"


class _Pretraining:
    """A pretraining under way."""

    def __init__(self, folder: _Folder, request: PretrainingRequest, observer: Observer) -> None:
        self.folder, self.request, self.observer = folder, request, observer
        self.device = choose_device(request.device)
        precision = choose_precision(Precision.AUTO, self.device)
        bf16 = precision is Precision.BF16
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=bf16)
        self.spec = PreprocessingSpec(size=request.size)
        self.network = PneumoniaResNet50()
        draw_weights(self.network, request.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(request.seed)
            self.projector = _Projector()
        self.network.to(self.device, memory_format=torch.channels_last).train()
        self.projector.to(self.device)
        self.network.fc.requires_grad_(False)
        modules = [*self.network.parameters(), *self.projector.parameters()]
        self.parameters = [value for value in modules if value.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=request.learning_rate, weight_decay=request.weight_decay, fused=True
        )
        self.history: list[dict[str, float]] = []

    def run(self) -> PretrainingResult:
        """Bring the pretraining to its end."""
        frame = self._read_images()
        self._reopen()
        pixels = load_pixels(
            frame, self.spec, progress=report_progress(self.observer, "Preparing pixels")
        )
        looks = load_recipe(_LOOKS).stages[0].augmentation
        inputs = PixelInputs(pixels, self.spec, looks, self.device)
        while len(self.history) < self.request.epochs:
            self._run_epoch(inputs, frame.height)
        images = ImageHashes(tuple(frame["sha256"]), tuple(frame["phash"]))
        phantom = "phantom" in frame["source"].to_list()
        facts = BackboneFacts(self.spec.normalisation, images, phantom)
        save_backbone(self.folder.backbone, self.network, facts)
        shutil.rmtree(self.folder.state, ignore_errors=True)
        return PretrainingResult(self.folder.backbone, frame.height, self.history[-1]["agreement"])

    def _read_images(self) -> pl.DataFrame:
        """Return the rows to learn from; written down, so that resuming takes the same."""
        file = self.folder.manifest
        if file.is_file():
            return read_manifest(file)
        say = self.observer.on_message
        collection = open_collection(self.request.data, self.request.options, labelled=False)
        manifest = build_manifest(
            collection, progress=report_progress(self.observer, "Reading images")
        )
        frame = manifest.frame
        if frame["split"].null_count() < frame.height:
            frame = frame.filter(pl.col("split") == "train")
            say(f"Only the split 'train' is used: {frame.height} of {manifest.frame.height}.")
        if frame.height < _MIN_IMAGES:
            raise DataError(f"Pretraining needs {_MIN_IMAGES} images, found {frame.height}.")
        write_manifest(frame, file)
        return frame

    def _reopen(self) -> None:
        """Read back how far the training is, or write down that it begins."""
        plan = _describe(self.request)
        file = self.folder.record
        if not file.is_file():
            self._write_history(plan)
            return
        then = _read_json(file)
        for name, value in plan.items():
            if then["plan"].get(name) != value:
                raise RunError(
                    f"{self.request.out} was started with {name} {then['plan'].get(name)}, asked "
                    f"for is {value}: --resume goes on as it was started."
                )
        if self.folder.checkpoint.is_file():
            try:
                tree = torch.load(
                    self.folder.checkpoint, map_location=self.device, weights_only=True
                )
                self.network.load_state_dict(tree["network"])
                self.projector.load_state_dict(tree["projector"])
                self.optimiser.load_state_dict(tree["optimiser"])
                self.history = tree["history"]
            except READ_ERRORS as error:
                raise RunError(f"{self.folder.checkpoint} is damaged: start anew.") from error

    def _run_epoch(self, inputs: PixelInputs, n: int) -> None:
        started, epoch = time.perf_counter(), len(self.history) + 1
        title = f"Pretraining, epoch {epoch} of {self.request.epochs}"
        losses, agreed, seen = 0.0, 0.0, 0
        batches = list(self._draw_batches(epoch, n))
        for step, rows in enumerate(batches):
            share = ((epoch - 1) * len(batches) + step) / (self.request.epochs * len(batches))
            loss, agreement = self._take_step(inputs, rows, epoch, step, share)
            losses, agreed = losses + loss * len(rows), agreed + agreement * len(rows)
            seen += len(rows)
            self.observer.on_progress(title, seen, n)
        if not np.isfinite(losses):
            raise RunError("The pretraining diverged: start anew with a lower --learning-rate.")
        row = {
            "epoch": epoch, "loss": losses / seen, "agreement": agreed / seen,
            "seconds": time.perf_counter() - started,
        }  # fmt: skip
        self.history.append(row)
        self._save()
        self.observer.on_message(
            f"pretrained {epoch:>2}/{self.request.epochs}  loss {row['loss']:.4f}  looks known "
            f"again {row['agreement']:.3f}  {row['seconds']:.1f} s"
        )

    def _draw_batches(self, epoch: int, n: int) -> Iterator[NDArray[np.int64]]:
        """Yield rows in a new order; images that do not fill a batch wait for the next epoch."""
        seed = derive_seed(self.request.seed, "pretraining", epoch, -1)
        order = np.random.default_rng(seed).permutation(n)
        size = min(self.request.batch_size, n)
        for start in range(0, n - size + 1, size):
            yield order[start : start + size]

    def _take_step(
        self, inputs: PixelInputs, rows: NDArray[np.int64], epoch: int, step: int, share: float
    ) -> tuple[float, float]:
        torch.manual_seed(derive_seed(self.request.seed, "pretraining", epoch, step))
        for group in self.optimiser.param_groups:
            group["lr"] = self.request.learning_rate * one_cycle(share)
        looks = inputs.load_batch(np.concatenate([rows, rows]), self.request.size, train=True)
        with self.autocast:
            features = self.network.run_parts(looks).float().mean((2, 3))
            projected = self.projector(features).float()
        loss, agreement = measure_contrast(projected, self.request.temperature)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss.item(), agreement

    def _save(self) -> None:
        tree = {
            "network": self.network.state_dict(),
            "projector": self.projector.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "history": self.history,
        }
        save_tree(self.folder.checkpoint, tree)
        self._write_history(_describe(self.request))

    def _write_history(self, plan: dict[str, Any]) -> None:
        text = json.dumps({"plan": plan, "history": self.history}, indent=2)
        write_atomically(self.folder.record, text + "\n")


def measure_contrast(projected: Tensor, temperature: float) -> tuple[Tensor, float]:
    """Return the normalised temperature-scaled cross-entropy of two looks, and their agreement.

    Parameters
    ----------
    projected
        float [2N, D]; row i and row i + N are looks of one image.
    temperature
        By which cosine similarities are divided; above 0.

    Returns
    -------
    The loss of Chen et al. (2020), equation 1, averaged over all 2N looks; and the share of looks
    whose nearest other one is their counterpart, 0..1.
    """
    directions = F.normalize(projected, dim=1)
    similarity = directions @ directions.T / temperature
    similarity.fill_diagonal_(float("-inf"))
    n = len(projected) // 2
    counterpart = torch.arange(2 * n, device=projected.device).roll(n)
    agreement = (similarity.argmax(1) == counterpart).float().mean().item()
    return F.cross_entropy(similarity, counterpart), agreement


def _describe(request: PretrainingRequest) -> dict[str, Any]:
    plan = dataclasses.asdict(request)
    for name in ("data", "out", "options", "device"):
        del plan[name]
    return {"data": str(request.data.resolve()), **plan}


def _read_json(file: Path) -> dict[str, Any]:
    try:
        tree: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        tree["plan"].get("seed")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{file} is damaged: start anew in another folder.") from error
    return tree
