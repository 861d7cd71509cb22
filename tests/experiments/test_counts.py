"""The named networks have the published counts, each of them or else with a reason; the benchmark says so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.benchmarks import counts
from experiments.benchmarks.counts import Reference, compare, main
from experiments.benchmarks.named_training import real_counts, small
from search_spaces.networks import NAMED

ROOT = Path(__file__).parents[2]
BRIEF = {name: NAMED[name] for name in ("resnet_18", "resnet_50", "vgg_16")}  # all of them take a minute to check


@pytest.mark.slow  # layers of all named networks
def test_no_row_of_the_table_is_unexplained(data_root):
    """In a process of its own, where no types are checked at run time: a tenth of the time."""
    table = data_root.parent / "reference" / "networks.csv"
    if not table.exists():
        pytest.skip(f"no table of reference counts at {table}")
    command = [sys.executable, "-m", "experiments.benchmarks.counts", "--table", str(table), "--no-network", "--json"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    result = json.loads(said.strip().splitlines()[-1])
    rows, summary = result["rows"], result["summary"]
    assert [row["name"] for row in rows if not row["match"] and row["reason"] is None] == []
    assert summary["explained"] == summary["rows"] == len(rows)
    assert [row["network"] for row in rows if row["name"] == "SPNASNet-100"] == ["spnasnet"]
    assert "SPNASNet" not in result["outside"]
    # Rows without a reason match in every integer there is.
    unmatched = sum(not row["match"] for row in rows)
    assert summary["params_match"] >= summary["params_rows"] - unmatched
    assert summary["macs_match"] >= summary["macs_rows"] - unmatched


@pytest.mark.parametrize(
    ("name", "counted"),
    [  # of shared/reference/networks.csv
        ("squeezenet_1.1", (1_235_496, 349_151_936)),
        ("mobilenet_v1_0.5", (1_331_592, 149_497_088)),
        ("regnety_200mf", (3_162_996, 199_514_080)),
    ],
)
def test_real_networks_hold_and_compute_what_was_published(name, counted):
    assert real_counts(NAMED[name]()) == counted


HEADER = "name,family,input_resolution,params_exact,macs_exact\n"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "networks.csv"
    path.write_text(
        HEADER
        + "ResNet-18,ResNet,224,11689512,1814073344\n"
        + "ResNet-50,ResNet,224,25557032,4089184257\n"  # one too many
        + "ResNet-18,ResNet,192,11689512,\n"  # not a resolution that we have it at
        + "VGG-16,VGG,224,,\n"  # no exact integers
        + "GPT-2 small,GPT-2,,124439808,\n"  # another family
    )
    return path


def test_what_matches_is_told_from_what_does_not(table, capsys, monkeypatch):
    monkeypatch.setattr(counts, "NAMED", BRIEF)
    reasons = {"ResNet-50": "the table has a slip of the pen", "ResNet-51": "its blocks are nowhere written"}
    monkeypatch.setattr(counts, "reasons", lambda: reasons)
    result = main(["--table", str(table), "--no-network", "--json"])
    said = capsys.readouterr().out
    assert json.loads(said.strip().splitlines()[-1]) == json.loads(json.dumps(result))
    assert [(row["name"], row["match"], row["reason"]) for row in result["rows"]] == [
        ("ResNet-18", True, None),
        ("ResNet-50", False, "the table has a slip of the pen"),
        ("ResNet-18", False, None),
    ]
    assert result["summary"] == {
        "rows": 3,
        "params_rows": 3,
        "params_match": 2,
        "network_params_match": 0,
        "macs_rows": 2,
        "macs_match": 1,
        "traced_macs_match": 0,
        "explained": 2,
    }
    assert result["outside"] == {"GPT-2": 1}
    assert "NO MATCH: the table has a slip of the pen" in said
    assert "NO MATCH: unexplained" in said
    assert result["without_integers"] == {"ResNet-51": "its blocks are nowhere written"}
    assert "NOT BUILT: its blocks are nowhere written" in said
    assert main(["--table", str(table), "--no-network", "--only", "vgg"])["without_integers"] == {}


def test_a_network_whose_layers_lie_does_not_match(monkeypatch):
    monkeypatch.setattr(counts, "NAMED", BRIEF)
    monkeypatch.setattr(counts, "real_counts", lambda point: (11_689_512, 1))
    row = Reference(name="ResNet-18", family="ResNet", resolution=224, params=11_689_512, macs=1_814_073_344)
    (found,) = compare([row], lambda name: True)
    assert (found.macs, found.traced_macs, found.match) == (1_814_073_344, 1, False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no table of reference counts at"),
        ("a,b\n1,2\n", "is no table of reference counts: 'params_exact'"),
        (HEADER + "ResNet-18,ResNet,224,11.7M,\n", "is no table of reference counts: invalid literal"),
    ],
)
def test_a_table_that_is_none_gives_one_line(content, said, tmp_path, capsys):
    path = tmp_path / "table.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit) as ended:
        main(["--table", str(path)])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_the_table_lies_beside_the_data_folder(monkeypatch):
    monkeypatch.setenv("EDGENAS_DATA", "/somewhere/data")
    assert str(counts.table_path()) == "/somewhere/reference/networks.csv"


def test_networks_are_made_small_where_their_parameters_allow():
    assert small("resnet_18").layers()[0].shape == (64, 64, 3)
    assert small("resnet_18").layers()[-1].shape == (1, 1, 10)
    assert small("ds_cnn").layers()[0].shape == (49, 10, 1)
    assert small("mobilenet_v1_0.25_vww").layers()[-1].shape == (1, 1, 2)  # and no larger than published
    assert small("resnet_8").layers()[0].shape == (32, 32, 3)
