"""What the trials of one search save by sharing what they measure on the original."""

from collections.abc import Callable
from dataclasses import replace

import torch

from core.unlearn import METHODS, Problem
from core.unlearn.shared import Memory, Shared
from orchestrator.spec import titles
from tests.bench.measure import Comparison, Effort, side_by_side
from tests.bench.method_epoch import Case, cases, problem_of, settings
from tests.bench.pace_sizes import named
from tests.bench.surroundings import as_in_a_node

ALONE, SHARED = "each trial for itself", "with what others measured"
NAMES, TRIALS = ("iu", "salun", "qmul"), 8


def sharing(effort: Effort) -> list[Comparison]:
    """A search of eight trials of IU, SalUn and Q-MUL, of one epoch each where they have epochs.

    IU's trials differ in the length of one step. SalUn shares the gradient behind its masks, Q-MUL its similar
    labels and the first epoch's norms; of ten epochs, as in the paper, that is a tenth as much of the whole.
    The run times in the rows count what was shared as if each trial had measured it.
    """
    case, trials = cases(effort)[0], 2 if effort.tiny else TRIALS
    with as_in_a_node():
        problem = problem_of(case)
        return [_compared(name, case, problem, trials, min(effort.repeats, 5)) for name in NAMES]


def _compared(name: str, case: Case, problem: Problem, trials: int, repeats: int) -> Comparison:
    search = _search(name, case, trials)
    variants = {
        ALONE: lambda: search(problem, None),
        SHARED: lambda: search(problem, {}),
    }
    text = f"{titles.title(name)}, {trials} trials, {named(case.arch, case.device)}, width {case.width:g}"
    seconds = side_by_side(variants, repeats, warm_ups=0)
    return Comparison("sharing", text, "search", seconds, baseline=ALONE)


def _search(name: str, case: Case, trials: int) -> Callable[[Problem, Memory | None], None]:
    method = METHODS[name]
    (axis, found), *_ = method.space(case.arch).items()

    def search(problem: Problem, memory: Memory | None) -> None:
        for number in range(trials):
            own = replace(problem, shared=None if memory is None else Shared(memory))
            point = settings(method, case) | {axis: found.at(number / trials)}
            method.run(own, method.params(**point), torch.Generator().manual_seed(4))
        if problem.device.type == "cuda":
            torch.cuda.synchronize()

    return search
