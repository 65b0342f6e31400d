#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests of vhscsictl against mock-daemon on a private bus: what it calls, what it prints, how it ends."""

import json
import os
import pty
import queue
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.environ.get('SOURCE_ROOT', os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, os.path.join(ROOT, 'tests/lab'))
import hookcells     # noqa: E402

VHSCSICTL = os.environ.get('VHSCSICTL', '')
MOCK = os.environ.get('MOCK_DAEMON', '')

A = 'naa.5001405aaaaaaaaa'
B = 'naa.5001405bbbbbbbbb'
MANAGER = 'org.vhostscsi.Manager'
TARGET = 'org.vhostscsi.Target'
LUN = 'org.vhostscsi.Lun'
ERROR = 'org.vhostscsi.Error.'


def target_path(wwn):
    return '/org/vhostscsi/target/' + wwn.replace('.', '_2e')


def lun_path(wwn, n):
    return f'{target_path(wwn)}/lun/{n}'


def target(wwn, label='', state='online', managed='vhscsid', endpoint='idle', luns=(), error=('', '')):
    return {TARGET: {
        'Wwn': ['s', wwn], 'Label': ['s', label], 'State': ['s', state], 'ManagedBy': ['s', managed], 'PortalGroup': ['u', 1],
        'Nexus': ['s', 'naa.500140500000000f'], 'Endpoint': ['s', endpoint], 'Owners': ['as', []],
        'Luns': ['ao', [lun_path(wwn, n) for n in luns]], 'LastError': ['(ss)', list(error)]}}


def lun(n, state='online', health='ok', source='dm-uuid=mpath-36001', backstore='iblock_7/d-0123456789ab', error=('', ''), **more):
    return {LUN: {
        'Number': ['u', n], 'Source': ['s', source], 'Device': ['s', '/dev/dm-3' if state != 'waiting' else ''], 'State': ['s', state],
        'Health': ['s', health], 'Size': ['t', 10 << 30 if state != 'waiting' else 0], 'BlockSize': ['u', 512], 'ReadOnly': ['b', False],
        'Backstore': ['s', backstore], 'UnitSerial': ['s', '0123'], 'GuestWwid': ['s', f'wwn-0x6001405{n:025x}'],
        'Origin': ['s', 'manual'], 'LastError': ['(ss)', list(error)], **more}}


def objects(*entries):
    return {'on': 'GetManagedObjects', 'signature': 'a{oa{sa{sv}}}', 'reply': [{path: {**i, 'org.freedesktop.DBus.Peer': {}}
                                                                               for path, i in entries}]}


OBJECTS = objects(
    (lun_path(A, 10), lun(10, 'failed', source='path=/dev/nullb0', error=('Kernel', 'enable: Device or resource busy'))),
    (lun_path(A, 2), lun(2, 'waiting', 'unknown')),
    (target_path(A), target(A, 'web1', 'incomplete', luns=(10, 2, 0))),
    (lun_path(A, 0), lun(0)),
    (target_path(B), target(B, 'dup')),
    (target_path('naa.5001405ccccccccc'), target('naa.5001405ccccccccc', 'dup', endpoint='attached')),
    (target_path('naa.6001405eeeeeeeee'), target('naa.6001405eeeeeeeee', '', 'foreign', 'foreign', 'unknown')),
)

BUS_CONFIG = '''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={dir}/bus</listen><auth>EXTERNAL</auth><servicedir>{dir}</servicedir>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/></policy>
</busconfig>
'''


