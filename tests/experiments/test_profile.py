"""`edgenas profile`: one for this machine, stopped and gone on with, used again; tables; and what is refused."""

import csv
import json
import shutil
import time

import numpy as np
import pytest

from hardware.measuring.store import MeasurementStore
from hardware.runtimes.onnx_runtime import OnnxRuntime
from search_spaces.space import largest, smallest

STAGE = "{_target_: search_spaces.mobile.Stage, widths: [4, 8], depths: [1, 2], stride: 2, squeeze_excite: [true]}"
SPACE = [
    *("data.image_size=12", f"search_space.stages=[{STAGE}]", "search_space.kernels=[3,5]"),
    *("search_space.expansions=[2,4]", "search_space.stem_channels=4", "search_space.head_channels=8"),
]
QUICK = [
    *("target.protocol.rounds=3", "target.protocol.warm_up=1", "target.protocol.min_sample_ms=0.02"),
    *("target.protocol.batch=4", "target.protocol.redo=0"),
]
SMALL = ["profile", "target=host_cpu", *SPACE, *QUICK, "n=10", "measuring.folds=3"]


@pytest.fixture(scope="module")
def profiled(main, tmp_path_factory):
    """The folder above a finished profile; only to be read."""
    output = tmp_path_factory.mktemp("profiled")
    main([*SMALL, f"output={output}"])
    return output


def space_of(output):
    from experiments.build import build
    from experiments.profile_file import read_profile

    profile = read_profile(output / "profiles" / "host_cpu_mobile")
    return profile, build(profile.content["space"]["settings"])


def test_a_profile_says_what_was_measured_how_and_how_far_to_trust_it(profiled):
    folder = profiled / "profiles" / "host_cpu_mobile"
    profile, space = space_of(profiled)
    said = profile.content
    assert {path.name for path in folder.iterdir() if path.name[0] != "."} == {
        *("profile.json", "table.csv", "predicted.png", said["predictor"]["weights"])
    }
    assert (said["networks"], said["asked"], said["metric"], said["unit"], said["kind"], said["seed"]) == (
        *(10, 10, "latency_ms", "ms", "measured", 0),
    )
    assert said["taken_from"]["runtime"].startswith("onnxruntime ")
    assert said["taken_from"]["target"]["protocol"]["rounds"] == 3
    assert {"versions", "device", "commit"} <= set(said["environment"])
    assert said["reference_ms"] > 0
    assert said["failures"] == []
    assert set(said["validation"]["predictor"]) == {"spearman", "kendall", "mape", "within_5", "within_10", "networks"}
    assert {tuple(smallest(space)), tuple(largest(space))} <= set(map(tuple, profile.archs.tolist()))
    assert {cost.kind for cost in profile.costs} == {"measured"}
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["measured_latency_ms"]) for row in rows] == [cost.value for cost in profile.costs]
    assert all(float(row["predicted_latency_ms"]) > 0 for row in rows)
    assert MeasurementStore(path=profiled / "measurements.sqlite").count() == 11  # and the reference network


def test_what_was_learned_is_read_back_and_predicts(profiled):
    from experiments.build import describe
    from predictors.features import features

    profile, space = space_of(profiled)
    cost = profile.predict(space, largest(space))
    assert (cost.name, cost.unit, cost.kind, cost.target) == ("latency_ms", "ms", "predicted", "host_cpu")
    rows = np.array([features(space.layers(arch)) for arch in profile.archs])
    weights = profile.predictor.fit(rows, np.array([cost.value for cost in profile.costs]))
    mean, _ = profile.predictor.predict(weights, features(space.layers(largest(space)))[None])
    assert cost.value == pytest.approx(float(mean[0]), rel=1e-9)
    kept = profile.measured(space, "host_cpu")
    assert kept["archs"] == profile.archs.tolist()
    assert kept["costs"][0] == profile.costs[0].to_dict()
    assert kept["reference_ms"] > 0
    with pytest.raises(ValueError, match=r"a run for other needs its measured latency_ms: .* profile target=other"):
        profile.measured(space, "other")
    other = type(space)(**{**vars_of(space), "kernels": (3,)})
    assert describe(other) != describe(space)
    with pytest.raises(ValueError, match="is of another space: `kernels` differs"):
        profile.predict(other, smallest(other))


