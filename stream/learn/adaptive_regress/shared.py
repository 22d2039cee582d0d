"""Kernels of the regression tree, the Hoeffding tree and the adaptive tree, which run on this tree's state too."""

from typing import Any

from stream.learn.adaptive import detect as detectors
from stream.learn.adaptive import nodes
from stream.learn.regress import keys, moments, observe, predict, split
from stream.learn.tree import candidate, draws, index, kernel, walk
from stream.learn.tree import observe as slots
from stream.learn.tree import split as growing

detect: Any = detectors.detect
add_child: Any = nodes.add_child
add_alternate: Any = nodes.add_alternate
forget: Any = nodes.forget
may_grow: Any = nodes.may_grow
take_over: Any = nodes.take_over
heaviest: Any = walk.heaviest
step: Any = walk.step
widest: Any = growing.widest
kind_of: Any = candidate.kind_of
sorted_entries: Any = candidate.sorted_entries
poisson_one: Any = draws.poisson_one
index_branch: Any = index.index_branch
index_state: Any = kernel.index_state
remove: Any = index.remove
take_slot: Any = slots.take_slot
best_key: Any = keys.best_key
of_part: Any = moments.of_part
with_target: Any = moments.with_target
variance: Any = moments.variance
observe_row: Any = observe.observe
clear_slot: Any = observe.clear_slot
free_slot: Any = observe.free_slot
answer: Any = predict.predict
compare: Any = predict.compare
learn_linear: Any = predict.learn_linear
learn_target: Any = predict.learn_target
choose: Any = split.choose
load: Any = split.load
part_by_equality: Any = split.part_by_equality
part_by_value: Any = split.part_by_value
