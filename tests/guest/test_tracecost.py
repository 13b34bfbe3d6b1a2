"""What tracing costs, in instructions: tools/bench/trace's figures against limits.

The limits lie just above what was measured: a change that makes tracing dearer says so
here, and may raise them if it is worth it.  The goals are lower: 90 for an event, 0.5 %
with all events off, 10 % with the standard ones on.  The ratios also rise when a request
itself becomes cheaper."""

import json
import os
import subprocess

import pytest

from vm import BUILD, CAP, TOP

pytestmark = pytest.mark.skipif(bool(os.environ.get('DEBUG')), reason='the checks of the debug kernel cost instructions')


@pytest.fixture(scope='module')
def rows():
    done = subprocess.run([os.path.join(TOP, 'tools/bench/trace'), '-j'], env=dict(os.environ, B=BUILD),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=CAP)
    assert done.returncode == 0, done.stderr
    return {row['name']: row for row in json.loads(done.stdout)}


def test_one_event(rows):
    assert rows['trace.enabled']['value'] <= 81  # 13 fields
    assert rows['trace.disabled']['value'] == 1


@pytest.mark.parametrize('name,limit', [('http_off', 1.005), ('http_on', 1.096), ('http_all', 1.455)])
def test_a_request(rows, name, limit):
    assert rows['trace.' + name]['ratio'] <= limit, rows


def test_standard_events_beside_no_tracer(rows):
    """The standard events on, without the entry nops, against a kernel whose TRACE() is empty: 10 %."""
    on, out = rows['trace.http_on']['value'] - rows['trace.nops']['value'], rows['trace.http_off']['reference']
    assert on / out <= 1.101, on / out


def test_functions_off_again_cost_nothing(rows):
    """Having been on leaves not one instruction behind; on, the same requests cost more."""
    row = rows['trace.func_off']
    if rows['trace.nops']['value'] == 0:
        pytest.skip('this compiler makes no entry nops')
    assert row['value'] == row['reference']
    assert rows['trace.http_func']['ratio'] > 2