def vars_of(settings):
    return {name: getattr(settings, name) for name in settings.__dataclass_fields__}


def test_the_same_again_measures_nothing_and_says_so_in_json(main, profiled, tmp_path, capsys):
    output = shutil.copytree(profiled, tmp_path / "again")
    before = json.loads((output / "profiles" / "host_cpu_mobile" / "profile.json").read_text())
    main([*SMALL, f"output={output}", "predictor=macs", "--json"])
    *lines, last = capsys.readouterr().out.splitlines()
    told = "\n".join(lines)
    for phrase in ("host_cpu · mobile", "10 of 10 networks measured", "Kendall", "LinearMacs", "is replaced"):
        assert phrase in told
    summary = json.loads(last)
    assert (summary["networks"], summary["kind"], summary["target"]) == (10, "measured", "host_cpu")
    assert summary["validation"]["predictor"] == summary["validation"]["linear_in_macs"]
    after = json.loads((output / "profiles" / "host_cpu_mobile" / "profile.json").read_text())
    assert [row["cost"] for row in after["rows"]] == [row["cost"] for row in before["rows"]]
    assert after["reference_ms"] == before["reference_ms"]
    assert len(list((output / "profiles" / "host_cpu_mobile").glob("weights-*"))) == 1
    assert MeasurementStore(path=output / "measurements.sqlite").count() == 11


@pytest.mark.parametrize("reuse", ["true", "false"])
def test_a_profile_that_was_stopped_goes_on(main, tmp_path, monkeypatch, capsys, reuse):
    store, puts = MeasurementStore(path=tmp_path / "measurements.sqlite"), []
    right = MeasurementStore.put

    def put(self, rows):
        if len(puts) == 1:
            raise KeyboardInterrupt
        puts.append(right(self, rows))

    words = [*SMALL, f"output={tmp_path}", f"measuring.reuse={reuse}"]
    with monkeypatch.context() as patch:
        patch.setattr(MeasurementStore, "put", put)
        with pytest.raises(SystemExit) as ended:
            main(words)
    assert ended.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert store.count() == 5  # one batch of four, and the reference
    folder = tmp_path / "profiles" / "host_cpu_mobile"
    assert not (folder / "profile.json").exists()
    main(words)
    assert store.count() == 11
    assert not (folder / "started.json").exists()
    main(words)
    # Rows of another go count, or they don't: then this is a go of its own.
    assert store.count() == (11 if reuse == "true" else 22)


def failing(monkeypatch, fails):
    """A runtime that cannot write the networks numbered so."""
    right, seen = OnnxRuntime.prepare, []

    def prepare(self, layers, *arguments, **more):
        seen.append(layers)
        if fails(len(layers), len(seen)):
            raise ValueError("no operator for `block1.act`")
        return right(self, layers, *arguments, **more)

    monkeypatch.setattr(OnnxRuntime, "prepare", prepare)


def test_networks_that_fail_are_told_and_left_out(main, tmp_path, monkeypatch, capsys):
    failing(monkeypatch, lambda _, number: number in (2, 3))
    main([*SMALL, f"output={tmp_path}", "--json"])
    *lines, last = capsys.readouterr().out.splitlines()
    summary = json.loads(last)
    assert "8 of 10 networks measured" in "\n".join(lines)
    assert (summary["asked"], summary["networks"]) == (10, 8)
    assert [failure["reason"] for failure in summary["failures"]] == ["no operator for `block1.act`"] * 2
    assert f"{summary['failures'][0]['hash']} has none: no operator for `block1.act`" in "\n".join(lines)


