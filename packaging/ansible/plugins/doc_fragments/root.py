# SPDX-License-Identifier: MIT OR Apache-2.0
"""The documentation of the arguments that modules share."""


class ModuleDocFragment(object):
    """Arguments of every module, of those that change a root, and of changes on trial."""

    DOCUMENTATION = r'''
options:
  root:
    description: The root on the target, as for C(patchadm -R).
    type: path
    default: /
  executable:
    description: The patchadm program, as a path or a name.
    type: path
    default: patchadm
requirements:
  - patchadm on the target
  - Python 3.6 or later on the target
'''

    CHANGE = r'''
options:
  policy:
    description: Use this policy file on the target instead of the policy of the root.
    type: path
  wait:
    description: Wait this many seconds for another command that is changing the root.
    type: int
  note:
    description: A line to keep with the run in the history of the root.
    type: str
  as_owner:
    description: Do everything as the owner of the root directory.
    type: bool
    default: false
  trust_root:
    description: Trust the owner of the root to do anything there as the superuser.
    type: bool
    default: false
'''

    TRIAL = r'''
options:
  trial:
    description:
      - Put the run on trial for this time, such as C(30s), C(10m), C(2h) or C(1d).
      - Afterwards the run is reverted unless I(state=confirmed) of M(patchadm.patch.patch) keeps it, even if nobody can log
        in any more.
    type: str
  trial_reboots:
    description: Survive this many reboots; by default the first reboot ends the trial.
    type: int
  probe:
    description:
      - Run this command with C(/bin/sh) on the target after the run.
      - If it fails, everything is backed out, and the task fails with the end of its output.
      - The command is visible to other users of the target while it runs; pass secrets with C(environment) of the task.
    type: str
  probe_timeout:
    description: Give the command of I(probe) this many seconds instead of 60.
    type: int
'''
