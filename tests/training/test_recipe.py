"""Recipes: settings reach every field, and what is mistyped is refused with the nearest name."""

import pytest

from pneumoscope.errors import RecipeError
from pneumoscope.training import list_recipes, load_recipe
from pneumoscope.training.recipe import TRAINABLE_PARTS


def test_the_box_holds_two_recipes_that_load():
    assert list_recipes() == ["classic", "robust"]
    assert [s.name for s in load_recipe("classic").stages] == ["baseline", "finetuned"]
    assert load_recipe("robust").stages[0].trainable == TRAINABLE_PARTS


def test_classic_does_not_augment_and_freezes_the_backbone():
    baseline, finetuned = load_recipe("classic").stages
    assert baseline.augmentation is None
    assert finetuned.augmentation is None
    assert baseline.frozen_upto == "layer4"
    assert finetuned.frozen_upto == "layer3"
    assert finetuned.learning_rate < baseline.learning_rate


@pytest.mark.parametrize(
    ("setting", "read"),
    [
        ("dropout=0.4", lambda r: r.dropout == 0.4),
        ("baseline.epochs=3", lambda r: r.stages[0].epochs == 3),
        ("finetuned.learning_rate=1e-5", lambda r: r.stages[1].learning_rate == 1e-5),
        ("preprocessing.normalisation=caffe", lambda r: r.preprocessing.normalisation == "caffe"),
        ("finetuned.trainable=[layer3,head]", lambda r: r.stages[1].frozen_upto == "layer2"),
        ("ratios=[70, 15, 15]", lambda r: r.ratios == (70, 15, 15)),
    ],
)
def test_a_setting_reaches_its_field(setting, read):
    assert read(load_recipe("classic", [setting]))


def test_a_setting_reaches_an_augmentation():
    assert (
        load_recipe("robust", ["trained.augmentation.rotation=3"]).stages[0].augmentation.rotation
        == 3.0
    )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("baseline.epoch=3", "'baseline.epochs'"),
        ("dropuot=0.1", "'dropout'"),
        ("baseline.epochs", "key=value"),
        ("baseline.epochs=0", "baseline|epochs|greater"),
        ("finetuned.trainable=[layer5,head]", "layer4"),
        ("dropout=much", "dropout"),
        ("baseline.epochs=-3", "In classic, baseline.epochs: .* found -3"),
        ("dropout=[", "plain value"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_sentence(setting, message):
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe("classic", [setting])
    assert "\n" not in str(caught.value)


def test_epochs_cap_every_stage():
    recipe = load_recipe("classic", epochs=4)
    assert [s.epochs for s in recipe.stages] == [4, 4]
    with pytest.raises(RecipeError, match="at least 1"):
        load_recipe("classic", epochs=0)


def test_a_recipe_of_ones_own_is_a_yaml_file(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "name: mine\nstages:\n  - {name: only, trainable: [head], learning_rate: 1e-4}\n"
    )
    assert load_recipe(str(mine)).stages[0].learning_rate == 1e-4
    mine.write_text("stages: [")
    with pytest.raises(RecipeError, match="not valid YAML"):
        load_recipe(str(mine))
    mine.write_text("just words")
    with pytest.raises(RecipeError, match="no recipe"):
        load_recipe(str(mine))
    with pytest.raises(RecipeError, match="classic or robust"):
        load_recipe("clasic")


def test_growing_resolutions_end_with_the_last():
    stage = load_recipe("robust").stages[0]
    sizes = [stage.find_size(epoch, 224) for epoch in range(1, stage.epochs + 1)]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (96, 224)
    assert load_recipe("robust", epochs=1).stages[0].find_size(1, 224) == 224


@pytest.mark.parametrize("name", ["final", "initial", "checkpoint"])
def test_a_stage_may_not_take_a_name_that_a_run_needs(tmp_path, name):
    file = tmp_path / "own.yaml"
    file.write_text(f"name: own\nstages:\n  - name: {name}\n    trainable: [head]\n")
    with pytest.raises(RecipeError, match=f"any stage name but {name}"):
        load_recipe(str(file))


def test_growing_sizes_end_at_the_size_that_serves():
    with pytest.raises(RecipeError, match="its last is 224"):
        load_recipe("robust", ["preprocessing.size=320"])
    load_recipe("robust", ["preprocessing.size=320", "trained.resolutions=[[96, 0.5], [320, 0.5]]"])


def test_a_recipe_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "own.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(RecipeError, match="not valid YAML"):
        load_recipe(str(tmp_path / "own.yaml"))
