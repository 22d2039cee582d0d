"""The classifier's kernels that read only what both states have: walking, growing and the index of values."""

from typing import Any

from stream.learn.tree import candidate, index, kernel, observe, split, walk

descend: Any = walk.descend
heaviest: Any = walk.heaviest
add_child: Any = split.add_child
may_grow: Any = split.may_grow
widest: Any = split.widest
kind_of: Any = candidate.kind_of
sorted_entries: Any = candidate.sorted_entries
find_entry: Any = index.find_entry
index_state: Any = kernel.index_state
is_short: Any = observe.is_short
open_branch: Any = kernel.open_branch
index_branch: Any = index.index_branch
remove: Any = index.remove
enlist: Any = observe.enlist
bare_entry: Any = observe.bare_entry
take_entry: Any = observe.take_entry
take_slot: Any = observe.take_slot
