# SPDX-License-Identifier: MIT OR Apache-2.0
"""Tasks for the machine on which Ansible itself runs.

What a module does takes one call of patchadm. For a root of the same machine, as zones, containers and jails are, a module
would be packed, and a shell and a Python started, for each host and task: that costs many times as much as the call. So a
task with a local connection, and without become, environment or async, makes the call in the process that Ansible has made
for it. Checks, calls and results are the same code. Any other task, and one whose arguments are wrong, takes the usual
way.
"""

import os
import subprocess

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.process import get_bin_path
from ansible.plugins.action import ActionBase
from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible_collections.patchadm.patch.plugins.module_utils.patchadm import Refused, ended


class LocalModule(object):
    """What a module has of its task, for a task that needs no other process than the program."""

    def __init__(self, params, check_mode, diff):
        self.params = params
        self.check_mode = check_mode
        self._diff = diff

    def get_bin_path(self, name, opt_dirs=None):
        """Returns the path of a program, or None."""
        try:
            return get_bin_path(name, opt_dirs)
        except ValueError:
            return None

    def run_command(self, words, expand_user_and_vars=False, environ_update=None):
        """Runs a program with nothing to read. Where the task is ended, the program undoes what it has begun."""
        try:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       env=dict(os.environ, **(environ_update or {})))
        except (OSError, ValueError) as error:
            raise Refused('%s cannot be run: %s' % (words[0], error))
        try:
            output, complaint = process.communicate()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        return process.returncode, output.decode('utf-8', 'replace'), complaint.decode('utf-8', 'replace')


class LocalAction(NormalAction):
    """The action of a module of this collection."""

    # The class that does the work, and the function that returns its arguments.
    WORK = None
    ARGUMENTS = None

    def run(self, tmp=None, task_vars=None):
        """Does the work here where that is the same, else by the module."""
        params = self.params_here()
        if params is None:
            return super(LocalAction, self).run(tmp, task_vars)
        result = ActionBase.run(self, tmp, task_vars)
        if not result.get('skipped'):
            module = LocalModule(params, bool(self._task.check_mode), bool(self._task.diff))
            result.update(ended(self.WORK(module)))
            result['invocation'] = {'module_args': params}
        return result

    def params_here(self):
        """Returns the arguments of a task that can be done here, else None."""
        if self._connection.transport != 'local' or self._connection.become is not None or self._task.async_val:
            return None
        environment = {}
        self._compute_environment_string(environment)
        if environment:
            return None
        validated = ArgumentSpecValidator(self.ARGUMENTS()).validate(self._task.args)
        return None if validated.error_messages else validated.validated_parameters
