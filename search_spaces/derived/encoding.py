"""Populations as features: one-hot rows and token sequences, which decode to the very same canonical rows."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from search_spaces.space import Space, active, canonical, check_archs, option_counts

NO_EFFECT = 0
"""The token of a gene that has no effect."""


def one_hot_width(space: Space) -> int:
    """Columns of a one-hot row: the options of all choices."""
    return int(option_counts(space).sum())


def vocabulary(space: Space) -> int:
    """How many tokens there are: one for each option of each choice, and `NO_EFFECT`."""
    return 1 + one_hot_width(space)


def one_hot(space: Space, archs: Any) -> Float[Any, "pop options"]:
    """Marks the chosen option of each choice with 1; of a choice that has no effect, none.

    Columns are the options of the first choice, then those of the second, and so on. Works on numpy and JAX arrays
    alike, and under `jit`.

    Args:
      space: whose architectures these are.
      archs: `[pop, choices]`.

    Raises:
      ValueError: when a row is not of this space; JAX arrays, which may be traced, are taken as they are.
    """
    if not isinstance(archs, jax.Array):
        archs = check_archs(space, archs)
    counts = option_counts(space)
    starts, width = _starts(counts), int(counts.sum())
    awake = active(space, archs)
    if not isinstance(archs, np.ndarray):
        owner, option = np.repeat(np.arange(len(counts)), counts), np.arange(width) - np.repeat(starts, counts)
        chosen = jnp.where(awake, archs, -1)
        return (chosen[:, owner] == option).astype(jnp.float32)
    rows = np.zeros((len(archs), width), np.float32)
    # Columns are numbered through all rows: one pass, and a gene without effect writes its 0 into its first column.
    at = np.where(awake, archs, 0) + (starts + width * np.arange(len(archs), dtype=np.int64)[:, None])
    rows.reshape(-1)[at] = awake
    return rows


def from_one_hot(space: Space, rows: Any) -> Int[np.ndarray, "pop choices"]:
    """The canonical rows of which these, `[pop, options]`, are the one-hot rows.

    Raises:
      ValueError: when a row is not a one-hot row of this space, saying which.
    """
    rows, counts = np.asarray(rows, np.float32), option_counts(space)
    if rows.ndim != 2 or rows.shape[1] != counts.sum():
        raise ValueError(f"one-hot rows of this space have {counts.sum()} columns, got shape {rows.shape}")
    # A product with the options' indices reads all genes at once; float32 holds them exactly.
    owner, option = (
        np.repeat(np.arange(len(counts)), counts),
        np.arange(counts.sum()) - np.repeat(_starts(counts), counts),
    )
    weights = np.zeros((len(owner), len(counts)), np.float32)
    weights[np.arange(len(owner)), owner] = option
    with np.errstate(all="ignore"):  # what isn't one-hot may overflow, and is refused below
        genes = np.nan_to_num(rows @ weights, nan=0, posinf=0, neginf=0)
        archs = canonical(space, np.clip(np.rint(genes), 0, counts - 1).astype(np.int32))
    _refuse((one_hot(space, archs) != rows).any(1), "one-hot row", "`one_hot`")
    return archs


def sequence(space: Space, archs: Any) -> Int[Any, "pop choices"]:
    """One token a choice, out of a vocabulary that all choices share: each option of each choice has its own token.

    Token 0 (`NO_EFFECT`) stands for a choice that has no effect; the options of the first choice follow, then those of
    the second, and so on. Works on numpy and JAX arrays alike, and under `jit`.

    Args:
      space: whose architectures these are.
      archs: `[pop, choices]`.

    Raises:
      ValueError: when a row is not of this space; JAX arrays, which may be traced, are taken as they are.
    """
    if not isinstance(archs, jax.Array):
        archs = check_archs(space, archs)
    starts = _starts(option_counts(space)).astype(np.int32)
    return ((archs + (starts + 1)) * active(space, archs)).astype(np.int32)


def from_sequence(space: Space, tokens: Any) -> Int[np.ndarray, "pop choices"]:
    """The canonical rows of which these, `[pop, choices]`, are the token sequences.

    Raises:
      ValueError: when a row is not a token sequence of this space, saying which.
    """
    tokens, counts = np.asarray(tokens), option_counts(space)
    if tokens.ndim != 2 or tokens.shape[1] != len(counts) or not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(
            f"token sequences of this space have {len(counts)} tokens (integers), got {tokens.dtype} of shape"
            f" {tokens.shape}"
        )
    archs = np.clip(tokens - (_starts(counts) + 1), 0, counts - 1).astype(np.int32)
    archs = canonical(space, archs)
    _refuse((sequence(space, archs) != tokens).any(1), "token sequence", "`sequence`")
    return archs


def _starts(counts: np.ndarray) -> np.ndarray:
    return counts.cumsum() - counts


def _refuse(wrong: np.ndarray, what: str, maker: str) -> None:
    if wrong.any():
        raise ValueError(f"row {int(wrong.argmax())} is no {what} of this space; was it made by {maker} for another?")
