"""The page and its figures, written from a made-up run: what is drawn, what is said, and what is refused."""

import json
import re
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from matplotlib.colors import to_hex

from experiments import figures
from experiments.drawing import bars, draw
from experiments.report import Summary, main, result, significant, verdict, with_spread, write_report
from hardware.costs.cost import Cost
from nas.objective import Judged, Objective
from nas.pareto import hypervolume, non_dominated
from nas.study import Study
from search_spaces.space import Choice, canonical, option_counts, options, size


class Blocks:
    """Choices named as in the mobile space. A report reads nothing else of a space, so there is no network here."""

    choices = tuple(
        choice
        for stage, widths in enumerate(((8, 16, 24), (16, 24, 40), (24, 40, 64)), 1)
        for choice in (
            Choice(name=f"stage{stage}.width", options=widths),
            Choice(name=f"stage{stage}.depth", options=(1, 2, 3)),
            *(
                Choice(
                    name=f"stage{stage}.block{block + 1}.{name}",
                    options=values,
                    requires=(f"stage{stage}.depth", block) if block else None,
                )
                for block in range(3)
                for name, values in (("kernel", (3, 5, 7)), ("expansion", (3, 4, 6)))
            ),
        )
    )

    def supernet(self, key: Any) -> Any:
        raise NotImplementedError

    def layers(self, arch: Any) -> Any:
        raise NotImplementedError


SPACE = Blocks()
LABELS = ["val_error", "latency_ms@host_cpu", "energy_mj@raspberry_pi_4"]
REFERENCE = [0.5, 1.2, 12.0]
HOSTILE = '<script>alert("x")</script> & $a_b$'


class Nothing(NamedTuple):
    """A search's state."""

    seed: Any


def cost(name: str, value: float, kind: str = "modelled", target: str = "", std: float | None = None) -> Cost:
    unit = {"latency_ms": "ms", "energy_mj": "mJ", "peak_bytes": "bytes"}.get(name, "1")
    return Cost(name=name, value=value, std=std, unit=unit, kind=kind, target=target)  # pyright: ignore[reportArgumentType]


