"""A network drawn from the options that were chosen for it: one bar a block, from the input at the top to the output.

It reads option names only (`stage1.width`, `stage1.block2.kernel`, `edge0`), so it serves every space.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from experiments.figures import PALETTE, styled

WIDTH_WORDS = ("width", "channels", "filters", "features", "dim")
"""An option whose last word is one of these is drawn as the length of a bar."""
COLOUR_WORDS = ("kernel", "kernel_size")
"""An option whose last word is one of these gives the bar its colour; without any, the first word option does."""
ROW_INCHES = 0.27
FIGURE_INCHES = 3.7
CHARACTER = 1.85
"""How wide a letter is at most on the average, in hundredths of the figure."""
LONGEST_NAME, LONGEST_LABEL = 16, 40


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One line of the drawing.

    Attributes:
      name: the last part of the block's (or group's) dotted name.
      level: how many groups it lies in.
      label: its options in words.
      width: the length of its bar; None for a plain one.
      colour: the option that colours it; None for the common colour.
      heading: whether it heads a group of blocks and has no bar.
    """

    name: str
    level: int
    label: str
    width: float | None
    colour: Any
    heading: bool


@dataclass
class _Part:
    """A dotted prefix: its own options, and the parts below it, in the order they were named."""

    options: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, "_Part"] = field(default_factory=dict)


def bars(options: Mapping[str, Any]) -> list[Bar]:
    """The lines to draw: a heading for each prefix with parts below it, a bar for each without."""
    root = _Part()
    for name, option in options.items():
        *path, last = name.split(".")
        if not path:  # a decision without a prefix is a block of its own
            path, last = [last], ""
        part = root
        for word in path:
            part = part.parts.setdefault(word, _Part())
        part.options[last] = option
    return list(_bars(root, 0, None))


def draw(options: Mapping[str, Any], *, title: str = "", beside: Sequence[Mapping[str, Any]] = ()) -> Figure:
    """Draws one network.

    Args:
      options: the chosen options by name, those without effect left out, as `search_spaces.space.options` gives them.
      title: over the drawing; empty for none.
      beside: options of the networks it will be seen with; lengths and colours then mean the same in all.

    Returns:
      A figure whose height grows with the number of blocks.
    """
    lines = bars(options)
    everyone = [bar for other in (options, *beside) for bar in bars(other)]
    widest = max((bar.width for bar in everyone if bar.width), default=1.0)
    start = 3 + max((_indent(bar) + CHARACTER * min(len(bar.name), LONGEST_NAME) for bar in everyone), default=0)
    labels = max((min(len(bar.label), LONGEST_LABEL) for bar in everyone if not bar.heading), default=0)
    longest = min(40.0, max(6.0, 96 - start - CHARACTER * labels))
    colours = _colours(everyone)
    offset = 1.3 if title else 0.1
    height = max(len(lines), 1) + offset + 0.1
    with styled():
        figure = Figure(figsize=(FIGURE_INCHES, ROW_INCHES * height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, 100), ylim=(height, 0))
        axes.set_axis_off()
        if title:
            axes.text(2, 0.6, _cut(title, 36), weight="bold", va="center", fontsize=11)
        if not lines:
            axes.text(2, offset + 0.5, "this network has no choices", va="center", color="0.35")
        for row, bar in enumerate(lines):
            y = offset + row + 0.5
            weight = "bold" if bar.heading else "normal"
            axes.text(_indent(bar), y, _cut(bar.name, LONGEST_NAME), va="center", fontsize=9, weight=weight)
            if bar.heading:
                room = int((98 - start) / CHARACTER)
                axes.text(start, y, _cut(bar.label, room), va="center", fontsize=9, color="0.35")
                continue
            length = longest * (bar.width / widest if bar.width else 0.5)
            face = colours.get(str(bar.colour), PALETTE["grey"])
            axes.add_patch(Rectangle((start, y - 0.34), length, 0.68, facecolor=face, edgecolor="none"))
            axes.text(start + length + 2, y, _cut(bar.label, LONGEST_LABEL), va="center", fontsize=9, color="0.15")
    return figure


def _bars(part: _Part, level: int, inherited: float | None) -> Iterator[Bar]:
    for name, child in part.parts.items():
        width = next((float(o) for n, o in child.options.items() if n in WIDTH_WORDS and _is_number(o)), inherited)
        yield Bar(
            name=name,
            level=level,
            label=" · ".join(words for n, o in child.options.items() if (words := _words(n, o))),
            width=width,
            colour=_colour(child.options),
            heading=bool(child.parts),
        )
        yield from _bars(child, level + 1, width)


def _words(name: str, option: Any) -> str:
    """An option in words; one that is off is not mentioned."""
    if isinstance(option, bool):
        return name.replace("_", " ") if option else ""
    return f"{name} {option}".strip()


def _indent(bar: Bar) -> float:
    return 2 + 2.5 * min(bar.level, 4)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _is_number(option: Any) -> bool:
    return isinstance(option, int | float) and not isinstance(option, bool) and option > 0


def _colour(options: Mapping[str, Any]) -> Any:
    for word in COLOUR_WORDS:
        if word in options:
            return options[word]
    return next((option for option in options.values() if isinstance(option, str)), None)


def _colours(lines: Sequence[Bar]) -> dict[str, str]:
    """A colour for each option that asks for one, by its text; numbers in order, so that 3 comes before 11."""
    asked = {str(bar.colour): bar.colour for bar in lines if bar.colour is not None and not bar.heading}
    ordered = sorted(asked, key=lambda text: (asked[text] if _is_number(asked[text]) else math.inf, text))
    hues = [PALETTE[name] for name in ("sky", "blue", "orange", "green", "purple", "vermillion", "yellow")]
    return {text: hues[i % len(hues)] for i, text in enumerate(ordered)}
