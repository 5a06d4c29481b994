# SPDX-License-Identifier: MIT OR Apache-2.0
"""What modules share: arguments, calls, documents and differences, without a target."""

import json
import os
import tempfile
import unittest
import unittest.mock

from ansible_collections.patchadm.patch.plugins.module_utils import patchadm

STATE = {'kind': 'file', 'mode': 0o4755, 'uid': 0, 'gid': 2, 'mtime': {'seconds': 1, 'nanoseconds': 0}, 'size': 3}


def answer(**fields):
    """Returns the answer that a document with these fields is."""
    document = {'schema': 'patchadm/1', 'command': 'add', 'exit_code': 0, 'cause': 'ok'}
    document.update(fields)
    return patchadm.Answer(['patchadm'], document['exit_code'], json.dumps(document), '')


class FakeModule(object):
    """A module that keeps what it was called with and answers what it was given."""

    def __init__(self, params, answers, check_mode=False, diff=False):
        self.params = dict({'root': '/', 'executable': 'patchadm'}, **params)
        self.answers = list(answers)
        self.calls = []
        self.check_mode = check_mode
        self._diff = diff

    def get_bin_path(self, name, opt_dirs=None):
        """Finds every program but one."""
        return None if name == 'missing' else '/usr/bin/' + name

    def run_command(self, words, expand_user_and_vars=True, environ_update=None):
        """Answers by the next document."""
        assert not expand_user_and_vars, 'a probe has variables that are its own'
        self.calls.append(words)
        document = self.answers.pop(0)
        return document['exit_code'], json.dumps(dict(document, schema='patchadm/1')), ''


class Ids(unittest.TestCase):
    """What is an id."""

    def test_ids_with_any_separator_are_ids(self):
        for text in ('105181-05', 'IDR148363-26', 'ACME-web-3', 'a+b_c.d-1', '100v2'):
            patchadm.check_id(text, with_revision=True)

    def test_a_base_is_an_id_only_where_a_revision_may_be_missing(self):
        patchadm.check_id('105181', with_revision=False)
        with self.assertRaises(patchadm.Refused):
            patchadm.check_id('105181', with_revision=True)

    def test_what_is_no_id_is_refused_in_one_line(self):
        for text in ('', '-05', '.1-05', '1 2-05', 'a/b-1', '1-05\n', '1-\u0665', '$(id)-1', 'x' * 128 + '-1'):
            with self.assertRaises(patchadm.Refused) as refused:
                patchadm.check_id(text, with_revision=True)
            self.assertNotIn('\n', str(refused.exception))


class Options(unittest.TestCase):
    """How arguments become words."""

    TABLE = {
        'adopt': patchadm.Option('--adopt', 'yes', ('present',)),
        'exclude': patchadm.Option('--exclude', 'each', ('present',)),
        'probe': patchadm.Option('--probe', 'value', ('present',)),
        'proxy': patchadm.Option('-x', 'hidden', ('present',)),
        'undo': patchadm.Option('--no-undo', 'no', ('present',)),
        'wait': patchadm.Option('--wait', 'value', ('present', 'absent')),
    }

    def test_each_form_has_its_words(self):
        params = {'adopt': True, 'exclude': ['1-01', '2-01'], 'probe': '-x $HOME', 'proxy': 'p:1', 'undo': False, 'wait': 0}
        self.assertEqual(
            patchadm.options_of(self.TABLE, params, 'present'),
            ['--adopt', '--exclude=1-01', '--exclude=2-01', '--probe=-x $HOME', '--no-undo', '--wait=0'],
        )

    def test_what_is_not_given_has_none(self):
        params = {'adopt': False, 'exclude': [], 'probe': None, 'undo': True}
        self.assertEqual(patchadm.options_of(self.TABLE, params, 'present'), [])
        patchadm.check_options(self.TABLE, params, 'absent')

    def test_what_means_nothing_with_a_state_is_refused(self):
        with self.assertRaises(patchadm.Refused) as refused:
            patchadm.check_options(self.TABLE, {'undo': False}, 'absent')
        self.assertEqual(str(refused.exception), 'undo is valid only with state=present, not absent')


