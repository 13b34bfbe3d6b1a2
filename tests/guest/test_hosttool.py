"""The host tool's stats and chrome: recomputed here from dump --json of the same trace."""

import json
import os
import socket
import subprocess
from collections import Counter, defaultdict

import pytest

from vm import CAP, NETTRACE, VM

READY = ('ip', 'e1000_rx', 'tcp_state to=LISTEN')


def tool(*args):
    return subprocess.run([NETTRACE, *args], check=True, capture_output=True, text=True, timeout=CAP).stdout


@pytest.fixture(scope='module')
def trace(tmp_path_factory):
    """A saved trace of one HTTP request."""
    path = str(tmp_path_factory.mktemp('hosttool') / 'trace.nt')
    with VM(cpus=2, mb=64, wait=READY, name='hosttool') as vm:
        with socket.create_connection(('127.0.0.1', vm.port(80)), CAP) as client:
            client.sendall(b'GET /rc HTTP/1.0\r\n\r\n')
            while client.recv(65536):
                pass
        vm.wait_event('sock_state to=CLOSED')
        tool('save', '-q', '-o', path, os.path.join(vm.dir, 'ram'))
    return path


@pytest.fixture(scope='module')
def rows(trace):
    """Records in the tool's order; time never goes back."""
    out, last = [], None
    for line in tool('dump', '-q', '--json', trace).splitlines():
        r = json.loads(line)
        last = r['t_ns'] if last is None else max(last, r['t_ns'])
        out.append({**r, 'w': last})
    return out


def journeys(rows):
    by = defaultdict(list)
    for r in rows:
        if r.get('pkt'):
            by[r['pkt']].append(r)
    return by


def test_stats(trace, rows):
    got = json.loads(tool('stats', '-q', '--json', trace))
    gaps = defaultdict(list)
    for js in journeys(rows).values():
        for a, b in zip(js, js[1:]):
            gaps[a['stage'], b['stage']].append(b['w'] - a['w'])
    want = {}
    for key, v in gaps.items():
        v.sort()
        want[key] = {'n': len(v), 'min_ns': v[0], 'max_ns': v[-1],
                     'p50_ns': v[-(-len(v) * 50 // 100) - 1], 'p99_ns': v[-(-len(v) * 99 // 100) - 1]}
    assert len(want) > 5 and max(g['n'] for g in want.values()) > 10
    assert {(g.pop('from'), g.pop('to')): g for g in got['gaps']} == want
    assert got['packets'] == len(journeys(rows)) and got['schema'] == 'nettrace-stats/1'
    assert got['drops'] == Counter(r['fields']['reason'] for r in rows if r['event'] == 'net_drop')
    flows = defaultdict(Counter)
    for r in rows:
        f = r.get('fields', {})
        if r['event'] in ('tcp_seg_in', 'tcp_seg_out', 'tcp_rexmit') and 'laddr' in f:
            flows[f'{f["laddr"]}:{f["lport"]}-{f["raddr"]}:{f["rport"]}'][r['event']] += 1
    assert flows
    assert {f['flow']: (f['segs_in'], f['segs_out'], f['rexmits']) for f in got['flows']} == \
        {k: (c['tcp_seg_in'], c['tcp_seg_out'], c['tcp_rexmit']) for k, c in flows.items()}


def test_chrome_format(trace):
    """What the format asks of every file, whatever it tells."""
    whole = json.loads(tool('chrome', '-q', trace))
    assert set(whole) == {'displayTimeUnit', 'traceEvents'} and whole['displayTimeUnit'] in ('ns', 'ms')
    needs = {'M': {'args'}, 'X': {'dur'}, 's': {'id', 'cat'}, 't': {'id', 'cat'}, 'f': {'id', 'cat', 'bp'}}
    flows, begins = defaultdict(list), defaultdict(set)
    for e in whole['traceEvents']:
        assert e['ph'] in needs, 'no B without E: neither is used'
        assert needs[e['ph']] | {'name', 'ph', 'ts', 'pid', 'tid'} <= set(e), e
        assert type(e['name']) is str and type(e['pid']) is type(e['tid']) is int
        assert all(type(e[k]) in (int, float) and e[k] >= 0 for k in ('ts', 'dur') if k in e)
        if e['ph'] == 'X':
            begins[e['pid'], e['tid']].add(e['ts'])
        if 'id' in e:
            flows[e['cat'], e['name'], e['id']].append(e)
    assert flows
    for flow in flows.values():
        assert [e['ph'] for e in flow] == ['s', *'t' * (len(flow) - 2), 'f'], 'an arrow has both its ends'
        assert [e['ts'] for e in flow] == sorted(e['ts'] for e in flow)
        assert all(e['ts'] in begins[e['pid'], e['tid']] for e in flow), 'an arrow is tied to a slice of its thread'


def test_chrome(trace, rows):
    events = json.loads(tool('chrome', '-q', trace), parse_float=lambda s: round(float(s) * 1000))['traceEvents']
    slices = [e for e in events if e['ph'] == 'X']
    want = [r for r in rows if r.get('pkt')]
    assert [(e['name'], e['args']['pkt']) for e in slices] == [(r['event'], r['pkt']) for r in want]
    stage = {e['tid']: e['args']['name'] for e in events if e['name'] == 'thread_name'}
    end = Counter()
    for e, r in zip(slices, want):
        assert stage[e['tid']] == r['stage'] and e['ts'] == r['w'] - rows[0]['w'] and e['dur'] >= 0
        assert e['ts'] >= end[e['tid']], 'two slices of one thread overlap'
        end[e['tid']] = e['ts'] + e['dur']
        assert e['dur'] <= e['args']['gap_ns']
    assert any(e['dur'] for e in slices)
    arrows = defaultdict(list)
    for e in events:
        if e.get('cat') == 'packet':
            arrows[e['id']].append(e['ph'])
    assert arrows == {p: ['s', *'t' * (len(js) - 2), 'f'] for p, js in journeys(rows).items() if len(js) > 1}