def judge(rng: np.random.Generator, genes: np.ndarray, luck: float) -> Judged:
    """Plausible costs: latency grows with MACs, the error falls with them, both with noise."""
    arch = canonical(SPACE, genes.astype(np.int32))
    chosen = options(SPACE, arch)
    macs = 200_000 + sum(
        2500 * chosen[f"{name.split('.')[0]}.width"] * option
        for name, option in chosen.items()
        if name.endswith("expansion")
    )
    error = np.clip(luck * 0.02 + 0.12 * (1e6 / macs) ** 0.8 * luck + rng.normal(0, 0.012), 1 / 298, 0.9)
    costs = {
        "val_error": cost("val_error", round(float(error) * 298) / 298, "measured"),
        "macs": cost("macs", float(macs)),
        "latency_ms@host_cpu": cost(
            "latency_ms", 0.05 + macs / 2.5e7 * rng.uniform(0.8, 1.2), "predicted", "host_cpu", 0.01
        ),
        "energy_mj@raspberry_pi_4": cost(
            "energy_mj", 0.8 + macs / 2e6 * rng.uniform(0.9, 1.1), target="raspberry_pi_4"
        ),
        "peak_bytes@raspberry_pi_4": cost("peak_bytes", float(20000 + macs // 100), target="raspberry_pi_4"),
    }
    return Judged(arch=tuple(arch.tolist()), costs=costs)


def judgements(seed: int, many: int, luck: float = 1.0) -> list[Judged]:
    rng = np.random.default_rng(seed)
    rows: dict[tuple[int, ...], Judged] = {}
    while len(rows) < many:
        row = judge(rng, rng.integers(0, option_counts(SPACE)), luck)
        rows.setdefault(row.arch, row)
    return list(rows.values())


def matrix(rows: list[Judged]) -> np.ndarray:
    return np.array([[row.costs[label].value for label in LABELS] for row in rows])


def labelled(row: Judged) -> list[dict[str, Any]]:
    return [{**c.to_dict(), "label": label} for label, c in row.costs.items()]


def summarise(evolution: list[Judged], random: list[Judged]) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    front = [row for row, kept in zip(evolution, non_dominated(matrix(evolution)), strict=True) if kept]
    by_time = sorted(front, key=lambda row: row.costs[LABELS[1]].value)
    chosen = {"fastest": by_time[0], "balanced": by_time[len(by_time) // 2]}
    chosen["most accurate"] = min(front, key=lambda row: row.costs["val_error"].value)
    measured = {
        role: cost("latency_ms", 1.07 * row.costs[LABELS[1]].value, "measured", "host_cpu", 0.0041)
        for role, row in chosen.items()
    }
    points = [
        {
            "measured": x,
            "std": 0.02 * x,
            "predicted": x * rng.normal(1, 0.04),
            "macs_predicted": 0.05 + x * rng.normal(0.9, 0.2),
            "macs": int(2.5e7 * x),
        }
        for x in rng.uniform(0.07, 0.65, 80).tolist()
    ]
    return {
        "space": "mobile",
        "space_class": "search_spaces.mobile.Mobile",
        "space_size": size(SPACE),
        "choices": len(SPACE.choices),
        "data": {
            "name": "digits",
            "train": 1199,
            "val": 298,
            "test": 300,
            "image_size": 24,
            "fingerprint": "0123456789abcdef",
        },
        "target": "host_cpu",
        "targets": {
            "host_cpu": {
                "precision": "fp32",
                "threads": 1,
                "latency_ms": "measured, then predicted",
                "energy_mj": None,
            },
            "raspberry_pi_4": {
                "precision": "fp32",
                "threads": 1,
                "latency_ms": "modelled",
                "energy_mj": "modelled",
            },
        },
        "objectives": LABELS,
        "bounds": {},
        "training": {
            "epochs": 30,
            "steps": 570,
            "final_loss": 0.6187,
            "losses": [0.6 + 1.7 * 0.85**i for i in range(30)],
        },
        "predictor": {
            "name": "KernelRegression",
            "spearman": 0.9912,
            "kendall": 0.934,
            "mape": 3.17,
            "within_5": 0.8,
            "within_10": 0.9875,
            "macs_spearman": 0.887,
            "macs_mape": 17.4,
            "macs_within_10": 0.36,
            "networks": 80,
            "folds": 5,
            "points": points,
        },
        "reference": REFERENCE,
        "hypervolume": {
            "evolution": hypervolume(matrix(evolution), REFERENCE),
            "random": hypervolume(matrix(random), REFERENCE),
        },
        "evaluations": len(evolution),
        "front": [
            {
                "arch": list(row.arch),
                "costs": labelled(row)
                + [
                    {**measured[role].to_dict(), "label": LABELS[1]} for role, picked in chosen.items() if picked is row
                ],
            }
            for row in front
        ],
        "networks": [
            {
                "role": role,
                "folder": f"networks/{role.replace(' ', '_')}",
                "arch": list(row.arch),
                "options": options(SPACE, row.arch),
                "test_accuracy": accuracy,
                "val_error": row.costs["val_error"].value,
                "inherited_test_accuracy": accuracy - 0.0433,
                "fine_tuned": True,
                "costs": [*labelled(row), measured[role].to_dict()],
                "params": 12345 + i,
                "macs": int(row.costs["macs"].value),
                "onnx_max_abs_diff": 1.3e-6,
            }
            for i, ((role, row), accuracy) in enumerate(zip(chosen.items(), (0.95, 0.9767, 0.9867), strict=True))
        ],
        "seconds": {"data": 0.4, "supernet": 212.0, "measure": 11.3, "predictor": 2.1, "search": 96.0, "extract": 41.0},
        "versions": {"python": "3.11.9", "jax": "0.10.2", "onnxruntime": "1.25.0"},
        "seed": 0,
        "commit": "0f3c" * 10,
        "device": "cpu: AMD EPYC",
        "command": "edgenas seed=0",
        "resume": "edgenas resume=runs/first",
        "created": "2025-11-23 15:00",
    }


Change = Callable[[dict[str, Any]], Any]


def make(folder: Path, change: Change = lambda summary: None, many: int = 40) -> Path:
    """A finished run's folder, all but the page; `change` alters its summary first."""
    folder.mkdir()
    evolution, random = judgements(1, many, luck=0.8), judgements(2, many)
    study = Study(folder / "study.sqlite")
    half = many // 2
    study.commit("evolution", 1, evolution[:half], Nothing(0))
    study.commit("evolution", 2, evolution[half:], Nothing(0), finished=True)
    study.commit("random", 1, random, Nothing(0), finished=True)
    summary = summarise(evolution, random)
    change(summary)
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    return lambda *change: make(tmp_path / "first", *change)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with its page, to look at only."""
    folder = make(tmp_path_factory.mktemp("runs") / "first")
    write_report(folder)
    return folder


class Page(HTMLParser):
    """Tags with their attributes, the text between them, and the rows of its tables."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.heads: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.words.append(data)
        if {"td", "th"} & set(self._open):
            self.tables[-1][-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(folder: Path) -> Page:
    return Page(write_report(folder).read_text())


def test_the_page_needs_nothing_but_itself(finished):
    page = Page((finished / "report.html").read_text())
    assert not {"script", "link", "iframe", "img", "object"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            if (address := attributes.get(name)) is not None:
                assert address.startswith("./networks/" if tag == "a" else ("#", "data:image/png")), (tag, address)
    [style, *_] = re.findall("<style>(.*?)</style>", (finished / "report.html").read_text(), re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style


def test_ids_on_the_page_are_unique_and_every_reference_is_met(finished):
    page = Page((finished / "report.html").read_text())
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    asked = {a["xlink:href"] for tag, a in page.tags if tag == "use"}
    asked |= {a["clip-path"].removeprefix("url(").removesuffix(")") for _, a in page.tags if a.get("clip-path")}
    assert len(asked) > 20
    assert {f"#{name}" for name in ids} >= asked


def test_the_numbers_of_the_summary_stand_on_the_page(finished):
    summary = json.loads((finished / "summary.json").read_text())
    text = Page((finished / "report.html").read_text()).text
    quickest = summary["networks"][0]["costs"][-1]["value"]  # measured; its std 0.0041 gives it three decimals
    accurate = summary["networks"][2]["costs"][-1]["value"]
    assert (
        f"On host_cpu, the most accurate network found reaches 98.7 % test accuracy in {accurate:.3f} ms (measured),"
        f" the fastest 95.0 % in {quickest:.3f} ms." in text
    )
    for said in (
        "14,832,537,993",  # three stages, each of 3 widths and 9 + 9^2 + 9^3 ways to fill its blocks: (3 * 819)^3
        "12,345",
        f"{summary['networks'][1]['macs']:,}",
        f"{quickest:.3f} ± 0.004",
        "1.3 × 10⁻⁶",
        "90.7",
        "0.991",
        "0.934",
        "99 %",
        f"{summary['hypervolume']['evolution']:.3f}",
        f"{summary['hypervolume']['random']:.3f}",
        "1,199 train, 298 validation, 300 test images; fingerprint 0123456789abcdef",
        "0f3c" * 10,
        "edgenas seed=0",
        "edgenas resume=runs/first",
        "edgenas supernet.from=first target=raspberry_pi_4",
        "from experiments.winner import load",
        'print(network.classify("digit.png"))',
        "jax 0.10.2",
        "cpu: AMD EPYC",
        "30 epochs, 570 steps",
        "212.0",
    ):
        assert said in text, said


def test_kinds_never_share_a_column(finished):
    networks, every, *_ = Page((finished / "report.html").read_text()).tables
    heads = [head for head in networks[0] if "latency" in head or "energy" in head or "memory" in head]
    assert heads == [
        "latencyhost_cpumspredicted",
        "latencyhost_cpumsmeasured",
        "energyraspberry_pi_4mJmodelled",
        "peak memoryraspberry_pi_4KiBmodelled",
    ]
    assert every[0] == ["network", "quantity", "unit", "measured", "predicted", "modelled"]
    latency = next(row for row in every if row[:2] == ["fastest", "latency on host_cpu"])
    predicted, measured = networks[1][3:5]
    assert predicted != measured
    assert latency[3:] == [measured, predicted, "–"]


def test_names_are_escaped(run):
    def rename(summary: dict[str, Any]) -> None:
        summary["space"] = summary["command"] = summary["device"] = summary["networks"][0]["role"] = HOSTILE
        summary["networks"][0]["folder"] = "javascript:alert(1)"
        summary["networks"][0]["options"] = {HOSTILE: HOSTILE}
        summary["predictor"]["name"] = HOSTILE

    folder = run(rename)
    page = read(folder)
    assert page.text.count(HOSTILE) > 5
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script" not in (folder / "report.html").read_text()
    assert "./javascript%3Aalert%281%29/" in {a.get("href") for _, a in page.tags}


@pytest.mark.parametrize("winner", ["evolution", "random"])
def test_the_winner_is_named_whichever_it_is(run, winner):
    def change(summary: dict[str, Any]) -> None:
        summary["hypervolume"] = {"evolution": 1.0, "random": 1.0} | {winner: 1.25}

    other = "random" if winner == "evolution" else "evolution"
    said = verdict(Summary.read(run(change) / "summary.json"))
    assert said.startswith(f"{winner.title()} won: its hypervolume is 1.250, 25 % more than {other}'s 1.000.")


def test_a_draw_is_called_one(run):
    def change(summary: dict[str, Any]) -> None:
        summary["hypervolume"] = {"evolution": 1.0, "random": 1.0004}

    assert verdict(Summary.read(run(change) / "summary.json")).startswith("Neither won")


def test_without_a_predictor_the_page_says_so(run):
    def change(summary: dict[str, Any]) -> None:
        summary["predictor"] = None

    folder = run(change)
    assert "No latency predictor was fitted" in read(folder).text
    assert not (folder / "figures" / "predictor.png").exists()


def test_a_target_that_cannot_be_measured_has_a_modelled_latency(run):
    def change(summary: dict[str, Any]) -> None:
        summary["target"], summary["predictor"] = "raspberry_pi_4", None
        for network in summary["networks"]:
            network["costs"].append(cost("latency_ms", 1.234, target="raspberry_pi_4").to_dict())

    page = read(run(change))
    assert "reaches 98.7 % test accuracy in 1.23 ms (modelled), the fastest 95.0 % in 1.23 ms." in page.text
    assert "No latency predictor was fitted" in page.text
    assert "Its latency is modelled." in page.text
    assert "latencyraspberry_pi_4msmodelled" in page.tables[0][0]


def test_the_headline_does_not_choose_by_test_accuracy(run):
    def change(summary: dict[str, Any]) -> None:
        summary["networks"][1]["test_accuracy"] = 0.99

    said = result(Summary.read(run(change) / "summary.json"))
    assert said.startswith("On host_cpu, the network chosen as most accurate reaches 98.7 % test accuracy in ")


def test_a_front_of_one_network_is_enough(run):
    def change(summary: dict[str, Any]) -> None:
        summary["front"] = summary["front"][:1]
        summary["networks"] = summary["networks"][:1]

    text = read(run(change)).text
    assert "On host_cpu, the network found reaches 95.0 % test accuracy in" in text
    assert "The whole front: 1 network " in text


def test_what_a_run_may_lack_is_left_out(run):
    def change(summary: dict[str, Any]) -> None:
        kept = ("space", "target", "objectives", "front", "networks")
        for key in [key for key in summary if key not in kept]:
            del summary[key]
        for network in summary["networks"]:
            network["options"] = {f"edge{i}": "nor_conv_3x3" for i in range(6)}
            del network["params"], network["onnx_max_abs_diff"], network["inherited_test_accuracy"]

    folder = run(change)
    assert "98.7 % test accuracy" in read(folder).text
    drawn = {path.stem for path in (folder / "figures").glob("*.png")}
    assert drawn == {"pareto", "network_1", "network_2", "network_3"}


def test_no_network_at_all_is_said(run):
    def change(summary: dict[str, Any]) -> None:
        summary["front"], summary["networks"] = [], []

    assert "On host_cpu, no network was taken from the search." in read(run(change)).text


def test_the_same_folder_gives_the_same_page(finished):
    first = (finished / "report.html").read_bytes()
    assert write_report(finished).read_bytes() == first


def test_a_page_that_fails_leaves_the_old_one(run, monkeypatch):
    folder = run()
    (folder / "report.html").write_text("the old page")

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(folder)
    assert (folder / "report.html").read_text() == "the old page"
    assert {path.name for path in folder.iterdir() if path.is_file()} == {"report.html", "study.sqlite", "summary.json"}


DAMAGES: Mapping[str, Change] = {
    "no front": lambda summary: summary.pop("front"),
    "networks that are no list": lambda summary: summary.update(networks={"role": 1}),
    "a cost that is no number": lambda summary: summary["networks"][0]["costs"][0].update(value=float("nan")),
    "an unknown kind": lambda summary: summary["networks"][0]["costs"][0].update(kind="guessed"),
    "a point without a measurement": lambda summary: summary["predictor"]["points"][3].pop("measured"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_summary_is_named(run, damage):
    with pytest.raises(ValueError, match=r"`.*summary\.json` is not a run's summary"):
        write_report(run(damage))


@pytest.mark.parametrize("text", ["", "{", "[1, 2]"])
def test_a_file_that_is_no_summary_is_named(run, text, capsys):
    folder = run()
    (folder / "summary.json").write_text(text)
    with pytest.raises(ValueError, match=r"summary\.json"):
        write_report(folder)
    assert main([str(folder)]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert said.out == ""


@pytest.mark.parametrize("name", ["summary.json", "study.sqlite"])
def test_a_missing_file_is_named_and_not_made(run, name, capsys):
    folder = run()
    (folder / name).unlink()
    assert main([str(folder)]) == 2
    assert f"{name}` is missing" in capsys.readouterr().err
    assert not (folder / name).exists()


def test_a_study_of_another_run_is_refused(run):
    def change(summary: dict[str, Any]) -> None:
        summary["objectives"] = ["val_error", "latency_ms@host_cpu", "energy_mj@stm32h743"]

    with pytest.raises(ValueError, match=r"study\.sqlite` has networks of `evolution` without `energy_mj@stm32h743`"):
        write_report(run(change))


def test_a_damaged_study_is_named(run):
    folder = run()
    (folder / "study.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(ValueError, match=r"study\.sqlite` cannot be used as a study"):
        write_report(folder)


def test_the_command_writes_the_page_and_says_where(run, capsys):
    folder = run()
    assert main([str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"


# The figures, by the data drawn.


def drawn(axes: Any, label: str) -> np.ndarray:
    """What the artist with this label shows."""
    for cloud in axes.collections:
        if str(cloud.get_label()).startswith(label):
            return np.asarray(cloud.get_offsets())
    line = next(line for line in axes.lines if str(line.get_label()).startswith(label))
    return np.asarray(line.get_xydata())


def place(error: float, latency: float, energy: float = 1.0) -> Judged:
    costs = {
        "val_error": cost("val_error", error, "measured"),
        LABELS[1]: cost("latency_ms", latency, "predicted", "host_cpu"),
        LABELS[2]: cost("energy_mj", energy, target="raspberry_pi_4"),
    }
    return Judged(arch=(round(1e6 * latency), round(1e6 * error)), costs=costs)


FRONT = [place(0.30, 0.1, 1.0), place(0.35, 0.2, 0.5), place(0.1, 0.4, 2.0)]


def test_the_pareto_figure_shows_every_network_the_front_and_the_chosen():
    behind = [place(0.5, 0.3), place(0.4, 0.5)]
    chosen = figures.Chosen(
        role="fastest",
        error=0.3,
        searched=FRONT[0].costs[LABELS[1]],
        measured=cost("latency_ms", 0.12, "measured", "host_cpu", 0.01),
    )
    figure = figures.pareto(
        {"evolution": FRONT, "random": behind},
        FRONT,
        [chosen],
        across=LABELS[1],
        colour=LABELS[2],
        bounds={LABELS[1]: 0.45},
    )
    axes = figure.axes[0]
    assert np.allclose(drawn(axes, "evolution"), [[0.1, 30], [0.2, 35], [0.4, 10]])
    assert np.allclose(drawn(axes, "random"), [[0.3, 50], [0.5, 40]])
    # the second is on the front for its energy only, so the line of these two leaves it out
    assert np.allclose(drawn(axes, "front in these two"), [[0.1, 30], [0.4, 10]])
    assert np.allclose(drawn(axes, "front in all"), [[0.1, 30], [0.2, 35], [0.4, 10]])
    dots = next(cloud for cloud in axes.collections if str(cloud.get_label()).startswith("front in all"))
    assert np.asarray(dots.get_array()).tolist() == [1.0, 0.5, 2.0]
    assert np.allclose(drawn(axes, "fastest: predicted"), [[0.1, 30]])
    [bar] = axes.containers
    assert bar.get_label() == "fastest: measured"
    assert np.allclose(bar.lines[0].get_xydata(), [[0.12, 30]])
    assert np.allclose(bar.lines[2][0].get_segments()[0], [[0.11, 30], [0.13, 30]])
    hollow = next(line for line in axes.lines if line.get_label() == "fastest: predicted")
    assert to_hex(hollow.get_markerfacecolor()) == "#ffffff"
    assert to_hex(bar.lines[0].get_markerfacecolor()) == figures.PALETTE["vermillion"].lower()
    assert np.allclose(np.asarray(drawn(axes, "bound"))[:, 0], 0.45)
    assert axes.get_xlabel() == "latency on host_cpu, predicted (ms)"
    assert figure.axes[1].get_ylabel() == "energy on raspberry_pi_4, modelled (mJ)"


@pytest.mark.parametrize(("latest", "scale"), [(0.4, "linear"), (0.6, "log")])
def test_an_axis_is_logarithmic_where_it_spans_more_than_five(latest, scale):
    figure = figures.pareto({"evolution": [FRONT[0], place(0.2, latest)]}, [], across=LABELS[1])
    assert figure.axes[0].get_xscale() == scale
    assert figure.axes[0].get_yscale() == "linear"


def test_an_error_of_nothing_can_be_drawn():
    rows = [place(0.0, 0.1), place(0.9, 0.09)]
    axes = figures.pareto({"evolution": rows}, rows, across=LABELS[1]).axes[0]
    assert axes.get_yscale() == "linear"
    assert len(drawn(axes, "evolution")) == 2


def test_the_predictor_figure_has_one_panel_a_way_and_the_same_axes():
    measured, panels = (
        np.array([0.1, 0.2, 0.8]),
        {"ours": np.array([0.11, 0.19, 0.7]), "MACs": np.array([0.3, 0.2, 0.9])},
    )
    figure = figures.predictor(measured, 0.1 * measured, panels, target="host_cpu")
    first, second = figure.axes
    assert np.allclose(drawn(first, "_networks"), np.stack([measured, panels["ours"]], 1))
    assert np.allclose(drawn(second, "_networks"), np.stack([measured, panels["MACs"]], 1))
    assert first.get_title() == "ours"
    assert first.get_xlim() == second.get_xlim() == first.get_ylim()
    line = drawn(first, "predicted = measured")
    assert np.allclose(line[:, 0], line[:, 1])
    [band] = [artist for artist in first.collections if artist.get_label() == "within 10 %"]
    x, y = band.get_paths()[0].vertices.T
    assert np.allclose(sorted(set(np.round(y / x, 6))), [0.9, 1.1])
    assert {first.get_xlabel(), first.get_ylabel()} == {
        "latency on host_cpu, measured (ms)",
        "latency on host_cpu, predicted (ms)",
    }


def test_a_negative_prediction_can_be_drawn():
    figure = figures.predictor(np.array([0.1, 0.9]), np.zeros(2), {"MACs": np.array([-0.1, 1.0])}, target="host_cpu")
    assert figure.axes[0].get_xscale() == "linear"
    assert figure.axes[0].get_ylim()[0] < -0.1


OBJECTIVES = [Objective(cost="val_error"), Objective(cost="latency_ms", target="host_cpu", bound=0.4)]


def test_progress_by_hand():
    # From the reference (1, 1). Of one: 0.5 * 0.8 = 0.4. The second breaks its bound and adds nothing.
    # The third adds the strip it is better by in error: (0.5 - 0.25) * (1 - 0.4) = 0.15.
    rows = [place(0.5, 0.2), place(0.1, 0.5), place(0.25, 0.4)]
    counts, volumes = figures.progress(rows, OBJECTIVES, [1.0, 1.0])
    assert counts.tolist() == [1, 2, 3]
    assert volumes.tolist() == pytest.approx([0.4, 0.4, 0.55])


def test_progress_ends_at_the_hypervolume_of_all():
    rows = judgements(1, 90)
    objectives = [Objective(cost=c, target=t) for c, _, t in (label.partition("@") for label in LABELS)]
    counts, volumes = figures.progress(rows, objectives, REFERENCE)
    assert len(counts) == 20
    assert counts[-1] == 90
    assert volumes[-1] == pytest.approx(hypervolume(matrix(rows), REFERENCE) / np.prod(REFERENCE))
    assert (np.diff(volumes) >= 0).all()


def test_progress_of_nothing_is_nothing():
    counts, volumes = figures.progress([], OBJECTIVES, [1.0, 1.0])
    assert len(counts) == len(volumes) == 0


def test_the_hypervolume_figure_draws_one_line_a_search():
    axes = figures.hypervolumes({"evolution": (np.array([1, 2]), np.array([0.1, 0.3]))}).axes[0]
    assert drawn(axes, "evolution").tolist() == [[1, 0.1], [2, 0.3]]


def test_the_training_figure_counts_epochs_from_one():
    assert drawn(figures.training([2.0, 1.0]).axes[0], "_loss").tolist() == [[1, 2], [2, 1]]


def test_figures_leave_matplotlib_as_it_was():
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.to_png(figures.training([1.0]))
    figures.to_svg(figures.training([1.0]), "loss")
    assert dict(matplotlib.rcParams) == before


# The drawing.


def patches(figure: Any) -> list[Any]:
    return list(figure.axes[0].patches)


def words(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_a_mobile_network_is_drawn_as_a_bar_a_block():
    chosen = options(SPACE, np.zeros(len(SPACE.choices), np.int32)) | {"stage3.width": 64, "stage3.block1.kernel": 7}
    figure = draw(chosen, title="fastest")
    first, second, third = patches(figure)  # widths 8, 16 and 64; kernels 3, 3 and 7
    assert second.get_width() == pytest.approx(2 * first.get_width())
    assert third.get_width() == pytest.approx(8 * first.get_width())
    assert first.get_facecolor() == second.get_facecolor() != third.get_facecolor()
    assert "kernel 7 · expansion 3" in words(figure)
    assert "width 64 · depth 1" in words(figure)
    assert words(figure)[0] == "fastest"


def test_networks_shown_together_share_their_scale_and_colours():
    narrow, wide = {"a.width": 8, "a.kernel": 5}, {"a.width": 32, "a.kernel": 3}
    [alone], [beside], [largest] = (
        patches(draw(narrow)),
        patches(draw(narrow, beside=[wide])),
        patches(draw(wide, beside=[narrow])),
    )
    assert beside.get_width() == pytest.approx(largest.get_width() / 4)
    assert alone.get_width() == pytest.approx(largest.get_width())
    assert beside.get_facecolor() != largest.get_facecolor()


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"edge0": "nor_conv_3x3", "edge1": "none", "edge2": "nor_conv_3x3"},
        {"resolution": 192, "use_bias": True, "stem": (3, 16), "kernel": [3, 5]},
        {"a.b.c.d.e.f": 1, "a.b.width": 2.5, "a.width": 0},
        {HOSTILE: HOSTILE, "": 1, "..": None},
        {f"block{i}.operation_with_a_long_name_{i}": "x" * 80 for i in range(70)},
    ],
    ids=["none", "edges", "mixed", "deep", "hostile", "long"],
)
def test_any_options_can_be_drawn(chosen):
    figure = draw(chosen, title=HOSTILE)
    assert figures.to_svg(figure, "drawing").startswith("<svg")
    assert len(patches(figure)) == len([bar for bar in bars(chosen) if not bar.heading])
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert 0 <= box.x0 <= box.x1 <= figure.bbox.x1, text.get_text()


def test_words_colour_what_no_kernel_does():
    first, second, third = patches(draw({"edge0": "nor_conv_3x3", "edge1": "none", "edge2": "nor_conv_3x3"}))
    assert first.get_facecolor() == third.get_facecolor() != second.get_facecolor()


# The digits.


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.3149, "0.315"),
        (12345.6, "12,346"),
        (0.9996, "1.00"),
        (1.26e-6, "1.26 × 10⁻⁶"),
        (2e19, "2.00 × 10¹⁹"),
        (-0.02, "-0.0200"),
    ],
)
def test_significant_digits(value, said):
    assert significant(value) == said


@pytest.mark.parametrize(
    ("value", "std", "said"),
    [
        (0.31459, None, "0.315"),
        (0.31459, 0.0041, "0.315 ± 0.004"),
        (0.31459, 0.0014, "0.3146 ± 0.0014"),
        (0.0714, 0.3, "0.071 ± 0.300"),
        (123.4, 7.0, "123 ± 7"),
    ],
)
def test_a_spread_says_how_many_digits_a_value_has(value, std, said):
    assert with_spread(cost("latency_ms", value, "measured", "host_cpu", std)) == said