class Places(unittest.TestCase):
    """Roots and sources that are there, or not."""

    def test_a_name_or_password_in_an_address_is_refused_in_any_spelling(self):
        for source in ('https://joe:secret@h/', 'HTTPS://joe:secret@h', 'https:joe:secret@h', 'http:/joe@h', 'http://joe:se/cret@h'):
            with self.assertRaises(patchadm.Refused) as refused:
                patchadm.check_source(source)
            self.assertIn('name or password', str(refused.exception))
            self.assertNotIn('secret', str(refused.exception))
        patchadm.check_source('HTTPS://h/depot')

    def test_a_root_is_a_directory(self):
        with tempfile.TemporaryDirectory() as directory:
            patchadm.check_root(directory)
            path = os.path.join(directory, 'file')
            for wrong in (path, 'a/b'):
                with self.assertRaises(patchadm.Refused):
                    patchadm.check_root(wrong)
            with open(path, 'w'):
                pass
            with self.assertRaises(patchadm.Refused) as refused:
                patchadm.check_root(path)
            self.assertEqual(str(refused.exception), 'root %s is not a directory' % path)
            patchadm.check_source(path)

    def test_an_address_has_no_user(self):
        patchadm.check_source('https://patches.invalid/depot')
        patchadm.check_source('file:///srv/depot')
        with self.assertRaises(patchadm.Refused) as refused:
            patchadm.check_source('https://me:secret@patches.invalid/depot')
        self.assertNotIn('secret', str(refused.exception))

    def test_a_source_that_cannot_be_read_is_refused(self):
        with tempfile.NamedTemporaryFile() as source:
            # The superuser, who may run this, reads everything.
            with unittest.mock.patch('os.access', return_value=False):
                with self.assertRaises(patchadm.Refused) as refused:
                    patchadm.check_source(source.name)
            said = 'src %s cannot be read by the user that Ansible became' % source.name
            self.assertEqual(str(refused.exception), said)


