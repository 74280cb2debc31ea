"""State dicts from elsewhere: opened without running code, and fitted to our network."""

from __future__ import annotations

import pickle
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pneumoscope.errors import WeightsError
from pneumoscope.network.resnet import PneumoniaResNet50

# What a damaged or hostile file makes the readers raise.
READ_ERRORS = (
    pickle.UnpicklingError,
    SafetensorError,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
# Where training programs put the state dict inside a checkpoint, and what they prepend to names.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "state_dict_ema", "model_ema")
_PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "network.", "encoder.")
_HEADS = ("fc.", "head.", "classifier.", "last_linear.")
_NEEDED = "a state dict of torchvision's or timm's resnet50"
_COUNTER = "num_batches_tracked"


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a `.safetensors`, `.pth` or `.pt` file by torchvision's names.

    Raises
    ------
    WeightsError
        The file is missing, damaged, of another kind, or holds more than plain tensors.
    """
    try:
        if path.suffix == ".safetensors":
            tree: Any = load_file(path)
        else:
            with warnings.catch_warnings():  # about pickle's dialects; the answer is ours to give
                warnings.simplefilter("ignore")
                tree = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is refused: it holds more than plain tensors, and could run code when "
            "opened, or is damaged; save it with torch.save(network.state_dict(), FILE) or as "
            ".safetensors."
        ) from error
    except READ_ERRORS as error:
        raise WeightsError(
            f"{path} cannot be read as weights: it is damaged or of another kind; allowed are "
            ".safetensors, .pth, .pt, or a bundle's folder."
        ) from error
    state = _unwrap(tree)
    if not state:
        raise WeightsError(
            f"{path} holds no tensors by name; a state dict is needed, as "
            "torch.save(network.state_dict(), FILE) writes it."
        )
    return _strip_prefixes(state)


def fit_state(network: PneumoniaResNet50, state: Mapping[str, Tensor], where: str) -> bool:
    """Load `state` into `network`; return whether its head fitted and was kept.

    A head with another number of outputs is dropped, and the network's own is left alone.
    `where` names the weights in errors.

    Raises
    ------
    WeightsError
        Parameters are missing, too many, of other shapes, or not finite.
    """
    own = network.state_dict()
    ours = {name: value for name, value in state.items() if not name.startswith(_HEADS)}
    head = {name: state[name] for name in ("fc.weight", "fc.bias") if name in state}
    keeps_head = len(head) == 2 and all(head[n].shape == own[n].shape for n in head)
    if keeps_head:
        ours |= head
    for name in own:  # files of old torch versions have no counters
        if name.endswith(_COUNTER) and name not in ours:
            ours[name] = torch.zeros((), dtype=torch.int64)
    wanted = {name for name in own if keeps_head or not name.startswith("fc.")}
    complain(where, "lacks", [name for name in wanted if name not in ours])
    complain(where, "has what ResNet50 has not:", [name for name in ours if name not in wanted])
    shapes = [
        f"{name} {list(ours[name].shape)} instead of {list(own[name].shape)}"
        for name in wanted
        if ours[name].shape != own[name].shape
    ]
    complain(where, "has other shapes than ResNet50:", shapes)
    complain(where, "is not finite in", [n for n in wanted if not ours[n].float().isfinite().all()])
    network.load_state_dict(own | ours)
    return keeps_head


def _unwrap(tree: Any) -> dict[str, Tensor]:
    """Return the mapping of names to tensors inside a checkpoint; empty where there is none."""
    if not isinstance(tree, Mapping):
        return {}
    for name in _WRAPPERS:
        if isinstance(tree.get(name), Mapping):
            return _unwrap(tree[name])
    return {
        name: value
        for name, value in tree.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }


def _strip_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off what every name starts with; wrappers may be nested."""
    stripped = True
    while stripped:
        stripped = False
        for prefix in _PREFIXES:
            if all(name.startswith(prefix) for name in state):
                state = {name.removeprefix(prefix): value for name, value in state.items()}
                stripped = True
    return state


def complain(where: str, what: str, names: list[str], needed: str = _NEEDED) -> None:
    """Raise `WeightsError` if there are such parameters; the first of them are named."""
    if names:
        first = ", ".join(sorted(names)[:3])
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise WeightsError(f"{where} does not fit: it {what} {first}{more}; {needed} is needed.")
