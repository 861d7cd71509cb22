"""A profile: what a target took for networks of a space, and what was learned of it; a folder that later runs use.

`profile.json` says all and is written last; it names the file of weights beside it, with its checksum. Nothing in it is
pickled.
"""

import csv
import hashlib
import importlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from experiments.build import PACKAGES, build, describe
from experiments.figures import predictor as draw_predictor
from experiments.figures import quantity, to_png
from experiments.files import read_json, write, write_json
from hardware.costs.cost import Cost
from nas.profiling import Fitted
from predictors.features import features
from predictors.protocol import Predictor
from predictors.validation import Validation
from search_spaces.derived.serial import short_hash
from search_spaces.layers import total_macs, total_params
from search_spaces.space import Space

FORMAT = "edgenas profile 1"
PROFILE, TABLE, FIGURE = "profile.json", "table.csv", "predicted.png"
ARRAYS = ("values", "predicted", "deviation")
"""Of a validation, those that are kept with the rows."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A profile that was written.

    Attributes:
      folder: where it lies.
      content: of `profile.json`.
      archs: of the networks.
      costs: what they took, by network.
      predictor: that learned from them.
      weights: what it learned.
    """

    folder: Path
    content: Mapping[str, Any]
    archs: Int[np.ndarray, "networks choices"]
    costs: tuple[Cost, ...]
    predictor: Predictor
    weights: Any

    def predict(self, space: Space, arch: Int[Any, " choices"] | Sequence[int]) -> Cost:
        """What a network of the profile's space would take.

        Raises:
          ValueError: when it is another space.
        """
        self.check_space(space)
        rows: Float[np.ndarray, "1 features"] = features(space.layers(np.asarray(arch, np.int32)))[None]
        mean, std = self.predictor.predict(self.weights, rows)
        said = self.costs[0]
        return Cost(
            name=said.name,
            value=float(mean[0]),
            std=float(std[0]),
            unit=said.unit,
            kind="predicted",
            target=said.target,
        )

    def check_space(self, space: Space) -> None:
        """Raises unless the profile is of this space, settings and all.

        Raises:
          ValueError: naming a setting that differs.
        """
        of, wanted = self.content["space"]["settings"], describe(space)
        if of != wanted:
            names = [name for name in of if isinstance(wanted, dict) and of[name] != wanted.get(name)]
            raise ValueError(
                f"the profile in `{self.folder}` is of another space: `{(names or ['_target_'])[0]}` differs; choose"
                " the same settings, or make one with edgenas profile"
            )

    def measured(self, space: Space, target: str) -> dict[str, Any]:
        """What a run's `measured.json` holds: architectures, costs and the reference network's time.

        Args:
          space: of the run.
          target: the name of its target.

        Raises:
          ValueError: when the profile is of another space or target, or of no latency that was measured.
        """
        self.check_space(space)
        said = self.costs[0]
        if (said.name, said.kind, said.target) != ("latency_ms", "measured", target):
            raise ValueError(
                f"the profile in `{self.folder}` holds {said.kind} {said.name} on {said.target}; a run for {target}"
                f" needs its measured latency_ms: make it with edgenas profile target={target}"
            )
        return {
            "archs": self.archs.tolist(),
            "costs": [cost.to_dict() for cost in self.costs],
            "reference_ms": self.content["reference_ms"],
        }


def write_profile(
    folder: Path,
    content: Mapping[str, Any],
    *,
    space: Space,
    archs: Int[np.ndarray, "networks choices"],
    costs: Sequence[Cost],
    predictor: Predictor,
    fitted: Fitted,
) -> dict[str, Any]:
    """Writes all files, `profile.json` last, and returns its content.

    Args:
      folder: an earlier profile in it is replaced once all of this one is there.
      content: all that its makers say of it: target, space, environment and so on.
      space: of the networks.
      archs: the networks that have a cost.
      costs: in their order.
      predictor: that learned from them.
      fitted: what it learned, and how it did.
    """
    file = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in fitted.weights._asdict().items()}
    np.savez(file, **arrays)
    digest = hashlib.sha256(file.getvalue()).hexdigest()
    weights = f"weights-{digest[:12]}.npz"
    cls = type(fitted.weights)
    rows = [
        {
            "arch": arch.tolist(),
            "hash": short_hash(space, arch),
            "macs": total_macs(layers),
            "params": total_params(layers),
            "cost": cost.to_dict(),
            "left_out": {"kind": "predicted", "value": float(value), "std": float(std)},
        }
        for arch, layers, cost, value, std in zip(
            archs,
            map(space.layers, archs),
            costs,
            fitted.validation.predicted,
            fitted.validation.deviation,
            strict=True,
        )
    ]
    whole = {
        "format": FORMAT,
        **content,
        "predictor": {"settings": describe(predictor), "weights": weights, "sha256": digest,
                      "weights_type": f"{cls.__module__}.{cls.__qualname__}"},
        "validation": {"predictor": _kept(fitted.validation), "linear_in_macs": _kept(fitted.macs)},
        "rows": rows,
    }  # fmt: skip
    title = type(predictor).__name__
    write(folder / weights, file.getvalue())
    write(folder / TABLE, _table(rows))
    write(folder / FIGURE, _figure(costs, {title: fitted.validation, "linear in MACs": fitted.macs}))
    write_json(folder / PROFILE, whole)
    for path in folder.glob("weights-*.npz"):
        if path.name != weights:
            path.unlink()
    return whole


