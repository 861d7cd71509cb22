"""The lines of the Raspberry Pi 5's power chip."""

import sys
import time

import pytest

from hardware.energy.pi5 import Pi5Pmic, rail_watts

# Some lines of `vcgencmd pmic_read_adc`, with rounder numbers; EXT5V and BATT have no current.
SHOWN = """\
 3V7_WL_SW_A current(0)=0.10000000A
   1V8_SYS_A current(2)=0.20000000A
  VDD_CORE_A current(7)=0.75000000A
 3V7_WL_SW_V volt(8)=3.70000000V
   1V8_SYS_V volt(10)=1.80000000V
  VDD_CORE_V volt(15)=0.80000000V
     EXT5V_V volt(24)=5.15000000V
      BATT_V volt(25)=0.00000000V
"""
WATTS = {"3V7_WL_SW": 0.37, "1V8_SYS": 0.36, "VDD_CORE": 0.6}  # current times voltage


def prints(text, code=0):
    return (sys.executable, "-S", "-E", "-c", f"print({text!r}, end=''); raise SystemExit({code})")


def test_power_of_each_rail():
    assert rail_watts(SHOWN) == pytest.approx(WATTS)


@pytest.mark.parametrize(("rails", "watts"), [((), 1.33), (("VDD_CORE",), 0.6), (("VDD_CORE", "1V8_SYS"), 0.96)])
def test_a_recording_adds_rails_up(rails, watts):
    meter = Pi5Pmic(command=prints(SHOWN), rails=rails, period_s=0.05)
    meter.check()
    with meter.recording() as recording:
        time.sleep(0.1)
    assert recording.joules == pytest.approx(watts * recording.seconds)
    assert "rails only, not the board" in meter.name


def test_what_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"`vcgencmd_of_no_board` cannot be run .*`energy_mj` remains, modelled"):
        Pi5Pmic(command=("vcgencmd_of_no_board",)).check()
    older = 'error=1 error_msg="Command not registered"'  # what older boards print
    with pytest.raises(
        ValueError, match=r"shows no rail's current and voltage, but `error=1 error_msg=.*only the Rasp"
    ):
        Pi5Pmic(command=prints(older)).check()
    with pytest.raises(ValueError, match=r"failed \(Can't open device file\)"):
        Pi5Pmic(command=prints("Can't open device file", 255)).check()
    with pytest.raises(ValueError, match=r"no rail `VDD_COR`, but .*did you mean `VDD_CORE`\?"):
        Pi5Pmic(command=prints(SHOWN), rails=("VDD_COR",)).check()


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="`period_s` must be above 0"):
        Pi5Pmic(period_s=-1.0)
    with pytest.raises(ValueError, match="`command` must name a program"):
        Pi5Pmic(command=())
