"""The wire scripts, each on a connection of its own with one guest."""

import glob
import os

import pytest

from conftest import HERE
from peer import Wire
from script import Script
from test_bad import TESTS, TRACE, books, served

SCRIPTS = sorted(glob.glob(os.path.join(HERE, '*.script')))
NAMES = [os.path.basename(path)[:-7] for path in SCRIPTS]


@pytest.fixture(scope='module')
def wire():
    wire = Wire(append='ip=10.9.0.2/24,10.9.0.1 msl=1000 ' + TRACE, extra=TESTS, name='script').start()
    wire.ping(0)
    yield wire
    wire.stop()
    wire.vm.check()
    wire.vm.remove()


@pytest.mark.parametrize('path', SCRIPTS, ids=NAMES)
def test_script(wire, path):
    del wire.vm.steps[1:]
    wire.got.clear()
    Script(wire, path).run()


def test_afterwards(wire):
    wire.got.clear()
    assert served(wire)
    books(wire)
