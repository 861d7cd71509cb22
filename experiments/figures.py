"""The figures of a run: each function takes plain data and gives a matplotlib figure, without touching global state."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from hardware.costs.cost import Cost
from nas.objective import Judged, Objective, cost_matrix, feasible
from nas.pareto import hypervolume, non_dominated

PALETTE = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermillion": "#D55E00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "yellow": "#F0E442",
    "grey": "#A8B0B8",
}
"""Colours that the colour-blind can tell apart (Okabe and Ito, "Color Universal Design")."""
SEARCH_HUES = (("blue", "o"), ("orange", "s"), ("green", "^"), ("purple", "D"))
ROLE_MARKERS = ("^", "D", "s", "v", "P", "X")
LOG_SPAN = 5
"""An axis whose largest value is more than so many times its smallest is logarithmic."""
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlepad": 8,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.45",
    "axes.labelcolor": "0.15",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.90",
    "grid.linewidth": 0.8,
    "xtick.color": "0.25",
    "ytick.color": "0.25",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.usetex": False,
    "text.parse_math": False,  # names come from users: a `$` in one is no formula
}
QUANTITIES = {
    "latency_ms": "latency",
    "energy_mj": "energy",
    "peak_bytes": "peak memory",
    "flash_bytes": "flash",
    "macs": "MACs",
    "params": "parameters",
    "val_error": "validation error",
}


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A network that was taken from the front, as the Pareto figure marks it.

    Attributes:
      role: what it was chosen for.
      error: the validation error it was chosen by, as a fraction.
      searched: its place on the other axis as the search saw it (predicted or modelled); None where unknown.
      measured: the same cost measured afterwards; None where it was not.
    """

    role: str
    error: float
    searched: Cost | None
    measured: Cost | None


@contextmanager
def styled() -> Iterator[None]:
    """Within it, figures are made and saved in the house's style; afterwards matplotlib is as before."""
    with matplotlib.rc_context(STYLE):
        yield


def quantity(name: str) -> str:
    """What a cost of this name is called on paper, without its unit."""
    return QUANTITIES.get(name, name.replace("_", " "))


def readable(name: str, value: float, unit: str) -> tuple[float, str]:
    """A value in the unit people read it in: errors in per cent, bytes in KiB."""
    if name.endswith("error"):
        return 100 * value, "%"
    if unit == "bytes":
        return value / 1024, "KiB"
    return value, "" if unit == "1" else unit


def axis_label(cost: Cost) -> str:
    """Says what an axis shows: quantity, target, kind and unit."""
    unit = readable(cost.name, cost.value, cost.unit)[1]
    words = quantity(cost.name) + (f" on {cost.target}" if cost.target else "") + f", {cost.kind}"
    return f"{words} ({unit})" if unit else words


def pareto(
    searches: Mapping[str, Sequence[Judged]],
    front: Sequence[Judged],
    chosen: Sequence[Chosen] = (),
    *,
    across: str,
    colour: str = "",
    bounds: Mapping[str, float] | None = None,
) -> Figure:
    """Validation error against one cost: every network that was judged, the front, and the networks taken from it.

    Args:
      searches: what each search judged; the front is the first's.
      front: the non-dominated networks in all objectives, so that not all lie on the line that two of them give.
      chosen: networks to mark, with the cost as searched (hollow) and measured (filled).
      across: label of the cost on the horizontal axis.
      colour: label of the cost that colours the front; empty for none.
      bounds: largest values allowed, by label; those of the two axes are drawn.
    """
    limits = dict(bounds or {})
    rows = [row for judged in searches.values() for row in judged] + list(front)
    example = next((row.costs[across] for row in rows if across in row.costs), None)
    with styled():
        figure = Figure(figsize=(8.4, 5.4), layout="constrained")
        axes = figure.add_subplot()
        for (name, judged), (hue, marker) in zip(searches.items(), SEARCH_HUES * len(searches), strict=False):
            points = _places(judged, across)
            label = f"{name}: {len(points)} judged"
            axes.scatter(*points.T, s=16, c=PALETTE[hue], marker=marker, alpha=0.28, linewidths=0, label=label)

        on_front = [row for row in front if across in row.costs and "val_error" in row.costs]
        places = _places(on_front, across)
        if len(places):
            steps = places[np.asarray(non_dominated(places))]
            steps = steps[np.lexsort((steps[:, 1], steps[:, 0]))]
            axes.plot(*steps.T, drawstyle="steps-post", color="0.35", lw=1.3, label="front in these two", zorder=3)
            costs = [row.costs.get(colour) for row in on_front]
            known = [cost for cost in costs if cost is not None]
            style: dict[str, Any] = {"s": 34, "zorder": 4, "edgecolors": "0.2", "linewidths": 0.6}
            label = f"front in all objectives: {len(places)}"
            if len(known) == len(costs):
                shades = [readable(c.name, c.value, c.unit)[0] for c in known]
                dots = axes.scatter(*places.T, c=shades, cmap="viridis", label=label, **style)
                figure.colorbar(dots, ax=axes, label=axis_label(known[0]), pad=0.02, aspect=32)
            else:
                axes.scatter(*places.T, color=PALETTE["blue"], label=label, **style)

        marks = [_mark(axes, network, ROLE_MARKERS[i % len(ROLE_MARKERS)]) for i, network in enumerate(chosen)]
        marked = np.array([end for ends in marks for end in ends], np.float64).reshape(-1, 2)
        if across in limits:
            bound = readable(across.partition("@")[0], limits[across], example.unit if example else "")[0]
            axes.axvline(bound, color=PALETTE["vermillion"], lw=1, ls="--", label=f"bound {bound:g}", zorder=1)
        if "val_error" in limits:
            bound = 100 * limits["val_error"]
            axes.axhline(bound, color=PALETTE["vermillion"], lw=1, ls=":", label=f"bound {bound:g} %", zorder=1)
        drawn = np.concatenate([places, *(_places(judged, across) for judged in searches.values()), marked])
        _log_where_wide(axes, "x", drawn[:, 0])
        _log_where_wide(axes, "y", drawn[:, 1])
        axes.set_xlabel(axis_label(example) if example else across)
        axes.set_ylabel("validation error with inherited weights (%)")
        _legend(figure, axes, columns=3)
    return figure


