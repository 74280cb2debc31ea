"""Recipes: every choice of a training run as data, checked before any work begins."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pneumoscope.errors import RecipeError
from pneumoscope.images import PreprocessingSpec

#: What a stage may train: parts of the network in forward order, the linear head, or everything.
TRAINABLE_PARTS = ("stem", "layer1", "layer2", "layer3", "layer4", "head")


class Schedule(StrEnum):
    """How the learning rate moves over a stage."""

    CONSTANT = "constant"
    ONE_CYCLE = "one_cycle"


class BatchNorm(StrEnum):
    """Whether trainable batch norm uses and updates batch statistics, or its stored ones."""

    INFERENCE = "inference"
    TRAINING = "training"


class Restore(StrEnum):
    """Which epoch's weights a stage ends with: lowest validation loss, or the last."""

    BEST = "best"
    LAST = "last"


class ClassWeighting(StrEnum):
    """How the loss answers to unequal class counts."""

    BALANCED = "balanced"
    NONE = "none"


class Precision(StrEnum):
    """Arithmetic of the forward pass in training; `auto` is bf16 where the hardware has it."""

    AUTO = "auto"
    BF16 = "bf16"
    FP32 = "fp32"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Augmentation(_Model):
    """Mild, medically plausible changes of one image; each value is a largest deviation.

    No flips: a mirrored chest has its heart on the wrong side.
    """

    rotation: float = Field(0.0, ge=0, le=45, description="degrees, either way")
    scale: float = Field(0.0, ge=0, lt=0.5, description="share of the size, either way")
    translation: float = Field(0.0, ge=0, lt=0.5, description="share of the size, either way")
    aspect: float = Field(0.0, ge=0, lt=0.5, description="log ratio of width to height")
    gamma: float = Field(0.0, ge=0, lt=2, description="log of the exponent")
    contrast: float = Field(0.0, ge=0, lt=1, description="share, about the image's mean")
    brightness: float = Field(0.0, ge=0, lt=1, description="share of the full range")
    blur: float = Field(0.0, ge=0, le=5, description="standard deviation, pixels")
    noise: float = Field(0.0, ge=0, lt=0.5, description="standard deviation, share of the range")