def test_most_failing_ends_with_1_and_all_with_2(main, tmp_path, monkeypatch, capsys):
    # Of every four that are written the reference is the fifth.
    failing(monkeypatch, lambda _, number: number in (1, 2, 3, 6, 7, 8, 11))
    with pytest.raises(SystemExit) as ended:
        main([*SMALL[:-2], "n=12", "measuring.folds=3", f"output={tmp_path / 'most'}"])
    assert ended.value.code == 1
    assert "5 of 12 networks measured" in capsys.readouterr().out
    failing(monkeypatch, lambda layers, _: True)
    with pytest.raises(SystemExit) as ended:
        main([*SMALL, f"output={tmp_path / 'all'}"])
    assert ended.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.endswith("edgenas: error: 0 of 10 networks measured: no operator for `block1.act`")
    assert not (tmp_path / "all").exists() or not (tmp_path / "all" / "profiles").exists()


def test_what_came_to_nothing_leaves_no_folder_and_takes_none_away(main, tmp_path, capsys):
    words = [*SMALL, f"measuring.store={tmp_path / 'none.sqlite'}"]
    (tmp_path / "none.sqlite").write_text("no store")
    folder = tmp_path / "mine" / "profiles" / "host_cpu_mobile"
    folder.mkdir(parents=True)
    for output in ("runs", "mine"):
        with pytest.raises(SystemExit) as ended:
            main([*words, f"output={tmp_path / output}"])
        assert ended.value.code == 2
        assert "is not a measurement store" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "runs").exists()
    assert folder.is_dir()


def test_a_space_of_too_few_networks_is_said_before_any_is_measured(refused, tmp_path):
    one = STAGE.replace("[4, 8]", "[4]").replace("[1, 2]", "[1]")
    words = [*SMALL, f"search_space.stages=[{one}]", "search_space.kernels=[3]", f"output={tmp_path / 'runs'}"]
    line = refused(*words)  # 2 expansions
    assert "`mobile` has 2 networks to choose from, and 3 folds need 5 at least; lower `measuring.folds`" in line
    assert not (tmp_path / "runs").exists()


def test_the_meters_words_are_understood(refused, tmp_path):
    words = [*SMALL, "+meter@target.meter=rapl", f"target.meter.root={tmp_path}", "metric=energy_mj"]
    line = refused(*words, f"output={tmp_path / 'runs'}")
    assert str(tmp_path) in line  # an empty folder has no counters
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_killed_outright_it_loses_a_batch_at_most(edgenas, tmp_path):
    words = [*SMALL[:-2], "n=30", "measuring.folds=3", "target.protocol.rounds=20", f"output={tmp_path}"]
    store, file = MeasurementStore(path=tmp_path / "measurements.sqlite"), tmp_path / "measurements.sqlite"
    process = edgenas.start(*words)
    while process.poll() is None and not (file.exists() and store.count() >= 9):
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()[1]
    process.kill()
    process.communicate()
    kept = store.count()
    assert kept >= 9
    done = edgenas(*words)
    assert done.returncode == 0, done.stderr
    assert store.count() == 31


TABLES = [
    ("help_nas_bench_201/silver_4114", "latency_ms", "help_latency/nb201.npz"),
    ("hw_nas_bench_360/pi5/torchmobile/cifar100", "energy_mj", "hw_nas_bench_360/hwnb360.npz"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("target", "metric", "file"), TABLES)
def test_a_table_is_profiled_like_a_board(main, data_root, tmp_path, capsys, target, metric, file):
    if not (data_root / file).is_file():
        pytest.skip(f"no {data_root / file}")
    roots = [f"table.root={(data_root / file).parent}"]
    if "360" in target:
        roots.append(f"table.cells={data_root / 'nas_bench_201'}")
    main(["profile", f"target={target}", f"metric={metric}", *roots, "n=40", f"output={tmp_path}", "--json"])
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["networks"], summary["kind"], summary["metric"]) == (40, "quoted", metric)
    kernels, macs = summary["validation"]["predictor"], summary["validation"]["linear_in_macs"]
    assert kernels["spearman"] > 0.85
    assert kernels["mape"] < macs["mape"]
    with open(f"{summary['folder']}/table.csv") as file:  # noqa: PTH123
        assert f"quoted_{metric}" in file.readline()
    assert not (tmp_path / "measurements.sqlite").exists()


