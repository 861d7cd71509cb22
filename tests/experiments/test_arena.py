"""The benchmark of the arena's model runs on small networks and says what it should."""

import json

import pytest

from experiments.benchmarks import arena


def test_modelled_bytes_are_those_of_the_arena(capsys, monkeypatch):
    monkeypatch.setattr(arena, "SPACES", {"mobile_micro": {}})
    result = arena.main(["--networks", "ds_cnn", "autoencoder", "--samples", "1", "--json"])
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1]) == json.loads(json.dumps(result))
    rows = {row["network"]: row for row in result["rows"]}
    assert list(rows) == ["ds_cnn", "autoencoder", "mobile_micro_0"]
    # MLPerf Tiny's DS-CNN: an image of 25 x 5 positions and 64 channels, read and made; the autoencoder: 640 and 128
    assert rows["ds_cnn"]["activation_bytes"] == 2 * 25 * 5 * 64
    assert rows["autoencoder"]["activation_bytes"] == 640 + 128
    assert all(row["ratio"] == 1 for row in rows.values())
    assert all(row["arena_bytes"] > row["activation_bytes"] for row in rows.values())
    assert rows["mobile_micro_0"]["peak_ratio"] < 0.9  # padded copies, and nothing in place
    said = result["summary"]
    assert (said["networks"], said["within_10_percent"], said["worst"]) == (3, 3, 1)
    assert (said["peak_within_10_percent"], said["peak_worst"]) == (2, rows["mobile_micro_0"]["peak_ratio"])
    assert result["environment"]["tflite_micro"].startswith("tflite-micro 0.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--networks", "ds_cn"], "no network is called `ds_cn`; did you mean `ds_cnn`?"),
        (["--networks", "vit_ti_16", "--samples", "0"], "`vit_ti_16`: layer 14 is a gelu, which tflite-micro has no"),
        (["--samples", "-1"], "`--samples` must be 0 or more, got -1"),
        (["--networks", "--samples", "0"], "no networks; name some, or set `--samples` to 1 or more"),
    ],
)
def test_bad_arguments_give_one_line(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        arena.main(arguments)
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
