# SPDX-License-Identifier: MIT OR Apache-2.0
"""The documentation of the arguments that modules share."""


class ModuleDocFragment(object):
    """Arguments of every module, of those that change a root, and of changes on trial."""

    DOCUMENTATION = r'''
options:
  root:
    description: The root directory of the target below which the software is, as C(patchadm -R) takes it.
    type: path
    default: /
  executable:
    description: The program, by its path or its name.
    type: path
    default: patchadm
requirements:
  - patchadm on the target
  - Python 3.6 or later on the target
'''

    CHANGE = r'''
options:
  policy:
    description: Take the policy in this file of the target instead of the root's policy.
    type: path
  wait:
    description: Wait this long, such as C(10m), for another command that is changing the root.
    type: str
  note:
    description: Keep this line with the run in the history of the root.
    type: str
  as_owner:
    description: Do everything as the owner of the root directory.
    type: bool
    default: false
  trust_root:
    description: Trust the owner of the root as much as the superuser.
    type: bool
    default: false
'''

    TRIAL = r'''
options:
  trial:
    description:
      - Put the run on trial for this time, such as C(30s), C(10m), C(2h) or C(1d).
      - Everything is reverted afterwards unless I(state=confirmed) of M(patchadm.patch.patch) keeps it, also when nobody can
        log in any more.
    type: str
  trial_reboots:
    description: Continue the trial across this many reboots; by default the first reboot ends the trial.
    type: int
  probe:
    description:
      - Run this command with C(/bin/sh) on the target when everything is applied.
      - If it fails or takes more than 60 seconds, everything is reverted, and the task fails with the end of its output.
      - The command is visible to other users of the target while it runs; pass secrets with C(environment) of the task.
    type: str
'''
