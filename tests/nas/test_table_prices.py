"""A search that takes a published latency for its own: nothing is trained, run or predicted."""

import jax
import numpy as np
import pytest

from hardware.tables import HelpFbNet, HelpNasBench201
from hardware.tables.table import TableTarget
from nas.objective import Objective, Prices
from nas.search import Evolution
from nas.search.loop import run_search
from nas.study import Study
from nas.table_prices import TablePrices
from nas.tabular import open_judge, quoted
from search_spaces.nas_bench_201 import NasBench201

SPACE = NasBench201()


@pytest.fixture(scope="module")
def folder(data_root):
    for name in ("help_latency/nb201.npz", "help_latency/fbnet.npz", "nas_bench_201/nb201_acc.npz"):
        if not (data_root / name).is_file():
            pytest.skip(f"no {data_root / name}")
    return data_root


@pytest.fixture(scope="module")
def prices(folder):
    table = HelpNasBench201(root=folder / "help_latency").load()
    column = table.column("silver_4114")
    return TablePrices(target=TableTarget(table=table, column=column), prices=Prices(SPACE, (), {}))


def test_the_tables_latency_stands_beside_what_is_counted(prices):
    costs = prices(np.array([4] * 6, np.int32))
    assert set(costs) == {"macs", "params", "latency_ms@help_nas_bench_201/silver_4114"}
    assert costs[prices.label].kind == "quoted"
    assert TablePrices(target=prices.target)(np.array([4] * 6, np.int32)) == {prices.label: costs[prices.label]}


def test_a_search_finds_cells_under_a_quoted_bound(prices, folder, tmp_path):
    judge = open_judge("cifar10", folder / "nas_bench_201" / "nb201_acc.npz")
    latency = prices.target.table.of(prices.target.column)
    bound = float(np.quantile(latency, 0.3))
    objectives = [
        Objective(cost="val_error"),
        Objective(cost="latency_ms", target=prices.target.name, bound=bound, minimised=False),
    ]
    judged = run_search(
        Evolution(space=SPACE, pop_size=20),
        quoted(judge, prices),
        objectives,
        key=jax.random.key(0),
        evaluations=300,
        study=Study(tmp_path / "study.sqlite", {"quoted": judge.source}),
        name="cells",
    )
    fits = [row for row in judged if row.costs[prices.label].value <= bound]
    best = min(row.costs["val_error"].value for row in fits)
    # Of 300 cells drawn by chance 90 keep the bound; their best is the 52nd, on average, of all 4688 that do.
    allowed = np.sort(judge.val_error[latency <= bound])
    assert len(allowed) == 4688
    assert np.searchsorted(allowed, best) < 4689 / 91


def test_a_table_of_samples_prices_only_those(folder):
    table = HelpFbNet(root=folder / "help_latency").load()
    prices = TablePrices(target=TableTarget(table=table, column=table.column("pixel2")))
    assert prices(table.archs[3])[prices.label].value == table.of(table.column("pixel2"))[3]
    with pytest.raises(ValueError, match="has 5,000 networks of its space"):
        prices(np.zeros(22, np.int32))
