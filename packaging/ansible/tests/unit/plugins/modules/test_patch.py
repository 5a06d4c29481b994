# SPDX-License-Identifier: MIT OR Apache-2.0
"""The module patch: which call of the program a task becomes."""

import json
import unittest

from ansible_collections.patchadm.patch.plugins.module_utils.patchadm import Refused
from ansible_collections.patchadm.patch.plugins.modules import patch

GOOD = {'exit_code': 0, 'cause': 'ok', 'changed': True, 'would_change': True, 'patches': []}


def params_of(**given):
    """Returns the arguments of a task, with their defaults."""
    params = dict((name, spec.get('default')) for name, spec in patch.arguments().items())
    params.update(given)
    return params


class FakeModule(object):
    """A module that keeps its calls."""

    def __init__(self, answers, check_mode=False, **given):
        self.params = params_of(**given)
        self.answers = list(answers)
        self.check_mode = check_mode
        self.calls = []

    def get_bin_path(self, name, opt_dirs=None):
        """Finds the program."""
        return name

    def run_command(self, words, expand_user_and_vars=True, environ_update=None):
        """Answers by the next document."""
        self.calls.append(words[3:])
        self.environment = environ_update
        document = self.answers.pop(0)
        return document['exit_code'], json.dumps(dict(document, schema='patchadm/1')), ''


def calls(answers=(GOOD,), **given):
    """Returns the calls of a task."""
    module = FakeModule(answers, **given)
    patch.PatchWork(module).done()
    return module.calls


def listed(*ids, **trial):
    """Returns the document of list."""
    patches = [dict({'id': one}, **trial) for one in ids]
    return {'exit_code': 0, 'cause': 'ok', 'patches': patches}


class Calls(unittest.TestCase):
    """The words of each state."""

    def test_a_proxy_is_named_where_nobody_sees_its_password(self):
        module = FakeModule([GOOD], src=['/'], proxy='joe:secret@p:1')
        patch.PatchWork(module).done()
        self.assertEqual(module.calls, [['add', '--json', '--', '/']])
        self.assertEqual(module.environment, {'PATCHADM_PROXY': 'joe:secret@p:1'})
        self.assertTrue(patch.arguments()['proxy']['no_log'])

    def test_patches_are_added_ids_come_from_a_depot_and_groups_are_updates(self):
        self.assertEqual(calls(src=['/'], edited='keep'), [['add', '--json', '--edited=keep', '--', '/']])
        self.assertEqual(calls(src=['/'], id=['1-01', '2']), [['add', '--json', '-M', '/', '--', '1-01', '2']])
        self.assertEqual(calls(id=['1-01']), [['update', '--json', '--', '1-01']])
        self.assertEqual(calls(group='security'), [['update', '--json', '--', 'security']])

    def test_absent_names_what_is_applied_of_what_is_meant(self):
        answers = [listed('100-01', '100-02', '1001-01', 'ACME-100-3'), GOOD]
        self.assertEqual(calls(answers, state='absent', id=['100'])[1], ['remove', '--json', '--', '100-01', '100-02'])
        self.assertEqual(calls(answers, state='absent', id=['100-1'])[1], ['remove', '--json', '--', '100-01'])
        self.assertEqual(calls(answers, state='absent', id=['ACME-100'])[1], ['remove', '--json', '--', 'ACME-100-3'])
        self.assertEqual(calls(answers[:1], state='absent', id=['2-01']), [['list', '--json']])

    def test_no_id_calls_nothing(self):
        self.assertEqual(calls([], id=[], src=['/']), [])

    def test_confirmed_asks_first_and_names_the_run(self):
        trial = {'run': '7-x', 'until': 'then', 'over': False, 'stuck': None, 'patches': ['1-01']}
        answers = [listed('1-01', trial=trial), GOOD]
        self.assertEqual(calls(answers, state='confirmed'), [['list', '--json'], ['confirm', '--json', '--', '7-x']])
        self.assertEqual(calls([listed('1-01')], state='confirmed', id=['1-1']), [['list', '--json']])
        self.assertEqual(calls(answers[:1], state='confirmed', check_mode=True), [['list', '--json']])
        over = [listed('1-01', trial=dict(trial, over=True))]
        with self.assertRaises(Refused):
            calls(over, state='confirmed', check_mode=True)

    def test_a_root_that_cannot_be_listed_is_a_failure_with_its_reason(self):
        bad = {'exit_code': 1, 'cause': 'no-database', 'error': 'there is no package database'}
        with self.assertRaises(Refused) as refused:
            calls([bad], state='absent', id=['1-01'])
        self.assertEqual(str(refused.exception), 'there is no package database')


class Arguments(unittest.TestCase):
    """The arguments and what stands behind them."""

    def test_each_option_of_the_program_has_an_argument(self):
        self.assertEqual(set(patch.OPTIONS) - set(patch.arguments()), set())

    def test_each_argument_is_an_option_or_is_used_otherwise(self):
        others = {'state', 'id', 'src', 'group', 'not_applicable', 'root', 'executable'}
        self.assertEqual(set(patch.arguments()) - set(patch.OPTIONS), others)


if __name__ == '__main__':
    unittest.main()
