#!/usr/bin/python
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Stages of a root, and their promotions."""

DOCUMENTATION = r'''
module: stage
short_description: Create, refresh, promote or delete a stage, or remove its promotions
version_added: 1.0.0
description:
  - A stage is a copy of directories of a root. Software is built in it while the root stays in use.
  - Its contents are promoted as a patch, which is planned, recorded and removed like any other patch.
  - For C(refresh), C(promote) and C(backout), check mode is the real plan. For C(new) and C(absent), it returns whether the
    stage would be created or deleted.
author:
  - The authors of patchadm (@patchadm)
extends_documentation_fragment:
  - patchadm.patch.root
  - patchadm.patch.root.change
  - patchadm.patch.root.trial
options:
  path:
    description: The directory of the stage on the target.
    type: path
    required: true
  state:
    description:
      - C(new) creates the stage, unless it exists.
      - C(refresh) copies changes of the root into the stage.
      - C(promote) makes the contents of the stage live. If nothing differs, nothing is done.
      - C(backout) removes promotions of the stage, the ones in I(id) or all that are applied.
      - C(absent) deletes the stage. Its promotions stay.
    type: str
    choices: [new, refresh, promote, backout, absent]
    required: true
  paths:
    description: With C(new), the directories of the root to copy. With C(promote), those to promote.
    type: list
    elements: str
  name:
    description: With C(new), the name of the stage instead of the last component of I(path).
    type: str
  records:
    description: With C(new), also copy the package database.
    type: bool
    default: false
  dirs:
    description: With C(new), create these directories for programs to work in.
    type: list
    elements: str
  exclude:
    description: Leave out paths that match these patterns.
    type: list
    elements: str
  id:
    description: With C(promote), the id of the promotion, a single one. With C(backout), the promotions to remove.
    type: list
    elements: str
  edited:
    description: What to do with paths that were changed in the stage and on the root.
    type: str
    choices: [stop, replace, keep]
  replace_edited:
    description: Always replace these paths.
    type: list
    elements: str
  keep_edited:
    description: Always keep these paths.
    type: list
    elements: str
  two_way:
    description: With C(promote), compare only the stage and the root, without their common base.
    type: bool
    default: false
  delete:
    description: With I(two_way), delete paths that the stage does not have.
    type: bool
    default: false
  tree_only:
    description: With C(promote), do not promote patches and packages of the stage.
    type: bool
    default: false
  allow_set_id:
    description: With C(promote), accept new or changed files with set-id bits or capabilities, and changed owners.
    type: bool
    default: false
  max_delete:
    description: With C(promote), how much may be deleted, as a number or a percentage.
    type: str
  hooks:
    description: With C(promote), run the hooks of the policy.
    type: bool
    default: true
  undo:
    description: With C(promote), keep undo data.
    type: bool
    default: true
  undo_dir:
    description: The directory in which undo data is kept.
    type: path
  undo_format:
    description: How undo data is kept.
    type: str
    choices: [gz, Z, none, zst, xz, files]
  force:
    description: With C(absent), also delete a damaged stage.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Plans the run, and changes nothing.
  diff_mode:
    support: full
    description: Shows files and texts before and after a promotion or its removal, and lists of patches for a removal.
seealso:
  - module: patchadm.patch.patch
'''

EXAMPLES = r'''
- name: Create a stage of the programs and their settings
  patchadm.patch.stage:
    path: /srv/stage/web
    state: new
    paths: [opt/web, etc/web]

- name: Build in it
  ansible.builtin.command:
    cmd: patchadm stage enter /srv/stage/web -- make -C /usr/src/web install
  changed_when: true

- name: Promote it, and revert the promotion unless the server answers
  patchadm.patch.stage:
    path: /srv/stage/web
    state: promote
    probe: curl --fail --silent http://localhost/

- name: Remove all of its promotions
  patchadm.patch.stage:
    path: /srv/stage/web
    state: backout
'''

RETURN = r'''
outcome:
  description: The outcome, C(done), C(planned), C(nothing-to-do), C(refused), C(failed) or C(rolled-back).
  returned: when patchadm was called for a change
  type: str
exit_code:
  description: The exit code of patchadm, such as C(3) for a refusal and C(7) for a failed probe; patchadm(8) has the table.
  returned: when patchadm was called for a change
  type: int
cause:
  description: The name of the cause of the exit code, which is the same for all commands.
  returned: when patchadm was called for a change
  type: str
  sample: ok
reasons:
  description: Why it was refused or failed, or why there was nothing to do.
  returned: always, except for errors in the arguments
  type: list
  elements: str
patches:
  description: The promotion with the patches of the stage in it, or the removed patches.
  returned: with C(promote) and C(backout)
  type: list
  elements: dict
conflicts:
  description: The paths that were changed differently in the stage and on the root.
  returned: with C(promote) and C(refresh)
  type: list
  elements: dict
stage:
  description: The stage, as in the JSON output of the action.
  returned: with C(new), C(promote) and C(refresh)
  type: raw
trial:
  description: The trial of the run, with its deadline and the end of the probe.
  returned: when there is one
  type: dict
command:
  description: The command that was run, as a list of words.
  returned: when patchadm was called
  type: list
  elements: str
'''

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.patchadm.patch.plugins.module_utils.patchadm import (
    Option,
    Program,
    Refused,
    Work,
    changing_arguments,
    check_durations,
    check_id,
    check_options,
    check_root,
    finished,
    judged,
    on_disk,
    options_of,
    trial_arguments,
)

ALWAYS = ('new', 'refresh', 'promote', 'backout', 'absent')
PROMOTE = ('promote',)
BOTH_SIDES = ('refresh', 'promote')

# The options of patchadm behind arguments that are passed on as they are.
OPTIONS = {
    'allow_set_id': Option('--allow-set-id', 'yes', PROMOTE),
    'as_owner': Option('--as-owner', 'yes', ALWAYS),
    'delete': Option('--delete', 'yes', PROMOTE),
    'dirs': Option('--dir', 'each', ('new',)),
    'edited': Option('--edited', 'value', BOTH_SIDES),
    'exclude': Option('--exclude', 'each', ('new', 'promote')),
    'force': Option('--force', 'yes', ('absent',)),
    'hooks': Option('--no-hooks', 'no', PROMOTE),
    'keep_edited': Option('--keep-edited', 'each', BOTH_SIDES),
    'max_delete': Option('--max-delete', 'value', PROMOTE),
    'name': Option('--name', 'value', ('new',)),
    'note': Option('--note', 'value', ('promote', 'backout')),
    'paths': Option('--path', 'each', ('new', 'promote')),
    'policy': Option('--policy', 'value', ALWAYS),
    'probe': Option('--probe', 'value', PROMOTE),
    'records': Option('--records', 'yes', ('new',)),
    'replace_edited': Option('--replace-edited', 'each', BOTH_SIDES),
    'tree_only': Option('--tree-only', 'yes', PROMOTE),
    'trial': Option('--trial', 'value', PROMOTE),
    'trial_reboots': Option('--trial-reboots', 'value', PROMOTE),
    'trust_root': Option('--trust-root', 'yes', ALWAYS),
    'two_way': Option('--two-way', 'yes', PROMOTE),
    'undo': Option('--no-undo', 'no', PROMOTE),
    'undo_dir': Option('--undo-dir', 'value', ('promote', 'backout')),
    'undo_format': Option('--undo-format', 'value', PROMOTE),
    'wait': Option('--wait', 'value', ('new', 'promote', 'backout', 'absent')),
}


def arguments():
    """Returns the arguments of the module."""
    spec = changing_arguments()
    spec.update(trial_arguments())
    spec.update({
        'path': {'type': 'path', 'required': True},
        'state': {'type': 'str', 'choices': ['new', 'refresh', 'promote', 'backout', 'absent'], 'required': True},
        'paths': {'type': 'list', 'elements': 'str'},
        'name': {'type': 'str'},
        'records': {'type': 'bool', 'default': False},
        'dirs': {'type': 'list', 'elements': 'str'},
        'exclude': {'type': 'list', 'elements': 'str'},
        'id': {'type': 'list', 'elements': 'str'},
        'edited': {'type': 'str', 'choices': ['stop', 'replace', 'keep']},
        'replace_edited': {'type': 'list', 'elements': 'str'},
        'keep_edited': {'type': 'list', 'elements': 'str'},
        'two_way': {'type': 'bool', 'default': False},
        'delete': {'type': 'bool', 'default': False},
        'tree_only': {'type': 'bool', 'default': False},
        'allow_set_id': {'type': 'bool', 'default': False},
        'max_delete': {'type': 'str'},
        'hooks': {'type': 'bool', 'default': True},
        'undo': {'type': 'bool', 'default': True},
        'undo_dir': {'type': 'path'},
        'undo_format': {'type': 'str', 'choices': ['gz', 'Z', 'none', 'zst', 'xz', 'files']},
        'force': {'type': 'bool', 'default': False},
    })
    return spec


def check(params):
    """Refuses arguments that make no sense, before anything is run."""
    state, ids = params['state'], params['id']
    check_options(OPTIONS, params, state)
    check_durations(params)
    if ids and state not in ('promote', 'backout'):
        raise Refused('id is valid only with state=promote or backout, not %s' % state)
    if state == 'promote' and len(ids or []) > 1:
        raise Refused('a promotion has one id, but %d are named' % len(ids))
    for one in ids or []:
        check_id(one, with_revision=True)
    if state == 'new' and not params['paths']:
        raise Refused('state=new requires the directories of the root in paths')
    check_root(params['root'])
    if not os.path.isabs(params['path']):
        raise Refused('path %s is not an absolute path' % params['path'])
    if state in BOTH_SIDES and not os.path.isdir(on_disk(params['path'])):
        raise Refused('path %s is not a directory of the target' % params['path'])


def real(path):
    """Returns a path without links in it."""
    return os.path.realpath(on_disk(path)).decode('utf-8', 'surrogateescape')


class StageWork(Work):
    """What one task does about a stage."""

    def __init__(self, module):
        super(StageWork, self).__init__(module)
        self.path = real(module.params['path'])

    def done(self):
        """Does what the state asks for, and returns what came out."""
        check(self.params)
        self.program = Program(self.module)
        state = self.params['state']
        if state == 'new':
            return self.made()
        if state == 'absent':
            return self.removed()
        if state == 'backout':
            return self.backed_out()
        if state == 'refresh':
            return self.refreshed()
        words = ['--id=%s' % self.params['id'][0]] if self.params['id'] else []
        return self.carried_out(self.program, ['stage', 'promote'], words + self.words('promote'), [self.path])

    def listed(self):
        """Returns the stage as its root lists it, or None."""
        answer = self.program.ask(['stage', 'list'], [])
        if not answer.is_good():
            finished(answer, is_plan=False)
        stages = answer.document.get('stages', [])
        return next((stage for stage in stages if real(stage['path']) == self.path), None)

    def made(self):
        """Makes the stage, unless it is there."""
        stage = self.listed()
        if stage is not None and stage['state'] in ('unfinished', 'damaged'):
            raise Refused('the stage %s is %s; remove it first, by state=absent' % (self.path, stage['state']),
                          stage=stage)
        # A caller who may only read the root makes stages that it does not list.
        if os.path.isdir(on_disk(os.path.join(self.path, '.patchadm-stage'))):
            return {'changed': False, 'stage': stage, 'reasons': ['the stage is there']}
        if self.module.check_mode:
            return {'changed': True, 'reasons': []}
        return finished(self.program.ask(['stage', 'new'], self.words('new'), [self.path]), is_plan=False)

    def removed(self):
        """Removes the stage, if it is there or listed."""
        stage = self.listed()
        if stage is None and not os.path.lexists(on_disk(self.path)):
            return {'changed': False, 'reasons': ['there is no such stage']}
        if self.module.check_mode:
            return {'changed': True, 'reasons': []}
        is_gone = not os.path.lexists(on_disk(self.path)) and stage is not None
        operand = stage['name'] if is_gone else self.path
        values = finished(self.program.ask(['stage', 'drop'], self.words('absent'), [operand]), is_plan=False)
        # The stage is removed, whether or not a root listed it.
        values['changed'] = True
        return values

    def backed_out(self):
        """Backs promotions of the stage out that are applied."""
        stage = self.listed()
        if stage is None:
            raise Refused('the root lists no stage %s; specify its promotions to the module patch instead' % self.path)
        wanted = self.params['id']
        going = [one for one in stage['promotions'] if wanted is None or one in wanted]
        if not going:
            return {'changed': False, 'patches': [], 'reasons': ['no promotion of the stage is applied']}
        return self.carried_out(self.program, ['remove'], self.words('backout'), going)

    def refreshed(self):
        """Brings changes of the root into the stage. Its plan has no word for whether the stage would change but its end."""
        values = self.carried_out(self.program, ['stage', 'refresh'], self.words('refresh'), [self.path])
        if self.module.check_mode:
            values['changed'] = values['outcome'] == 'planned'
        return values

    def words(self, state):
        """Returns the options of the arguments."""
        return options_of(OPTIONS, self.params, state)


def main():
    """Runs the module."""
    judged(StageWork(AnsibleModule(argument_spec=arguments(), supports_check_mode=True)))


if __name__ == '__main__':
    main()
