#!/usr/bin/python
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The patches of a root."""

DOCUMENTATION = r'''
module: patch_info
short_description: Show which patches are applied, lost, missing or on trial
version_added: 1.0.0
description:
  - Reads the records of a root, and changes nothing.
  - With I(id), returns whether the root is missing these patches, or which applied patch has their changes.
  - With I(depot), returns the patches that the root is missing.
author:
  - The authors of patchadm (@patchadm)
extends_documentation_fragment:
  - patchadm.patch.root
options:
  id:
    description: Return only these patches; the default is all applied ones.
    type: list
    elements: str
    aliases: [ids]
  depot:
    description: Compare with this depot, a directory on the target or an address.
    type: str
  group:
    description: The patches of the depot to compare with.
    type: str
    choices: [missing, recommended, security]
    default: missing
  verify:
    description: Also check the root as C(patchadm check --contents) does, which reads all files and undo data.
    type: bool
    default: false
  policy:
    description: Use this policy file on the target instead of the policy of the root.
    type: path
  offline:
    description: Do not use the network.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Changes nothing in any mode.
  diff_mode:
    support: none
    description: There is nothing to show.
seealso:
  - module: patchadm.patch.patch
'''

EXAMPLES = r'''
- name: Get the applied patches, and those that are missing
  patchadm.patch.patch_info:
    depot: https://patches.example.com/depot
  register: info

- name: Fail if an upgrade of the distribution removed a fix
  ansible.builtin.assert:
    that: info.lost | length == 0

- name: Check whether a patch is missing
  patchadm.patch.patch_info:
    id: 105181-05
  register: asked
'''

RETURN = r'''
patches:
  description: The applied patches as in the output of C(patchadm list --json); with I(id), only those.
  returned: success
  type: list
  elements: dict
applied:
  description: The ids of all applied patches.
  returned: success
  type: list
  elements: str
in_force:
  description: The ids of the effective patches, which are neither superseded nor obsoleted nor lost.
  returned: success
  type: list
  elements: str
lost:
  description: The patches whose fix is lost to an upgrade by dpkg or rpm, or would be with the next refresh.
  returned: success
  type: list
  elements: dict
stale:
  description: The registrations that no longer match dpkg or rpm.
  returned: success
  type: list
  elements: dict
trial:
  description: The current trial, or null.
  returned: success
  type: dict
unfinished:
  description: The run that was interrupted, or null.
  returned: success
  type: str
removable:
  description: The ids of the patches that can probably be removed.
  returned: success
  type: list
  elements: str
not_removable:
  description: Why each of the other patches cannot be removed.
  returned: success
  type: dict
lacking:
  description: The patches of I(id) that the root is missing.
  returned: when I(id) is given
  type: list
  elements: str
has:
  description: For each patch of I(id) that is not missing, the applied patch that has its changes.
  returned: when I(id) is given
  type: dict
missing:
  description: The patches that the root is missing, as in the output of C(patchadm missing --json).
  returned: when I(depot) is given
  type: list
  elements: dict
sound:
  description: True if C(patchadm check --contents) has no finding.
  returned: when I(verify) is true
  type: bool
verification:
  description: The output of C(patchadm check --contents --json).
  returned: when I(verify) is true
  type: dict
inventory:
  description: The output of C(patchadm list --json), which C(patchadm report) reads.
  returned: success
  type: dict
'''

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.patchadm.patch.plugins.module_utils.patchadm import (
    Program,
    Work,
    check_id,
    check_root,
    check_source,
    finished,
    judged,
    root_arguments,
)


def arguments():
    """Returns the arguments of the module."""
    spec = root_arguments()
    spec.update({
        'id': {'type': 'list', 'elements': 'str', 'aliases': ['ids']},
        'depot': {'type': 'str'},
        'group': {'type': 'str', 'choices': ['missing', 'recommended', 'security'], 'default': 'missing'},
        'verify': {'type': 'bool', 'default': False},
        'policy': {'type': 'path'},
        'offline': {'type': 'bool', 'default': False},
    })
    return spec


class InfoWork(Work):
    """What one task asks."""

    def done(self):
        """Asks, and returns the answers."""
        for one in self.params['id'] or []:
            check_id(one, with_revision=True)
        check_root(self.params['root'])
        if self.params['depot'] is not None:
            check_source(self.params['depot'])
        self.program = Program(self.module)
        self.words = ['--policy=%s' % self.params['policy']] if self.params['policy'] else []
        values = self.listed()
        if self.params['id'] is not None:
            values.update(self.asked(values['patches']))
        if self.params['depot'] is not None:
            values['missing'] = self.missing()
        if self.params['verify']:
            values.update(self.verified())
        return values

    def answer(self, verb, words, operands=()):
        """Asks the program, and fails with its reasons."""
        answer = self.program.ask(verb, self.words + words, operands)
        # That a patch is lacking is an answer.
        if not answer.is_good() and answer.cause != 'missing':
            finished(answer, is_plan=False)
        return answer.document

    def listed(self):
        """Returns what the records say."""
        document = self.answer(['list'], [])
        patches = document['patches']
        return {
            'changed': False,
            'patches': patches,
            'applied': [patch['id'] for patch in patches],
            'in_force': [patch['id'] for patch in patches if 'effective' in patch['state']],
            'lost': document.get('lost', []),
            'stale': document.get('stale', []),
            'trial': next((patch['trial'] for patch in patches if 'trial' in patch), None),
            'unfinished': document.get('unfinished'),
            'removable': [patch['id'] for patch in patches if patch['removable']['now']],
            'not_removable': dict((patch['id'], patch['removable']['reason']) for patch in patches
                                  if not patch['removable']['now']),
            'inventory': document,
        }

    def asked(self, patches):
        """Returns what is known of the patches that are asked about."""
        has, lacking = {}, []
        for one in self.params['id']:
            document = self.answer(['list'], ['--missing=%s' % one])
            if document['lacking']:
                lacking.append(one)
            else:
                has[one] = document['has']
        named = set(has.values()) | set(self.params['id'])
        return {'has': has, 'lacking': lacking, 'patches': [patch for patch in patches if patch['id'] in named]}

    def missing(self):
        """Returns what the root lacks of the depot."""
        words = ['-M', self.params['depot']] + (['--offline'] if self.params['offline'] else [])
        return self.answer(['missing'], words, [self.params['group']])['patches']

    def verified(self):
        """Returns whether everything is as recorded."""
        words = self.words + ['--contents'] + (['--offline'] if self.params['offline'] else [])
        answer = self.program.ask(['check'], words)
        if 'sound' not in answer.document:
            finished(answer, is_plan=False)
        return {'sound': answer.document['sound'], 'verification': answer.document}


def main():
    """Runs the module."""
    judged(InfoWork(AnsibleModule(argument_spec=arguments(), supports_check_mode=True)))


if __name__ == '__main__':
    main()