class Answers(unittest.TestCase):
    """What documents come to."""

    def test_no_document_is_told_with_the_first_words_of_the_error(self):
        for output in ('', 'text', '[]', '{}', '{"exit_code": ', '{"exit_code": 1}', '{"schema": "patchadm/1"}'):
            with self.assertRaises(patchadm.Refused) as refused:
                patchadm.Answer(['patchadm'], 1, output, 'one\n\n  two\n')
            self.assertEqual(str(refused.exception), 'patchadm exited with 1 without a document: one; two')

    def test_texts_are_shown_without_what_drives_a_terminal_and_reasons_stand_behind_them(self):
        changes = [
            {'path': '/a', 'diff': '--- /a (before)\n+++ /a (after)\n@@ -1 +1 @@\n-\x1b[2Jold\n+new\u202e\n'},
            {'path': '/b', 'not_shown': 'its mode is 0600'},
            {'path': '/c'},
        ]
        first, last = patchadm.texts({'patches': [{'changes': changes}]})
        self.assertEqual(first['prepared'].splitlines()[3:], ['-\\u001b[2Jold', '+new\\u202e'])
        self.assertEqual(last, {'prepared': '/b: not shown: its mode is 0600\n'})
        many = [{'path': '/%d' % number, 'not_shown': 'why'} for number in range(102)]
        told = patchadm.texts({'patches': [{'changes': many}]})[0]['prepared'].splitlines()
        self.assertEqual((len(told), told[-1]), (101, '... and 2 more'))

    def test_a_program_that_was_killed_is_told_with_what_recovers_the_root(self):
        with self.assertRaises(patchadm.Refused) as refused:
            patchadm.Answer(['patchadm', '-R', '/a root', 'add', '--json'], -9, '{"schema": ', '')
        self.assertTrue(str(refused.exception).startswith('patchadm was ended by signal 9 before it answered: '))
        self.assertEqual(refused.exception.known['advice'], ["patchadm -R '/a root' recover"])

    def test_a_document_of_another_schema_is_refused(self):
        # Such a document need not have any of the fields of this one.
        for output in ('{"schema": "patchadm/2"}', '{"schema": "patchadm/2", "exit_code": 0, "cause": "ok"}', '{"schema": 2}'):
            with self.assertRaises(patchadm.Refused) as refused:
                patchadm.Answer(['patchadm'], 0, output, '')
            found = json.dumps(json.loads(output)['schema'])
            self.assertEqual(str(refused.exception), 'patchadm has documents of schema %s, but patchadm/1 is needed' % found)

    def test_a_document_of_version_0_1_is_refused_and_says_if_something_was_changed(self):
        for fields, changed in (({'changed': True}, True), ({}, False)):
            output = json.dumps(dict({'schema': 'patchadm/1', 'exit': {'code': 0, 'name': 'ok'}}, **fields))
            with self.assertRaises(patchadm.Refused) as refused:
                patchadm.Answer(['patchadm'], 0, output, '')
            said = 'patchadm on the target is of version 0.1, and this collection needs 1.0 or later'
            self.assertEqual(str(refused.exception), said)
            self.assertIs(refused.exception.known['changed'], changed)

    def test_reasons_are_those_of_the_patches_that_failed(self):
        patches = [
            {'id': '1-01', 'verdict': 'applied', 'code': 0, 'reason': ''},
            {'id': '1-02', 'verdict': 'superseded', 'code': 0, 'reason': '1-03 is applied'},
            {'id': '2-01', 'verdict': 'refused', 'code': 3, 'reason': 'it requires\nmore'},
        ]
        bad = answer(exit_code=5, cause='partly', changed=True, patches=patches, result='refused')
        with self.assertRaises(patchadm.Refused) as refused:
            patchadm.finished(bad, is_plan=False)
        self.assertEqual(str(refused.exception), '2-01: it requires; more')
        self.assertTrue(refused.exception.known['changed'], 'what was applied before is a change')
        self.assertEqual((refused.exception.known['exit_code'], refused.exception.known['cause']), (5, 'partly'))
        good = patchadm.finished(answer(changed=True, patches=patches[:2]), is_plan=False)
        self.assertEqual(good['reasons'], ['1-02: 1-03 is applied'])

    def test_a_failure_without_a_reason_names_its_code(self):
        self.assertEqual(answer(exit_code=1, cause='internal').reasons(), ['patchadm exited with 1 (internal)'])

    def test_a_plan_says_what_would_change(self):
        self.assertTrue(answer(changed=False, would_change=True).has_changed(is_plan=True))
        self.assertFalse(answer(changed=False, would_change=True).has_changed(is_plan=False))

    def test_the_most_urgent_restart_counts_and_only_of_what_is_applied(self):
        patches = [
            {'id': '1-01', 'verdict': 'applied', 'reboot': 'reconfigafter'},
            {'id': '2-01', 'verdict': 'applied', 'reboot': 'rebootafter'},
            {'id': '3-01', 'verdict': 'already-applied', 'reboot': 'rebootimmediate'},
        ]
        self.assertEqual(answer(patches=patches).restart(), 'rebootafter')
        self.assertIsNone(answer(patches=['1-01']).restart(), 'a list of ids asks for nothing')

    def test_a_plan_names_the_restart_and_requires_none(self):
        planned = answer(would_change=True, patches=[{'id': '1-01', 'verdict': 'planned', 'reboot': 'rebootafter'}])
        values = planned.values(is_plan=True)
        self.assertEqual((values['reboot'], values['reboot_required']), ('rebootafter', False))
        applied = answer(changed=True, patches=[{'id': '1-01', 'verdict': 'applied', 'reboot': 'rebootafter'}])
        values = applied.values(is_plan=False)
        self.assertEqual((values['reboot'], values['reboot_required']), ('rebootafter', True))