def predictor(
    measured: Float[np.ndarray, " networks"],
    std: Float[np.ndarray, " networks"],
    panels: Mapping[str, Float[np.ndarray, " networks"]],
    *,
    target: str,
) -> Figure:
    """Predicted against measured latency in ms, one panel for each way of predicting, all with the same axes.

    Args:
      measured: medians on the target.
      std: their spread.
      panels: out-of-fold predictions by the title of their panel.
      target: name of the target.
    """
    every = np.concatenate([measured, *panels.values()])
    log = every.min() > 0 and every.max() / every.min() > LOG_SPAN
    margin = 0.06 * (every.max() - every.min()) or 0.1 * abs(every.max()) or 1.0
    low, high = (every.min() / 1.2, every.max() * 1.2) if log else (every.min() - margin, every.max() + margin)
    with styled():
        figure = Figure(figsize=(8.4, 4.5), layout="constrained")
        cells = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
        line = np.geomspace(low, high, 50) if log else np.linspace(low, high, 50)
        for axes, (title, values), (hue, _) in zip(cells, panels.items(), SEARCH_HUES * len(panels), strict=False):
            axes.fill_between(line, 0.9 * line, 1.1 * line, color="0.9", lw=0, label="within 10 %", zorder=0)
            axes.plot(line, line, color="0.35", lw=1, label="predicted = measured", zorder=1)
            axes.errorbar(measured, values, xerr=std, fmt="none", ecolor="0.6", elinewidth=0.8, zorder=2)
            axes.scatter(measured, values, s=20, c=PALETTE[hue], alpha=0.85, linewidths=0, zorder=3, label="_networks")
            axes.set(xlim=(low, high), ylim=(low, high), title=title)
            axes.set_box_aspect(1)
            axes.set_xlabel(f"latency on {target}, measured (ms)")
            if log:
                _log_where_wide(axes, "x", every)
                _log_where_wide(axes, "y", every)
        cells[0].set_ylabel(f"latency on {target}, predicted (ms)")
        cells[0].legend(loc="upper left")
        figure.draw_without_rendering()  # square axes settle into the layout at the second drawing only
    return figure


