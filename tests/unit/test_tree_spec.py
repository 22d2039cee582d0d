"""What a spec may say of a single tree: its defaults are the tree's own, and its bounds hold."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from stream.block import Block, Layout
from stream.learn import tree_arm
from stream.learn.adaptive import AdaptiveTree
from stream.learn.adaptive_regress import AdaptiveRegressor
from stream.learn.regress import HoeffdingRegressor
from stream.learn.tree import HoeffdingTree


@pytest.mark.parametrize(
    ("params", "tree"),
    [
        (tree_arm.TreeParams, HoeffdingTree),
        (tree_arm.AdaptiveParams, AdaptiveTree),
        (tree_arm.RegressorParams, HoeffdingRegressor),
        (tree_arm.AdaptiveRegressorParams, AdaptiveRegressor),
    ],
)
def test_a_spec_says_nothing_but_the_tree_s_own_defaults_until_it_is_given_more(params: Any, tree: Any) -> None:
    given = {name: value for name, value in params().of_tree().items() if name != "scale"}
    assert tree(2, 2, **given).params == tree(2, 2).params
    bounded = params(max_nodes=7, max_observer_bytes=2**20).of_tree()
    assert {"max_nodes": 7, "max_observer_bytes": 2**20}.items() <= bounded.items()


def test_a_spec_may_give_a_classifying_tree_every_parameter_that_it_has() -> None:
    assert set(tree_arm.TreeParams.model_fields) == {field.name for field in dataclasses.fields(HoeffdingTree.PARAMS)}
    more = {"split_criterion": "gini", "n_splits": 3, "merit_preprune": False, "binary_split": True, "max_nodes": 9}
    arm = tree_arm.TreeArm(Layout(("x",), ("c",), ()), 2, "binary", tree_arm.TreeParams.model_validate(more))
    assert {name: getattr(arm._tree.params, name) for name in more} == more


def test_a_bound_that_a_spec_gives_holds() -> None:
    layout, rows = Layout(("x",), (), ()), 4_000
    x = np.random.default_rng(3).random((rows, 1))
    block = Block("s", [""] * rows, *[np.zeros(rows, np.int64)] * 3, x, np.zeros((rows, 0), np.uint64),
                  np.zeros(0, np.uint64), np.zeros(rows, np.int64))  # fmt: skip
    label = (np.floor(x[:, 0] * 16) % 2).astype(np.float64)
    nodes = {}
    for bound in (None, 5):
        given = tree_arm.TreeParams(max_nodes=bound, grace_period=50, delta=0.01, leaf_prediction="mc")
        arm = tree_arm.TreeArm(layout, 2, "binary", given)
        arm.score_learn(block, label)
        nodes[bound] = arm._tree.stats()["nodes"]
    assert nodes[5] <= 5 < nodes[None]
