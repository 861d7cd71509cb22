"""A network drawn from its layers: rows of blocks, as wide as their channels, coloured by kind, repeats drawn once.

Any tuple of layers will do, of any space, named network or traced one: chains, residuals, branches, cells, attention.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path

from experiments.faces import DARK, KINDS, SYMBOLS, WHITE, face_of
from experiments.figures import styled
from experiments.flow import Module, Repeated, Row, blocks_of, modules_of, rows_of
from experiments.nodes import Node, nodes_of
from search_spaces.layers import Input, Layer, Zeros, total_macs, total_params

# Inches.
WIDEST = 9.0  # of a row of nodes
NARROWEST_NODE, WIDEST_NODE, HEIGHT = 0.46, 1.15, 0.34
ROUND = 0.2  # diameter of a sum, a product, a concatenation
PITCH, GAP, BETWEEN = 0.46, 0.2, 0.26  # of lanes, between columns, between rows
LEFT, RIGHT = 1.75, 3.0  # for names and repeats, for figures
MARGIN = 0.15
LONGEST_NAME = 17
TAG = 0.85  # for the name of an earlier block

NONLINEARITY, STRIDE = "then a nonlinearity", "stride"


def draw_layers(layers: Sequence[Layer], title: str = "") -> Figure:
    """Draws a network.

    Rows are read like text, each from left to right; a line leads from the end of one to the start of the next. A box
    is a layer with its norm and nonlinearity; its width grows with the root of its output channels.

    Args:
      layers: in execution order.
      title: over the drawing; empty for none.

    Returns:
      A figure as high as the network has rows; the same layers give the same figure.

    Raises:
      ValueError: when there are no layers, or one reads a later one.
    """
    if not layers:
        raise ValueError("a network without layers cannot be drawn")
    nodes = nodes_of(layers)
    image = "×".join(map(str, layers[0].shape))
    said = f"{image} image · {total_params(layers):,} parameters · {total_macs(layers):,} MACs"
    with styled():
        return _Drawing(nodes, 0.13 * len(title) + 0.07 * len(said)).figure(title, said)


class _Drawing:
    """Where things are, in inches from the upper left corner, and how they are put on the axes."""

    def __init__(self, nodes: Sequence[Node], heading: float):
        """Lays the rows out; the drawing is no narrower than its heading."""
        self.nodes = nodes
        self.faces = [face_of(node) for node in nodes]
        self.most = max((node.shape[-1] for node in nodes if not isinstance(node.main, Input)), default=1)
        modules = modules_of(nodes)
        self.rows = rows_of(nodes, modules, self.module_width, WIDEST)
        widest = max(sum(map(self.module_width, row.modules)) for each in self.rows for row in each.rows)
        self.width = max(LEFT + widest + RIGHT, heading + 2 * MARGIN + 0.3)
        self.right = self.width - MARGIN  # where the figures end

    def figure(self, title: str, said: str) -> Figure:
        """The whole."""
        head, width = 0.62, self.width
        body = sum(self.row_height(row) + BETWEEN for each in self.rows for row in each.rows)
        foot = 0.35 + 0.22 * max((line for _, _, line in self.marks()), default=0)
        height = head + body + foot
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        axes.set_axis_off()
        if title:
            axes.text(MARGIN, 0.24, title, weight="bold", fontsize=12, va="center")
        axes.text(width - MARGIN, 0.24, said, fontsize=8, color="0.35", va="center", ha="right")
        for x, word in zip(self.columns, ("output", "parameters", "MACs"), strict=True):
            axes.text(x, head - 0.12, word, fontsize=7, color="0.45", ha="right", va="center")
        y, before = head, None
        for each in self.rows:
            y, before = self.repeated(axes, each, y, before)
        self.legend(axes, y + 0.1)
        return figure

    @property
    def columns(self) -> tuple[float, float, float]:
        """Right ends of the figures' columns."""
        return self.right - 1.75, self.right - 0.85, self.right

    def node_width(self, i: int) -> float:
        """Of a node's box: by the root of its channels, but wide enough for its words."""
        face, node = self.faces[i], self.nodes[i]
        if isinstance(node.main, tuple(SYMBOLS)) and not node.gate:
            return ROUND
        words = max(0.066 * len(face.says), 0.055 * len(face.also)) + (0.14 if face.stride == 1 else 0.26)
        if face.kind in ("", "moves or combines", "normalisation"):
            return max(words, 0.36)
        by_channels = NARROWEST_NODE + (WIDEST_NODE - NARROWEST_NODE) * math.sqrt(node.shape[-1] / self.most)
        return max(words, by_channels)

    def column_widths(self, module: Module) -> list[float]:
        """Of each of its columns."""
        widths = [0.0] * module.columns
        for i, (column, _) in module.places.items():
            widths[column - 1] = max(widths[column - 1], self.node_width(i))
        return widths

    def module_width(self, module: Module) -> float:
        """Of a module, with the gap before each column; where wires fan out the gaps are wider."""
        tag = TAG if module.afar else 0.0
        return tag + sum(self.column_widths(module)) + self.gap(module) * module.columns

    @staticmethod
    def gap(module: Module) -> float:
        """Between the columns of a module."""
        return GAP if module.lanes == (0, 0) else 1.4 * GAP

    @staticmethod
    def row_lanes(row: Row) -> tuple[int, int]:
        """The first and the last lane of a row."""
        lanes = [module.lanes for module in row.modules]
        return min(first for first, _ in lanes), max(last for _, last in lanes)

    def extent(self, row: Row) -> tuple[float, float]:
        """How far a row reaches above and below the middle of lane 0."""
        filled = _filled(row)
        first, last = self.row_lanes(row)
        half = {lane: HEIGHT / 2 if lane in filled else 0.04 for lane in (first, last)}
        return self.lane_y(row, first) - half[first], self.lane_y(row, last) + half[last]

    def row_height(self, row: Row) -> float:
        """Of a row."""
        above, below = self.extent(row)
        return below - above

    @staticmethod
    def lane_y(row: Row, lane: int) -> float:
        """The middle of a lane, from the middle of lane 0; one with no node in it is narrower."""
        filled = _filled(row)
        step = 1 if lane > 0 else -1
        steps = [PITCH if each in filled else PITCH / 1.7 for each in range(step, lane + step, step)] if lane else []
        return step * sum(steps, 0.0)

    def repeated(
        self, axes: Axes, each: Repeated, y: float, before: tuple[float, float] | None
    ) -> tuple[float, tuple[float, float]]:
        """Rows, with a bracket where they repeat. Gives where the next row begins and where the last wire ended."""
        top, times = y, f"{each.times} × " if each.times > 1 else ""
        end = before or (0.0, 0.0)
        for number, row in enumerate(each.rows):
            middle = y - self.extent(row)[0]
            if number == 0:
                name = each.name if len(each.name) <= LONGEST_NAME else f"{each.name[: LONGEST_NAME - 1]}…"
                axes.text(MARGIN, middle, name, fontsize=7.5, color="0.3", va="center")
            shape = "×".join(map(str, self.nodes[max(row.modules[-1].places)].shape))
            figures = (shape, _figure(row.params, times), _figure(row.macs, times))
            for x, text in zip(self.columns, figures, strict=True):
                axes.text(x, middle, text, fontsize=7.5, color="0.2", ha="right", va="center")
            if before:
                _wrap(axes, before, (LEFT, middle), y - BETWEEN / 2)
            end = before = self.row(axes, row, middle)
            y += self.row_height(row) + BETWEEN
        if each.times > 1:
            x, low, high = LEFT - 0.24, top - 0.02, y - BETWEEN + 0.02
            axes.plot([x + 0.06, x, x, x + 0.06], [low, low, high, high], color="0.3", lw=1.2)
            axes.text(x - 0.05, (low + high) / 2, f"{each.times}×", fontsize=10, weight="bold", ha="right", va="center")
        return y, end

    def row(self, axes: Axes, row: Row, middle: float) -> tuple[float, float]:
        """One row's nodes and wires; gives where it ends."""
        x = LEFT
        port = (LEFT, middle)  # where the tensor that enters the module is
        for module in row.modules:
            lefts, widths, gap = [], self.column_widths(module), self.gap(module)
            ports = {module.entry: port}
            if module.afar:  # it begins the row
                x = LEFT + TAG
                if any(wire.source == module.entry for wire in module.wires):
                    axes.plot([LEFT, x], [middle] * 2, color="0.45", lw=0.9, zorder=2)
                ports[module.entry] = (x, middle)
                for source, lane in module.afar:
                    ports[source] = (x, middle + self.lane_y(row, lane))
                    self.tag(axes, source, *ports[source])
            for width in widths:
                x += gap
                lefts.append(x)
                x += width
            ends: dict[int, tuple[float, float, float]] = {}  # left and right end, and height, of each node
            for i, (column, lane) in module.places.items():
                width = self.node_width(i)
                left = lefts[column - 1] + (widths[column - 1] - width) / 2
                ends[i] = left, left + width, middle + self.lane_y(row, lane)
            for wire in module.wires:
                entering = wire.source not in module.places
                start = ports[wire.source] if entering else ends[wire.source][1:]
                column = 0 if entering else module.places[wire.source][0]
                to = module.places[wire.target][0]
                leave = start[0] if entering else lefts[column - 1] + widths[column - 1]
                way = [(leave, start[1])]
                if wire.lane is not None:
                    y = middle + self.lane_y(row, wire.lane)
                    way += [(lefts[column], y), (lefts[to - 2] + widths[to - 2], y)]
                end = ends[wire.target]
                _wire(axes, [start, *way, (lefts[to - 1], end[2]), end[0::2]])
            for i, (left, right, y) in ends.items():
                self.node(axes, i, left, right, y)
            leaving = max(module.places)
            port = ends[leaving][1:]
        return port

    def tag(self, axes: Axes, source: int, x: float, y: float) -> None:
        """Says of what block an earlier row's tensor is."""
        named = [name for i in range(source + 1) if (name := blocks_of(self.nodes[i].layers))]
        text = f"from {named[-1] if named else 'image'}"
        box = {"boxstyle": "round,pad=0.25", "fc": "0.95", "ec": "0.7", "lw": 0.6}
        axes.text(x, y, text, fontsize=5.8, color="0.3", ha="right", va="center", zorder=4, bbox=box)

    def node(self, axes: Axes, i: int, left: float, right: float, y: float) -> None:
        """A box with its words; a circle for what combines."""
        node, face = self.nodes[i], self.faces[i]
        main = node.main
        hue = KINDS.get(face.kind, "#F2F2F2")
        if isinstance(main, tuple(SYMBOLS)) and not node.gate:
            edge = "0.25" if not node.activation else "black"
            axes.add_patch(Circle(((left + right) / 2, y), ROUND / 2, fc="white", ec=edge, lw=1, zorder=3))
            axes.text((left + right) / 2, y, face.says, fontsize=8, ha="center", va="center_baseline", zorder=4)
            return
        plain = face.kind in ("", "moves or combines")
        box = FancyBboxPatch(
            (left + 0.04, y - HEIGHT / 2 + 0.04),
            right - left - 0.08,
            HEIGHT - 0.08,
            boxstyle="round,pad=0.04,rounding_size=0.05",
            fc=hue,
            ec="0.55" if plain else "none",
            lw=0.8,
            ls="--" if isinstance(main, Zeros) else "-",
            zorder=3,
        )
        axes.add_patch(box)
        colour = "white" if face.kind in DARK else "0.1"
        middle = (left + right) / 2
        rise = 0.07 if face.also else 0.0
        axes.text(middle, y - rise, face.says, fontsize=7, color=colour, ha="center", va="center", zorder=5)
        axes.text(
            middle, y + 0.085, face.also, fontsize=5.8, color=colour, ha="center", va="center", zorder=5, alpha=0.9
        )
        if node.activation:  # a dark edge on the side that it leaves by
            axes.plot([right - 0.015] * 2, [y - HEIGHT / 2 + 0.05, y + HEIGHT / 2 - 0.05], color="0.1", lw=2, zorder=4)
        if face.stride > 1:
            _stride(axes, left, y - HEIGHT / 2, face.stride)

    def marks(self) -> list[tuple[str, float, int]]:
        """What the legend explains: each word, where it begins, and in which line."""
        words = [kind for kind in KINDS if any(face.kind == kind for face in self.faces)]
        words += [NONLINEARITY] if any(node.activation for node in self.nodes) else []
        words += [STRIDE] if any(face.stride > 1 for face in self.faces) else []
        placed, x, line = [], MARGIN, 0
        for word in words:
            length = 0.42 + 0.068 * len(word)
            if x + length > self.right:
                x, line = MARGIN, line + 1
            placed.append((word, x, line))
            x += length
        return placed

    def legend(self, axes: Axes, top: float) -> None:
        """What the colours and marks mean."""
        for word, x, line in self.marks():
            y = top + 0.22 * line
            if word == STRIDE:
                _stride(axes, x + 0.05, y, 2)
            elif word == NONLINEARITY:
                axes.plot([x + 0.07] * 2, [y - 0.08, y + 0.08], color="0.1", lw=2)
            else:
                edge = "0.55" if KINDS[word] == WHITE else "none"
                axes.add_patch(Rectangle((x, y - 0.05), 0.14, 0.1, fc=KINDS[word], ec=edge))
            axes.text(x + 0.22, y, word, fontsize=7.5, color="0.3", va="center")


