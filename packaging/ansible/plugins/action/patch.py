# SPDX-License-Identifier: MIT OR Apache-2.0
"""The module patch, done without another process where the target is this machine."""

from ansible_collections.patchadm.patch.plugins.modules.patch import PatchWork, arguments
from ansible_collections.patchadm.patch.plugins.plugin_utils.local import LocalAction


class ActionModule(LocalAction):
    """The action of the module."""

    WORK = PatchWork
    ARGUMENTS = staticmethod(arguments)
