"""A tree's record while it learns: how often to learn a row, whether its vote was right, what its detectors say."""

from stream.jit import compiled
from stream.learn.adaptive.detect import CLOCK, GRACE, MAX_BUCKETS, MIN_WINDOW
from stream.learn.drift.adwin import adwin_estimation, adwin_reset, adwin_update
from stream.learn.forest.layout import (
    CHANGED,
    DONE,
    DRAWN,
    DRIFT,
    DRIFTED,
    DRIFTS,
    DUE_BACK,
    DUE_FRONT,
    FRONT,
    GROWING,
    JUDGED,
    LEFT,
    RIGHT,
    STEP,
    TO_DRIFT,
    TO_END,
    TO_WARN,
    WARN,
    WARNED,
    WARNINGS,
    WRONG,
    Habits,
    Member,
)
from stream.learn.forest.subset import DRAWS_AT, SEED_AT
from stream.learn.tree.draws import uniform
from stream.learn.tree.layout import Ints, Reals


@compiled
def draw(counters: Ints, habits: Habits, progress: Ints) -> None:
    """Draw how often the row is learned."""
    chance = uniform(counters, SEED_AT, DRAWS_AT)
    drawn = 0
    while drawn < len(habits.chances) and chance >= habits.chances[drawn]:
        drawn += 1
    progress[DRAWN] = drawn
    progress[LEFT] = drawn if habits.repeats else min(drawn, 1)


@compiled
def begin_row(counters: Ints, habits: Habits, member: Member, progress: Ints, weight: Reals) -> None:
    """Draw how often the row is learned; the tree's accuracy until now goes into weight[0]."""
    draw(counters, habits, progress)
    judged = member.counts[JUDGED]
    weight[0] = member.counts[RIGHT] / judged if judged > 0 else 0.0


@compiled
def pass_over(progress: Ints) -> None:
    """Learn nothing of a row that weighs nothing; its draw is spent."""
    progress[DRAWN] = progress[LEFT] = 0


@compiled
def learns_now(progress: Ints) -> bool:
    """Whether the row is still to be learned, or a leaf waits for its split attempt."""
    return bool(progress[LEFT] > 0 or progress[DUE_FRONT] >= 0 or progress[DUE_BACK] >= 0)


@compiled
def best_met(vote: Reals, met: Ints) -> int:
    """The class with the most votes of those that the tree has met; the lowest of equals; -1: it has met none."""
    best = -1
    for label in range(len(vote)):
        if met[label] != 0 and (best < 0 or vote[label] > vote[best]):
            best = label
    return best


@compiled
def judge(member: Member, progress: Ints, vote: Reals, label: int) -> None:
    """Count whether the vote was right."""
    right = best_met(vote, member.met[FRONT]) == label
    progress[WRONG] = 0 if right else 1
    member.counts[JUDGED] += 1
    member.counts[RIGHT] += 1 if right else 0


@compiled
def detect(member: Member, which: int, value: float, delta: float) -> bool:
    """Show a value to one of the tree's detectors: whether its mean has changed."""
    drifted: bool = adwin_update(
        member.window[which], member.buckets[which], value, delta, CLOCK, MAX_BUCKETS, MIN_WINDOW, GRACE
    )
    return drifted


@compiled
def forget(member: Member, which: int) -> None:
    """Make one of the tree's detectors a new one."""
    adwin_reset(member.window[which], member.buckets[which])


@compiled
def watch(member: Member, habits: Habits, progress: Ints, wrong: bool) -> None:
    """Show a judgement made after learning to the drift detector: whether the tree has come to err more often."""
    before = adwin_estimation(member.window[DRIFT], member.buckets[DRIFT])
    changed = detect(member, DRIFT, 1.0 if wrong else 0.0, habits.change_delta)
    if changed and adwin_estimation(member.window[DRIFT], member.buckets[DRIFT]) > before:
        progress[CHANGED] = 1


@compiled
def settle(habits: Habits, member: Member, progress: Ints, value: float) -> int:
    """Show the judgement to the detectors: WARNED or DRIFTED when the caller is to act first, else DONE."""
    if progress[STEP] == TO_WARN:
        progress[STEP] = TO_DRIFT
        if habits.warning_delta > 0.0 and detect(member, WARN, value, habits.warning_delta):
            member.counts[WARNINGS] += 1
            forget(member, WARN)
            return WARNED
    if progress[STEP] == TO_DRIFT:
        progress[STEP] = TO_END
        if habits.drift_delta > 0.0 and detect(member, DRIFT, value, habits.drift_delta):
            member.counts[DRIFTS] += 1
            if member.counts[GROWING] != 0:
                forget(member, WARN)
            forget(member, DRIFT)
            member.counts[RIGHT] = member.counts[JUDGED] = 0
            return DRIFTED
    progress[STEP] = TO_WARN
    return DONE