def read_profile(folder: Path, plugins: Sequence[str] = ()) -> Profile:
    """A profile as it was written.

    Args:
      folder: of a profile.
      plugins: packages, beyond our own, that its predictor may be of.

    Raises:
      ValueError: when there is none, or it is damaged.
    """
    path = folder / PROFILE
    if not path.is_file():
        raise ValueError(f"`{folder}` holds no profile ({PROFILE} is missing); make one with edgenas profile")
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"`{path}` is no profile that this program reads ({FORMAT}); make it anew")
    try:
        said = content["predictor"]
        raw = (folder / said["weights"]).read_bytes()
        if hashlib.sha256(raw).hexdigest() != said["sha256"]:
            raise ValueError(f"`{said['weights']}` is not the file it was written with")
        predictor = build(said["settings"], plugins)
        with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
            weights = _weights_type(said["weights_type"], plugins)(**arrays)
        archs = np.array([row["arch"] for row in content["rows"]], np.int32)
        costs = tuple(Cost(**row["cost"]) for row in content["rows"])
    except (AttributeError, ImportError, KeyError, TypeError, ValueError, OSError) as error:
        told = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ValueError(f"the profile in `{folder}` is damaged: {told}; make it anew with edgenas profile") from error
    return Profile(folder=folder, content=content, archs=archs, costs=costs, predictor=predictor, weights=weights)


def _weights_type(path: str, plugins: Sequence[str]) -> Any:
    """The `NamedTuple` of a predictor's weights."""
    module, _, name = path.rpartition(".")
    if path.partition(".")[0] not in (*PACKAGES, *plugins):
        raise ValueError(f"its weights are of package `{path.partition('.')[0]}`: trust it with plugins=[...]")
    found = getattr(importlib.import_module(module), name, None)
    if not (isinstance(found, type) and issubclass(found, tuple) and hasattr(found, "_fields")):
        raise ValueError(f"`{path}` are no weights of a predictor")
    return found


def _kept(validation: Validation) -> dict[str, Any]:
    return {name: value for name, value in asdict(validation).items() if name not in ARRAYS}


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as CSV: what was measured and what was predicted stand in columns that say so."""
    kind, metric = rows[0]["cost"]["kind"], rows[0]["cost"]["name"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    taken, told = f"{kind}_{metric}", f"predicted_{metric}"
    writer.writerow(["hash", "genes", "macs", "params", "target", taken, f"{taken}_std", told, f"{told}_std"])
    for row in rows:
        cost, left_out = row["cost"], row["left_out"]
        std = "" if cost["std"] is None else repr(cost["std"])
        genes = " ".join(map(str, row["arch"]))
        writer.writerow(
            [row["hash"], genes, row["macs"], row["params"], cost["target"], repr(cost["value"]), std,
             repr(left_out["value"]), repr(left_out["std"])]
        )  # fmt: skip
    return text.getvalue()


def _figure(costs: Sequence[Cost], ways: Mapping[str, Validation]) -> bytes:
    """Out-of-fold predictions against what was measured or quoted."""
    said = costs[0]
    values = np.array([cost.value for cost in costs])
    std = np.array([cost.std or 0.0 for cost in costs])
    figure = draw_predictor(values, std, {title: way.predicted for title, way in ways.items()}, target=said.target)
    what = f"{quantity(said.name)} on {said.target}"
    for axes in figure.axes:
        axes.set_xlabel(f"{what}, {said.kind} ({said.unit})")
        if axes.get_ylabel():
            axes.set_ylabel(f"{what}, predicted ({said.unit})")
    return to_png(figure)
