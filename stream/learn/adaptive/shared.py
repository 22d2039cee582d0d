"""The Hoeffding tree's kernels, which run on the adaptive tree's state too."""

from typing import Any

from stream.learn.tree import bayes, draws, index, kernel, observe, split, walk

heaviest: Any = walk.heaviest
step: Any = walk.step
predict: Any = bayes.predict
naive_bayes: Any = bayes.bayes
first_best: Any = bayes.first_best
shares: Any = bayes.shares
poisson_one: Any = draws.poisson_one
index_state: Any = kernel.index_state
index_branch: Any = index.index_branch
remove: Any = index.remove
update_leaf: Any = kernel.update_leaf
take_slot: Any = observe.take_slot
free_slot: Any = observe.free_slot
become_branch: Any = split.become_branch
endow: Any = split.endow
is_pure: Any = split.is_pure
plan: Any = split.plan
widest: Any = split.widest