def progress(
    judged: Sequence[Judged], objectives: Sequence[Objective], reference: Sequence[float], points: int = 20
) -> tuple[Int[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """How good a search's networks were after so many evaluations.

    Args:
      judged: its networks, in the order it judged them.
      objectives: what is minimised and what is bounded; networks that break a bound count as evaluations only.
      reference: the worst value of interest in each minimised objective.
      points: how many prefixes to look at.

    Returns:
      Numbers of evaluations, and the hypervolume of the networks judged until then, in parts of the box
      from the origin to the reference.
    """
    if not judged:
        return np.zeros(0, int), np.zeros(0)
    costs, kept = cost_matrix(judged, objectives), feasible(judged, objectives)
    counts = np.unique(np.ceil(np.linspace(len(judged) / points, len(judged), points)).astype(int))
    box = float(np.prod(reference))
    volumes = [hypervolume(costs[:n][kept[:n]], reference) / box for n in counts]
    return counts, np.array(volumes, np.float64)


def hypervolumes(curves: Mapping[str, tuple[Int[np.ndarray, " points"], Float[np.ndarray, " points"]]]) -> Figure:
    """Hypervolume against evaluations, one line a search; larger is better."""
    with styled():
        figure = Figure(figsize=(8.4, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for (name, (counts, volumes)), (hue, marker) in zip(curves.items(), SEARCH_HUES * len(curves), strict=False):
            axes.plot(counts, volumes, color=PALETTE[hue], marker=marker, ms=4, lw=1.6, label=name)
        axes.set(xlabel="networks judged", ylabel="hypervolume (larger is better)")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if curves:
            axes.legend(loc="lower right")
    return figure


def training(losses: Sequence[float]) -> Figure:
    """The supernet's training loss, one value an epoch."""
    with styled():
        figure = Figure(figsize=(8.4, 3.0), layout="constrained")
        axes = figure.add_subplot()
        epochs = np.arange(1, len(losses) + 1)
        axes.plot(epochs, losses, color=PALETTE["blue"], lw=1.6, marker="o", ms=3.5, label="_loss")
        axes.set(xlabel="epoch", ylabel="training loss (nats)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
    return figure


def to_svg(figure: Figure, name: str) -> str:
    """The figure as an `<svg>` element to stand inside a page: no metadata, letters as outlines, ids begin with `name`.

    The same figure gives the same text.
    """
    buffer = io.BytesIO()
    with styled(), matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue().decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG of 150 dots an inch."""
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def _places(judged: Sequence[Judged], across: str) -> Float[np.ndarray, "networks 2"]:
    """Cost and validation error of the networks that have both, in the units people read."""
    places = [
        (readable(cost.name, cost.value, cost.unit)[0], 100 * row.costs["val_error"].value)
        for row in judged
        if (cost := row.costs.get(across)) is not None and "val_error" in row.costs
    ]
    return np.array(places, np.float64).reshape(-1, 2)


def _mark(axes: Axes, network: Chosen, marker: str) -> list[tuple[float, float]]:
    """Draws a chosen network where the search saw it (hollow) and where it was measured (filled), and joins them."""
    hue, size, y = PALETTE["vermillion"], 9.5, 100 * network.error
    ends: list[tuple[float, float]] = []
    for cost, face in ((network.searched, "white"), (network.measured, hue)):
        if cost is None:
            continue
        x = readable(cost.name, cost.value, cost.unit)[0]
        ends.append((x, y))
        label = f"{network.role}: {cost.kind}"
        style: dict[str, Any] = {"color": hue, "markerfacecolor": face, "markersize": size, "markeredgewidth": 1.6}
        if cost.kind == "measured" and cost.std:
            spread = readable(cost.name, cost.std, cost.unit)[0]
            axes.errorbar(x, y, xerr=spread, fmt=marker, capsize=3, zorder=6, label=label, **style)
        else:
            axes.plot(x, y, marker=marker, ls="none", zorder=6, label=label, **style)
    if len(ends) == 2:
        axes.plot(*zip(*ends, strict=True), color=hue, lw=1, zorder=5, label="_joined")
    return ends


def _log_where_wide(axes: Axes, name: str, values: Float[np.ndarray, " points"]) -> None:
    """Makes an axis logarithmic, with plain numbers, where its values span much."""
    if not len(values) or values.min() <= 0 or values.max() / values.min() <= LOG_SPAN:
        return
    axis = axes.xaxis if name == "x" else axes.yaxis
    axes.set_xscale("log") if name == "x" else axes.set_yscale("log")
    span = values.max() / values.min()
    subs = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if span < 20 else (1.0, 2.0, 5.0) if span < 500 else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    """One legend under the axes, where it can hide nothing."""
    handles, labels = axes.get_legend_handles_labels()
    solid = [_solid(handle) for handle in handles]
    if handles:
        figure.legend(solid, labels, loc="outside lower center", ncols=columns, columnspacing=1.6, handletextpad=0.5)


def _solid(handle: Any) -> Any:
    """A legend's mark of a faint cloud is drawn solid enough to see."""
    if getattr(handle, "get_alpha", lambda: None)() is None:
        return handle
    hue, path = handle.get_facecolor()[0][:3], handle.get_paths()[0]
    return Line2D([], [], ls="none", marker=path, color=hue, markersize=5, alpha=0.6)
