"""What a predictor learns from must be finite, non-negative features and positive measurements, one a network."""

import numpy as np
from jaxtyping import Float


def check_measurements(
    features: Float[np.ndarray, "archs features"], values: Float[np.ndarray, " archs"], least: int
) -> tuple[Float[np.ndarray, "archs features"], Float[np.ndarray, " archs"]]:
    """Returns both in float64.

    Raises:
      ValueError: when fewer than `least` networks are given, the numbers of rows differ, or a number is out of range.
    """
    rows, column = np.asarray(features, np.float64), np.asarray(values, np.float64)
    if rows.ndim != 2 or column.shape != rows.shape[:1]:
        raise ValueError(f"one value for each row of features is needed, got shapes {column.shape} and {rows.shape}")
    if len(column) < least:
        raise ValueError(f"at least {least} measured networks are needed, got {len(column)}")
    odd = np.argwhere(~(np.isfinite(rows) & (rows >= 0)))
    if len(odd):
        row, i = odd[0]
        raise ValueError(f"features must be finite and not negative, got {rows[row, i]} in row {row}, column {i}")
    bad = np.flatnonzero(~(np.isfinite(column) & (column > 0)))
    if len(bad):
        raise ValueError(f"measured values must be positive and finite, got {column[bad[0]]} for network {bad[0]}")
    return rows, column