class Stage(_Model):
    """One stage of training: what learns, how fast, for how long."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    trainable: tuple[str, ...]
    epochs: int = Field(10, ge=1)
    batch_size: int = Field(32, ge=2)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    schedule: Schedule = Schedule.CONSTANT
    batch_norm: BatchNorm = BatchNorm.INFERENCE
    patience: int | None = Field(None, ge=1, description="epochs without a better validation loss")
    restore: Restore = Restore.BEST
    averaging: float | None = Field(None, gt=0, lt=1, description="decay of the weight average")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    resolutions: tuple[tuple[int, float], ...] = ()
    augmentation: Augmentation | None = None

    @field_validator("trainable")
    @classmethod
    def _check_trainable(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        if parts == ("all",):
            return TRAINABLE_PARTS
        unknown = [part for part in parts if part not in TRAINABLE_PARTS]
        if unknown or "head" not in parts:
            raise ValueError(f"takes 'all', or 'head' with any of {', '.join(TRAINABLE_PARTS)}")
        first = min(TRAINABLE_PARTS.index(part) for part in parts)
        # What lies behind a trainable part must be trainable too, or nothing could be cached.
        return TRAINABLE_PARTS[first:]

    @field_validator("resolutions")
    @classmethod
    def _check_resolutions(
        cls, steps: tuple[tuple[int, float], ...]
    ) -> tuple[tuple[int, float], ...]:
        if any(size < 32 or share <= 0 for size, share in steps):
            raise ValueError("takes pairs of a size of at least 32 pixels and a positive share")
        return steps

    @property
    def frozen_upto(self) -> str | None:
        """The last frozen part of the network; None where everything is trained."""
        first = TRAINABLE_PARTS.index(self.trainable[0])
        return TRAINABLE_PARTS[first - 1] if first else None

    def find_size(self, epoch: int, full_size: int) -> int:
        """Return the image size in pixels of an epoch (counted from 1)."""
        if not self.resolutions or epoch == self.epochs:
            return self.resolutions[-1][0] if self.resolutions else full_size
        total = sum(share for _, share in self.resolutions)
        passed = 0.0
        for size, share in self.resolutions:
            passed += share / total
            if (epoch - 0.5) / self.epochs < passed:
                return size
        return self.resolutions[-1][0]


#: Names that files and numbers of a run have beside those of its stages.
_TAKEN_NAMES = frozenset({"final", "initial", "checkpoint"})


class Recipe(_Model):
    """Everything that decides a run, given data, weights and a seed."""

    name: str
    stages: tuple[Stage, ...] = Field(min_length=1)
    preprocessing: PreprocessingSpec = PreprocessingSpec(size=224)
    dropout: float = Field(0.2, ge=0, lt=1)
    class_weighting: ClassWeighting = ClassWeighting.BALANCED
    precision: Precision = Precision.AUTO
    cache: bool = Field(True, description="compute what is frozen once and keep it")
    ratios: tuple[float, float, float] = (80, 10, 10)
    grouping: str = Field("patient", pattern="^(patient|block|site|image)$")
    rule_out_sensitivity: float = Field(0.99, gt=0, lt=1)
    rule_in_specificity: float = Field(0.95, gt=0, lt=1)

    @field_validator("stages")
    @classmethod
    def _check_names(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        if len({stage.name for stage in stages}) != len(stages):
            raise ValueError("needs a different name for every stage")
        if taken := _TAKEN_NAMES.intersection(stage.name for stage in stages):
            raise ValueError(f"takes any stage name but {', '.join(sorted(taken))}")
        return stages

    @model_validator(mode="after")
    def _check_last_size(self) -> Recipe:
        for stage in self.stages:
            if stage.resolutions and stage.resolutions[-1][0] != self.preprocessing.size:
                raise ValueError(
                    f"{stage.name}.resolutions must end at the size that serves, "
                    f"preprocessing.size={self.preprocessing.size}: its last is "
                    f"{stage.resolutions[-1][0]}"
                )
        return self

    def cap_epochs(self, epochs: int) -> Recipe:
        """Return this recipe with at most `epochs` epochs in every stage."""
        stages = tuple(
            stage.model_copy(update={"epochs": min(stage.epochs, epochs)}) for stage in self.stages
        )
        return self.model_copy(update={"stages": stages})


def list_recipes() -> list[str]:
    """Return the names of the recipes in the box."""
    folder = resources.files("pneumoscope.training") / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir())


def load_recipe(name: str, settings: Iterable[str] = (), epochs: int | None = None) -> Recipe:
    """Return the recipe of this name or YAML file, with `key=value` settings applied.

    A key reaches any field, with a dot between levels: `dropout=0.3`, `baseline.epochs=3`.

    Raises
    ------
    RecipeError
        An unknown recipe or key (the nearest right one is named), or a value out of range.
    """
    tree = _read_yaml(name)
    for setting in settings:
        _apply_setting(tree, setting)
    recipe = _validate(tree, name)
    return recipe if epochs is None else recipe.cap_epochs(_check_epochs(epochs))


def parse_recipe(tree: Any, source: str) -> Recipe:
    """Return the recipe that a mapping, read from `source`, describes."""
    return _validate(tree, source)


def _read_yaml(name: str) -> dict[str, Any]:
    if name in list_recipes():
        text = (resources.files("pneumoscope.training") / "recipes" / f"{name}.yaml").read_bytes()
    elif Path(name).suffix in {".yaml", ".yml"} and Path(name).is_file():
        text = Path(name).read_bytes()
    else:
        raise RecipeError(
            f"There is no recipe {name!r}: choose {' or '.join(list_recipes())}, "
            "or name a YAML file that exists."
        )
    try:
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("stages"), list):
        raise RecipeError(f"{name} is no recipe: it needs a `name` and a list of `stages`.")
    return tree


def _apply_setting(tree: dict[str, Any], setting: str) -> None:
    key, separator, text = setting.partition("=")
    if not separator:
        raise RecipeError(f"--set takes key=value, found {setting!r}.")
    stages = {s["name"]: s for s in tree["stages"] if isinstance(s, dict) and "name" in s}
    known = list(_list_keys(stages))
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
        near = near or [k for k in known if k.endswith(f".{key.split('.')[-1]}")]
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
        raise RecipeError(f"There is no setting {key!r} in this recipe; {hint}")
    *path, last = key.split(".")
    node: dict[str, Any] = tree
    if path and path[0] in stages:
        node = stages[path.pop(0)]
    for part in path:
        if not isinstance(node.get(part), dict):
            node[part] = {}
        node = node[part]
    try:
        node[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {key} takes a plain value, found {text!r}.") from error


def _list_keys(stages: Iterable[str]) -> Iterator[str]:
    for field in Recipe.model_fields:
        if field == "preprocessing":
            yield from (f"preprocessing.{name}" for name in PreprocessingSpec.model_fields)
        elif field != "stages":
            yield field
    for stage in stages:
        for field in Stage.model_fields:
            yield f"{stage}.{field}"
        yield from (f"{stage}.augmentation.{name}" for name in Augmentation.model_fields)


def _validate(tree: Any, source: str) -> Recipe:
    try:
        return Recipe.model_validate(_spell_floats(tree))
    except ValidationError as error:
        first = error.errors()[0]
        place = _spell_key(first["loc"], tree) or "the recipe"
        message = str(first["msg"]).removeprefix("Value error, ")
        raise RecipeError(f"In {source}, {place}: {message}, found {first['input']!r}.") from error


def _spell_key(location: tuple[int | str, ...], tree: Any) -> str:
    """Return a place in a recipe as `--set` writes it: a stage goes by its name."""
    match location:
        case ("stages", int(place), *rest):
            stage = tree["stages"][place]
            name = stage.get("name") if isinstance(stage, dict) else None
            location = (name or f"stages.{place}", *rest)
    return ".".join(map(str, location))


def _spell_floats(tree: Any) -> Any:
    # YAML 1.1 reads 1e-3 as text; people mean a number.
    if isinstance(tree, dict):
        return {key: _spell_floats(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_spell_floats(value) for value in tree]
    if isinstance(tree, str):
        try:
            return float(tree) if "e" in tree.lower() else tree
        except ValueError:
            return tree
    return tree


def _check_epochs(epochs: int) -> int:
    if epochs < 1:
        raise RecipeError(f"--epochs takes a number of at least 1, found {epochs}.")
    return epochs
