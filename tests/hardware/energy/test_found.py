"""Which meter this machine has; and what holds for every meter."""

import re

import pytest

from hardware.energy.csv_meter import CsvMeter
from hardware.energy.found import BUILT_IN, meter_here
from hardware.energy.jetson import JetsonIna
from hardware.energy.meter import Meter
from hardware.energy.pi5 import Pi5Pmic
from hardware.energy.rapl import Rapl

NOWHERE = "/nowhere/at/all"
ABSENT = (
    Rapl(root=NOWHERE),
    JetsonIna(root=NOWHERE),
    Pi5Pmic(command=("no_such_program",)),
    CsvMeter(path=f"{NOWHERE}.csv"),
)


@pytest.mark.parametrize("meter", ABSENT, ids=lambda meter: type(meter).__name__)
def test_an_absent_meter_says_so_before_and_when_recording(meter):
    assert isinstance(meter, Meter)
    with pytest.raises(ValueError, match="`energy_mj` remains, modelled and labelled so") as before:
        meter.check()
    with pytest.raises(ValueError, match=re.escape(str(before.value))), meter.recording():
        pass
    assert "\n" not in str(before.value)


def test_the_first_that_can_be_read_is_taken(files, tmp_path):
    root = files(
        tmp_path,
        {
            f"intel-rapl:0/{name}": value
            for name, value in {"name": "package-0", "energy_uj": 5, "max_energy_range_uj": 1000}.items()
        },
    )
    assert meter_here((*ABSENT, Rapl(root=root))) == Rapl(root=root)


def test_where_there_is_none_all_that_was_looked_for_is_named():
    with pytest.raises(
        ValueError, match=r"^no energy can be read on this machine: no RAPL .*INA3221.*no_such_program"
    ) as said:
        meter_here(ABSENT)
    assert str(said.value).count("remains, modelled") == 1
    assert [type(meter) for meter in BUILT_IN] == [Rapl, JetsonIna, Pi5Pmic]
