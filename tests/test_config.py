"""Recipes, overrides and refusals; and that reading a configuration needs no torch."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from oorl.config import RECIPES, SECTIONS, Config, check, config_from_dict, load_config, override, to_toml
from oorl.errors import UsageError

PATHS = ("model.path=m", "data.problems=p.jsonl", "data.groups=g.jsonl")


@pytest.mark.parametrize("recipe", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_packaged_recipes_load_by_name(recipe: str) -> None:
    config = load_config(recipe, PATHS)
    assert config.model.path == "m"
    assert load_config(f"{recipe}.toml", PATHS) == config


def test_the_papers_recipe_has_the_papers_values() -> None:
    config = load_config("paper_qwen3_8b", PATHS)
    assert (config.objective.w_rl, config.objective.w_gepo, config.gepo.variance_weight) == (1.0, 0.01, 1.0)
    assert (config.optimizer.lr, config.optimizer.weight_decay, config.optimizer.warmup_ratio) == (5e-7, 0.0, 0.03)
    assert config.rollout.prompts_per_step == 8 and config.objective.advantages == "reinforce++"
    assert config.rollout.prompts_per_step * 4 == config.gepo.groups_per_update  # 2400 problems beside 9600 groups


def test_config_loads_without_torch() -> None:
    code = "import sys, oorl.config; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_resolved_toml_is_the_config_again(tmp_path: Path) -> None:
    config = override(
        Config(), ['model.path="a \\"b\\" \\\\ c\u00e9"', "optimizer.lr=1e-7", "training.permute_rewards=true"]
    )
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config, ["a comment"]), encoding="utf-8")
    tree = tomllib.loads(path.read_text(encoding="utf-8"))
    assert config_from_dict(tree) == config
    assert set(tree) == set(SECTIONS)  # every field is written, defaults too
    assert all(set(tree[name]) == set(kind.__dataclass_fields__) for name, kind in SECTIONS.items())


def test_every_field_says_what_it_is_and_there_are_few() -> None:
    fields = [field for kind in SECTIONS.values() for field in dataclasses.fields(kind)]
    assert len(fields) < 60
    assert all(field.metadata["doc"] for field in fields)
    for field in fields:
        if field.metadata["choices"]:
            assert field.default in field.metadata["choices"]
        elif isinstance(field.default, (int, float)) and not isinstance(field.default, bool):
            assert field.metadata["low"] <= field.default <= field.metadata["high"]


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("optimiser.lr=1", ["[optimiser]", "'optimizer'"]),
        ("optimizer.learning_rat=1", ["optimizer.learning_rat", "lr"]),
        ("rollout.temprature=1", ["rollout.temprature", "'temperature'"]),
        ("optimizer.lr=fast", ["optimizer.lr", "a number", "'fast'"]),
        ('optimizer.lr="5e-7"', ["optimizer.lr", "a number", "'5e-7'"]),
        ("optimizer.lr=-1", ["optimizer.lr", "-1", "at least 0"]),
        ("optimizer.lr=nan", ["optimizer.lr", "nan"]),
        ("optimizer.lr=inf", ["optimizer.lr", "inf"]),
        ("rollout.group_size=2.5", ["rollout.group_size", "whole number", "2.5"]),
        ("rollout.group_size=true", ["rollout.group_size", "whole number", "True"]),
        ("training.permute_rewards=1", ["training.permute_rewards", "true or false", "1"]),
        ("gepo.loss=dop", ["gepo.loss", "'dop'", "gepo, dpo", "'dpo'"]),
        ("objective.advantages=reinforce", ["objective.advantages", "'reinforce'", "'reinforce++'"]),
        ("lr=1", ["section.field=value"]),
        ("optimizer.lr", ["section.field=value"]),
    ],
)
def test_bad_overrides_name_field_value_and_the_nearest_name(assignment: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        override(Config(), [assignment])
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("assignments", "field"),
    [
        (["model.path="], "model.path"),
        (["objective.w_rl=0", "objective.w_gepo=0"], "objective.w_rl"),
        (["data.problems="], "data.problems"),
        (["data.groups="], "data.groups"),
        (["objective.advantages=grpo", "rollout.group_size=1"], "rollout.group_size"),
        (["objective.advantages=grpo", "objective.kl_coef=0.1"], "objective.kl_placement"),
        (["objective.kl_coef=0.1", "objective.kl_placement=loss"], "objective.kl_estimator"),
        (["objective.kl_coef=0.1", "objective.kl_importance=true"], "objective.kl_importance"),
        (["training.mini_batches=3"], "training.mini_batches"),
        (["rollout.batch_sequences=4"], "rollout.batch_sequences"),
        (["training.evaluate_every=5"], "training.evaluate_every"),
        (["training.out_dir="], "training.out_dir"),
    ],
)
def test_impossible_combinations_name_the_field(assignments: list[str], field: str) -> None:
    base = override(Config(), PATHS)
    assert check(base) is base
    with pytest.raises(UsageError, match=f"^{field}"):
        check(override(base, assignments))


def test_k1_in_the_loss_is_right_when_weighted_by_the_ratio() -> None:
    kl = ["objective.kl_coef=0.1", "objective.kl_placement=loss", "objective.kl_importance=true"]
    check(override(Config(), [*PATHS, *kl]))


def test_halves_that_are_off_need_no_data() -> None:
    check(override(Config(), [*PATHS, "objective.w_gepo=0", "data.groups="]))
    check(override(Config(), [*PATHS, "objective.w_rl=0", "data.problems="]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[model\npath = 1", ["not valid TOML", "line 1"]),
        ("[modle]\npath = 'x'", ["[modle]", "'model'"]),
        ("model = 3", ["expected a section [model]"]),
        ("[model]\npaht = 'x'", ["model.paht", "'path'"]),
    ],
)
def test_bad_recipes_name_the_file_and_the_fault(text: str, words: list[str], tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_config(recipe)
    assert all(word in str(caught.value) for word in [str(recipe), *words]), str(caught.value)


def test_a_missing_recipe_lists_the_packaged_ones() -> None:
    with pytest.raises(UsageError, match="cpu_tiny"):
        load_config("no_such_recipe.toml")