@pytest.mark.parametrize(
    ("words", "phrase"),
    [
        ("target=hots_cpu", "`target` has no option `hots_cpu`; did you mean `host_cpu`?"),
        ("search_space=mobil", "`search_space` has no option `mobil`; did you mean `mobile`?"),
        ("predictor=kernel", "did you mean `kernels`?"),
        ("m=200", "`profile` has no setting `m`"),
        ("targt=host_cpu", "`profile` has no setting `targt`; did you mean `target`?"),
        ("training.epochs=3", "`profile` has no setting `training.epochs`"),
        ("host_cpu", "a setting is written host_cpu=<value>"),
        ("--jason", "`profile` has no option `--jason`; did you mean `--json`?"),
        ("n=0", "`n` must be a whole number of at least 5, got 0"),
        ("n=-3", "`n` must be a whole number of at least 5, got -3"),
        ("n=many", "`n` must be a whole number, got `many`"),
        ("n=1000000000", "`n` must be at most 100000, got 1000000000"),
        ("n.x=3", "`profile` has no setting `n.x`; did you mean `n`?"),
        ("+n=3", "`profile` has no setting `+n`"),
        ("+meter@target.meter=rapple", "`meter` has no option `rapple`"),
        ("+meter@targt.meter=rapl", "`profile` has no setting `+meter@targt.meter`; did you mean `target`?"),
        ("n=1.5", "`n` must be a whole number, got 1.5"),
        ("n=3 measuring.folds=4", "`n` must be a whole number of at least 4, got 3"),
        ("n=5 measuring.folds=2", "`n` must be a whole number of at least 6, got 5"),
        ("measuring.folds=1", "`measuring.folds` must be a whole number of at least 2, got 1"),
        ("n=9 n=10", "`n` is set twice"),
        ("seed=-1", "`seed` must be 0 to 2**32 - 1, got -1"),
        ("image_size=big", "`image_size` must be a whole number or null, got `big`"),
        ("measuring.stor=x", "there is no setting `measuring.stor`; did you mean `measuring.store`?"),
        ("target=stm32h743", "`stm32h743` cannot be measured: it has no runtime, its costs are modelled; describe"),
        ("metric=energy_mj", "`host_cpu` has no meter, so that its energy cannot be measured; give it one"),
        ("metric=power", "`metric` of a board must be latency_ms or energy_mj, got `power`"),
        ("target=help_nas_bench201/raspi4", "`table` has no option `help_nas_bench201`; did you mean"),
        ("target=help_nas_bench_201/raspi4 table.root=nowhere", "nothing found at nowhere/nb201.npz"),
        ("target=help_nas_bench_201/raspi4 table.rot=x", "there is no setting `table.rot`"),
    ],
)
def test_what_cannot_be_profiled_is_said_in_one_line(refused, tmp_path, words, phrase):
    assert phrase in refused("profile", *words.split(), f"output={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "phrase"),
    [
        (
            "target=help_nas_bench_201",
            "say which column of the table: target=help_nas_bench_201/<column>, of 1080ti_1,",
        ),
        ("target=help_nas_bench_201/raspi5", "has no column `raspi5`; did you mean `raspi4`?"),
        ("target=help_nas_bench_201/raspi4 metric=energy_mj", "says no `energy_mj` of `raspi4`; it says `latency_ms`"),
        ("target=help_nas_bench_201/raspi4 search_space=mobile", "brings its own space, search_spaces.nas_bench_201."),
        ("target=help_nas_bench_201/raspi4 data=digits", "leave `data=digits` out"),
        ("target=help_nas_bench_201/raspi4 target.threads=4", "was measured by others, as its columns say; leave"),
        ("target=help_nas_bench_201/raspi4 +meter@target.meter=rapl", "leave `+meter@target.meter=rapl` out"),
        (
            "target=help_nas_bench_201/raspi4 search_space=nas_bench_201 search_space.cells=3",
            "as it was published; leave `search_space.cells=3` out",
        ),
    ],
)
def test_a_table_brings_its_own_space_and_columns(refused, data_root, tmp_path, words, phrase):
    if not (data_root / "help_latency" / "nb201.npz").is_file():
        pytest.skip("no table of HELP's")
    line = refused("profile", *words.split(), f"table.root={data_root / 'help_latency'}", f"output={tmp_path / 'out'}")
    assert phrase in line
    assert not (tmp_path / "out").exists()


