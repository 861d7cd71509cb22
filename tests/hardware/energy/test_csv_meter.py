"""Rows of an external meter, found by the time they say."""

from datetime import UTC, datetime

import pytest

from hardware.energy.csv_meter import CsvMeter

NOW = 1_700_000_000.0


@pytest.fixture
def wall(clock, monkeypatch):
    """The time of day and the waiting of the meter are those of the fake clock, which begins at `NOW`."""
    clock.now = NOW
    monkeypatch.setattr("hardware.energy.csv_meter.time", clock)
    monkeypatch.setattr("hardware.energy.csv_meter.monotonic", clock)
    monkeypatch.setattr("hardware.energy.csv_meter.sleep", clock.sleep)
    return clock


def log(path, rows, header="time,power_w"):
    path.write_text("\n".join([header, *rows, ""]))
    return str(path)


def ramp(begin, end, step=0.5, *, ahead=0.0):
    """Rows whose power is the seconds since `NOW`."""
    count = round((end - begin) / step) + 1
    return [f"{NOW + ahead + begin + i * step},{begin + i * step}" for i in range(count)]


def record(meter, wall, seconds=3.0):
    with meter.recording() as recording:
        wall.sleep(seconds)
    return recording


def test_the_window_is_cut_from_the_rows(tmp_path, wall):
    meter = CsvMeter(path=log(tmp_path / "log.csv", ramp(-2, 8)))
    wall.now = NOW + 1.25
    recording = record(meter, wall)
    # The power is t, from t = 1.25 to 4.25: (4.25^2 - 1.25^2) / 2 J, edges between rows included
    assert recording.joules == pytest.approx(8.25)
    assert recording.seconds == 3.0
    assert recording.flaws == ()
    assert meter.name == "external meter, log.csv"


def test_a_clock_that_is_behind(tmp_path, wall):
    path = log(tmp_path / "log.csv", ramp(-2, 8, ahead=-3600.0))
    assert record(CsvMeter(path=path, offset_s=3600.0), wall).joules == pytest.approx(4.5)  # 3^2 / 2


def test_other_units_columns_and_ways_to_write_time(tmp_path, wall):
    moments = [datetime.fromtimestamp(NOW + t, UTC).isoformat() for t in (-1, 0, 1, 2, 3, 4, 5, 6)]
    rows = [f"{moment};5000;2,5;x" for moment in moments]
    path = log(tmp_path / "log.csv", [row.replace("2,5", "2.5") for row in rows], " When ;mV; A ;note")
    meter = CsvMeter(path=path, time="When", power=None, volts="mV", amps="A", power_scale=1e-3, delimiter=";")
    assert record(meter, wall, 6.0).joules == pytest.approx(5.0 * 2.5 * 6)
    milliseconds = log(tmp_path / "ms.csv", [f"{(NOW + t) * 1e3},2" for t in range(-1, 8)])
    assert record(CsvMeter(path=milliseconds, time_scale=1e-3), wall, 0.5).joules == pytest.approx(1.0)


def test_rows_that_come_late_are_waited_for(tmp_path, wall, monkeypatch):
    path = tmp_path / "log.csv"
    rows = ramp(-2, 8)
    log(path, rows[:6])
    coming = iter(rows[6:])

    def sleep(seconds):
        wall.sleep(seconds)
        with path.open("a") as file:
            row = next(coming)
            file.write(row[:7])
            file.flush()
            file.write(f"{row[7:]}\n")

    monkeypatch.setattr("hardware.energy.csv_meter.sleep", sleep)
    assert record(CsvMeter(path=str(path)), wall).joules == pytest.approx(4.5)


def test_a_row_being_written_is_not_damaged(tmp_path, wall, monkeypatch):
    path = tmp_path / "log.csv"
    log(path, ramp(-2, 2.5))
    with path.open("a") as file:
        file.write(f"{NOW + 3},")

    def sleep(seconds):
        wall.sleep(seconds)
        with path.open("a") as file:
            file.write("3.0\n")

    monkeypatch.setattr("hardware.energy.csv_meter.sleep", sleep)
    assert record(CsvMeter(path=str(path)), wall).joules == pytest.approx(4.5)


def test_only_the_end_of_a_long_file_is_read(tmp_path, wall, monkeypatch):
    path = log(tmp_path / "log.csv", ["damaged long ago", *ramp(-200, 8)])
    monkeypatch.setattr("hardware.energy.csv_meter.PAST_BYTES", 1000)
    assert record(CsvMeter(path=path), wall).joules == pytest.approx(4.5)


def test_a_damaged_row_counts_only_within_the_window(tmp_path, wall):
    rows = ramp(-2, 8)
    before = [*rows[:2], "what?", *rows[2:]]
    assert record(CsvMeter(path=log(tmp_path / "before.csv", before)), wall).joules == pytest.approx(4.5)
    wall.now = NOW
    within = [*rows[:6], f"{NOW + 0.6},", *rows[6:]]
    with pytest.raises(ValueError, match=rf"row `{NOW + 0.6},` of `.*within.csv` cannot be read: .*repair the file"):
        record(CsvMeter(path=log(tmp_path / "within.csv", within)), wall)
    wall.now = NOW
    for damaged, why in [("nan", "not finite"), (f"{NOW},1,2", "not after"), (f"{NOW}", "1 columns"), ("now,1", "Inv")]:
        row = f"{NOW + 0.6},nan" if damaged == "nan" else damaged
        path = log(tmp_path / "other.csv", [*rows[:6], row, *rows[6:]])
        wall.now = NOW
        with pytest.raises(ValueError, match=why):
            record(CsvMeter(path=path), wall)


def test_rows_that_never_come(tmp_path, wall):
    path = log(tmp_path / "log.csv", ramp(-2, 1))
    with pytest.raises(
        ValueError, match=r"no row of the window's end or later after 10 s \(its last row is 2 s before"
    ):
        record(CsvMeter(path=path), wall)
    empty = log(tmp_path / "empty.csv", [])
    with pytest.raises(ValueError, match="it has none"):
        record(CsvMeter(path=empty), wall)
    late = log(tmp_path / "late.csv", ramp(100, 130))
    with pytest.raises(ValueError, match=r"begins .* s after the window; start the meter earlier"):
        record(CsvMeter(path=late), wall)


def test_gaps_and_few_rows_are_said(tmp_path, wall):
    few = record(CsvMeter(path=log(tmp_path / "few.csv", ramp(-1, 8, 1))), wall)
    assert few.flaws == ("only 2 rows within 3 s",)
    wall.now = NOW
    rows = [*ramp(-1, 1, 0.1), *ramp(2, 8, 0.1)]
    gap = record(CsvMeter(path=log(tmp_path / "gap.csv", rows)), wall)
    assert gap.flaws == ("no row for 1 s, where one comes every 0.1 s",)
    assert gap.joules == pytest.approx(4.5)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no.csv` cannot be read .*start the meter's log first.*`energy_mj` remains"):
        CsvMeter(path=str(tmp_path / "no.csv")).check()
    path = log(tmp_path / "log.csv", [], "time,power")
    with pytest.raises(ValueError, match=r"no column `power_w` among \['time', 'power'\]; did you mean `power`\?"):
        CsvMeter(path=path).check()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"volts": "v", "amps": "a"}, "name a column of `power`, or"),
        ({"power": None, "volts": "v"}, "name a column of `power`, or"),
        ({"power": None}, "name a column of `power`, or"),
        ({"time_scale": 0.0}, "`time_scale` must be above 0"),
        ({"delimiter": ""}, "one character"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CsvMeter(path="log.csv", **settings)