class Mock:
    """mock-daemon: orders in, calls out."""

    def __init__(self, env, absent=False):
        self.process = subprocess.Popen([MOCK, *(['absent'] if absent else [])], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.calls = []
        self.called = threading.Condition()
        self.lines = queue.Queue()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        self.lines.get(timeout=10)

    def read(self):
        for line in self.process.stdout:
            line = json.loads(line)
            if 'member' in line:
                with self.called:
                    self.calls.append(line)
                    self.called.notify_all()
            else:
                self.lines.put(line)

    def wait_for_call(self, member):
        with self.called:
            if not self.called.wait_for(lambda: any(c['member'] == member for c in self.calls), 10):
                raise AssertionError(f'{member} was not called')

    def order(self, **order):
        self.process.stdin.write(json.dumps(order) + '\n')
        self.process.stdin.flush()
        self.lines.get(timeout=10)

    def die(self):
        self.process.kill()
        self.process.wait()

    def settle(self):
        """What was called before has been read."""
        self.order()

    def answer(self, member, signature='', *reply, **more):
        self.order(on=member, signature=signature, reply=list(reply), **more)

    def refuse(self, member, error, message='no'):
        self.order(on=member, error=error, message=message)

    def end(self):
        killed = self.process.poll() is not None
        self.process.stdin.close()
        if not killed:
            if self.process.wait(10) != 0:
                raise AssertionError('mock-daemon failed')
        self.thread.join(10)
        self.process.stdout.close()


class Case(unittest.TestCase):
    SERVICE = None      # what the bus runs when the daemon is asked for and not there: a script, formatted with dir and mock

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix='vhscsictl-test-')
        os.chmod(cls.dir, 0o755)
        with open(f'{cls.dir}/bus.conf', 'w', encoding='ascii') as f:
            f.write(BUS_CONFIG.format(dir=cls.dir))
        if cls.SERVICE:
            with open(f'{cls.dir}/service', 'w', encoding='ascii') as f:
                f.write(cls.SERVICE.format(dir=cls.dir, mock=MOCK))
            with open(f'{cls.dir}/org.vhostscsi.service', 'w', encoding='ascii') as f:
                f.write(f'[D-BUS Service]\nName=org.vhostscsi\nExec=/bin/sh {cls.dir}/service\n')
        cls.bus = subprocess.Popen(['dbus-daemon', f'--config-file={cls.dir}/bus.conf', '--nofork', '--nopidfile', '--print-address=1'],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        address = cls.bus.stdout.readline().strip()
        if not address:
            raise AssertionError('dbus-daemon did not start')
        cls.env = {'PATH': os.environ['PATH'], 'LC_ALL': 'C.UTF-8', 'DBUS_SYSTEM_BUS_ADDRESS': address, 'HOME': cls.dir}
        for name, value in os.environ.items():
            if name.startswith(('ASAN_', 'UBSAN_', 'LSAN_')):
                cls.env[name] = value

    @classmethod
    def tearDownClass(cls):
        cls.bus.terminate()
        cls.bus.wait()
        cls.bus.stdout.close()
        shutil.rmtree(cls.dir)

    def setUp(self):
        self.mock = Mock(self.env)
        self.addCleanup(self.mock.end)
        self.mock.order(**OBJECTS)
        self.mock.answer('GetTarget', 'o', target_path(A))

    def run_ctl(self, *args, status=0, env=None, **more):
        """Returns what it printed; its complaints are in self.stderr."""
        p = subprocess.run([VHSCSICTL, *args], env={**self.env, **(env or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=60, check=False, **more)
        self.stderr = p.stderr.decode()
        self.assertEqual(p.returncode, status, f'{args}: {p.stdout!r} {p.stderr!r}')
        return p.stdout.decode()

    def units(self, stops=True):
        """What systemd says: each is enabled and active, and with or without a command that stops it."""
        command = [['/usr/bin/targetctl', ['targetctl', 'clear'], False, 0, 0, 0, 0, 0, 0, 0]] if stops else []
        self.mock.answer('GetUnitFileState', 's', 'enabled')
        self.mock.answer('LoadUnit', 'o', '/org/freedesktop/systemd1/unit/u')
        # Of each unit, the one after the other: is it active, how is it stopped.
        answers = [('s', 'active'), ('a(sasbttttuii)', command)] * 3
        order = {}
        for value in reversed(answers):
            order = {'on': 'Get', 'signature': 'v', 'reply': [value], **({'next': order} if order else {})}
        self.mock.order(**order)

    def last(self):
        self.mock.settle()
        return self.mock.calls[-1]

    def assert_call(self, call, path, interface, member, signature, args):
        self.assertEqual((call['path'], call['interface'], call['member'], call['signature'], call['args']),
                         (path, interface, member, signature, args))


    def other_mock(self):
        """One that has not the name yet, to be taught before it is asked."""
        mock = Mock(self.env, absent=True)
        self.addCleanup(mock.end)
        return mock


class TestLook(Case):
    def test_list(self):
        lines = self.run_ctl('list').splitlines()
        self.assertEqual(lines[0].split(), ['WWN', 'LABEL', 'STATE', 'ENDPOINT', 'LUNS', 'MANAGED', 'BY'])
        self.assertEqual(lines[1].split(), [A, 'web1', 'incomplete', 'idle', '1/3', 'vhscsid'])
        self.assertEqual(lines[4].split(), ['naa.6001405eeeeeeeee', '-', 'foreign', 'unknown', '0/0', 'foreign'])
        self.assertEqual(len(lines), 5)
        self.assertEqual([c['member'] for c in self.mock.calls], ['GetManagedObjects'])
        self.assertEqual(self.run_ctl(), '\n'.join(lines) + '\n', 'list is what is done without a verb')
        self.assertEqual(len(self.run_ctl('list', '--no-legend').splitlines()), 4)

    def test_list_json(self):
        short = self.run_ctl('list', '--json=short')
        self.assertEqual(short.count('\n'), 1)
        targets = json.loads(short)
        self.assertEqual(targets, json.loads(self.run_ctl('--json=pretty', 'list')))
        self.assertEqual([t['wwn'] for t in targets], sorted(t['wwn'] for t in targets))
        self.assertEqual([n['number'] for n in targets[0]['luns']], [0, 2, 10])
        self.assertEqual(targets[0]['luns'][0]['size'], 10 << 30)
        self.assertIs(targets[0]['luns'][0]['read_only'], False)
        self.assertIsNone(targets[0]['last_error'])
        self.assertEqual(targets[0]['luns'][2]['last_error'], {'code': 'Kernel', 'message': 'enable: Device or resource busy'})
        self.assertIn('WWN', self.run_ctl('list', '--json=off'))

    def test_list_empty(self):
        self.mock.order(**objects())
        self.assertEqual(json.loads(self.run_ctl('list', '--json=short')), [])
        self.run_ctl('list')
        self.assertIn('No targets', self.stderr)

    def test_show(self):
        for name in (A, 'web1', A.upper(), A[4:], '0x' + A[4:], '50:01:40:5a:aa:aa:aa:aa'):
            out = self.run_ctl('show', name)
            self.assertIn(f'{A} (web1)', out)
            self.assertIn('LUNs: 1 of 3 up', out)
            self.assertRegex(out, r'\n +0 \[\?:0:1:0\] +wwn-0x6001405\S+ d-0123456789ab +10G rw +online +ok +/dev/dm-3')
            self.assertIn('[?:0:1:10]', out)
            self.assertIn('LUN 10: Kernel: enable: Device or resource busy', out)
            self.assertIn('LUN 10: the device has no stable identity', out)
        self.assertEqual({c['member'] for c in self.mock.calls}, {'GetManagedObjects'}, 'one call is enough')
        self.assertEqual(json.loads(self.run_ctl('show', A, '--json=short'))['label'], 'web1')

    def test_show_refused(self):
        self.run_ctl('show', 'dup', status=31)
        self.assertIn('several targets', self.stderr)
        self.mock.refuse('GetTarget', ERROR + 'InvalidWwn', 'not a WWN')
        self.run_ctl('show', 'nobody', status=7)
        self.assert_call(self.last(), '/org/vhostscsi', MANAGER, 'GetTarget', 's', ['nobody'])
        self.run_ctl('show', '', status=7)
        self.mock.refuse('GetTarget', ERROR + 'NotFound', 'no such target')
        self.run_ctl('show', 'naa.5001405000000001', status=3)
        self.assertEqual(self.stderr.count('\n'), 1)
        self.assertTrue(self.stderr.startswith('vhscsictl: show naa.5001405000000001: no such target. '), self.stderr)

    def test_devices(self):
        self.mock.answer('ListDevices', 'aa{sv}', [
            {'path': ['s', '/dev/dm-10'], 'identity': ['s', 'dm-uuid=mpath-36001'], 'size': ['t', (3 << 40) // 2], 'verdict': ['s', 'usable'],
             'reason': ['s', ''], 'luns': ['ao', [lun_path(A, 0), lun_path(B, 7)]], 'model': ['s', 'X']},
            {'path': ['s', '/dev/dm-2'], 'size': ['t', 512], 'verdict': ['s', 'path-member'], 'reason': ['s', 'a path of mpatha']}])
        lines = self.run_ctl('devices').splitlines()
        self.assertEqual(lines[0].split(), ['PATH', 'SIZE', 'IDENTITY', 'VERDICT', 'REASON', 'LUNS'])
        self.assertRegex(lines[1], r'^/dev/dm-2 +512B - +path-member a path of mpatha -$')
        self.assertRegex(lines[2], rf'^/dev/dm-10 1\.5T dm-uuid=mpath-36001 usable +- +{A}:0 {B}:7$')
        self.assert_call(self.last(), '/org/vhostscsi', MANAGER, 'ListDevices', 'a{sv}', [{}])
        devices = json.loads(self.run_ctl('devices', '--json=pretty'))
        self.assertEqual(devices[1]['luns'][1], {'number': 7, 'path': lun_path(B, 7), 'wwn': B})
        self.assertEqual(devices[1]['model'], 'X')

    def manager(self, state='running'):
        self.mock.answer('GetAll /org/vhostscsi', 'a{sv}', {
            'Version': ['s', '9.8'], 'State': ['s', state], 'Generation': ['t', 77],
            'Fabric': ['a{sv}', {'module': ['s', 'vhost_scsi'], 'version': ['s', '6.1'], 'origin': ['s', 'in-tree']}]})

    def test_doctor(self):
        """No systemd is on this bus: nothing is enabled. The mock has a foreign target."""
        self.manager()
        findings = json.loads(self.run_ctl('doctor', '--json=short', status=44))
        self.assertEqual([f['code'] for f in findings], ['NotEnabled', 'ForeignTargets'])
        text = self.run_ctl('doctor', status=44)
        self.assertIn('adopt --all --dry-run', text)
        self.run_ctl('doctor', '-M', 'x', status=2)
        self.run_ctl('doctor', 'x', status=2)

    def test_doctor_of_targetctl(self):
        self.manager()
        self.mock.order(systemd=True)
        self.units()
        findings = json.loads(self.run_ctl('doctor', '--json=short', status=44))
        self.assertEqual([f['code'] for f in findings], ['ForeignTargets', 'TargetctlClears', 'TargetctlClears'])
        self.assertIn("'systemctl edit target.service'", findings[2]['advice'])
        self.assertIn("'systemctl disable target.service'", findings[2]['advice'])
        self.assertIn('Do not stop it', findings[2]['advice'])

    def test_status(self):
        self.manager()
        out = self.run_ctl('status', status=42)
        for text in ('vhscsid: 9.8, running', 'Fabric: vhost_scsi 6.1 (in-tree)', 'Generation: 77', 'Verdict: failed',
                     'Targets: 4: 2 online, 1 incomplete, 1 foreign', 'LUNs: 3: 1 online, 1 waiting, 1 failed'):
            self.assertIn(text, out)
        status = json.loads(self.run_ctl('status', '--json=short', status=42))
        self.assertEqual((status['version'], status['generation'], status['luns']['waiting'], status['targets']['total'], status['verdict']),
                         ('9.8', 77, 1, 4, 'failed'))

    def test_status_verdicts(self):
        def with_lun(state, health='ok'):
            return objects((target_path(A), target(A, luns=(0,))), (lun_path(A, 0), lun(0, state, health)))

        foreign = objects((target_path(A), target(A, '', 'foreign', 'foreign')), (lun_path(A, 0), lun(0, 'failed')))
        for state, tree, status in (('running', objects(), 0), ('running', with_lun('online'), 0), ('running', foreign, 0),
                                    ('running', with_lun('waiting'), 40), ('running', with_lun('draining'), 40),
                                    ('running', with_lun('degraded', 'no-path'), 41), ('degraded', objects(), 41),
                                    ('running', with_lun('something new'), 41), ('running', with_lun('failed'), 42),
                                    ('starting', with_lun('waiting'), 43)):
            with self.subTest(state=state, status=status):
                self.manager(state)
                self.mock.order(**tree)
                self.run_ctl('status', status=status)

    def test_hostile_values(self):
        evil = 'a\x1b[31m\nb\u202e\x9bc'
        self.mock.order(**objects((target_path(A), target(A, evil, luns=(0,))), (lun_path(A, 0), lun(0, 'failed', error=(evil, evil)))))
        for args in (['list'], ['show', A]):
            out = self.run_ctl(*args)
            self.assertNotRegex(out, '[\x00-\x09\x0b-\x1f\x7f\x80-\x9f\u202e]')
            self.assertIn('a\\x1b[31m\\nb\\xe2\\x80\\xae\\xc2\\x9bc', out)
        self.assertEqual(json.loads(self.run_ctl('list', '--json=short'))[0]['label'], evil)
        self.mock.refuse('GetTarget', ERROR + 'NotFound', evil)
        self.run_ctl('show', evil + 'x', status=3)
        self.assertEqual(self.stderr.count('\n'), 1)
        self.assertNotIn('\x1b', self.stderr)

    def test_width(self):
        self.mock.order(**objects((target_path(A), target(A, 'データベース・サーバー' * 4)), (target_path(B), target(B, 'é'))))
        lines = self.run_ctl('list', env={'COLUMNS': '80'}).splitlines()
        self.assertIn('…', lines[1])
        self.assertEqual(lines[0].index('STATE'), lines[2].index('online'))
        self.assertEqual(len(lines[0]), 80)
        self.assertEqual(sum(2 if ord(c) > 0x2fff else 1 for c in lines[1][:lines[1].index('online')]), lines[0].index('STATE'))
        self.assertIn('データベース・サーバー' * 4, self.run_ctl('list', '--full', env={'COLUMNS': '80'}))
        self.assertIn('データベース・サーバー' * 4, self.run_ctl('list'), 'no terminal: nothing is lost')
        self.assertIn('...', self.run_ctl('list', env={'COLUMNS': '80', 'LC_ALL': 'C'}))

    def test_many(self):
        entries = [(target_path(A), target(A, luns=range(3000)))] + [(lun_path(A, n), lun(n)) for n in range(3000)]
        self.mock.order(**objects(*entries))
        self.assertIn('3000/3000', self.run_ctl('list'))
        self.assertEqual(len(self.run_ctl('show', A).splitlines()), 3000 + 9)


class TestReady(Case):
    PROBLEMS = [['lun-waiting', 'LUN 3 waits for its disk'], ['no-nexus', 'The portal group has no nexus']]

    def changed(self):
        self.mock.order(signal='PropertiesChanged', path=lun_path(A, 0), interface='org.freedesktop.DBus.Properties', signature='sa{sv}as',
                        args=[LUN, {'State': ['s', 'online']}, []])

    def test_ready(self):
        self.mock.answer('Check', 'ba(ss)', True, [])
        self.assertEqual(self.run_ctl('ready', '0x5001405AAAAAAAAA'), '')
        self.assert_call(self.last(), '/org/vhostscsi', MANAGER, 'Check', 'sa{sv}', ['0x5001405AAAAAAAAA', {}])
        self.run_ctl('ready', 'web1')
        self.assertEqual(self.last()['args'], [A, {}])
        self.assertEqual(json.loads(self.run_ctl('ready', A, '--json=short', '--wait=5')), {'ready': True, 'problems': []})

    def test_not_ready(self):
        self.mock.answer('Check', 'ba(ss)', False, self.PROBLEMS)
        out = self.run_ctl('ready', A, status=18)
        self.assertEqual([line.split(None, 1) for line in out.splitlines()[1:]], self.PROBLEMS)
        result = json.loads(self.run_ctl('ready', A, '--json=short', status=18))
        self.assertEqual(result['problems'][1], {'code': 'no-nexus', 'detail': 'The portal group has no nexus'})
        self.run_ctl('ready', A, '--wait=soon', status=2)
        self.mock.refuse('Check', ERROR + 'InvalidWwn')
        self.run_ctl('ready', 'naa.1', status=7)

    def test_waits_for_news(self):
        """Asked once for each piece of news, and never else."""
        self.mock.answer('Check', 'ba(ss)', False, self.PROBLEMS)
        process = subprocess.Popen([VHSCSICTL, 'ready', A, '--wait=1min'], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.mock.wait_for_call('Check')
        self.mock.answer('Check', 'ba(ss)', True, [])
        # The client subscribed before it asked: no signal can be lost.
        self.changed()
        self.assertEqual(process.communicate(timeout=20), (b'', b''))
        self.assertEqual(process.returncode, 0)
        self.assertEqual(len([c for c in self.mock.calls if c['member'] == 'Check']), 2)

    def test_waits_for_silence(self):
        """Of these nobody tells."""
        for code in ('in-use', 'no-node', 'no-module'):
            self.mock.answer('Check', 'ba(ss)', False, [*self.PROBLEMS, [code, 'x']], next={'signature': 'ba(ss)', 'reply': [True, []]})
            self.assertEqual(self.run_ctl('ready', A, '--wait=1min'), '')

    def test_restarted(self):
        """In the middle of the question, and between two."""
        for times in (1, 2):
            mocks = [self.other_mock() for _ in range(times)]
            self.mock.answer('Check', 'ba(ss)', False, self.PROBLEMS, **({'delay': -1} if times == 1 else {}))
            self.mock.calls.clear()
            process = subprocess.Popen([VHSCSICTL, 'ready', A, '--wait=1min'], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.mock.wait_for_call('Check')
            for n, mock in enumerate(mocks):
                self.mock.settle()
                self.mock.die()
                self.mock = mock
                mock.answer('Check', 'ba(ss)', True, [], **({'delay': -1} if n + 1 < times else {}))
                mock.order(own=True)
                mock.wait_for_call('Check')
            self.assertEqual(process.communicate(timeout=20), (b'', b''))
            self.assertEqual(process.returncode, 0)
        self.mock.answer('Check', delay=-1)
        self.mock.calls.clear()
        process = subprocess.Popen([VHSCSICTL, 'ready', A, '--wait=1s'], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.mock.wait_for_call('Check')
        self.mock.settle()
        self.mock.die()
        self.assertIn(b'was not back in time', process.communicate(timeout=20)[1])
        self.assertEqual(process.returncode, 29)

    def test_time_is_up(self):
        self.mock.answer('Check', 'ba(ss)', False, self.PROBLEMS)
        begin = time.monotonic()
        self.assertIn('lun-waiting', self.run_ctl('ready', A, '--wait=700ms', status=19))
        self.assertGreaterEqual(time.monotonic() - begin, 0.7)
        # The last question is that of the deadline.
        self.assertEqual(len([c for c in self.mock.calls if c['member'] == 'Check']), 2)

    def test_interrupted(self):
        self.mock.answer('Check', 'ba(ss)', False, self.PROBLEMS)
        process = subprocess.Popen([VHSCSICTL, 'ready', A, '--wait=1min'], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.mock.wait_for_call('Check')
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        self.assertIn(process.returncode, (130, -signal.SIGINT))

    def test_interrupted_with_the_answer(self):
        """Both are there when the client looks next: the answer does not swallow the signal."""
        self.mock.answer('Check', delay=-1)
        process = subprocess.Popen([VHSCSICTL, 'ready', A, '--wait=1min'], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.mock.wait_for_call('Check')
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        self.mock.order(answer={'signature': 'ba(ss)', 'reply': [False, self.PROBLEMS]})
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=20)
        self.assertIn(process.returncode, (130, -signal.SIGINT))


class TestStat(Case):
    def setUp(self):
        super().setUp()
        self.count(0)

    def count(self, more):
        lun = {'commands': 100 + more, 'read-bytes': (5 << 20) + more, 'written-bytes': 0, 'resets': 1, 'aborts': 0}
        fabric = {'requests': 1000 + more, 'read-bytes': 3 << 30, 'written-bytes': more, 'errors': more, 'in-flight': 8}
        self.mock.answer('GetStatistics', 'a{sa{st}}', {})
        self.mock.answer(f'GetStatistics {target_path(A)}', 'a{sa{st}}', {'fabric': fabric, 'lun/2': lun})

    def test_totals(self):
        out = self.run_ctl('stat')
        lines = out.splitlines()
        self.assertEqual(lines[0].split(), ['TARGET', 'LUN', 'OPS', 'READ', 'WRITTEN', 'ERRORS', 'IN', 'FLIGHT'])
        self.assertEqual([line.split() for line in lines[1:]], [[A, 'all', '1000', '3G', '0B', '0', '8'], [A, '2', '100', '5M', '0B', '-', '-']])
        self.assertEqual(self.run_ctl('stat', A), out)
        self.assertEqual(self.run_ctl('stat', 'web1'), out)
        self.assertEqual(len(self.run_ctl('stat', B).splitlines()), 1)
        self.assert_call(self.last(), target_path(B), TARGET, 'GetStatistics', '', [])
        found = json.loads(self.run_ctl('stat', A, '--json=short'))
        self.assertEqual([(t['wwn'], t['statistics']['lun/2']['resets'], t['statistics']['fabric']['requests']) for t in found], [(A, 1, 1000)])
        self.run_ctl('stat', 'naa.5001405fffffffff', status=3)
        self.run_ctl('stat', A, B, status=2)

    def test_rates(self):
        """What was added, as so much a second; and the end that the user makes is none of an error."""
        process = subprocess.Popen([VHSCSICTL, 'stat', A, '--watch', '--no-legend'], env=self.env, stdout=subprocess.PIPE, text=True)
        self.mock.wait_for_call('GetStatistics')
        self.count(1 << 20)
        fabric, lun = (process.stdout.readline().split() for _ in range(2))
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        self.assertEqual(process.wait(20), 0)
        process.stdout.close()
        # At least a second passed, and that many were not added in one.
        self.assertLessEqual(int(fabric[2]), 1 << 20)
        self.assertGreater(int(fabric[2]), 0)
        self.assertEqual((fabric[:2], fabric[3], fabric[6]), ([A, 'all'], '0B', '8'))
        self.assertEqual((lun[:2], lun[2], lun[5:]), ([A, '2'], fabric[2], ['-', '-']))


class TestGuest(Case):
    DEVICE = ['-device', f'vhost-scsi-pci,wwpn={A},bus=pci.0,addr=0x5']
    XML = f"<hostdev mode='subsystem' type='scsi_host'>\n  <source protocol='vhost' wwpn='{A}'/>\n</hostdev>\n"

    def test_qemu_args(self):
        self.mock.answer('GetQemuArguments', 'as', self.DEVICE)
        self.assertEqual(self.run_ctl('qemu-args', 'web1'), ' '.join(self.DEVICE) + '\n')
        self.assert_call(self.last(), target_path(A), TARGET, 'GetQemuArguments', 'a{sv}', [{}])
        self.assertEqual(self.stderr, '')
        self.run_ctl('qemu-args', A, '--bus=pci', '--addr=0x5', '--boot=0', '--queues=4', '--qemu-version=10.2')
        self.assertEqual(self.last()['args'], [{'bus': 'pci', 'addr': '0x5', 'boot': 0, 'queues': 4, 'qemu-version': '10.2'}])
        self.run_ctl('qemu-args', A, '--bus=ccw', '--devno=fe.0.1000')
        self.assertEqual(self.last()['args'], [{'bus': 'ccw', 'devno': 'fe.0.1000'}])
        self.run_ctl('qemu-args', A, '--migratable')
        self.assertEqual(self.last()['args'], [{'migratable': True}])
        self.assertIn('damages its memory', self.stderr)

    def test_qemu_args_for_programs(self):
        self.mock.answer('GetQemuArguments', 'as', self.DEVICE)
        for args in (['qemu-args', A, '--json'], ['qemu-args', '--json', A], ['qemu-args', A, '--json', 'short'], ['--json=short', 'qemu-args', A]):
            with self.subTest(args):
                self.assertEqual(json.loads(self.run_ctl(*args)), self.DEVICE)
        self.assertEqual(self.run_ctl('qemu-args', A, '--shell'), ' '.join(self.DEVICE) + '\n')
        odd = ['-device', "it's a; $(test) \\", '', 'a b', 'plain']
        self.mock.answer('GetQemuArguments', 'as', odd)
        out = self.run_ctl('qemu-args', A, '--shell')
        p = subprocess.run(['sh', '-c', f'set -- {out}for word; do printf "%s\\0" "$word"; done'], stdout=subprocess.PIPE, text=True, check=True)
        self.assertEqual(p.stdout.split('\0')[:-1], odd)

    def test_libvirt_xml(self):
        self.mock.answer('GetLibvirtXml', 's', self.XML)
        self.assertEqual(self.run_ctl('libvirt-xml', A), self.XML)
        self.assert_call(self.last(), target_path(A), TARGET, 'GetLibvirtXml', 'a{sv}', [{}])
        self.assertEqual(json.loads(self.run_ctl('libvirt-xml', A, '--json')), self.XML)
        self.run_ctl('libvirt-xml', A, '--address=fe.0.1000', '--queues=2', '--boot=1', '--qemu-version=10.2')
        self.assertEqual(self.last()['args'], [{'address': 'fe.0.1000', 'queues': 2, 'boot': 1, 'qemu-version': '10.2'}])

    def test_refused(self):
        for args in (['qemu-args'], ['qemu-args', A, '--address=5'], ['qemu-args', A, '--json', '--shell'], ['qemu-args', A, '--boot=x'],
                     ['qemu-args', A, '--queues=-1'], ['libvirt-xml', A, '--bus=pci'], ['libvirt-xml', A, '--shell'], ['libvirt-xml', A, '--migratable'],
                     ['qemu-args', A, '--json=xml'], ['list', '--shell']):
            with self.subTest(args):
                self.run_ctl(*args, status=2)
        self.mock.refuse('GetQemuArguments', 'org.freedesktop.DBus.Error.InvalidArgs', 'The bus of a guest is pci or ccw')
        self.run_ctl('qemu-args', A, '--bus=isa', status=9)
        self.assertIn('pci or ccw', self.stderr)
        self.mock.answer('GetQemuArguments', 's', 'x')
        self.run_ctl('qemu-args', A, status=1)
        self.mock.answer('GetLibvirtXml', 'as', ['x'])
        self.run_ctl('libvirt-xml', A, status=1)


class TestOwner(Case):
    def test_acquire(self):
        self.mock.answer('Acquire')
        self.assertEqual(self.run_ctl('acquire', 'web1', 'vm', '--wait=30s', '--pid=4711', '--name=vm-a', '--force', '--timeout=1min'), '')
        self.assert_call(self.last(), '/org/vhostscsi', MANAGER, 'Acquire', 'ssa{sv}', [A, 'vm', {
            'force': True, 'timeout': 60000000, 'wait': 30000000, 'pid': 4711, 'name': 'vm-a'}])
        self.run_ctl('acquire', '-', 'vm', '--seed=6ba7')
        self.assertEqual(self.last()['args'], ['', 'vm', {'seed': '6ba7'}])
        for bad in ('0', '-1', 'x', '4294967296'):
            self.run_ctl('acquire', A, 'vm', f'--pid={bad}', status=2)
        self.mock.refuse('Acquire', ERROR + 'InUse', 'vm-a (libvirt, pid 4711) has it')
        self.run_ctl('acquire', A, 'vm', status=5)
        self.assertIn('vm-a (libvirt, pid 4711) has it', self.stderr)

    def test_restarted(self):
        """For what is left of the time."""
        self.mock.answer('Acquire', delay=-1)
        other = self.other_mock()
        other.answer('Acquire')
        p = subprocess.Popen([VHSCSICTL, 'acquire', A, 'vm', '--wait=1min'], env=self.env, stderr=subprocess.PIPE, text=True)
        self.mock.wait_for_call('Acquire')
        self.mock.settle()
        self.mock.die()
        other.order(own=True)
        self.assertEqual(p.communicate(timeout=20)[1], '')
        self.assertEqual(p.returncode, 0)
        other.settle()
        (first,), (second,) = ([c['args'] for c in mock.calls if c['member'] == 'Acquire'] for mock in (self.mock, other))
        self.assertEqual((first[:2], second[:2]), ([A, 'vm'], [A, 'vm']))
        self.assertTrue(50_000_000 < second[2]['wait'] < first[2]['wait'])
        # Without a time it is a failure like others.
        other.answer('Acquire', delay=-1)
        other.calls.clear()
        p = subprocess.Popen([VHSCSICTL, 'acquire', A, 'vm'], env=self.env, stderr=subprocess.PIPE, text=True)
        other.wait_for_call('Acquire')
        other.settle()
        other.die()
        self.assertIn('gave no answer', p.communicate(timeout=20)[1])
        self.assertEqual(p.returncode, 29)

    def test_interrupted(self):
        """A caller that leaves acquires nothing."""
        self.mock.answer('Acquire', delay=-1)
        p = subprocess.Popen([VHSCSICTL, 'acquire', A, 'vm', '--wait=1min'], env=self.env, stderr=subprocess.PIPE, text=True)
        self.mock.wait_for_call('Acquire')
        p.send_signal(signal.SIGINT)
        said = p.communicate(timeout=20)[1]
        self.assertIn('Nothing was acquired', said)
        self.assertNotIn('goes on', said)
        self.assertEqual(p.returncode, 130)

    def test_release(self):
        self.mock.answer('Release')
        self.run_ctl('release', A, 'vm')
        self.assert_call(self.last(), '/org/vhostscsi', MANAGER, 'Release', 'ssa{sv}', [A, 'vm', {}])
        self.run_ctl('release', A, 'vm', '--wait=3', status=2)

    def test_show(self):
        owned = target(A)
        owned[TARGET]['OwnerDetails'] = ['aa{sv}', [{'owner': ['s', '6ba7'], 'kind': ['s', 'libvirt'], 'name': ['s', 'vm-a\x1b'], 'uuid': ['s', ''],
                                                     'pid': ['u', 4711]}]]
        self.mock.order(**objects((target_path(A), owned)))
        self.assertIn('Owner: vm-a\\x1b (libvirt, pid 4711)\n', self.run_ctl('show', A))
        self.assertEqual(json.loads(self.run_ctl('show', A, '--json=short'))['owner_details'][0]['pid'], 4711)


class HookCase(Case):
    """libvirt's hook: what is asked of whom, and that nothing goes to standard output, whatever comes in."""
    UUID, TELLING, SILENT, BOMB = hookcells.UUID, hookcells.TELLING, (*hookcells.SILENT, 'unheard-of'), hookcells.BOMB
    domain = staticmethod(hookcells.domain)

    def setUp(self):
        super().setUp()
        self.root = tempfile.mkdtemp(prefix='hook-', dir=self.dir)
        self.absent = {'DBUS_SYSTEM_BUS_ADDRESS': f'unix:path={self.root}/nothing'}
        for member in ('Acquire', 'Release'):
            self.mock.answer(member)

    def begin(self, operation, xml, *options, guest='vm-a', env=None, program=None):
        """The hook with that domain on its standard input."""
        words = ['begin' if operation != 'release' else 'end', '-']
        with tempfile.TemporaryFile(dir=self.root) as f:
            f.write(xml.encode() if isinstance(xml, str) else xml)
            f.seek(0)
            return subprocess.Popen(program or [VHSCSICTL, 'libvirt-hook', *options, guest, operation, *words], stdin=f, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, env={**self.env, 'VHSCSICTL_HOOK_ROOT': self.root, **(env or {})})

    def end(self, process, status=0, said=None, lines=1):
        """said: a text in the line on standard error; None: there is none."""
        out, error = process.communicate(timeout=60)
        error = error.decode()
        self.assertEqual((process.returncode, out), (status, b''), error)
        self.assertEqual(error.count('\n'), 0 if said is None else lines, error)
        self.assertIn(said or '', error)

    def hook(self, operation, xml, *options, status=0, said=None, **more):
        self.end(self.begin(operation, xml, *options, **more), status, said)
        self.mock.settle()
        return self.asked()

    def asked(self):
        return [(c['member'], *c['args']) for c in self.mock.calls if c['member'] in ('Acquire', 'Release')]

    def write(self, path, text):
        os.makedirs(os.path.dirname(self.root + path), exist_ok=True)
        with open(self.root + path, 'w', encoding='utf-8') as f:
            f.write(text)

    def exist(self, *wwns):
        for wwn in wwns:
            os.makedirs(f'{self.root}/sys/kernel/config/target/vhost/{wwn}/tpgt_1')

    def told(self, **more):
        return {'kind': 'libvirt', 'name': 'vm-a', 'uuid': self.UUID, **more}


class TestHook(HookCase):
    LIBVIRT = [sys.executable, '-c', "import os, subprocess, sys; open('/proc/self/comm', 'w').write(sys.argv[1]);"
               "print(os.getpid(), file=open(sys.argv[2], 'w')); sys.exit(subprocess.run(sys.argv[3:]).returncode)"]

    def test_a_life(self):
        self.write('/run/libvirt/qemu/vm-a.pid', '4711')
        xml = self.domain(A, B)
        (_, a, owner, given), (_, b, _, _) = self.hook('prepare', xml)
        self.assertEqual((a, b, owner), (A, B, self.UUID))
        self.assertTrue(25_000_000 < given.pop('wait') <= 30_000_000)
        self.assertEqual(given, self.told())
        for operation in ('started', 'reconnect'):
            self.assertEqual(self.hook(operation, xml)[-2:], [('Acquire', w, self.UUID, self.told(running=True, pid=4711)) for w in (A, B)])
        os.unlink(f'{self.root}/run/libvirt/qemu/vm-a.pid')
        self.assertEqual(self.hook('reconnect', xml)[-1], ('Acquire', B, self.UUID, self.told(running=True)))
        self.assertEqual(self.hook('release', xml)[-2:], [('Release', w, self.UUID, {}) for w in (A, B)])
        self.hook('started', xml.replace('vm-a', '../vm-a'), guest='../vm-a')

    def test_libvirt_itself(self):
        """It is named as the process that has the target, until QEMU is; anybody else who calls the hook is not."""
        hook = [f'{self.root}/pid', VHSCSICTL, 'libvirt-hook', 'vm-a', 'prepare', 'begin', '-']
        for name, is_named in (('libvirtd', True), ('virtqemud', True), ('bash', False)):
            given = self.hook('prepare', self.domain(A), program=[*self.LIBVIRT, name, *hook])[-1][3]
            with open(f'{self.root}/pid', encoding='ascii') as f:
                self.assertEqual(given.get('pid'), int(f.read()) if is_named else None)

    def test_libvirt_ends(self):
        """In the middle of it: whose parent init is now acquires nothing more, and has nothing."""
        self.mock.answer('Acquire', delay=-1)
        hook = [f'{self.root}/pid', VHSCSICTL, 'libvirt-hook', 'vm-a', 'prepare', 'begin', '-']
        p = self.begin('prepare', self.domain(A, B), program=[*self.LIBVIRT, 'libvirtd', *hook])
        self.mock.wait_for_call('Acquire')
        p.kill()
        p.wait()
        self.mock.order(answer={})
        self.end(p, -signal.SIGKILL, 'cannot start vm-a: the libvirt daemon that starts it has ended')
        self.mock.settle()
        self.assertEqual([c[:2] for c in self.asked()], [('Acquire', A), ('Release', A)])
        self.assertEqual(self.asked()[0][3]['pid'], p.pid)

    def test_libvirt_has_ended(self):
        """Before the hook looks for it."""
        link = f'{self.root}/50-vhscsid'
        os.symlink(os.path.realpath(VHSCSICTL), link)
        orphan = ("import os, sys, time; parent = os.getpid()\n"
                  "if os.fork(): os._exit(0)\n"
                  "while os.getppid() == parent: time.sleep(0.001)\n"
                  "if os.getppid() != 1: sys.exit('another one')\n"
                  "os.execv(sys.argv[1], sys.argv[1:])")
        p = self.begin('prepare', self.domain(A), program=[sys.executable, '-c', orphan, link, 'vm-a', 'prepare', 'begin', '-'])
        error = p.communicate(timeout=60)[1].decode()
        if 'another one' in error:
            self.skipTest('init is not who takes children over')
        self.assertIn('has ended', error)
        self.mock.settle()
        self.assertEqual(self.asked(), [])

    def test_restarted(self):
        """A daemon that leaves or dies while it is asked is asked again, and what it says then counts."""
        for operation, member in (('prepare', 'Acquire'), ('started', 'Acquire'), ('release', 'Release')):
            for dies in (True, False):
                with self.subTest((operation, dies)):
                    other = self.other_mock()
                    other.answer('Acquire')
                    other.answer('Release')
                    if operation == 'prepare':
                        other.refuse('Acquire', ERROR + 'InUse', 'vm-b has it')
                    self.mock.calls.clear()
                    self.mock.answer(member, delay=-1)
                    p = self.begin(operation, self.domain(A))
                    self.mock.wait_for_call(member)
                    self.mock.settle()
                    if not dies:
                        self.mock.order(answer={'error': 'org.freedesktop.DBus.Error.Failed', 'message': 'The service gave the request up'})
                        self.mock.order(own=False)
                    self.mock.settle()
                    self.assertEqual(len(self.asked()), 1)
                    self.mock.die()
                    self.mock = other
                    other.order(own=True)
                    self.end(p, *((5, 'vm-b has it') if operation == 'prepare' else ()))
                    other.settle()
                    self.assertEqual([c[:2] for c in self.asked()], [(member, A)])

    def test_left(self):
        """It does not come back in time: as if it had never been there. Nobody asks it all the time."""
        self.exist(A)
        for strict in (True, False):
            self.mock.refuse('Acquire', 'org.freedesktop.DBus.Error.Failed', 'gave up')
            self.mock.calls.clear()
            begin = time.monotonic()
            self.hook('prepare', self.domain(A), '--wait=500ms', *(['--strict'] if strict else []), status=1 if strict else 0, said='gave up')
            self.assertGreaterEqual(time.monotonic() - begin, 0.5)
            self.assertEqual(len(self.asked()), 1)
        self.mock.answer('Acquire', delay=-1)
        self.mock.calls.clear()
        p = self.begin('prepare', self.domain(A), '--wait=500ms')
        self.mock.wait_for_call('Acquire')
        self.mock.settle()
        self.mock.die()
        self.end(p, said='unchecked')

    def test_bus_that_hangs(self):
        """It lets one in, and says nothing."""
        self.exist(A)
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(f'{self.root}/hung')
            s.listen()
            begin = time.monotonic()
            self.end(self.begin('prepare', self.domain(A), '--wait=500ms', env={'DBUS_SYSTEM_BUS_ADDRESS': f'unix:path={self.root}/hung'}),
                     said='unchecked')
            self.assertLess(time.monotonic() - begin, 15)

    def test_nothing_of_ours(self):
        """One parse, and no bus: there is none."""
        for operation in ('prepare', *self.TELLING, *self.SILENT):
            with self.subTest(operation):
                self.hook(operation, self.domain(), '--strict', env=self.absent)
                self.hook(operation, "<domain/>", '--strict', env=self.absent)
        for operation in self.SILENT:
            self.hook(operation, self.domain(A), '--strict', env=self.absent)

    def test_refused(self):
        self.mock.refuse('Acquire', ERROR + 'InUse', f'vm-b (libvirt, pid 47) has target {A}')
        self.hook('prepare', self.domain(A), status=5, said=f'cannot start vm-a: vm-b (libvirt, pid 47) has target {A}')
        self.mock.refuse('Acquire', ERROR + 'TimedOut', 'LUN 0 waits for its disk')
        self.hook('prepare', self.domain(A, B, 'naa.5001405ccccccccc'), status=19, said='LUN 0 waits for its disk')
        for operation in ('started', 'reconnect'):
            self.hook(operation, self.domain(A), said='does not have')
        for error, said in (('InUse', None), ('NotFound', None), ('StoreFailed', 'not released')):
            self.mock.refuse('Release', ERROR + error, 'no')
            self.hook('release', self.domain(A), said=said)
        for bad in ('naa.5001405AAAAAAAAA', '../../etc', ''):
            count = len(self.mock.calls)
            self.hook('prepare', self.domain(B, bad), status=7, said='small letters')
            self.assertEqual(len(self.mock.calls), count)

    def test_all_or_nothing(self):
        self.mock.order(on='Acquire', signature='', reply=[], next={'error': ERROR + 'NotReady', 'message': 'no'})
        calls = self.hook('prepare', self.domain(A, B), status=18, said='no')
        self.assertEqual([c[:2] for c in calls], [('Acquire', A), ('Acquire', B), ('Release', A)])

    def test_absent(self):
        self.mock.order(own=False)
        self.exist(A)
        for env in ({}, self.absent):
            self.hook('prepare', self.domain(A), env=env, said='unchecked')
            self.hook('prepare', self.domain(A), '--strict', env=env, status=28, said='strict')
            self.hook('prepare', self.domain(B), env=env, status=28, said=f'there is no target {B}')
            for operation in self.TELLING:
                self.hook(operation, self.domain(A, B, B), '--strict', env=env, said='vhscsid: ')

    def test_hung(self):
        """The daemon is asked once, and no guest waits for it longer than the deadline and its grace."""
        for member in ('Acquire', 'Release'):
            self.mock.answer(member, delay=-1)
        self.exist(A, B)
        begin = time.monotonic()
        calls = self.hook('prepare', self.domain(A), '--wait=1s', '--strict', status=29, said='strict')
        self.hook('prepare', self.domain(A), '--wait=1s', said='unchecked')
        self.assertTrue(2 <= time.monotonic() - begin < 40)
        self.assertEqual([c[0] for c in calls], ['Acquire'])
        self.hook('release', self.domain(A, B), said='not released')

    def test_documents(self):
        depth = '<a>' * 10000
        for name, xml, said in (('malformed', self.domain(A)[:-5], 'not well-formed'), ('empty', '', 'empty'), ('no domain', '<x/>', 'no domain'),
                                ('8 MiB', self.domain(A, more=f'<!--{"x" * (8 << 20)}-->'), 'larger than 4 MiB'), ('nul', b'\0' * 100, 'not well-formed'),
                                ('bomb', self.domain(A, name='&c;', head=self.BOMB), 'document type'), ('deep', depth, 'not well-formed'),
                                ('file', self.domain(A, name='&f;', head='<!DOCTYPE d [<!ENTITY f SYSTEM "/etc/passwd">]>'), 'document type'),
                                ('dtd', self.domain(A, head='<!DOCTYPE d SYSTEM "http://192.0.2.1/d">'), 'document type'),
                                ('no uuid', self.domain(A, uuid='vm-a'), 'no uuid'), ('unknown entity', self.domain(A, name='&x;'), 'not well-formed')):
            with self.subTest(name):
                self.assertEqual(self.hook('prepare', xml, status=2, said=said), [])
                for operation in self.TELLING:
                    self.assertEqual(self.hook(operation, xml, said=said), [])
                for operation in self.SILENT:
                    self.assertEqual(self.hook(operation, xml), [])
        self.assertEqual(len(self.hook('prepare', self.domain(A, more=f'<!--{"x" * (3 << 20)}-->'))), 1)

    def test_settings(self):
        conf = '/etc/vhscsid/libvirt-hook.conf'
        self.write(conf, '# how long\n deadline = 7s \r\n\nstrict=yes\n')
        self.assertTrue(6_000_000 < self.hook('prepare', self.domain(A))[-1][3]['wait'] <= 7_000_000)
        self.assertLessEqual(self.hook('prepare', self.domain(A), '--wait=3s')[-1][3]['wait'], 3_000_000)
        self.exist(A)
        self.hook('prepare', self.domain(A), env=self.absent, status=28, said='strict')
        for line in ('deadline=soon', 'strict', 'strict=perhaps', 'colour=red'):
            self.write(conf, line)
            self.assertGreater(self.hook('prepare', self.domain(A), said=f'{conf}:1: not understood')[-1][3]['wait'], 25_000_000)

    def test_install(self):
        link = f'{self.root}/etc/libvirt/hooks/qemu.d/50-vhscsid'
        env = {'VHSCSICTL_HOOK_ROOT': self.root}
        for said in ('is restarted', ''):
            self.assertEqual(self.run_ctl('libvirt-hook', '--install', env=env), '')
            self.assertIn(said, self.stderr)
            self.assertEqual(os.readlink(link), os.path.realpath(VHSCSICTL))
        # As libvirt calls it, and whatever the guest is called.
        for guest in ('vm-a', '--help', '-'):
            calls = self.hook('prepare', self.domain(A), program=[link, guest, 'prepare', 'begin', '-'])
            self.assertEqual(calls[-1][3]['name'], guest)
        os.unlink(link)
        os.symlink('/bin/true', link)
        self.run_ctl('libvirt-hook', '--install', env=env, status=4)
        self.assertEqual(os.readlink(link), '/bin/true')
        for args in (['--install', 'vm-a'], ['--install', '--strict'], [], ['vm-a'], ['vm-a', 'prepare', 'begin', '-', 'x']):
            self.run_ctl('libvirt-hook', *args, env=env, status=2)


class HookMatrix(HookCase):
    """Every operation, of every domain, whatever becomes of the daemon: nothing on standard output, and what fails where."""
    WINDOW = 24         # hooks at once: some wait for their time

    def matrix(self, answers, *options, begun=lambda: None):
        wwns, running = (A, B, 'naa.5001405ccccccccc'), []
        self.exist(*wwns)

        def end():
            (operation, name, _, n), process = running.pop(0)
            out, error = process.communicate(timeout=60)
            with self.subTest((operation, name)):
                self.assertEqual((process.returncode, error.count(b'\n')), hookcells.expected(operation, n, answers), error)
                self.assertEqual(out, b'')

        for cell in hookcells.cells(*wwns):
            running.append((cell, self.begin(cell[0], cell[2], *options)))
            if len(running) == self.WINDOW:
                begun()
                end()
        while running:
            end()


class TestHookMatrix(HookMatrix):
    ASKED = {'Acquire': 3 * 4, 'Release': 4}

    def count(self):
        self.mock.settle()
        return {member: sum(c[0] == member for c in self.asked()) for member in self.ASKED}

    def test_up(self):
        self.matrix(True)
        self.assertEqual(self.count(), self.ASKED)

    def test_absent(self):
        self.mock.order(own=False)
        self.matrix(False)
        self.assertEqual(self.count(), {'Acquire': 0, 'Release': 0})

    def test_hung(self):
        """Asked once a domain."""
        for member in self.ASKED:
            self.mock.answer(member, delay=-1)
        self.matrix(False, '--wait=100ms')
        self.assertEqual(self.count(), {'Acquire': 3 * 2, 'Release': 2})


class TestHookStarting(HookMatrix):
    """The bus starts the daemon, which takes its time."""
    SERVICE = """
export DBUS_SYSTEM_BUS_ADDRESS=unix:path={dir}/bus
{{
        echo '{{"on": "Acquire", "signature": "", "reply": []}}'
        echo '{{"on": "Release", "signature": "", "reply": []}}'
        : > {dir}/started
        cat {dir}/go
}} | {mock} absent > /dev/null
"""

    def test_starting(self):
        self.mock.die()
        os.mkfifo(f'{self.dir}/go')
        begin, go = time.monotonic(), []

        def begun():
            """Those that ask wait: now it may go on."""
            while not go and not os.path.exists(f'{self.dir}/started'):
                self.assertLess(time.monotonic() - begin, 20, 'the bus starts nothing')
                time.sleep(0.01)
            if not go:
                go.append(open(f'{self.dir}/go', 'w', encoding='ascii'))
                self.addCleanup(go[0].close)
                go[0].write('{"own": true}\n')
                go[0].flush()

        self.matrix(True, begun=begun)
        self.assertTrue(go)


class TestHookStarted(HookCase):
    """The daemon takes its time to start: what it is told of is what is left then, so that its own words come in time."""
    SERVICE = """
export DBUS_SYSTEM_BUS_ADDRESS=unix:path={dir}/bus
{{
        echo '{{"on": "Acquire", "signature": "", "reply": []}}'
        cat {dir}/go
}} | {mock} absent > {dir}/calls
"""

    def test_what_is_left(self):
        self.mock.die()
        os.mkfifo(f'{self.dir}/go')
        p = self.begin('prepare', self.domain(A), '--wait=20s')
        # Who opens the other end has been started, so the hook's time runs.
        with open(f'{self.dir}/go', 'w', encoding='ascii') as go:
            begin = time.monotonic()
            while time.monotonic() - begin < 1.5:
                time.sleep(0.01)
            go.write('{"own": true}\n')
            go.flush()
            self.end(p)
        with open(f'{self.dir}/calls', encoding='ascii') as f:
            call, = (c for c in map(json.loads, f) if c.get('member') == 'Acquire')
        self.assertLessEqual(call['args'][2]['wait'], 18_500_000)


class TestChange(Case):
    def test_create(self):
        self.mock.answer('CreateTarget', 'o', target_path(B))
        self.assertEqual(self.run_ctl('create'), B + '\n')
        self.assert_call(self.last(), '/org/vhostscsi', MANAGER, 'CreateTarget', 'sa{sv}', ['', {}])
        self.run_ctl('create', B, '--label=x y', '--seed', 'vm', '--nexus=naa.5', '--if-absent', '--dry-run', '--if-generation=3', '--timeout=1min')
        self.assert_call(self.last(), '/org/vhostscsi', MANAGER, 'CreateTarget', 'sa{sv}', [B, {
            'label': 'x y', 'seed': 'vm', 'nexus': 'naa.5', 'if-absent': True, 'dry-run': True, 'if-generation': 3, 'timeout': 60000000}])
        self.assertIn('Dry run', self.stderr)
        self.assertEqual(json.loads(self.run_ctl('create', '--json=short')), {'path': target_path(B), 'wwn': B})
        self.run_ctl('create', '', status=7)

    def test_option_types(self):
        """The signatures inside of the variants, which JSON does not tell."""
        self.mock.answer('AddLun', 'o', lun_path(A, 0))
        self.mock.answer('GetAll', 'a{sv}', {})
        if not shutil.which('dbus-monitor'):
            self.skipTest('no dbus-monitor')
        monitor = subprocess.Popen(['dbus-monitor', '--address', self.env['DBUS_SYSTEM_BUS_ADDRESS'], "member='AddLun'"], stdout=subprocess.PIPE)
        self.addCleanup(monitor.stdout.close)
        text = b''
        while b'NameLost' not in text:
            text += os.read(monitor.stdout.fileno(), 65536)
        self.run_ctl('add-lun', A, '/dev/x', '--lun=5', '--readonly', '--timeout=1', '--if-generation=1', '--attribute=emulate_tpu=1', '--dry-run')
        text = ''
        while '"emulate_tpu" variant uint32 1' not in text and select.select([monitor.stdout], [], [], 10)[0]:
            text += ' ' + os.read(monitor.stdout.fileno(), 65536).decode()
            text = re.sub(r'\s+', ' ', text)
        monitor.terminate()
        monitor.wait()
        for item in ('string "number" variant uint32 5', 'string "readonly" variant boolean true', 'string "timeout" variant uint64 1000000',
                     'string "if-generation" variant uint64 1', 'string "dry-run" variant boolean true',
                     'string "emulate_tpu" variant uint32 1'):
            self.assertIn(item, text)

    def test_destroy(self):
        self.mock.answer('Destroy')
        self.assertEqual(self.run_ctl('destroy', A), '')
        self.assert_call(self.mock.calls[0], '/org/vhostscsi', MANAGER, 'GetTarget', 's', [A])
        self.assert_call(self.last(), target_path(A), TARGET, 'Destroy', 'a{sv}', [{}])
        self.run_ctl('destroy', 'web1', '--force', '--timeout=500ms')
        self.assertEqual([c['member'] for c in self.mock.calls[-2:]], ['GetManagedObjects', 'Destroy'])
        self.assert_call(self.last(), target_path(A), TARGET, 'Destroy', 'a{sv}', [{'force': True, 'timeout': 500000}])
        self.run_ctl('destroy', 'dup', status=31)

    def test_set_label(self):
        self.mock.answer('SetLabel')
        self.run_ctl('set-label', A, 'Größe')
        self.assert_call(self.last(), target_path(A), TARGET, 'SetLabel', 'sa{sv}', ['Größe', {}])
        self.run_ctl('set-label', A, '')
        self.assert_call(self.last(), target_path(A), TARGET, 'SetLabel', 'sa{sv}', ['', {}])

    def test_add_lun(self):
        self.mock.answer('AddLun', 'o', lun_path(A, 5))
        self.mock.answer('GetAll ' + lun_path(A, 5), 'a{sv}', lun(5, 'waiting')[LUN])
        self.assertEqual(self.run_ctl('add-lun', A, 'dm-uuid=mpath-3600'), '5\n')
        self.assertIn(f'LUN 5 of {A} waits for its device', self.stderr)
        self.assert_call(self.mock.calls[1], target_path(A), TARGET, 'AddLun', 'sa{sv}', ['dm-uuid=mpath-3600', {}])
        out = json.loads(self.run_ctl('add-lun', 'web1', '/dev/x', '--lun=0', '--readonly', '--name=n', '--serial=s', '--shareable', '--path', '--attribute',
                                      'emulate_tpu=1', '--attribute=x=a=b', '--json=short'))
        self.assertEqual((out['number'], out['wwn'], out['state'], out['path']), (5, A, 'waiting', lun_path(A, 5)))
        self.assert_call(self.mock.calls[-2], target_path(A), TARGET, 'AddLun', 'sa{sv}', ['/dev/x', {
            'number': 0, 'readonly': True, 'name': 'n', 'serial': 's', 'shareable': True, 'path': True, 'attributes': {'emulate_tpu': 1, 'x': 'a=b'}}])
        self.mock.refuse('GetAll', 'org.freedesktop.DBus.Error.Failed')
        self.mock.refuse('GetAll ' + lun_path(A, 5), 'org.freedesktop.DBus.Error.Failed')
        self.assertEqual(self.run_ctl('add-lun', A, '/dev/x'), '5\n', 'it is made whatever comes then')

    def test_remove_lun(self):
        self.mock.answer('RemoveLun')
        self.run_ctl('remove-lun', A, '16383', '--force')
        self.assert_call(self.last(), target_path(A), TARGET, 'RemoveLun', 'ua{sv}', [16383, {'force': True}])
        n = len(self.mock.calls)
        for bad, status in (('4294967296', 12), ('x', 9), ('', 9), ('1 ', 9), ('+1', 9), ('01', 9), ('0x1', 9)):
            self.run_ctl('remove-lun', A, bad, status=status)
        self.run_ctl('remove-lun', A, '-1', status=2)
        self.assertEqual(len(self.mock.calls), n)

    def test_export(self):
        self.mock.answer('Export', 'oo', target_path(B), lun_path(B, 3))
        self.mock.answer('GetAll', 'a{sv}', lun(3)[LUN])
        self.assertEqual(self.run_ctl('export', '/dev/mapper/mpatha'), f'{B} 3\n')
        self.assert_call(self.mock.calls[0], '/org/vhostscsi', MANAGER, 'Export', 'sa{sv}', ['/dev/mapper/mpatha', {}])
        self.run_ctl('export', '/dev/x', '--target=web1', '--lun=3')
        self.assert_call(self.mock.calls[-2], '/org/vhostscsi', MANAGER, 'Export', 'sa{sv}', ['/dev/x', {'target': A, 'number': 3}])
        self.run_ctl('export', '/dev/x', '--target=NAA.5001405BBBBBBBBB')
        self.assert_call(self.mock.calls[-2], '/org/vhostscsi', MANAGER, 'Export', 'sa{sv}', ['/dev/x', {'target': 'NAA.5001405BBBBBBBBB'}])

    def test_adopt(self):
        self.mock.answer('Adopt', 'o', target_path(B))
        self.assertEqual(self.run_ctl('adopt', 'NAA.5001405BBBBBBBBB'), f'{B}\n')
        self.assert_call(self.last(), '/org/vhostscsi', MANAGER, 'Adopt', 'sa{sv}', ['NAA.5001405BBBBBBBBB', {}])
        self.run_ctl('adopt', B, '--dry-run', '--if-generation=7')
        self.assert_call(self.last(), '/org/vhostscsi', MANAGER, 'Adopt', 'sa{sv}', [B, {'dry-run': True, 'if-generation': 7}])
        for words in ((), ('--all', B), (A, B)):
            self.run_ctl('adopt', *words, status=2)
        self.mock.refuse('Adopt', ERROR + 'ImportRejected', 'LUN 3 stands on rd_mcp_0/x')
        self.run_ctl('adopt', B, status=23)
        self.assertIn('LUN 3 stands on rd_mcp_0/x', self.stderr)

    def test_disarm(self):
        """Whoever comes from targetcli is told what its own service would do."""
        lines = [[A, 'adopt', '']]
        self.mock.answer('Adopt', 'o', target_path(B))
        self.mock.answer('ImportConfig', 'a(sss)', lines)
        self.run_ctl('adopt', B)
        self.assertEqual(self.stderr, '')
        self.mock.order(systemd=True)
        for words in (['adopt', B], ['adopt', '--all'], ['import', 'targetcli', '-'], ['import', 'targetcli', '-', '--dry-run']):
            self.units()
            self.run_ctl(*words)
            notes = [n for n in self.stderr.splitlines() if 'Disarm' in n]
            self.assertEqual([n.split()[0] for n in notes], ['rtslib-fb-targetctl.service', 'target.service'])
            for word in ('enabled and active', "'systemctl edit target.service'", 'ExecStop= (empty)', "'systemctl disable target.service'", 'Do not stop it'):
                self.assertIn(word, notes[1])
        self.units(stops=False)
        self.run_ctl('adopt', B)
        self.assertIn("Disarm it, for its targets are this service's from now on: 'systemctl disable target.service', without --now.", self.stderr)
        self.units()
        self.run_ctl('import', 'native', '-')
        self.assertNotIn('Disarm', self.stderr)

    def test_import(self):
        self.mock.answer('ImportConfig', 'a(sss)', [[B, 'create', '']])
        self.run_ctl('import', 'targetcli', '-', f'--target={B}', '--partly')
        self.assertEqual(self.last()['args'][2], {'target': B, 'partly': True})
        self.mock.refuse('ImportConfig', ERROR + 'NotFound', 'The document has no target x')
        self.run_ctl('import', 'targetcli', '-', f'--target={B}', status=3)
        self.run_ctl('apply', '-', f'--target={B}', status=2)

    def test_adopt_all(self):
        foreign = [t['wwn'] for t in json.loads(self.run_ctl('list', '--json=short')) if t['managed_by'] == 'foreign']
        self.assertTrue(foreign)
        self.mock.answer('Adopt', 'o', target_path(foreign[0]))
        self.assertEqual(self.run_ctl('adopt', '--all').split(), foreign)
        self.assertEqual([c['args'][0] for c in self.mock.calls if c['member'] == 'Adopt'], foreign)
        self.mock.refuse('Adopt', ERROR + 'ImportRejected', 'no')
        results = json.loads(self.run_ctl('adopt', '--all', '--json=short', status=23))
        self.assertEqual([(r['wwn'], r['status']) for r in results], [(w, 23) for w in foreign])
        self.assertIn(f'adopt {foreign[0]}: no', self.stderr)

    def test_rescan(self):
        self.mock.answer('Rescan')
        self.run_ctl('rescan')
        self.assert_call(self.last(), '/org/vhostscsi', MANAGER, 'Rescan', '', [])

    def test_interactive_flag(self):
        self.mock.answer('Destroy')
        self.run_ctl('destroy', A)
        self.assertTrue(self.last()['interactive'])
        self.run_ctl('destroy', A, '--no-ask-password')
        self.assertFalse(self.last()['interactive'])

    def test_slow(self):
        self.mock.answer('Destroy', delay=1500)
        self.run_ctl('destroy', A)
        self.assertEqual(self.stderr, '', 'no progress where there is no terminal')

    def test_interrupted(self):
        self.mock.answer('Destroy', delay=-1)
        p = subprocess.Popen([VHSCSICTL, 'destroy', A], env=self.env, stderr=subprocess.PIPE, text=True)
        self.mock.wait_for_call('Destroy')
        p.send_signal(signal.SIGINT)
        self.assertIn('The daemon goes on with it', p.communicate(timeout=10)[1])
        self.assertEqual(p.returncode, 130)


class TestHistory(Case):
    ENTRIES = [[30, 1700000000000000, 4294967295, '', 'udev rules', [B]], [20, 0, 0, 'virsh', 'destroy ' + A + '\n', [A]],
               [10, 1600000000000000, 4000000000, '', 'create ' + A, [A]]]

    def documents(self, *documents):
        """What ExportConfig answers, one after the other."""
        answers = [{'signature': 'h', 'reply': [json.dumps({'format': 'vhscsid', 'version': 1, 'targets': d})]} for d in documents]
        self.mock.order(on='ExportConfig', next=answers[1], **answers[0])

    def test_history(self):
        self.mock.answer('History', 'a(ttussas)', self.ENTRIES)
        lines = self.run_ctl('history', env={'TZ': 'UTC'}).splitlines()
        self.assert_call(self.last(), '/org/vhostscsi', MANAGER, 'History', 'a{sv}', [{}])
        self.assertEqual([line.split()[0] for line in lines], ['GENERATION', '30', '20', '10', '9'])
        self.assertEqual(lines[1].split(), ['30', '2023-11-14', '22:13:20', 'vhscsid', 'udev', 'rules'])
        self.assertEqual(lines[2].split()[:4], ['20', '-', 'root', '(virsh)'])
        self.assertIn('destroy ' + A + '\\n', lines[2])
        self.assertIn('uid 4000000000', lines[3])
        entries = json.loads(self.run_ctl('history', '--json=short'))
        self.assertEqual(entries[0], {'generation': 30, 'time': 1700000000000000, 'uid': None, 'program': '', 'reason': 'udev rules', 'targets': [B]})
        self.assertEqual([e['uid'] for e in entries], [None, 0, 4000000000])
        self.mock.answer('History', 'a(ttussas)', [])
        self.assertEqual(self.run_ctl('history'), '')
        self.assertIn('Nothing has been changed', self.stderr)
        self.assertEqual(self.run_ctl('history', '--json=short'), '[]\n')
        self.mock.refuse('History', 'org.freedesktop.DBus.Error.AccessDenied')
        self.run_ctl('history', status=10)

    def test_diff(self):
        one = {'wwn': A, 'label': 'web', 'nexus': 'naa.5', 'luns': [{'number': 0, 'source': 'wwid=1', 'readonly': False, 'attributes': {'queue_depth': '64'}},
                                                                    {'number': 10, 'source': 'wwid=2\x1b'}]}
        two = {'wwn': A, 'nexus': 'naa.5', 'luns': [{'number': 0, 'source': 'wwid=1', 'readonly': True, 'attributes': {'queue_depth': '64'}},
                                                    {'number': 2, 'source': 'wwid=3'}]}
        self.documents([one], [two, {'wwn': B, 'luns': []}])
        self.assertEqual(self.run_ctl('diff', '10', '20').splitlines(), [
            f'- {A} label=web', f'- {A}/lun 0 readonly=false', f'+ {A}/lun 0 readonly=true', f'+ {A}/lun 2 source=wwid=3',
            f'- {A}/lun 10 source=wwid=2\\x1b', f'+ {B}'])
        calls = [c['args'] for c in self.mock.calls if c['member'] == 'ExportConfig']
        self.assertEqual(calls, [['native', {'generation': 10}], ['native', {'generation': 20}]])

        self.documents([one], [two])
        differences = json.loads(self.run_ctl('diff', '10', '--json=short'))
        self.assertEqual([d['object'] for d in differences], [A, f'{A}/lun 0', f'{A}/lun 2', f'{A}/lun 10'])
        self.assertEqual(differences[2], {'object': f'{A}/lun 2', 'before': None, 'after': {'source': 'wwid=3'}})
        self.assertEqual(self.last()['args'], ['native', {}])

        # Without a generation: what the last change did.
        self.mock.answer('History', 'a(ttussas)', self.ENTRIES)
        self.documents([one], [one])
        self.assertEqual(self.run_ctl('diff'), '')
        self.assertEqual([c['args'][1] for c in self.mock.calls if c['member'] == 'ExportConfig'][-2:], [{'generation': 29}, {}])
        self.mock.refuse('ExportConfig', 'org.vhostscsi.Error.NotFound')
        self.run_ctl('diff', '7', status=3)
        for bad in ('x', '-1', '1x', '18446744073709551616', ''):
            self.run_ctl('diff', '--', bad, status=9)

    def test_dump(self):
        self.mock.answer('ExportConfig', 'h', '{}\n')
        self.mock.answer('CheckExport', 'a(sss)', [])
        self.assertEqual(self.run_ctl('dump', 'native', '--generation=12', '--portable'), '{}\n')
        self.assertEqual(self.last()['args'], ['native', {'generation': 12, 'portable': True}])
        self.run_ctl('dump', 'native', '--generation=x', status=2)

    def test_dump_tells_what_is_lost(self):
        losses = [[A, 'note', 'not kept: nexus'], ['file', 'info', 'usual'], [A + '/lun 1', 'refuse', 'left out: no path']]
        self.mock.answer('ExportConfig', 'h', '{}\n')
        self.mock.answer('CheckExport', 'a(sss)', losses[:2])
        self.assertEqual(self.run_ctl('dump', 'targetcli'), '{}\n')
        self.assertEqual(self.stderr, f'{A}: not kept: nexus\n')
        self.mock.answer('CheckExport', 'a(sss)', losses + [[B, 'note', 'more']] * 30)
        self.assertEqual(self.run_ctl('dump', 'targetcli', '--partly', status=46), '{}\n')
        self.assertEqual(self.last()['args'], ['targetcli', {'partly': True}])
        for line in (f'{A}/lun 1: left out: no path', '... and 12 notes more.', '1 LUN was left out.'):
            self.assertIn(line, self.stderr.splitlines())
        self.mock.refuse('ExportConfig', ERROR + 'ImportRejected', '1 LUN cannot be said')
        self.assertEqual(self.run_ctl('dump', 'targetcli', status=23), '')
        self.assertIn('--partly', self.stderr)

    def test_rollback(self):
        self.mock.answer('Rollback', 'a(sss)', [[A, 'create', ''], [A + '/lun 0', 'create', 'wwid=1']])
        self.assertIn('create', self.run_ctl('rollback', '9'))
        self.assert_call(self.last(), '/org/vhostscsi', MANAGER, 'Rollback', 'ta{sv}', [9, {}])
        self.assertIn('2 changes', self.stderr)
        self.run_ctl('rollback', '9', '--dry-run', '--force', '--partly', '--if-generation=30', '--timeout=1')
        self.assertEqual(self.last()['args'], [9, {'dry-run': True, 'force': True, 'partly': True, 'if-generation': 30, 'timeout': 1000000}])
        self.assertIn('Nothing was changed', self.stderr)
        self.mock.answer('Rollback', 'a(sss)', [[A, 'refuse', 'no']])
        self.run_ctl('rollback', '9', '--partly', status=46)
        self.run_ctl('rollback', status=2)
        self.run_ctl('rollback', '9', '--prune', status=2)
        self.run_ctl('rollback', 'x', status=9)


class TestRefusals(Case):
    def table(self):
        """exit-status.c's own table: name to number."""
        with open(f'{ROOT}/client/exit-status.c', encoding='utf-8') as f:
            text = f.read()
        with open(f'{ROOT}/client/exit-status.h', encoding='utf-8') as f:
            numbers = dict(re.findall(r'(EXIT_\w+) = (\d+)', f.read()))
        rows = re.findall(r'\{ (VHOSTSCSI_ERROR|STANDARD)?\(?"([\w.]+)"\)?, +(\w+),', text)
        prefix = {'VHOSTSCSI_ERROR': ERROR, 'STANDARD': 'org.freedesktop.DBus.Error.', '': ''}
        return {prefix[kind] + name: int(numbers.get(n, n)) for kind, name, n in rows}

    def test_every_error(self):
        table = self.table()
        self.assertGreater(len(table), 40)
        ours = [n for e, n in table.items() if e.startswith(ERROR)]
        self.assertEqual(len(ours), len(set(ours)), 'each refusal has its own number')
        for error, number in table.items():
            with self.subTest(error=error):
                self.mock.refuse('AddLun', error, 'the reason')
                self.run_ctl('add-lun', A, '/dev/x', status=number)
                self.assertTrue(self.stderr.startswith(f'vhscsictl: add-lun {A} /dev/x: '), self.stderr)
                self.assertIn('the reason', self.stderr)
                self.assertEqual(self.stderr.count('\n'), 1)

    def test_all_of_the_daemon(self):
        path = f'{ROOT}/daemon/engine/refusal.c'
        if not os.path.exists(path):
            self.skipTest('no daemon')
        with open(path, encoding='utf-8') as f:
            names = re.findall(r'VHOSTSCSI_ERROR\("(\w+)"\)', f.read())
        self.assertTrue(names)
        for name in names:
            self.assertIn(ERROR + name, self.table())

    def test_documented(self):
        with open(f'{ROOT}/man/vhscsictl.1.scd', encoding='utf-8') as f:
            man = f.read()
        section = man[man.index('# EXIT STATUS'):]
        rows = dict(re.findall(r'^\|\[? +(\d+)\n:\[? +(.*)$', section, re.M))
        for error, number in self.table().items():
            if not error.startswith(('org.freedesktop.DBus.Error.Spawn', 'org.freedesktop.systemd1')):
                self.assertIn(error.split('.')[-1], rows.get(str(number), ''), f'{number} in the man page')
        for number in ('0', '1', '2', '40', '41', '42', '43', '130'):
            self.assertIn(number, rows)
        text = self.run_ctl('--help')
        for option in set(re.findall(r'--[a-z][a-z-]+', text)):
            self.assertIn('*' + option, man, 'option in the man page')
        verbs = re.findall(r'^  ([a-z][a-z-]+) ', text, re.M)
        self.assertEqual(len(verbs), 28)
        with open(f'{ROOT}/client/vhscsictl.c', encoding='utf-8') as f:
            self.assertEqual(sorted(verbs), sorted(re.findall(r'^        \{ "([a-z-]+)",', f.read(), re.M)))
        for verb in verbs:
            self.assertRegex(man, rf'(?m)^\*{verb}\*')
            for shell in ('vhscsictl.bash', '_vhscsictl', 'vhscsictl.fish'):
                with open(f'{ROOT}/client/completion/{shell}', encoding='utf-8') as f:
                    self.assertRegex(f.read(), rf'\b{verb}\b', shell)

    def test_unknown_error(self):
        self.mock.refuse('Rescan', 'com.example.Strange', 'odd')
        self.run_ctl('rescan', status=1)
        self.assertEqual(self.stderr, 'vhscsictl: rescan: odd.\n')

    def test_daemon_dies(self):
        self.mock.answer('Destroy', delay=-1)
        p = subprocess.Popen([VHSCSICTL, 'destroy', A], env=self.env, stderr=subprocess.PIPE, text=True)
        self.mock.wait_for_call('Destroy')
        self.mock.process.kill()
        self.mock.process.wait()
        self.assertIn('the daemon gave no answer', p.communicate(timeout=10)[1])
        self.assertEqual(p.returncode, 29)
        self.run_ctl('list', status=28)
        self.assertIn('systemctl start vhscsid', self.stderr)

    def test_no_bus(self):
        for name in ('DBUS_SYSTEM_BUS_ADDRESS', 'VHOSTSCSI_BUS_ADDRESS'):
            self.run_ctl('list', status=28, env={name: 'unix:path=/nonexistent'})
            self.assertIn('cannot connect', self.stderr)
        self.run_ctl('list', env={'DBUS_SYSTEM_BUS_ADDRESS': 'unix:path=/nonexistent',
                                  'VHOSTSCSI_BUS_ADDRESS': self.env['DBUS_SYSTEM_BUS_ADDRESS']})

    def test_remote(self):
        """-H goes through ssh: here, a stand-in that is connected to our own bus."""
        path = self.env['DBUS_SYSTEM_BUS_ADDRESS'].split('path=')[1].split(',')[0]
        directory = tempfile.mkdtemp(prefix='vhscsictl-ssh-')
        self.addCleanup(shutil.rmtree, directory)
        with open(f'{directory}/ssh', 'w', encoding='ascii') as f:
            f.write(f'#!{sys.executable}\nimport os, select, socket, sys\n'
                    f'open("{directory}/args", "w").write(" ".join(sys.argv[1:]))\n'
                    f's = socket.socket(socket.AF_UNIX)\ns.connect("{path}")\n'
                    'while True:\n'
                    '    for fd in select.select([0, s.fileno()], [], [])[0]:\n'
                    '        data = os.read(fd, 65536)\n'
                    '        if not data:\n            sys.exit(0)\n'
                    '        os.write(1, data) if fd else s.sendall(data)\n')
        os.chmod(f'{directory}/ssh', 0o755)
        env = {'PATH': f'{directory}:{self.env["PATH"]}', 'DBUS_SYSTEM_BUS_ADDRESS': 'unix:path=/nonexistent'}
        self.assertIn(A, self.run_ctl('-H', 'root@far', 'list', env=env))
        with open(f'{directory}/args', encoding='ascii') as f:
            self.assertIn('root@far', f.read())
        with open(f'{directory}/ssh', 'w', encoding='ascii') as f:
            f.write('#!/bin/sh\nexit 255\n')
        self.run_ctl('--host=far', 'list', status=28, env=env)
        self.assertIn('far', self.stderr)
        self.run_ctl('-M', 'no-such-machine', 'list', status=28, env=env)

    def test_usage(self):
        for args in (['what'], ['show'], ['show', A, B], ['list', 'x'], ['--json=xml', 'list'], ['list', '--force'], ['create', '--lun=1'],
                     ['add-lun', A, 'x', '--label=y'], ['add-lun', A, 'x', '--lun=-1'], ['add-lun', A, 'x', '--lun='], ['--frob'],
                     ['add-lun', A, 'x', '--attribute=novalue'], ['add-lun', A, 'x', '--attribute==1'], ['destroy', A, '--timeout=soon'],
                     ['destroy', A, '--timeout=0'], ['destroy', A, '--timeout=-1'], ['destroy', A, '--timeout=99999999999999999999'],
                     ['destroy', A, '--if-generation=x'], ['-H', 'a', '-M', 'b', 'list'], ['-H', '', 'list'], ['-H', '-oProxyCommand=x', 'list'],
                     ['--force'], ['add-lun', A, 'x', '--lun=1', '--lun=2'], ['add-lun', A, 'x', '--attribute=a=1', '--attribute=a=2'],
                     [''], ['create', '--label'], ['set-label', A]):
            with self.subTest(args=args):
                self.assertEqual(self.run_ctl(*args, status=2), '')
                self.assertIn('vhscsictl', self.stderr)
        self.run_ctl('add-lun', A, 'x', '--lun=4294967296', status=12)
        self.assertEqual(self.mock.calls, [])

    def test_hostile_arguments(self):
        self.mock.refuse('GetTarget', ERROR + 'InvalidWwn', 'not a WWN')
        for name in (b'\xff\xfe', b'../..', b'naa.zzz', b'fc.1', b'iqn.x', b'a\nb', b'naa.' + b'5' * 15, b'naa.' + b'5' * 17, b'x' * 100000, b'\x1b[2J'):
            with self.subTest(name=name[:20]):
                for verb in (b'show', b'destroy'):
                    self.run_ctl(verb, name, status=7)
                    self.assertEqual(self.stderr.count('\n'), 1)
                    self.assertLess(len(self.stderr), 500)
                    self.assertNotIn('\x1b', self.stderr)
        self.assertEqual({c['member'] for c in self.mock.calls}, {'GetTarget', 'GetManagedObjects'})
        self.mock.answer('GetTarget', 'o', target_path(A))
        self.run_ctl(b'add-lun', A.encode(), b'/dev/\xff', status=8)
        self.run_ctl(b'export', b'/dev/\xff', status=8)
        self.run_ctl(b'create', b'\xff', status=7)
        self.run_ctl(b'set-label', A.encode(), b'\xff', status=9)
        self.run_ctl(b'create', b'--label=\xff', status=2)

    def test_wrong_replies(self):
        """A daemon that answers with other types is an error, never a crash."""
        self.mock.answer('GetManagedObjects', 's', 'x')
        self.run_ctl('list', status=1)
        self.mock.answer('ListDevices', 'as', [])
        self.run_ctl('devices', status=1)
        self.mock.answer('CreateTarget', 's', 'x')
        self.run_ctl('create', status=1)
        self.mock.answer('AddLun', 'o', '/elsewhere')
        self.run_ctl('add-lun', A, 'x', status=1)
        self.mock.order(**objects((target_path(A), {TARGET: {'Wwn': ['u', 5], 'Label': ['as', ['x']], 'LastError': ['s', 'x']}}),
                                  (lun_path(A, 0), {LUN: {}}), (lun_path(B, 0), {LUN: {}})))
        self.assertEqual(len(self.run_ctl('list').splitlines()), 2)

    def test_output_fails(self):
        with open('/dev/full', 'wb') as full:
            p = subprocess.run([VHSCSICTL, 'list'], env=self.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(p.returncode, 1)
        self.assertIn('No space left', p.stderr)

    def test_help_and_version(self):
        self.assertIn('Exit status', self.run_ctl('--help'))
        self.assertRegex(self.run_ctl('--version'), r'^vhscsictl \d')
        self.assertTrue(all(len(line) <= 100 for line in self.run_ctl('-h').splitlines()))


class TestMonitor(Case):
    def start(self, *args):
        self.monitor = subprocess.Popen([VHSCSICTL, 'monitor', *args], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(lambda monitor: (monitor.kill(), monitor.wait(), monitor.stdout.close(), monitor.stderr.close()), self.monitor)
        self.output = b''
        return self.line()

    def line(self):
        # Past Python's buffer: with a second line in it, there would be nothing to select.
        while b'\n' not in self.output:
            if not select.select([self.monitor.stdout], [], [], 10)[0]:
                self.fail('no line')
            self.output += os.read(self.monitor.stdout.fileno(), 4096)
        line, self.output = self.output.split(b'\n', 1)
        return line.decode() + '\n'

    def signals(self):
        self.mock.order(signal='InterfacesAdded', path='/org/vhostscsi', interface='org.freedesktop.DBus.ObjectManager', signature='oa{sa{sv}}',
                        args=[lun_path(A, 0), {'org.freedesktop.DBus.Peer': {}, **lun(0)}])
        yield self.line()
        self.mock.order(signal='PropertiesChanged', path=lun_path(A, 0), interface='org.freedesktop.DBus.Properties', signature='sa{sv}as',
                        args=[LUN, {'State': ['s', 'degraded'], 'Size': ['t', 5]}, ['Health']])
        yield self.line()
        self.mock.order(signal='PropertiesChanged', path='/org/vhostscsi', interface='org.freedesktop.DBus.Properties', signature='sa{sv}as',
                        args=[MANAGER, {'Generation': ['t', 78]}, []])
        yield self.line()
        self.mock.order(signal='InterfacesRemoved', path='/org/vhostscsi', interface='org.freedesktop.DBus.ObjectManager', signature='oas',
                        args=[target_path(A), [TARGET]])
        yield self.line()
        self.mock.order(own=False)
        yield self.line()
        self.mock.order(own=True)
        yield self.line()

    def test_lines(self):
        self.assertIn('Following', self.start())
        added, changed, manager, removed, left, joined = self.signals()
        self.assertRegex(added, rf'^\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{{3}} added {A} LUN 0 .*state=online')
        self.assertRegex(changed, rf' changed {A} LUN 0 state=degraded size=5 Health=\?$')
        self.assertRegex(manager, r' changed daemon generation=78$')
        self.assertRegex(removed, rf' removed {A}$')
        self.assertIn('left the bus', left)
        self.assertIn('is on the bus', joined)
        self.monitor.send_signal(signal.SIGINT)
        self.assertEqual(self.monitor.wait(10), 0)
        self.assertEqual(self.monitor.stderr.read(), '')

    def test_json_lines(self):
        events = [json.loads(self.start('--json=short'))] + [json.loads(line) for line in self.signals()]
        self.assertEqual([e['event'] for e in events], ['daemon-joined', 'added', 'changed', 'changed', 'removed', 'daemon-left', 'daemon-joined'])
        self.assertEqual((events[1]['wwn'], events[1]['lun'], events[1]['path']), (A, 0, lun_path(A, 0)))
        self.assertEqual(events[1]['properties']['size'], 10 << 30)
        self.assertEqual((events[2]['properties'], events[2]['invalidated']), ({'state': 'degraded', 'size': 5}, ['Health']))
        self.assertNotIn('lun', events[4])
        self.assertRegex(events[0]['time'], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$')
        self.monitor.send_signal(signal.SIGTERM)
        self.assertEqual(self.monitor.wait(10), 0)

    def change(self, **properties):
        self.mock.order(signal='PropertiesChanged', path=lun_path(A, 3), interface='org.freedesktop.DBus.Properties', signature='sa{sv}as',
                        args=[LUN, properties, []])
        return self.line()

    def test_resize(self):
        """What the guest has to do is said for a disk that grew, and not for one that came or went; programs get the size alone."""
        self.start()
        self.assertTrue(self.change(Size=['t', 96 << 20]).endswith(f' changed {A} LUN 3 size={96 << 20}\n'))
        self.assertIn('old size', self.line())
        self.assertEqual(self.line().strip(), 'echo 1 > /sys/class/block/sdX/device/rescan')
        for other in ({'Size': ['t', 0]}, {'Size': ['t', 5], 'Device': ['s', '/dev/sdx'], 'State': ['s', 'attaching']}, {'Health': ['s', 'ok']},
                      {'Size': ['t', 5], 'State': ['s', 'attaching']}):
            self.assertIn(f' changed {A} LUN 3 ', self.change(**other))
        self.assertIn(' health=degraded', self.change(Health=['s', 'degraded']))
        self.monitor.send_signal(signal.SIGINT)
        self.assertEqual(self.monitor.wait(10), 0)
        self.start('--json=short')
        self.assertEqual(json.loads(self.change(Size=['t', 7]))['properties'], {'size': 7})
        self.assertEqual(json.loads(self.change(Health=['s', 'ok']))['properties'], {'health': 'ok'})

    def test_waits_for_the_daemon(self):
        self.mock.order(own=False)
        self.assertIn('not on the bus', self.start())
        self.mock.order(own=True)
        self.assertIn('is on the bus', self.line())


class TestTerminal(Case):
    def run_pty(self, *args, env=None, seconds=20, **more):
        """Runs it on a terminal of 80 columns; returns all that the terminal got."""
        master, slave = pty.openpty()
        termios = __import__('termios')
        termios.tcsetwinsize(slave, (24, 80))
        p = subprocess.Popen([VHSCSICTL, *args], env={**self.env, 'TERM': 'xterm', 'SYSTEMD_PAGER': '', **(env or {})},
                             stdin=slave, stdout=slave, stderr=slave, start_new_session=True, **more)
        os.close(slave)
        out = b''
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not select.select([master], [], [], 0.2)[0]:
                if p.poll() is not None:
                    break
                continue
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            out += data
        os.close(master)
        self.status = p.wait(10)
        return out.decode()

    def test_colors(self):
        self.assertIn('\x1b[33mincomplete\x1b[0m', self.run_pty('list'))
        for env in ({'NO_COLOR': '1'}, {'TERM': 'dumb'}):
            self.assertNotIn('\x1b', self.run_pty('list', env=env))
        self.assertNotIn('\x1b', self.run_pty('list', '--json=pretty'))

    def test_width(self):
        self.mock.order(**objects((target_path(A), target(A, 'x' * 300))))
        lines = self.run_pty('list', env={'NO_COLOR': '1'}).splitlines()
        self.assertEqual(len(lines[0]), 80)
        self.assertIn('…', lines[1])

    @unittest.skipIf(os.path.exists('/etc/rtslib-fb-target/saveconfig.json') or os.path.exists('/etc/target/saveconfig.json'), 'it has one')
    def test_import_of_nothing(self):
        """Nobody waits for a configuration to be typed in."""
        out = self.run_pty('import', 'targetcli')
        self.assertEqual(self.status, 1)
        for word in ('neither /etc/rtslib-fb-target/saveconfig.json nor', 'Name a file'):
            self.assertIn(word, out.replace('\r\n', ''))

    def test_pager(self):
        seen = f'{self.dir}/pager-saw'
        pager = f'{self.dir}/pager'
        with open(pager, 'w', encoding='ascii') as f:
            f.write(f'#!/bin/sh\necho "args:$*" >{seen}\nexec cat >>{seen}\n')
        os.chmod(pager, 0o755)
        for env in ({'SYSTEMD_PAGER': f'{pager} -x y'}, {'PAGER': f'{pager} -x y'}):
            env = {'SYSTEMD_PAGERSECURE': '0', **env}
            environment = {**self.env, 'TERM': 'xterm', **env}
            master, slave = pty.openpty()
            p = subprocess.run([VHSCSICTL, 'list'], env=environment, stdout=slave, stdin=slave, check=False, timeout=20)
            os.close(slave)
            os.close(master)
            self.assertEqual(p.returncode, 0)
            with open(seen, encoding='utf-8') as f:
                text = f.read()
            self.assertTrue(text.startswith('args:-x y\n'))
            self.assertIn(A, text)
            os.unlink(seen)
        self.assertIn(A, self.run_pty('list', '--no-pager', env={'SYSTEMD_PAGER': pager}))
        self.assertFalse(os.path.exists(seen))
        self.assertIn(A, self.run_pty('list', env={'SYSTEMD_PAGER': '/nonexistent', 'PATH': '/nonexistent'}), 'without any pager')

    def test_progress(self):
        self.mock.answer('Destroy', delay=1800)
        out = self.run_pty('destroy', A)
        self.assertEqual(self.status, 0)
        self.assertRegex(out, rf'1 s destroy {A}')
        self.assertTrue(out.endswith('\r\x1b[K'), 'the line is wiped')
        news = threading.Timer(0.6, lambda: self.mock.order(
            signal='PropertiesChanged', path=lun_path(A, 7), interface='org.freedesktop.DBus.Properties', signature='sa{sv}as',
            args=[LUN, {'State': ['s', 'draining']}, []]))
        news.start()
        self.assertIn(f'destroy {A} (LUN 7 of {A} is draining)', self.run_pty('destroy', A))
        news.join()
        self.mock.answer('Destroy')
        self.assertEqual(self.run_pty('destroy', A), '')

    def test_agent(self):
        """For somebody who is not root, pkttyagent runs during calls that change something, and only then."""
        directory = tempfile.mkdtemp(prefix='vhscsictl-agent-')
        self.addCleanup(shutil.rmtree, directory)
        os.chmod(directory, 0o777)
        agent = f'{directory}/pkttyagent'
        with open(agent, 'w', encoding='ascii') as f:
            f.write(f'#!/bin/bash\necho "$*" >{directory}/started\ntrap "echo stopped >{directory}/stopped; exit" TERM\n'
                    'fd=$2; eval "exec $fd>&-"\nwhile :; do sleep 0.1; done\n')
        os.chmod(agent, 0o755)
        more = {'user': 65534} if os.geteuid() == 0 else {}
        if more and not os.access(VHSCSICTL, os.X_OK):
            self.skipTest('nobody cannot run it')
        env = {'PATH': f'{directory}:{self.env["PATH"]}'}
        self.mock.answer('Destroy', delay=1300)
        try:
            self.run_pty('list', env=env, **more)
        except PermissionError:
            self.skipTest('user nobody cannot get at the program')
        self.assertEqual(self.status, 0)
        self.assertFalse(os.path.exists(f'{directory}/started'))
        self.run_pty('destroy', A, '--no-ask-password', env=env, **more)
        self.assertFalse(os.path.exists(f'{directory}/started'))
        out = self.run_pty('destroy', A, env=env, **more)
        self.assertEqual(self.status, 0)
        self.assertEqual(out, '', 'no progress over the password prompt')
        with open(f'{directory}/started', encoding='ascii') as f:
            self.assertRegex(f.read(), r'^--notify-fd \d+ --fallback$')
        self.assertTrue(os.path.exists(f'{directory}/stopped'))


class TestCompletion(Case):
    def environment(self):
        bindir = f'{self.dir}/bin'
        os.makedirs(bindir, exist_ok=True)
        if not os.path.exists(f'{bindir}/vhscsictl'):
            os.symlink(VHSCSICTL, f'{bindir}/vhscsictl')
        return {**self.env, 'PATH': f'{bindir}:{self.env["PATH"]}'}

    def complete(self, *words):
        script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; '
                  '_vhscsictl; printf "%s\\n" "${COMPREPLY[@]}"')
        p = subprocess.run(['bash', '-c', script, 'bash', f'{ROOT}/client/completion/vhscsictl.bash', *words], stdout=subprocess.PIPE, text=True,
                           env=self.environment(), check=True, timeout=20)
        return p.stdout.split()

    def test_bash(self):
        self.assertEqual(self.complete('vhscsictl', 's'), ['show', 'status', 'stat', 'set-label'])
        self.mock.answer('History', 'a(ttussas)', TestHistory.ENTRIES)
        self.assertEqual(self.complete('vhscsictl', 'rollback', ''), ['30', '20', '10', '9'])
        self.assertEqual(self.complete('vhscsictl', 'diff', '10', '2'), ['20'])
        self.assertEqual(self.complete('vhscsictl', 'show', 'naa.5001405a'), [A])
        self.assertEqual(self.complete('vhscsictl', 'show', 'web'), ['web1'])
        self.assertEqual(self.complete('vhscsictl', 'qemu-args', '--queues=4', 'web'), ['web1'])
        self.assertEqual(self.complete('vhscsictl', 'qemu-args', '--bus', ''), ['pci', 'ccw'])
        self.assertIn('--address', self.complete('vhscsictl', 'libvirt-xml', '--'))
        self.assertNotIn('naa.6001405eeeeeeeee', self.complete('vhscsictl', 'destroy', ''), 'foreign ones cannot be destroyed')
        self.assertEqual(self.complete('vhscsictl', 'remove-lun', A, ''), ['0', '2', '10'])
        self.assertIn('--force', self.complete('vhscsictl', 'destroy', '--'))
        self.assertNotIn('--lun', self.complete('vhscsictl', 'destroy', '--'))
        self.mock.answer('ListDevices', 'aa{sv}', [{'path': ['s', '/dev/dm-1'], 'identity': ['s', 'wwid=36001'], 'verdict': ['s', 'usable']},
                                                   {'path': ['s', '/dev/sda'], 'identity': ['s', 'wwid=5'], 'verdict': ['s', 'in-use']}])
        self.assertEqual(self.complete('vhscsictl', 'add-lun', A, '/dev/'), ['/dev/dm-1'])
        self.assertEqual(self.complete('vhscsictl', '--no-pager', 'export', 'wwid='), ['wwid=36001'])
        self.assertEqual(self.complete('vhscsictl', '--json', ''), ['short', 'pretty', 'off'])

    def test_fish(self):
        if not shutil.which('fish'):
            self.skipTest('no fish')

        def complete(line):
            p = subprocess.run(['fish', '--no-config', '-c', f'source {ROOT}/client/completion/vhscsictl.fish; complete -C "{line}"'],
                               stdout=subprocess.PIPE, text=True, env=self.environment(), check=True, timeout=20)
            return [row.split('\t')[0] for row in p.stdout.splitlines()]

        self.assertEqual(sorted(complete('vhscsictl s')), ['set-label', 'show', 'stat', 'status'])
        self.assertEqual(complete('vhscsictl show naa.5001405a'), [A])
        self.assertIn('web1', complete('vhscsictl --no-pager destroy '))
        self.assertNotIn('naa.6001405eeeeeeeee', complete('vhscsictl destroy '))
        self.assertEqual(sorted(complete(f'vhscsictl remove-lun {A} ')), ['0', '10', '2'])
        self.assertEqual(complete('vhscsictl destroy --for'), ['--force'])
        self.assertEqual(complete('vhscsictl destroy --lun'), [])
        self.mock.answer('ListDevices', 'aa{sv}', [{'path': ['s', '/dev/dm-1'], 'identity': ['s', 'wwid=36001'], 'verdict': ['s', 'usable']}])
        self.assertEqual(complete('vhscsictl export ww'), ['wwid=36001'])

    def test_zsh(self):
        """In a real zsh on a terminal of its own: what a Tab makes of the line."""
        if not shutil.which('zsh'):
            self.skipTest('no zsh')

        script = (f'fpath=({ROOT}/client/completion $fpath); zmodload zsh/zpty; zpty z zsh -fi; '
                  "zpty -w z 'PS1=; unsetopt zle_bracketed_paste; fpath=($fpath " + f"{ROOT}/client/completion" + "); autoload -Uz compinit; "
                  "compinit -u -D; zstyle \":completion:*\" menu no; stty -echo'; "
                  'zpty -w -n z "$1"$\'\\t\'; zpty -r -m z out "*$2*"; print -r -- "$out"')

        # Reads until the completed line is there, or the deadline.
        for line, completed in (('vhscsictl show naa.5001405a', f'vhscsictl show {A}'), ('vhscsictl remove-lun web1 1', 'vhscsictl remove-lun web1 10')):
            with self.subTest(line=line):
                subprocess.run(['zsh', '-f', '-c', script, 'zsh', line, completed], stdout=subprocess.DEVNULL,
                               env={**self.environment(), 'TERM': 'dumb'}, check=True, timeout=30)


if __name__ == '__main__':
    if not shutil.which('dbus-daemon'):
        sys.exit('test-client: dbus-daemon is missing (Debian package dbus-daemon)')
    if not VHSCSICTL or not MOCK:
        sys.exit('test-client: set VHSCSICTL and MOCK_DAEMON to the built programs, or run it by meson test')
    unittest.main()