def _stride(axes: Axes, x: float, y: float, stride: int) -> None:
    """A mark on the corner of what shrinks the image."""
    points = [(x - 0.07, y - 0.065), (x + 0.13, y - 0.065), (x + 0.03, y + 0.1)]
    axes.add_patch(Polygon(points, fc="0.1", ec="white", lw=0.6, zorder=6))
    axes.text(x + 0.03, y - 0.012, f"{stride}", fontsize=5, color="white", ha="center", va="center", zorder=7)


def _wire(axes: Axes, points: Sequence[tuple[float, ...]]) -> None:
    """A line through points: level where two of them are level, else a bend that leaves and arrives level."""
    path, codes = [points[0]], [Path.MOVETO]
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (x0 + x1) / 2
        path += [(middle, y0), (middle, y1), (x1, y1)] if y0 != y1 else [(x1, y1)]
        codes += [Path.CURVE4] * 3 if y0 != y1 else [Path.LINETO]
    axes.add_patch(PathPatch(Path(path, codes), fc="none", ec="0.45", lw=0.9, zorder=2))


def _wrap(axes: Axes, start: tuple[float, float], end: tuple[float, float], y: float) -> None:
    """From the end of a row to the start of the next, through the space between them."""
    (x0, y0), (x1, y1) = start, end
    r = 0.08
    points = [(x0, y0), (x0 + r, y0), (x0 + 2 * r, y0), (x0 + 2 * r, y0 + r), (x0 + 2 * r, y - r), (x0 + 2 * r, y)]
    points += [(x0 + r, y), (x1, y), (x1 - r, y), (x1 - r, y + r), (x1 - r, y1 - r), (x1 - r, y1), (x1, y1)]
    line, curve = Path.LINETO, Path.CURVE3
    codes = [Path.MOVETO, line, curve, curve, line, curve, curve, line, curve, curve, line, curve, curve]
    axes.add_patch(PathPatch(Path(points, codes), fc="none", ec="0.72", lw=0.9, zorder=1))


def _figure(number: int, times: str) -> str:
    """A count to three digits: `3 × 1.23 M`; a dash for 0."""
    for size, word in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{times}{number / size:.3g} {word}"
    return f"{times}{number}" if number else "–"


def _filled(row: Row) -> set[int]:
    """The lanes that nodes stand in."""
    return {lane for module in row.modules for _, lane in module.places.values()}
