"""The loop that drives every search: ask, judge what is new, tell, store; until the evaluations are used up."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from nas.objective import Judged, Objective, cost_matrix, penalised, violations
from nas.search.protocol import Search
from nas.study import Study
from search_spaces.space import size

PATIENCE = 20
"""Generations in a row without a new network after which a search is held to have nothing left to ask."""


def run_search(
    search: Search,
    judge: Callable[[tuple[int, ...]], Judged],
    objectives: Sequence[Objective],
    *,
    key: PRNGKeyArray,
    evaluations: int,
    study: Study,
    name: str,
    progress: Callable[[int], None] | None = None,
) -> list[Judged]:
    """Judges `evaluations` distinct networks that the search asks for, and returns them in order.

    Only distinct networks count: one that is asked for again is answered from memory. Fewer are judged when the space
    holds no more, or when the search asked for nothing new in 20 generations. A search that the study knows goes on
    from its last stored generation and ends as if it had never stopped.

    Args:
      search: the controller.
      judge: gives the costs of one architecture.
      objectives: which costs the search is told, and which bounds hold.
      key: of the whole search.
      evaluations: distinct networks to judge.
      study: where rows and states are stored, a generation at a time.
      name: of this search in the study.
      progress: called with the number of networks judged.
    """
    standing = study.standing(name)
    init_key, ask_key = jax.random.split(key)
    state: Any = search.init(init_key)
    generation, order = 0, []
    if standing is not None:
        state = type(state)(**standing.state)
        generation, order = standing.generation, list(standing.judged)
        if standing.finished:
            return order
    known = {judged.arch: judged for judged in order}
    evaluations = min(evaluations, size(search.space))
    idle = standing.generation - standing.last_new if standing else 0
    while len(order) < evaluations and idle < PATIENCE:
        asked = np.asarray(search.ask(jax.random.fold_in(ask_key, generation), state))
        new: list[Judged] = []
        told: list[Judged] = []
        for row in map(tuple, asked.tolist()):
            if row not in known:
                if len(order) + len(new) == evaluations:
                    continue
                known[row] = judge(row)
                new.append(known[row])
                if progress:
                    progress(len(order) + len(new))
            told.append(known[row])
        order += new
        idle = 0 if new else idle + 1
        generation += 1
        if len(told) == len(asked):  # all but, perhaps, the last generation
            costs = penalised(cost_matrix(told, objectives), violations(told, objectives))
            state = search.tell(state, np.array([judged.arch for judged in told], np.int32), costs)
        finished = len(order) >= evaluations or idle >= PATIENCE
        study.commit(name, generation, new, state, finished=finished)
    return order
