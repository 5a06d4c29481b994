# SPDX-License-Identifier: MIT OR Apache-2.0
"""The patches of depots."""

DOCUMENTATION = r'''
name: depot
short_description: List the patches of a depot
version_added: 1.0.0
author:
  - The authors of patchadm (@patchadm)
description:
  - Reads the index of a depot on the control node, and returns its patches, sorted by base and revision.
  - The signature of the index is not verified here. On each target, patchadm verifies the index and the patches before it
    applies one.
options:
  _terms:
    description: Depots. Each is a directory on the control node or an address that begins with C(http:), C(https:) or C(file:).
    required: true
  id:
    description: Return only these patches, given by id or base.
    type: list
    elements: str
  flags:
    description: Return only patches that have all of these flags.
    type: list
    elements: str
    choices: [recommended, security, withdrawn]
  revisions:
    description:
      - C(current) returns the highest revision of each patch that is not withdrawn.
      - C(all) returns every revision, including withdrawn ones.
    type: str
    choices: [current, all]
    default: current
  timeout:
    description: Wait this many seconds for a web server.
    type: int
    default: 30
'''

EXAMPLES = r'''
- name: Apply the security patches of a depot, named one by one
  patchadm.patch.patch:
    id: "{{ query('patchadm.patch.depot', depot, flags=['security']) | map(attribute='id') | list }}"
    src: "{{ depot }}"
  vars:
    depot: https://patches.example.com/depot

- name: Print the synopsis of each revision of a patch
  ansible.builtin.debug:
    msg: "{{ item.id }}: {{ item.synopsis }}"
  loop: "{{ query('patchadm.patch.depot', '/srv/depot', id=['105181'], revisions='all') }}"
'''

RETURN = r'''
_raw:
  description: The patches as in the index, each with C(base), C(revision), C(depot) and a list C(flags).
  type: list
  elements: dict
'''

import json
import os
import re
from urllib.error import URLError
from urllib.parse import unquote, urlsplit

from ansible.errors import AnsibleLookupError
from ansible.module_utils.urls import open_url
from ansible.plugins.lookup import LookupBase

SCHEMA = 'patchadm-depot/1'

# The largest index that patchadm itself reads.
LARGEST = 64 << 20

# The longest id, as patchadm has it.
LONGEST_ID = 128

ID = re.compile(r'(?P<base>[A-Za-z0-9_+][A-Za-z0-9_.+-]*)[A-Za-z_.+-](?P<revision>[0-9]+)\Z')


# What stands before the host of an address: a scheme, and perhaps a name and a password.
BEFORE_HOST = re.compile(r'((?:https?|ftp|file):/*)?.*@', re.IGNORECASE | re.DOTALL)


def shown(depot):
    """Returns a depot as it may be told: without a name and password before its host."""
    return BEFORE_HOST.sub(r'\1...@', depot, count=1) if ':' in depot else depot


def index_of(depot, timeout):
    """Returns the bytes of the index of a depot."""
    address = depot.rstrip('/') + '/index.json'
    scheme = urlsplit(depot).scheme
    try:
        if scheme in ('http', 'https'):
            return open_url(address, timeout=timeout).read(LARGEST + 1)
        path = unquote(urlsplit(address).path) if scheme == 'file' else os.path.expanduser(address)
        with open(path, 'rb') as index:
            return index.read(LARGEST + 1)
    except (URLError, OSError, ValueError) as error:
        reason = str(error).replace(address, shown(address)).replace(depot, shown(depot))
        raise AnsibleLookupError('the index of depot %s cannot be read: %s' % (shown(depot), reason))


def patches_of(depot, text):
    """Returns the patches of an index."""
    if len(text) > LARGEST:
        raise AnsibleLookupError('the index of depot %s is larger than 64 MiB' % shown(depot))
    try:
        index = json.loads(text.decode('utf-8'))
    except ValueError as error:
        raise AnsibleLookupError('the index of depot %s is damaged: %s' % (shown(depot), error))
    if not isinstance(index, dict) or index.get('schema') != SCHEMA:
        raise AnsibleLookupError('the index of depot %s is not one of %s' % (shown(depot), SCHEMA))
    patches = index.get('patches')
    if not isinstance(patches, list):
        raise AnsibleLookupError('the index of depot %s has no list of patches' % shown(depot))
    return [named(depot, patch) for patch in patches]


def named(depot, patch):
    """Returns a patch with what its id says."""
    text = patch.get('id') if isinstance(patch, dict) else None
    found = ID.match(text) if isinstance(text, str) and len(text) <= LONGEST_ID else None
    flags = patch.get('flags', []) if found else None
    if not isinstance(flags, list):
        raise AnsibleLookupError('the index of depot %s has a patch that is none: %.60r' % (shown(depot), patch))
    return dict(patch, base=found.group('base'), revision=int(found.group('revision')), depot=depot, flags=flags)


def place(patch):
    """Returns where a patch stands in a list: by number if its base is one, as patchadm sorts."""
    base = patch['base']
    return (0, int(base), '', patch['revision']) if base.isdigit() else (1, 0, base, patch['revision'])


def current(patches):
    """Returns the highest revision of each patch that is not withdrawn."""
    highest = {}
    for patch in sorted(patches, key=place):
        if 'withdrawn' not in patch['flags']:
            highest[patch['base']] = patch
    return list(highest.values())


class LookupModule(LookupBase):
    """The lookup."""

    def run(self, terms, variables=None, **kwargs):
        """Returns the patches of the depots in the terms."""
        self.set_options(var_options=variables, direct=kwargs)
        wanted, flags = self.get_option('id'), self.get_option('flags') or []
        patches = []
        for depot in terms:
            found = patches_of(depot, index_of(depot, self.get_option('timeout')))
            if self.get_option('revisions') == 'current':
                found = current(found)
            patches.extend(sorted(found, key=place))
        return [patch for patch in patches
                if (wanted is None or patch['id'] in wanted or patch['base'] in wanted)
                and all(flag in patch['flags'] for flag in flags)]