class Differences(unittest.TestCase):
    """What diff mode shows."""

    def test_of_several_patches_the_first_finds_and_the_last_leaves(self):
        bigger = dict(STATE, size=9, b3='0123456789abcdef')
        change = {'path': '/a', 'package': 'P', 'action': 'replace'}
        document = {
            'patch_lists': [{'package': 'P', 'before': ['1-01'], 'after': ['1-01', '1-02']}],
            'patches': [
                {'changes': [dict(change, before=STATE, after=dict(STATE, size=5))]},
                {'changes': [dict(change, before=dict(STATE, size=5), after=bigger), dict(change, path='/b', before=None, after=STATE)]},
                {},
            ],
        }
        lists, files = patchadm.differences(document)
        self.assertEqual((lists['before'], lists['after']), ('1-01\n', '1-01\n1-02\n'))
        self.assertEqual(files['before'], '/a: file, 3 bytes, 4755 0:2\n/b: nothing\n')
        self.assertEqual(files['after'], '/a: file, 9 bytes, 4755 0:2, b3 0123456789ab\n/b: file, 3 bytes, 4755 0:2\n')

    def test_a_plan_that_changes_nothing_shows_nothing(self):
        self.assertEqual(patchadm.differences({'patches': [{'id': '1-01'}], 'patch_lists': []}), [])

    def test_very_many_files_are_cut(self):
        changes = [{'path': '/%06d' % number, 'before': None, 'after': STATE} for number in range(6000)]
        files = patchadm.differences({'patches': [{'changes': changes}]})[0]
        self.assertEqual(files['after'].count('\n'), patchadm.MOST_DIFF_LINES + 1)
        self.assertTrue(files['after'].endswith('... and 1000 more\n'))

    def test_links_and_devices_have_words_of_their_own(self):
        link = dict(STATE, kind='symlink', size=None, target='a%20b')
        self.assertEqual(patchadm.state_words(link), 'symlink, to a%20b')
        device = dict(STATE, kind='block', size=None, device=[8, 1], xattrs={'user.x': '00'})
        self.assertEqual(patchadm.state_words(device), 'block, 8,1, 4755 0:2, user.x')


class Calls(unittest.TestCase):
    """How the program is called."""

    def test_a_program_that_is_not_there_is_refused(self):
        with self.assertRaises(patchadm.Refused):
            patchadm.Program(FakeModule({'executable': 'missing'}, []))

    def test_check_mode_is_one_plan_and_a_difference_takes_one_more(self):
        plan = {'exit_code': 0, 'cause': 'ok', 'would_change': True, 'changed': False}
        run = {'exit_code': 0, 'cause': 'ok', 'changed': True}
        unknown = {'exit_code': 2, 'cause': 'usage', 'changed': False}
        for check_mode, diff, answers, expected in (
            (True, False, [plan], [['--dry-run']]),
            (True, True, [plan], [['--dry-run', '--diff']]),
            (True, True, [unknown, plan], [['--dry-run', '--diff'], ['--dry-run']]),
            (False, False, [run], [[]]),
            (False, True, [plan, run], [['--dry-run', '--diff'], []]),
        ):
            module = FakeModule({'root': '/a'}, answers, check_mode, diff)
            values = patchadm.Work(module).carried_out(patchadm.Program(module), ['add'], [], ['x'])
            head = ['/usr/bin/patchadm', '-R', '/a', 'add', '--json']
            self.assertEqual(module.calls, [head + words + ['--', 'x'] for words in expected])
            self.assertTrue(values['changed'])
            self.assertEqual('diff' in values, diff)


if __name__ == '__main__':
    unittest.main()
