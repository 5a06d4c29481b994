# SPDX-License-Identifier: MIT OR Apache-2.0
"""The lookup depot: indexes that are good, and others."""

import json
import os
import tempfile
import unittest

from ansible.errors import AnsibleLookupError
from ansible_collections.patchadm.patch.plugins.lookup import depot


def index(*patches, **fields):
    """Returns the bytes of an index."""
    return json.dumps(dict({'schema': 'patchadm-depot/1', 'patches': list(patches)}, **fields)).encode('utf-8')


class Indexes(unittest.TestCase):
    """What an index comes to."""

    def test_patches_have_base_revision_and_flags(self):
        found = depot.patches_of('d', index({'id': 'ACME-web-03', 'flags': ['security']}, {'id': '9-010'}))
        self.assertEqual([(one['base'], one['revision'], one['flags']) for one in found],
                         [('ACME-web', 3, ['security']), ('9', 10, [])])

    def test_current_is_the_highest_revision_that_is_not_withdrawn(self):
        found = depot.patches_of('d', index({'id': '1-9'}, {'id': '1-10'}, {'id': '1-11', 'flags': ['withdrawn']}, {'id': '2-1'}))
        self.assertEqual([one['id'] for one in depot.current(found)], ['1-10', '2-1'])

    def test_bases_that_are_numbers_come_first_and_by_number(self):
        found = depot.patches_of('d', index({'id': 'a-1'}, {'id': '10-1'}, {'id': '9-1'}))
        self.assertEqual([one['id'] for one in sorted(found, key=depot.place)], ['9-1', '10-1', 'a-1'])

    def test_what_is_no_index_is_refused(self):
        for text in (b'', b'{', b'[]', b'\xff', index(schema='patchadm-depot/2'), index(patches={}), index({'id': None}),
                     index('1-01'), index({'id': '1'}), index({'id': '1-' + '1' * 5000}), index({'id': '1-1', 'flags': 'x'})):
            with self.assertRaises(AnsibleLookupError):
                depot.patches_of('d', text)

    def test_no_error_shows_the_password_of_an_address(self):
        for named in ('http://joe:secret@127.0.0.1:1/d', 'HTTP://joe:secret@127.0.0.1:1', 'https:joe:secret@h', 'ftp://joe:secret@h',
                      'http://joe:se/cret@127.0.0.1:1'):
            for ask in (lambda: depot.index_of(named, 1), lambda: depot.patches_of(named, b'{')):
                with self.assertRaises(AnsibleLookupError) as failed:
                    ask()
                self.assertIn('...@', str(failed.exception))
                for word in ('joe', 'secret', 'cret@'):
                    self.assertNotIn(word, str(failed.exception), named)

    def test_a_depot_is_a_directory_or_an_address_of_a_file(self):
        with tempfile.TemporaryDirectory(suffix=' %25') as directory:
            with open(os.path.join(directory, 'index.json'), 'wb') as written:
                written.write(index({'id': '1-01'}))
            address = 'file://' + directory.replace('%', '%25').replace(' ', '%20')
            for named in (directory, directory + '/', address):
                self.assertEqual(len(depot.patches_of(named, depot.index_of(named, 1))), 1, named)
            with self.assertRaises(AnsibleLookupError):
                depot.index_of(os.path.join(directory, 'none'), 1)


if __name__ == '__main__':
    unittest.main()
