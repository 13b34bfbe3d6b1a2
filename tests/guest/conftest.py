"""Fixtures and the report of the guest tests (pytest).

vm    a guest that has booted and is ready; options of VM by
      @pytest.mark.parametrize('vm', [dict(cpus=1)], indirect=True)
boot  a function that starts one with the options given: boot(cpus=4, ports=())
disk  a fresh copy of the file system's image, for VM(disk=disk)

After each test every guest is ended and its console searched for words of
trouble.  A test that passed leaves nothing; one that failed leaves its run
directories and prints their story.  No test may take longer than the cap.
"""

import os
import shutil
import signal
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from vm import BUILD, CAP, VM, Hangs  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Let the fixtures see how the test went, and tell its guests' stories."""
    outcome = yield
    report = outcome.get_result()
    setattr(item, 'report_' + call.when, report)
    if report.failed:
        told = str(call.excinfo.value)
        for vm in getattr(item, 'guests', []):
            if vm.dir not in told:
                report.sections.append((f'guest {os.path.basename(vm.dir)}',
                                        vm.story('the test passes', 'see above')))


def pytest_configure(config):
    if config.option.tbstyle == 'auto':
        config.option.tbstyle = 'short'  # the story says the rest


def went_well(item):
    return all(getattr(item, 'report_' + when).passed
               for when in ('setup', 'call') if hasattr(item, 'report_' + when))


@pytest.fixture(autouse=True)
def cap():
    """Interrupt a test that takes longer than the cap, wherever it waits."""
    def too_long(*_):
        raise Hangs(f'error: the test was not done after {CAP:.0f} s')
    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(int(CAP))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def boot(request, cap):
    """Start guests; end them all after the test, then judge and forget them."""
    item = request.node
    item.guests = []

    def start(**options):
        options.setdefault('name', item.name.split('[')[0])
        vm = VM(**options)
        item.guests.append(vm)
        vm.start()
        return vm

    yield start
    signal.alarm(0)  # the end of a guest has limits of its own
    for vm in item.guests:
        vm.stop()
    if went_well(item):
        for vm in item.guests:
            vm.check()
        for vm in item.guests:
            vm.remove()


@pytest.fixture
def vm(request, boot):
    return boot(**getattr(request, 'param', {}))


@pytest.fixture
def disk(tmp_path):
    return shutil.copy(os.path.join(BUILD, 'fs.img'), tmp_path / 'disk.img')


def pytest_unconfigure(config):
    """The last line is the same for every suite: N passed, N failed.  The names of those
    that failed go to the file FAILED_TO."""
    reporter = config.pluginmanager.get_plugin('terminalreporter')
    if reporter is None or config.option.collectonly:
        return
    names = {kind: {report.nodeid for report in reporter.stats.get(kind, [])}
             for kind in ('passed', 'failed', 'error')}
    failed = names['failed'] | names['error']
    if os.environ.get('FAILED_TO'):
        with open(os.environ['FAILED_TO'], 'w') as f:
            f.writelines(test + '\n' for test in sorted(failed))
    print(f"{len(names['passed'] - failed)} passed, {len(failed)} failed")
