"""The code in each folder's README runs, with small things in the place of what it leaves to its reader."""

import re
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from nas.data.digits import Digits
from nas.search.evolution import Evolution
from nas.tabular import open_judge, open_truth
from nas.training import Training
from predictors.features import features
from predictors.regression import KernelRegression
from predictors.validation import cross_validate
from search_spaces.derived.enumeration import enumerate_all
from search_spaces.derived.sampling import sample
from search_spaces.mcunet import McuNet
from search_spaces.mobile import Mobile, Stage
from search_spaces.nas_bench_201 import NasBench201, cell_string
from search_spaces.proxyless import ProxylessStage
from search_spaces.space import largest

ROOT = Path(__file__).parent.parent
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def quick_compiles():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def tiny(**settings):
    settings = {"image_size": 8, **settings}
    return Mobile(stages=(Stage(widths=(8, 16), depths=(1, 2)),), kernels=(3,), expansions=(1, 2), **settings)


def of_search_spaces(folder):
    space = tiny(image_size=32)
    return {
        "Mobile": tiny,
        "key": KEY,
        "arch": largest(space),
        "images": jax.random.normal(KEY, (2, 32, 32, 1)),
        "cotangent": jax.random.normal(KEY, (2, 10)),
    }


def of_nas(folder):
    data = Digits(image_size=8, limit=60).load()
    table = {"path": made_up_table(folder), "sha256": None}
    return {
        **{"space": tiny(), "data": data, "key": KEY, "Training": lambda **given: Training(epochs=1, **given)},
        **{"open_judge": partial(open_judge, **table), "open_truth": partial(open_truth, **table)},
        "McuNet": partial(McuNet, resolutions=(16,), width_mults=(0.5, 1.0), stages=(ProxylessStage(width=16),)),
    }


def made_up_table(folder):
    """A table like NAS-Bench-201's, which not everybody has: the later a cell's operations are listed, the better."""
    cells = np.concatenate(list(enumerate_all(NasBench201())))
    accuracy = 40 + 2.0 * cells.sum(1)
    np.savez(
        folder / "table.npz",
        arch_str=np.array([cell_string(cell) for cell in cells]),
        iso_rep=np.arange(len(cells)),
        cifar10_valid_12ep=accuracy,
        cifar10_test_200ep=accuracy,
    )
    return folder / "table.npz"


def of_search(folder):
    def costs(archs):
        return np.stack([archs.sum(1), -archs.sum(1)], 1).astype(np.float32)

    return {"Evolution": Evolution, "space": tiny(), "key": KEY, "generations": 2, "costs": costs, "jax": jax}


def of_predictors(folder):
    space = tiny()
    archs = np.asarray(sample(KEY, space, 20))
    rows = np.array([features(space.layers(arch)) for arch in archs])
    given = {"space": space, "archs": archs, "more_rows": rows[:3], "latency_ms": 1e-3 + rows.sum(1)}
    return {
        **given,
        "np": np,
        "features": features,
        "KernelRegression": KernelRegression,
        "cross_validate": cross_validate,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "around"),
    [
        ("search_spaces", of_search_spaces),
        ("nas", of_nas),
        ("nas/search", of_search),
        ("predictors", of_predictors),
    ],
)
def test_the_code_runs(folder, around, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where it writes
    readme = ROOT / folder / "README.md"
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
    assert blocks
    names, small = {"__name__": "readme"}, around(tmp_path)
    for block in blocks:
        # Its own imports bring the real things, the small ones take their place.
        lines = [line for line in block.splitlines() if line.startswith(("import ", "from "))]
        exec("\n".join(lines), names)
        names |= {n: v for n, v in small.items() if n not in names or n[0].isupper() or n.startswith("open_")}
        exec(compile("\n".join(line for line in block.splitlines() if line not in lines), str(readme), "exec"), names)
