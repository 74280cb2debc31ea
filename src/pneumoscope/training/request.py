"""What a run is asked to do, and how that is written down and read back."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pneumoscope.datasets import CollectionOptions, Layout
from pneumoscope.errors import RunError
from pneumoscope.training.recipe import Recipe, parse_recipe


@dataclass(frozen=True)
class TrainingRequest:
    """What a run is asked to do."""

    data: Path
    out: Path
    recipe: Recipe
    weights: str = "auto"
    seed: int = 0
    device: str = "auto"
    options: CollectionOptions = field(default_factory=CollectionOptions)
    allow_contamination: bool = False
    allow_leakage: bool = False
    mlflow: bool = False
    name: str | None = None
    """What the run and its model are called; by default as its folder."""


def describe_request(request: TrainingRequest) -> dict[str, Any]:
    """Return a request as plain values for `config.yaml`."""
    return {
        "data": str(request.data.resolve()),
        "weights": request.weights,
        "seed": request.seed,
        "device": request.device,
        "options": dataclasses.asdict(request.options),
        "allow_contamination": request.allow_contamination,
        "allow_leakage": request.allow_leakage,
        "mlflow": request.mlflow,
        "name": request.name,
        "recipe": request.recipe.model_dump(mode="json"),
    }


def parse_request(config: dict[str, Any], out: Path) -> TrainingRequest:
    """Return the request that `config.yaml` describes.

    Raises
    ------
    RunError
        Something is missing or of another kind.
    """
    try:
        options = dict(config["options"])
        if options["layout"] is not None:
            options["layout"] = Layout(options["layout"])
        return TrainingRequest(
            data=Path(config["data"]),
            out=out,
            recipe=parse_recipe(config["recipe"], "config.yaml"),
            weights=config["weights"],
            seed=config["seed"],
            device=config["device"],
            options=CollectionOptions(**options),
            allow_contamination=config["allow_contamination"],
            # Runs of an earlier version do not say these.
            allow_leakage=config.get("allow_leakage", False),
            mlflow=config["mlflow"],
            name=config.get("name"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{out / 'config.yaml'} is damaged; start a new run.") from error


def check_same_request(config: dict[str, Any], again: TrainingRequest) -> None:
    """Compare what `config.yaml` describes with what is asked for now; the device may differ.

    Raises
    ------
    RunError
        Something else is asked for.
    """
    then = describe_request(parse_request(config, again.out))
    for name, now in describe_request(again).items():
        # Weights may bring their own normalisation, which the run then holds.
        if name != "device" and _without_normalisation(now) != _without_normalisation(then[name]):
            raise RunError(
                f"{again.out} was started with another `{name}`: --resume goes on as it was "
                "started, choose another --out for a new run."
            )


def _without_normalisation(value: Any) -> Any:
    if not isinstance(value, dict) or "preprocessing" not in value:
        return value
    kept = {k: v for k, v in value["preprocessing"].items() if k != "normalisation"}
    return value | {"preprocessing": kept}