def test_damaged_profiles_are_refused(main, profiled, tmp_path):
    from experiments.profile_file import read_profile

    with pytest.raises(ValueError, match=r"holds no profile \(profile.json is missing\)"):
        read_profile(tmp_path)
    source = profiled / "profiles" / "host_cpu_mobile"
    folder = shutil.copytree(source, tmp_path / "copy")
    path = folder / "profile.json"
    right = json.loads(path.read_text())
    weights = folder / right["predictor"]["weights"]

    def refuses(message, **changes):
        path.write_text(json.dumps({**right, **changes}))
        with pytest.raises(ValueError, match=message) as error:
            read_profile(folder)
        assert "\n" not in str(error.value)

    refuses("is no profile that this program reads", format="edgenas profile 0")
    refuses("weights are of package `os`", predictor={**right["predictor"], "weights_type": "os.stat_result"})
    for path_of_none in ("predictors.nowhere.Weights", "Weights", 3):
        refuses("is damaged", predictor={**right["predictor"], "weights_type": path_of_none})
    refuses("are no weights", predictor={**right["predictor"], "weights_type": "predictors.baselines.LinearMacs"})
    refuses("is damaged: it lacks 'cost'", rows=[{"arch": [0]}])
    weights.write_bytes(weights.read_bytes()[:-1])
    refuses("is not the file it was written with")
    weights.unlink()
    refuses("is damaged")
    path.write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        read_profile(folder)


def test_help_names_predictors_and_tables(main, capsys):
    main(["profile", "--help"])
    shown = capsys.readouterr().out
    for phrase in ("edgenas profile target=", "kernels", "help_nas_bench_201", "hw_nas_bench_360", "--json"):
        assert phrase in shown


@pytest.mark.slow
def test_a_run_learns_from_a_profile_instead_of_measuring(edgenas, profiled, tmp_path):
    profile = f"measuring.profile={profiled / 'profiles' / 'host_cpu_mobile'}"
    folder = tmp_path / "run"
    process = edgenas.start(*edgenas.whole(folder), profile, f"output={tmp_path}", "training.epochs=1")
    seen = []
    for line in process.stdout:  # the rest of a run is the same from wherever its samples came
        seen.append(line)
        if "networks measured" in line:
            process.kill()
    err = process.communicate()[1]
    assert f"10 networks measured before, from {profiled}" in "".join(seen), err
    kept, known = json.loads((folder / "measured.json").read_text()), space_of(profiled)[0]
    assert kept["archs"] == known.archs.tolist()
    assert kept["costs"] == [cost.to_dict() for cost in known.costs]


def test_a_profile_of_another_space_is_refused_before_anything_is_trained(edgenas, refused, profiled, tmp_path):
    profile = f"measuring.profile={profiled / 'profiles' / 'host_cpu_mobile'}"
    line = refused(*edgenas.whole(tmp_path / "run"), profile, "search_space.kernels=[3]")
    assert "is of another space: `kernels` differs" in line
    line = refused(*edgenas.whole(tmp_path / "run"), f"measuring.profile={tmp_path}")
    assert f"`{tmp_path}` holds no profile" in line
    assert not (tmp_path / "run").exists()
