"""Prints each result of a play as a line of JSON, and nothing else."""

import json

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = '''
name: results
type: stdout
short_description: each result as a line of JSON
description: For tests.
'''


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = 'stdout'
    CALLBACK_NAME = 'results'

    def tell(self, word, result):
        # Ansible takes the word out of what it hands over.
        values = dict(result._result, failed=word == 'failed')
        line = {'host': result._host.get_name(), 'task': result._task.get_name(), 'word': word, 'result': values}
        self._display.display(json.dumps(line, default=str))

    def v2_runner_on_ok(self, result):
        self.tell('ok', result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.tell('failed', result)

    def v2_runner_on_skipped(self, result):
        self.tell('skipped', result)

    def v2_runner_on_unreachable(self, result):
        self.tell('unreachable', result)
