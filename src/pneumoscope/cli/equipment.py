"""`pneumoscope bundle equip`: fit all that a trained model needs for use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pneumoscope._probability import format_probability
from pneumoscope.cli._options import QuietOption


def equip(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="A trained bundle, such as runs/NAME/bundle.")
    ],
    data: Annotated[
        Path,
        typer.Argument(help="The manifest of its training, such as runs/NAME/manifest.parquet."),
    ],
    out: Annotated[Path, typer.Option(help="The folder of the new bundle.")],
    outside: Annotated[
        Path | None,
        typer.Option(
            help="Radiographs of another population, which are then told apart; their train part."
        ),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8/--no-int8", help="Try int8 too.")] = True,
    sensitivity: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="What rule_out is expected to reach.")
    ] = 0.975,
    specificity: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="What rule_in is expected to reach.")
    ] = 0.98,
    licence: Annotated[
        str | None,
        typer.Option(help="SPDX identifier of the weights' licence, with --attribution."),
    ] = None,
    attribution: Annotated[
        str | None, typer.Option(help="Whom to name when the weights are used.")
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option(help="Facts for the model card, as `pneumoscope bundle annotate` takes them."),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Fit what a bundle needs for use; the weights stay as they are.

    The images that training held out (the split `val`) set the calibration, the thresholds, the
    input gate and, with --outside, the population check. bf16 and int8 are offered where they
    agree with fp32 on them: the AUC moves by at most 0.002, and at most 0.5 % of the decisions
    change. A few synthetic golden images are answered and recorded, so that another machine can
    show that it answers alike.

    Example: `pneumoscope bundle equip runs/first/bundle runs/first/manifest.parquet --out ready`
    """
    from pneumoscope._extras import require_extra
    from pneumoscope.bundle import LicenceInfo, annotate_bundle, read_facts

    require_extra("evidence", "polars", "scipy", "sklearn", purpose="Equipping a bundle")
    from pneumoscope.cli._progress import show_stages
    from pneumoscope.errors import PneumoscopeError
    from pneumoscope.evidence import Equipment, equip_bundle

    if (licence is None) != (attribution is None):
        raise PneumoscopeError("--licence and --attribution go together: give both, or neither.")
    terms = LicenceInfo(name=licence, attribution=attribution) if licence and attribution else None
    facts, stated = read_facts(card) if card else (None, None)
    quantiser = None
    if int8:
        from pneumoscope.network import quantise_graph

        quantiser = quantise_graph
    plan = Equipment(
        data=data,
        outside=outside,
        quantiser=quantiser,
        rule_out_sensitivity=sensitivity,
        rule_in_specificity=specificity,
        licence=terms or stated,
    )
    with show_stages(quiet=quiet) as progress:
        made = equip_bundle(bundle, out, plan, progress)
    info = annotate_bundle(out, facts=facts).info if facts else made.bundle.info
    for text in made.warnings:
        typer.echo(f"Warning: {text}", err=True)
    if quiet:
        return
    points = info.operating_points
    low, high = (format_probability(points[name].threshold) for name in ("rule_out", "rule_in"))
    typer.echo(f"{out}: NORMAL below {low}, PNEUMONIA from {high} on, REFER between.")
    for name, found in info.precisions.items():
        typer.echo(
            f"{name} {'offered' if found.accepted else 'refused'}: "
            f"AUC {found.auc_change:+z.4f}, "
            f"{found.decisions_changed:.1%} of {found.images} decisions changed."
        )
