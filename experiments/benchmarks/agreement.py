"""How well some scores rank what the truth ranks, with intervals over the architectures drawn and the seeds trained."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import kendalltau, spearmanr

COEFFICIENTS: dict[str, Callable[..., Any]] = {"kendall": kendalltau, "spearman": spearmanr}
LEVEL = 0.95


def agreement(
    truth: Float[np.ndarray, " archs"],
    scores: Float[np.ndarray, "seeds archs"],
    resamples: int,
    than: Float[np.ndarray, " archs"] | None = None,
) -> dict[str, Any]:
    """Kendall's tau-b and Spearman's rho, each the mean over seeds.

    The interval is a bootstrap's (percentiles, 95 %): architectures are drawn again with replacement, the same for all
    seeds, and so are the seeds. Ties (architectures that answer by chance) count as tau-b has it.

    Args:
      truth: higher is better.
      scores: higher is better; one row a trained supernet, one for a score that needs no training.
      resamples: of the bootstrap, drawn alike in every call.
      than: another score of the same architectures; its difference, with an interval over the same draws, is given too.

    Returns:
      `kendall` and `spearman`, `kendall_low`, `kendall_high`, `kendall_std` (over seeds; None with one) and so on; with
      `than` also `kendall_more`, `kendall_more_low` and `kendall_more_high`. A coefficient of equal numbers is 0.
    """
    rng = np.random.default_rng(0)
    seeds, archs = scores.shape
    draws = [(rng.integers(seeds, size=seeds), rng.integers(archs, size=archs)) for _ in range(resamples)]
    others = [] if than is None else [than]
    found: dict[str, Any] = {}
    for name, coefficient in COEFFICIENTS.items():

        def of(rows: np.ndarray, columns: np.ndarray, coefficient: Any = coefficient) -> np.ndarray:
            """Of each row, and of each other score."""
            chosen = [*(scores[row] for row in rows), *others]
            return np.array([_defined(coefficient, one[columns], truth[columns]) for one in chosen])

        each = of(np.arange(seeds), np.arange(archs))
        again = np.array([of(*draw) for draw in draws])
        found[name] = float(each[:seeds].mean())
        found[f"{name}_std"] = float(each[:seeds].std(ddof=1)) if seeds > 1 else None
        found |= _interval(name, again[:, :seeds].mean(1))
        if others:
            found[f"{name}_more"] = float(each[:seeds].mean() - each[seeds])
            found |= _interval(f"{name}_more", again[:, :seeds].mean(1) - again[:, seeds])
    return found


def _interval(name: str, values: Float[np.ndarray, " resamples"]) -> dict[str, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {f"{name}_low": float(low), f"{name}_high": float(high)}


def _defined(coefficient: Callable[..., Any], a: np.ndarray, b: np.ndarray) -> float:
    """The coefficient; 0 where one side is all one number, which ranks nothing."""
    return float(coefficient(a, b).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0
