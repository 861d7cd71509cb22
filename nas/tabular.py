"""Truth without training: what a published table quotes of every NAS-Bench-201 cell, with what is tested kept apart.

A search gets a `TabularJudge`, which holds validation errors after 12 epochs of training and nothing else; once it has
ended, `open_truth` reads the test errors after 200 epochs that its finds are worth.

References:
  NAS-Bench-201 (arXiv:2001.00326), NATS-Bench (arXiv:2009.00437).
  Differs: searches are judged by 12-epoch validation accuracy, as no 200-epoch validation accuracy is in our file; on
  CIFAR-10 it is of networks trained on half of the training images, the other half being validated on.
"""

import hashlib
import math
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from hardware.costs.cost import Cost
from nas.data.files import damaged, missing
from nas.judge import Judgement
from nas.objective import Judged
from search_spaces.nas_bench_201_table import Table, read_table

DATASETS = ("cifar10", "cifar100", "imagenet16")
"""Whose errors the table has; `imagenet16` is ImageNet16-120."""

SHA256 = "61755e299e8e13cca52b61b63f8056824b56e2a3eadc66dadfa98a2f36004bd6"
"""Of the table's file: other numbers under its name are refused."""

WAY_OUT = "name the file, or the data folder that `nas_bench_201/nb201_acc.npz` lies in with EDGENAS_DATA"


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """Which cell is which in the table: published indices, and which cells are isomorphic.

    Isomorphic cells compute the same function of their input, so that trained alone they differ by chance only. In a
    supernet they use different shared weights, so the space counts them as different networks: isomorphism is the
    table's knowledge. Its 6,466 classes are the published ones, by a canonical string that sees through skips and the
    order of a node's inputs, but not through every cut edge: some cells of one function lie in different classes.

    Attributes:
      table: the cells by their published index; it has no columns.
      representatives: of each index, the smallest index of an isomorphic cell.
    """

    table: Table
    representatives: Int[np.ndarray, " cells"]

    @property
    def classes(self) -> int:
        """How many cells differ in what they compute."""
        return len(np.unique(self.representatives))

    def representative(self, arch: Int[Any, " edges"] | Sequence[int]) -> Int[np.ndarray, " edges"]:
        """The cell that stands for all that are isomorphic to this one: that of the smallest published index.

        Raises:
          ValueError: when it is no architecture of the space.
        """
        return self.table.arch_of(int(self.representatives[self.table.index_of(arch)]))

    def first_of_class(self, archs: Int[Any, "pop edges"] | Sequence[Any]) -> Bool[np.ndarray, " pop"]:
        """Marks the rows that no earlier row is isomorphic to: counting them counts each class once.

        Raises:
          ValueError: when a row is no architecture of the space.
        """
        found = self.representatives[self.indices(archs)]
        first = np.zeros(len(found), bool)
        first[np.unique(found, return_index=True)[1]] = True
        return first

    def indices(self, archs: Int[Any, "pop edges"] | Sequence[Any]) -> Int[np.ndarray, " pop"]:
        """The published index of each row.

        Raises:
          ValueError: when a row is no architecture of the space.
        """
        return np.array([self.table.index_of(arch) for arch in archs], np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class TabularJudge:
    """Judges by the table's validation errors; called as `SupernetJudge` is. No test error can be reached from here.

    Attributes:
      dataset: whose validation images.
      cells: which cell is which.
      val_error: fraction of the validation images classified wrongly after 12 epochs, by published index.
      by_class: whether isomorphic cells are all judged as the one that represents them; else each as it was trained.
    """

    dataset: str
    cells: Cells
    val_error: Float[np.ndarray, " cells"]
    by_class: bool = False

    @property
    def source(self) -> str:
        """What its numbers are, for a study's `sources`."""
        return f"NAS-Bench-201 (arXiv:2001.00326): {self.dataset}, validation after 12 epochs of training alone"

    def __call__(self, supernet: Any, arch: Int[Any, " choices"] | Sequence[int]) -> Judgement:
        """The error of one cell; the supernet is not looked at. The table has no losses (NaN) and no statistics (None).

        Raises:
          ValueError: when the architecture is not of the space.
        """
        index = self.cells.table.index_of(arch)
        if self.by_class:
            index = self.cells.representatives[index]
        return Judgement(self.val_error[index], np.float64(math.nan), None)


def quoted(
    judge: TabularJudge, prices: Callable[[Int[np.ndarray, " choices"]], Mapping[str, Cost]] | None = None
) -> Callable[[tuple[int, ...]], Judged]:
    """What `run_search` asks: gives each architecture its quoted `val_error`, and its prices.

    Args:
      judge: of the validation errors.
      prices: the other costs, e.g. `nas.objective.Prices`; None for none.
    """

    def judged(arch: tuple[int, ...]) -> Judged:
        error = float(judge(None, arch).val_error)
        costs = {"val_error": Cost(name="val_error", value=error, std=None, unit="1", kind="quoted", target="")}
        return Judged(arch=arch, costs={**costs, **(prices(np.array(arch, np.int32)) if prices else {})})

    return judged


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """Test errors after 200 epochs: for whoever looks at what a search has found, never for the search.

    Attributes:
      dataset: whose test images.
      cells: which cell is which.
      test_error: fraction of the test images classified wrongly, a mean over the seeds there were, by published index.
    """

    dataset: str
    cells: Cells
    test_error: Float[np.ndarray, " cells"]

    def __call__(self, archs: Int[Any, "pop edges"] | Sequence[Any]) -> Float[np.ndarray, " pop"]:
        """The test error of each row.

        Raises:
          ValueError: when a row is no architecture of the space.
        """
        return self.test_error[self.cells.indices(archs)]

    def cost(self, arch: Int[Any, " edges"] | Sequence[int]) -> Cost:
        """The test error of one cell, as it is stored and shown.

        Raises:
          ValueError: when it is no architecture of the space.
        """
        value = float(self.test_error[self.cells.table.index_of(arch)])
        return Cost(name="test_error", value=value, std=None, unit="1", kind="quoted", target="")

    def optimum(self) -> tuple[int, float]:
        """The published index of the best cell there is, and its test error."""
        index = int(self.test_error.argmin())
        return index, float(self.test_error[index])


def open_judge(
    dataset: str = "cifar10",
    path: str | Path | None = None,
    *,
    by_class: bool = False,
    sha256: str | None = SHA256,
) -> TabularJudge:
    """Reads what a search may know.

    Args:
      dataset: `cifar10`, `cifar100` or `imagenet16`.
      path: of the table; None for `table_path()`.
      by_class: whether isomorphic cells are all judged as their representative.
      sha256: that the file must have; None trusts any.

    Raises:
      FileNotFoundError: when there is no such file.
      ValueError: when the data set is unknown, or the file is not the table.
    """
    cells, error = _read(path, dataset, f"{dataset}_valid_12ep", sha256)
    return TabularJudge(dataset=dataset, cells=cells, val_error=error, by_class=by_class)


def open_truth(dataset: str = "cifar10", path: str | Path | None = None, *, sha256: str | None = SHA256) -> Truth:
    """Reads the test errors, for after a search. Arguments and errors as `open_judge`."""
    cells, error = _read(path, dataset, f"{dataset}_test_200ep", sha256)
    return Truth(dataset=dataset, cells=cells, test_error=error)


def table_path() -> Path:
    """Where the table is looked for: in the folder `EDGENAS_DATA`, else `../shared/data`."""
    return Path(os.environ.get("EDGENAS_DATA", "../shared/data")) / "nas_bench_201" / "nb201_acc.npz"


def _read(
    path: str | Path | None, dataset: str, column: str, sha256: str | None
) -> tuple[Cells, Float[np.ndarray, " cells"]]:
    """The cells and one column, turned into errors; all else that the file holds is let go."""
    if dataset not in DATASETS:
        raise ValueError(f"the table has errors on {', '.join(f'`{each}`' for each in DATASETS)}, got `{dataset}`")
    path = table_path() if path is None else Path(path)
    if not path.is_file():
        raise missing(path, "NAS-Bench-201's table", WAY_OUT)
    if sha256 is not None and (found := hashlib.sha256(path.read_bytes()).hexdigest()) != sha256:
        raise damaged(path, f"its SHA-256 is {found}, not {sha256}", "restore it, or trust it with sha256=None")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            accuracy = arrays[column].astype(np.float64) if column in arrays else np.zeros(0)
            representatives = arrays["iso_rep"] if "iso_rep" in arrays else np.zeros(0, np.int16)
        if not accuracy.size or not ((accuracy >= 0) & (accuracy <= 100)).all():
            raise ValueError(f"`{column}` must hold accuracies of 0 to 100 %")
        archs = read_table(path).archs
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise damaged(path, " ".join(str(error).split()), WAY_OUT) from error
    for name, array in ((column, accuracy), ("iso_rep", representatives)):
        if array.shape != (len(archs),):
            raise damaged(path, f"`{name}` must have shape {(len(archs),)}, got {array.shape}", WAY_OUT)
    if not _names_classes(representatives):
        raise damaged(path, "`iso_rep` must name for each cell the first isomorphic one", WAY_OUT)
    cells = Cells(table=Table(archs=archs, columns={}), representatives=representatives.astype(np.int64))
    return cells, 1 - accuracy / 100


def _names_classes(representatives: np.ndarray) -> bool:
    """Whether each index is given an index no larger than it, which stands for itself."""
    within = representatives.dtype.kind == "i" and bool(
        ((representatives >= 0) & (representatives <= np.arange(len(representatives)))).all()
    )
    return within and bool((representatives[representatives] == representatives).all())
