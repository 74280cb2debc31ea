"""Networks of timm with weights from a file, for judging models of others."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pneumoscope.errors import WeightsError
from pneumoscope.network.states import complain, read_state


class TimmClassifier:
    """A network of timm on the CPU, in fp32, with every parameter from a checkpoint.

    Nothing is downloaded. How many classes there are is read from the head of the checkpoint.

    Parameters
    ----------
    architecture
        A name of `timm.list_models()`.
    checkpoint
        `.safetensors`, or `.pth` and `.pt` of plain tensors.
    channels
        Of the input.
    size
        Height and width of the input, for networks that take one size only, such as ViT.

    Raises
    ------
    WeightsError
        The architecture is unknown, or the checkpoint is unreadable or does not fit it.
    """

    def __init__(
        self, architecture: str, checkpoint: Path, channels: int, size: tuple[int, int]
    ) -> None:
        import timm

        self.version = f"PyTorch {torch.__version__}"
        _check_name(architecture, timm.list_models())
        state = read_state(checkpoint)
        config = timm.get_pretrained_cfg(architecture)
        head = (config.classifier if config else None) or "fc"
        heads = (head,) if isinstance(head, str) else tuple(head)
        where = f"{checkpoint}, read as {architecture},"
        needed = f"a state dict of timm's {architecture} with {channels} input channels"
        complain(where, "lacks the head", [n for n in heads if f"{n}.weight" not in state], needed)
        self.classes = len(state[f"{heads[0]}.weight"])
        fixed: dict[str, Any] = {"img_size": size} if config and config.fixed_input_size else {}
        try:
            network = timm.create_model(
                architecture, num_classes=self.classes, in_chans=channels, **fixed
            )
        except (RuntimeError, AssertionError, TypeError, ValueError) as error:
            said = " ".join(str(error).split())[:160]
            raise WeightsError(
                f"timm makes no {architecture} for {size[0]}×{size[1]} pixels and {channels} "
                f"channels: {said}"
            ) from error
        _fill(network, state, where, needed)
        self._network = network.eval()

    @torch.inference_mode()
    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits, float32 [N, classes], of images, float32 [N, channels, H, W]."""
        answer: NDArray[np.float32] = self._network(torch.from_numpy(images)).numpy()
        return answer


def _check_name(architecture: str, known: list[str]) -> None:
    if architecture not in known:
        near = difflib.get_close_matches(architecture, known, n=3)
        hint = f"near are {', '.join(near)}" if near else "see timm.list_models()"
        raise WeightsError(f"timm has no architecture {architecture!r}: {hint}.")


def _fill(network: Any, state: dict[str, torch.Tensor], where: str, needed: str) -> None:
    own = network.state_dict()
    for name in own:  # counters count for nothing here, and files write them in several ways
        if name.endswith("num_batches_tracked"):
            state[name] = own[name]
    complain(where, "lacks", [name for name in own if name not in state], needed)
    complain(where, "has what is not known there:", [n for n in state if n not in own], needed)
    shapes = [
        f"{name} {list(state[name].shape)} instead of {list(own[name].shape)}"
        for name in own
        if state[name].shape != own[name].shape
    ]
    complain(where, "has other shapes:", shapes, needed)
    network.load_state_dict(state)
