#!/usr/bin/python
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Patches that are present, absent, committed or confirmed."""

DOCUMENTATION = r'''
module: patch
short_description: Apply or remove patches, delete their undo data, or confirm a trial
version_added: 1.0.0
description:
  - Applies patches with patchadm, completely or not at all, or removes them cleanly.
  - A patch that is applied, superseded by a later revision or obsoleted by another patch counts as present.
  - Check mode is the real plan, C(patchadm add --dry-run) or C(patchadm remove --dry-run). It gives the same answer as the
    run, including refusals, and writes nothing.
  - Diff mode shows the patches of each package (PATCHLIST), each file before and after, and the changed lines of text files
    that everybody may read.
  - The result and all reasons come from the JSON output of patchadm.
author:
  - The authors of patchadm (@patchadm)
extends_documentation_fragment:
  - patchadm.patch.root
  - patchadm.patch.root.change
  - patchadm.patch.root.trial
options:
  state:
    description:
      - C(present) applies patches.
      - C(absent) removes patches that are applied, and skips the others.
      - C(committed) deletes the undo data of patches (C(patchadm undo-data drop)); they can no longer be removed.
      - C(confirmed) keeps the run that is on trial. If nothing is on trial, nothing is done.
    type: str
    choices: [present, absent, committed, confirmed]
    default: present
  id:
    description:
      - The patches, such as C(105181-05). With an empty list, nothing is done.
      - With I(state=present), C(105181) means the current revision in the depot; with I(state=absent), every applied revision.
      - With I(state=confirmed), all of these must be applied.
    type: list
    elements: str
    aliases: [ids]
  src:
    description:
      - With I(id) or I(group), the depot with the patches, a directory on the target or an address. The default is the depot in
        the policy of the root.
      - Alone, the patches themselves. Each is a directory, a datastream, an archive or an address.
      - Paths are absolute. A path with a comma must be an item of a list.
    type: list
    elements: str
    aliases: [depot]
  group:
    description: Apply the patches of the depot that the root is missing, all of them or only recommended or security patches.
    type: str
    choices: [missing, recommended, security]
  not_applicable:
    description: Fail or skip if no package of the patches is installed.
    type: str
    choices: [fail, skip]
    default: fail
  edited:
    description: What to do with locally modified files; the default is set by the policy.
    type: str
    choices: [stop, replace, keep]
  replace_edited:
    description: Replace these locally modified files.
    type: list
    elements: str
  keep_edited:
    description: Keep these locally modified files.
    type: list
    elements: str
  adopt:
    description: Register the dpkg or rpm package that a patch is for, in the run that applies the patch.
    type: bool
    default: false
  refresh:
    description: First refresh stale registrations of dpkg or rpm packages.
    type: bool
    default: false
  undo:
    description: Keep undo data. Without it a patch cannot be removed.
    type: bool
    default: true
  undo_dir:
    description: The directory on the target in which undo data is kept, or to which it was moved.
    type: path
  undo_format:
    description: How undo data is kept; the default is set by the policy.
    type: str
    choices: [gz, Z, none, zst, xz, files]
  all_or_nothing:
    description: Change everything in one transaction, or nothing.
    type: bool
    default: false
  signature:
    description: Which signatures are required, instead of the setting in the policy.
    type: str
    choices: [require, warn, 'off']
  allow_unsigned:
    description: Accept patches without a signature by a trusted key, also over a network. A bad signature is still refused.
    type: bool
    default: false
  keys:
    description: Trust the public keys in this directory on the target instead of the root's keys.
    type: path
  scripts:
    description:
      - How patch scripts are handled. With C(native) their work is done without running them, with C(refuse) a patch that
        needs one is refused.
    type: str
    choices: [auto, native, run, refuse]
  script_timeout:
    description: Stop a script that runs longer than this, such as C(10m).
    type: str
  libs:
    description: What happens to old shared libraries that programs still need.
    type: str
    choices: [report, stop, keep, keep-or-stop, keep-always]
  exclude:
    description: Leave out these patches of the depot.
    type: list
    elements: str
  allow_withdrawn:
    description: Accept a withdrawn patch that is specified with its revision.
    type: bool
    default: false
  requires:
    description: Also apply the patches of the depot that these require.
    type: bool
    default: true
  offline:
    description: Do not use the network.
    type: bool
    default: false
  cache:
    description: Keep downloads in this directory on the target.
    type: path
  ca:
    description: Also trust the CA certificates in this PEM file on the target.
    type: path
  proxy:
    description: Fetch through this proxy, C(host:port). It is passed in the environment, where other users cannot see it.
    type: str
  with_dependents:
    description: With I(state=absent), also remove the patches that require these.
    type: bool
    default: false
  force:
    description: With I(state=absent), remove a patch even if it is superseded or obsoleted.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Plans the run, and changes nothing.
  diff_mode:
    support: full
    description: Shows lists of patches, files before and after, and texts. The plan is made a second time for this.
seealso:
  - module: patchadm.patch.patch_info
  - module: patchadm.patch.stage
'''

EXAMPLES = r'''
- name: Apply a patch of a depot, with the patches that it requires
  patchadm.patch.patch:
    id: 105181-05
    src: https://patches.example.com/depot

- name: Apply an archive that was copied to the target
  patchadm.patch.patch:
    src: /var/tmp/105181-05.zip
    edited: keep

- name: Apply all missing security patches of the depot in the policy
  patchadm.patch.patch:
    group: security
  register: patched

- name: Reboot if a patch asks for it
  ansible.builtin.reboot:
  when: patched.reboot_required

- name: Apply on trial, after a probe
  patchadm.patch.patch:
    id: 105181-05
    src: /srv/depot
    trial: 15m
    probe: systemctl is-active --quiet httpd

- name: Confirm the trial
  patchadm.patch.patch:
    state: confirmed

- name: Remove the patch
  patchadm.patch.patch:
    id: 105181-05
    state: absent
'''

RETURN = r'''
patches:
  description: The patches as in the output of C(patchadm add --json), without the lists of objects.
  returned: when patchadm was called
  type: list
  elements: raw
  sample:
    - {id: 105181-05, verdict: applied, reason: '', packages: [ACMEweb]}
reasons:
  description: Why patches were refused, failed or needed no change, one sentence each.
  returned: when patchadm was called
  type: list
  elements: str
  sample: ['105181-04: 105181-05 is applied']
outcome:
  description: The outcome, C(done), C(planned), C(nothing-to-do), C(refused), C(failed) or C(rolled-back).
  returned: when patchadm was called
  type: str
  sample: done
exit_code:
  description: The exit code of patchadm, such as C(3) for a refusal and C(7) for a failed probe; patchadm(8) has the table.
  returned: when patchadm was called
  type: int
cause:
  description: The name of the cause of the exit code, which is the same for all commands.
  returned: when patchadm was called
  type: str
  sample: ok
reboot_required:
  description: True if an applied patch requires a reboot. Always false in check mode.
  returned: when patchadm was called
  type: bool
reboot:
  description: The most urgent reboot that an applied patch requires, in check mode a planned one, or null.
  returned: when patchadm was called
  type: str
  sample: rebootafter
advice:
  description: What to do next after a refusal or failure.
  returned: when there is something to do
  type: list
  elements: str
trial:
  description: The trial of the run, with its deadline and the end of the probe.
  returned: when there is one
  type: dict
run:
  description: The run in the history of the root.
  returned: when something was changed
  type: raw
command:
  description: The command that was run, as a list of words.
  returned: when patchadm was called
  type: list
  elements: str
'''

import re

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
    check_source,
    finished,
    judged,
    lines_of,
    options_of,
    trial_arguments,
)

# An id with its revision.
REVISION = re.compile(r'(.*[^0-9])([0-9]+)\Z')

APPLYING = ('present',)
CHANGING = ('present', 'absent')
ALWAYS = ('present', 'absent', 'committed', 'confirmed')

# The options of patchadm behind arguments that are passed on as they are.
OPTIONS = {
    'adopt': Option('--adopt', 'yes', APPLYING),
    'all_or_nothing': Option('--all-or-nothing', 'yes', CHANGING),
    'allow_unsigned': Option('--allow-unsigned', 'yes', APPLYING),
    'allow_withdrawn': Option('--allow-withdrawn', 'yes', APPLYING),
    'as_owner': Option('--as-owner', 'yes', ALWAYS),
    'ca': Option('--ca', 'value', APPLYING),
    'cache': Option('--cache', 'value', APPLYING),
    'edited': Option('--edited', 'value', APPLYING),
    'exclude': Option('--exclude', 'each', APPLYING),
    'force': Option('--force', 'yes', ('absent',)),
    'keep_edited': Option('--keep-edited', 'each', APPLYING),
    'keys': Option('--keys', 'value', APPLYING),
    'libs': Option('--libs', 'value', CHANGING),
    'note': Option('--note', 'value', ALWAYS),
    'offline': Option('--offline', 'yes', APPLYING),
    'policy': Option('--policy', 'value', ALWAYS),
    'probe': Option('--probe', 'value', APPLYING),
    'proxy': Option('-x', 'hidden', APPLYING),
    'refresh': Option('--refresh', 'yes', CHANGING),
    'replace_edited': Option('--replace-edited', 'each', APPLYING),
    'requires': Option('--no-requires', 'no', APPLYING),
    'script_timeout': Option('--script-timeout', 'value', CHANGING),
    'scripts': Option('--scripts', 'value', CHANGING),
    'signature': Option('--signature', 'value', APPLYING),
    'trial': Option('--trial', 'value', APPLYING),
    'trial_reboots': Option('--trial-reboots', 'value', APPLYING),
    'trust_root': Option('--trust-root', 'yes', ALWAYS),
    'undo': Option('--no-undo', 'no', APPLYING),
    'undo_dir': Option('--undo-dir', 'value', ('present', 'absent', 'committed')),
    'undo_format': Option('--undo-format', 'value', APPLYING),
    'wait': Option('--wait', 'value', ALWAYS),
    'with_dependents': Option('--with-dependents', 'yes', ('absent',)),
}


def arguments():
    """Returns the arguments of the module."""
    spec = changing_arguments()
    spec.update(trial_arguments())
    spec.update({
        'state': {
            'type': 'str',
            'choices': ['present', 'absent', 'committed', 'confirmed'],
            'default': 'present',
        },
        'id': {'type': 'list', 'elements': 'str', 'aliases': ['ids']},
        'src': {'type': 'list', 'elements': 'str', 'aliases': ['depot']},
        'group': {'type': 'str', 'choices': ['missing', 'recommended', 'security']},
        'not_applicable': {'type': 'str', 'choices': ['fail', 'skip'], 'default': 'fail'},
        'edited': {'type': 'str', 'choices': ['stop', 'replace', 'keep']},
        'replace_edited': {'type': 'list', 'elements': 'str'},
        'keep_edited': {'type': 'list', 'elements': 'str'},
        'adopt': {'type': 'bool', 'default': False},
        'refresh': {'type': 'bool', 'default': False},
        'undo': {'type': 'bool', 'default': True},
        'undo_dir': {'type': 'path'},
        'undo_format': {'type': 'str', 'choices': ['gz', 'Z', 'none', 'zst', 'xz', 'files']},
        'all_or_nothing': {'type': 'bool', 'default': False},
        'signature': {'type': 'str', 'choices': ['require', 'warn', 'off']},
        'allow_unsigned': {'type': 'bool', 'default': False},
        # A directory of public keys.
        'keys': {'type': 'path', 'no_log': False},
        'scripts': {'type': 'str', 'choices': ['auto', 'native', 'run', 'refuse']},
        'script_timeout': {'type': 'str'},
        'libs': {'type': 'str', 'choices': ['report', 'stop', 'keep', 'keep-or-stop', 'keep-always']},
        'exclude': {'type': 'list', 'elements': 'str'},
        'allow_withdrawn': {'type': 'bool', 'default': False},
        'requires': {'type': 'bool', 'default': True},
        'offline': {'type': 'bool', 'default': False},
        'cache': {'type': 'path'},
        'ca': {'type': 'path'},
        # It may have a password.
        'proxy': {'type': 'str', 'no_log': True},
        'with_dependents': {'type': 'bool', 'default': False},
        'force': {'type': 'bool', 'default': False},
    })
    return spec


def check(params):
    """Refuses arguments that make no sense, before anything is run."""
    state, ids, sources = params['state'], params['id'], params['src']
    check_options(OPTIONS, params, state)
    check_durations(params)
    if params['undo'] is False and (params['trial'] or params['probe']):
        raise Refused('trial and probe require undo data')
    for name in ('src', 'group'):
        if params[name] and state != 'present':
            raise Refused('%s is valid only with state=present, not %s' % (name, state))
    if params['not_applicable'] == 'skip' and state != 'present':
        raise Refused('not_applicable is valid only with state=present, not %s' % state)
    if state == 'present':
        check_what_is_applied(params)
    elif state != 'confirmed' and ids is None:
        raise Refused('state=%s requires the patches in id' % state)
    for one in ids or []:
        check_id(one, with_revision=state in ('committed', 'confirmed'))
    for one in params['exclude'] or []:
        check_id(one, with_revision=False)
    check_root(params['root'])
    for one in sources or []:
        check_source(one)


def check_what_is_applied(params):
    """Refuses what does not say which patches are meant, or says it twice."""
    ids, sources, group = params['id'], params['src'], params['group']
    if ids is not None and group is not None:
        raise Refused('id and group cannot be used together')
    if ids is None and group is None and not sources:
        raise Refused('nothing to apply: specify id, src or group')
    if (ids is not None or group is not None) and len(sources or []) > 1:
        raise Refused('with %s, src must be one depot, but %d are named' % ('group' if group else 'id', len(sources)))


def parts_of(text):
    """Returns the base of an id with what joins it to the revision, and the revision as a number, if it has one."""
    found = REVISION.match(text)
    return (found.group(1), int(found.group(2))) if found else (text, None)


def is_meant(applied, wanted):
    """Tells whether an applied patch is the named one, or a revision of the base that is named."""
    base, revision = parts_of(applied)
    # A number can be a base as well as the end of an id.
    return parts_of(wanted) == (base, revision) or wanted == base.rstrip('-_.+')


def given_up(patches):
    """Returns the difference of undo data that is dropped."""
    if not patches:
        return []
    return [{
        'before_header': 'undo data',
        'after_header': 'undo data',
        'before': lines_of('%s: kept' % one for one in patches),
        'after': lines_of('%s: dropped' % one for one in patches),
    }]


class PatchWork(Work):
    """What one task does about patches."""

    def done(self):
        """Does what the state asks for, and returns what came out."""
        check(self.params)
        state = self.params['state']
        if self.params['id'] == []:
            return {'changed': False, 'patches': [], 'reasons': [], 'msg': 'id names no patch'}
        self.program = Program(self.module)
        if state == 'present':
            return self.ended(*self.application())
        if state == 'absent':
            return self.absent()
        if state == 'committed':
            return self.ended(['undo-data', 'drop'], [], self.params['id'])
        return self.confirmed()

    def application(self):
        """Returns the verb, its own words and its operands that apply what is meant."""
        ids, sources, group = self.params['id'], self.params['src'], self.params['group']
        if ids is None and group is None:
            return ['add'], [], sources
        depot = ['-M', sources[0]] if sources else []
        if group is not None:
            return ['update'], depot, [group]
        # Without a depot that is named, that of the policy is meant.
        return (['add'] if sources else ['update']), depot, ids

    def absent(self):
        """Backs out what is applied of the patches."""
        applied = [patch['id'] for patch in self.listed()]
        wanted = self.params['id']
        going = [one for one in applied if any(is_meant(one, name) for name in wanted)]
        if not going:
            reasons = ['%s: it is not applied' % name for name in wanted]
            return {'changed': False, 'patches': [], 'reasons': reasons, 'msg': '; '.join(reasons)}
        return self.ended(['remove'], [], going)

    def listed(self):
        """Returns the applied patches of the root."""
        words = ['--policy=%s' % self.params['policy']] if self.params['policy'] else []
        answer = self.program.ask(['list'], words)
        if not answer.is_good():
            finished(answer, is_plan=False)
        return answer.patches()

    def ended(self, verb, words, operands):
        """Calls a verb with the options of the arguments, and returns what came out."""
        words = words + options_of(OPTIONS, self.params, self.params['state'])
        may_end = ('not-applicable',) if self.params['not_applicable'] == 'skip' else ()
        values = self.carried_out(self.program, verb, words, operands, may_end)
        if 'diff' in values and self.params['state'] == 'committed':
            values['diff'] += given_up(values.get('irremovable', []))
        return values

    def confirmed(self):
        """Confirms a trial. Fails if the trial is over, because its changes are reverted."""
        patches = self.listed()
        standing = next((patch['trial'] for patch in patches if 'trial' in patch), None)
        applied = [patch['id'] for patch in patches]
        gone = [name for name in self.params['id'] or [] if not any(is_meant(one, name) for one in applied)]
        if gone:
            reasons = ['%s: it is not applied' % one for one in gone]
            raise Refused('; '.join(reasons) + '; there is nothing to confirm', reasons=reasons, changed=False)
        if standing is None:
            return {'changed': False, 'patches': [], 'reasons': ['nothing is on trial'], 'msg': 'nothing is on trial'}
        if self.module.check_mode:
            values = self.would_confirm(standing)
        else:
            words = options_of(OPTIONS, self.params, 'confirmed')
            values = finished(self.program.ask(['confirm'], words, [standing['run']]), is_plan=False)
        if self.shows_differences():
            values['diff'] = [{
                'before_header': 'trial',
                'after_header': 'trial',
                'before': lines_of(['%s until %s' % (standing['run'], standing['until'])] + standing['patches']),
                'after': '',
            }]
        return values

    def would_confirm(self, standing):
        """Returns what a confirmation would come to, which the program does not plan."""
        if standing['over']:
            raise Refused('the trial of %s is over, and its changes are reverted' % standing['run'], changed=False, trial=standing)
        return {'changed': True, 'patches': standing['patches'], 'reasons': [], 'trial': standing,
                'confirmed': standing['run']}


def main():
    """Runs the module."""
    judged(PatchWork(AnsibleModule(argument_spec=arguments(), supports_check_mode=True)))


if __name__ == '__main__':
    main()
