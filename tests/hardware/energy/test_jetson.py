"""Jetson's sensors in both layouts of sysfs."""

import time

import pytest

from hardware.energy.jetson import JetsonIna


def orin_nano(files, root):
    """JetPack 5 and 6: hwmon. The fourth voltage is a shunt's, and no rail."""
    chip = "ina3221/1-0040/hwmon/hwmon3"
    content = {f"{chip}/name": "ina3221", f"{chip}/in7_label": "sum of shunt voltages", f"{chip}/in4_input": 3}
    for i, (rail, millivolts, milliamps) in enumerate(
        [("VDD_IN", 5000, 1200), ("VDD_CPU_GPU_CV", 4900, 400), ("VDD_SOC", 4980, 250)], 1
    ):
        content |= {f"{chip}/in{i}_label": rail, f"{chip}/in{i}_input": millivolts, f"{chip}/curr{i}_input": milliamps}
    return files(root, content)


def nano(files, root):
    """JetPack 4: iio, power in mW; and a chip of which only voltage and current are shown."""
    chip, other = "ina3221x/6-0040/iio:device0", "ina3221x/6-0041/iio:device1"
    return files(
        root,
        {
            f"{chip}/rail_name_0": "POM_5V_IN",
            f"{chip}/in_power0_input": 2500,
            f"{chip}/rail_name_1": "POM_5V_GPU",
            f"{chip}/in_power1_input": 700,
            f"{other}/rail_name_0": "POM_5V_CPU",
            f"{other}/in_voltage0_input": 5000,
            f"{other}/in_current0_input": 160,
        },
    )


@pytest.mark.parametrize(
    ("board", "rails", "watts"),
    [
        (orin_nano, (), 6.0),  # 5 V * 1.2 A
        (orin_nano, ("VDD_CPU_GPU_CV", "VDD_SOC"), 3.205),  # 4.9 * 0.4 + 4.98 * 0.25
        (nano, (), 2.5),
        (nano, ("POM_5V_GPU", "POM_5V_CPU"), 1.5),  # 0.7 W, and 5 V * 0.16 A
    ],
)
def test_power_of_rails(files, tmp_path, board, rails, watts):
    meter = JetsonIna(root=board(files, tmp_path), rails=rails, period_s=0.005)
    meter.check()
    with meter.recording() as recording:
        time.sleep(0.02)
    assert recording.joules == pytest.approx(watts * recording.seconds)
    assert ("not the board" in meter.name) == bool(rails)


def test_what_is_not_there_is_named(files, tmp_path):
    with pytest.raises(ValueError, match=r"no INA3221 sensor is at `.*ina3221\*/`: .*`energy_mj` remains, modelled"):
        JetsonIna(root=str(tmp_path)).check()
    root = nano(files, tmp_path)
    with pytest.raises(ValueError, match=r"no rail `POM_5V_GPUS`, but .*did you mean `POM_5V_GPU`\?"):
        JetsonIna(root=root, rails=("POM_5V_GPUS",)).check()
    (tmp_path / "ina3221x/6-0040/iio:device0/rail_name_0").write_text("VDD_5V\n")
    with pytest.raises(ValueError, match=r"rails=\[POM_5V_CPU,POM_5V_GPU,VDD_5V\]"):
        JetsonIna(root=root).check()
    (tmp_path / "ina3221x/6-0040/iio:device0/in_power1_input").unlink()
    with pytest.raises(ValueError, match=r"rail `POM_5V_GPU` cannot be read .*is its channel enabled"):
        JetsonIna(root=root, rails=("POM_5V_GPU",)).check()


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="`period_s` must be above 0"):
        JetsonIna(period_s=0.0)
    with pytest.raises(ValueError, match="all power comes through `VDD_IN`"):
        JetsonIna(rails=("VDD_IN", "VDD_SOC"))
