"""The wire tests use the fixtures and the report of the guest tests."""

import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(TOP, 'tests', 'lib'), os.path.join(TOP, 'tools', 'wire'), HERE]

spec = importlib.util.spec_from_file_location('guest_conftest', os.path.join(TOP, 'tests', 'guest', 'conftest.py'))
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)
globals().update({name: value for name, value in vars(shared).items()
                  if name.startswith('pytest_') or name in ('cap', 'boot', 'vm', 'disk')})
