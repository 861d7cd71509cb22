"""The code in each folder's README runs, with small things in the place of what it leaves to its reader."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

from nas.data.digits import Digits
from nas.search.evolution import Evolution
from nas.training import Training
from predictors.features import features
from predictors.regression import KernelRegression
from predictors.validation import cross_validate
from search_spaces.derived.sampling import sample
from search_spaces.mobile import Mobile, Stage
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


def of_search_spaces():
    space = tiny(image_size=32)
    return {
        "Mobile": tiny,
        "key": KEY,
        "arch": largest(space),
        "images": jax.random.normal(KEY, (2, 32, 32, 1)),
        "cotangent": jax.random.normal(KEY, (2, 10)),
    }


def of_nas():
    data = Digits(image_size=8, limit=60).load()
    return {"space": tiny(), "data": data, "key": KEY, "Training": lambda **given: Training(epochs=1, **given)}


def of_search():
    def costs(archs):
        return np.stack([archs.sum(1), -archs.sum(1)], 1).astype(np.float32)

    return {"Evolution": Evolution, "space": tiny(), "key": KEY, "generations": 2, "costs": costs, "jax": jax}


def of_predictors():
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
def test_the_code_runs(folder, around):
    readme = ROOT / folder / "README.md"
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
    assert blocks
    names = {"__name__": "readme"}
    for block in blocks:
        # Its own imports bring the real things, the small ones take their place.
        lines = [line for line in block.splitlines() if line.startswith(("import ", "from "))]
        exec("\n".join(lines), names)
        names |= {name: value for name, value in around().items() if name not in names or name[0].isupper()}
        exec(compile("\n".join(line for line in block.splitlines() if line not in lines), str(readme), "exec"), names)
