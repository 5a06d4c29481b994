# SPDX-License-Identifier: MIT OR Apache-2.0
"""What the modules of the collection share.

Arguments are judged before anything is run, a call of patchadm becomes one list of words, and its JSON document alone
says what happened: no text is read. Nothing here needs more than Python 3.6, and nothing needs Ansible.
"""

import json
import os
import re
import shlex

# The schema of the documents that are understood.
SCHEMA = 'patchadm/1'

# The longest id, as patchadm has it.
LONGEST_ID = 128

# The most lines of each side of a difference of files.
MOST_DIFF_LINES = 5000

# The most files listed with the reason why their texts are not shown.
MOST_NOT_SHOWN = 100

# What a text of a file could do to a terminal.
CONTROL = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]')

# The verbs whose plans can have the texts of files.
WITH_TEXTS = (['add'], ['remove'], ['stage', 'promote'])

# An id with a revision: whatever the policy of a root has between base and number.
ID = re.compile(r'[A-Za-z0-9_+][A-Za-z0-9_.+-]*[A-Za-z_.+-][0-9]+\Z')

# The base of an id, which stands for a revision that is not named.
BASE = re.compile(r'[A-Za-z0-9_+][A-Za-z0-9_.+-]*\Z')

# A patch or a depot that is somewhere else.
ADDRESS = re.compile(r'(https?|file):', re.IGNORECASE)

# A name and perhaps a password before the host of an address, in whatever form it is written.
USER_IN_ADDRESS = re.compile(r'(https?|ftp):.*@', re.IGNORECASE | re.DOTALL)

# A time: a number and its unit.
DURATION = re.compile(r'[0-9]+(s|m|min|h|d|w|y)\Z')

# What patches may ask for after they were applied, the most urgent first.
RESTARTS = ('rebootimmediate', 'reconfigimmediate', 'rebootafter', 'reconfigafter')

# What is in force without having been applied now.
IN_FORCE = ('already-applied', 'superseded', 'obsoleted')


class Refused(Exception):
    """A reason, in one line, why nothing more is done; with what else is known."""

    def __init__(self, message, **known):
        super(Refused, self).__init__(one_line(message))
        self.known = known


def one_line(text):
    """Returns a text of several lines as one."""
    lines = [' '.join(line.split()) for line in text.splitlines()]
    return '; '.join(line for line in lines if line)


class Option(object):
    """An option of an argument: its word, how it is written, and the states in which it means something.

    The form is `value` for a word and its value, `each` for the same again and again, `yes` for a word that stands
    where the argument is true, and `no` for one that stands where it is false. What is `hidden` is no word at all.
    """

    def __init__(self, word, form, states):
        self.word = word
        self.form = form
        self.states = states

    def is_given(self, value):
        """Tells whether somebody asked for anything but the default."""
        if self.form == 'yes':
            return bool(value)
        if self.form == 'no':
            return value is False
        return value is not None and value != []

    def words(self, value):
        """Returns what stands on the command line."""
        if self.form == 'hidden' or not self.is_given(value):
            return []
        if self.form in ('yes', 'no'):
            return [self.word]
        values = value if self.form == 'each' else [value]
        # A value that begins with a hyphen is no option.
        return ['%s=%s' % (self.word, one) for one in values]


def options_of(table, params, state):
    """Returns the words of all options of a table, sorted by the names of the arguments."""
    words = []
    for name in sorted(table):
        if state in table[name].states:
            words.extend(table[name].words(params.get(name)))
    return words


def check_options(table, params, state):
    """Refuses arguments that would mean nothing."""
    for name in sorted(table):
        option = table[name]
        if option.is_given(params.get(name)) and state not in option.states:
            allowed = ' or '.join(option.states)
            raise Refused('%s is valid only with state=%s, not %s' % (name, allowed, state))


def check_id(text, with_revision):
    """Refuses what cannot be the id of a patch."""
    form = ID if with_revision else BASE
    if len(text.encode('utf-8', 'replace')) <= LONGEST_ID and form.match(text):
        return
    shown = text if len(text) <= 40 else text[:40] + '...'
    wanted = 'a base, a separator and a number, as 105181-05' if with_revision else 'as 105181-05 or 105181'
    raise Refused('%s is not the id of a patch, which is %s' % (json.dumps(shown), wanted))


def on_disk(path):
    """Returns a path as the file system has it. A Python that follows the locale of the target could read it as another."""
    return path.encode('utf-8', 'surrogateescape')


def check_source(source):
    """Refuses a patch or depot that is named by half a path, or cannot be read here."""
    if USER_IN_ADDRESS.match(source):
        raise Refused('src has a user name or password in its URL, which patchadm does not send')
    if ADDRESS.match(source):
        return
    if not os.path.isabs(source):
        raise Refused('src %s is neither an absolute path of the target nor a URL' % json.dumps(source))
    found = on_disk(source)
    if not os.path.exists(found):
        raise Refused('src %s does not exist on the target' % source)
    if not os.access(found, os.R_OK | (os.X_OK if os.path.isdir(found) else 0)):
        raise Refused('src %s cannot be read by the user that Ansible became' % source)


def check_root(root):
    """Refuses a root that is not there."""
    if not os.path.isabs(root):
        raise Refused('root %s is not an absolute path' % json.dumps(root))
    if not os.path.isdir(on_disk(root)):
        reason = 'is not a directory' if os.path.lexists(on_disk(root)) else 'does not exist on the target'
        raise Refused('root %s %s' % (root, reason))


def check_durations(params):
    """Refuses a trial without a sensible time."""
    trial = params.get('trial')
    if trial is not None and not DURATION.match(trial):
        raise Refused('trial %s is not a time such as 30s, 10m, 2h or 1d' % json.dumps(trial))
    if params.get('trial_reboots') is not None and trial is None:
        raise Refused('trial_reboots requires trial')
    if params.get('probe') is not None and not params['probe'].strip():
        raise Refused('probe is empty')


class Answer(object):
    """The answer of one call of patchadm: its document, and nothing else."""

    def __init__(self, words, code, output, complaint):
        self.words = words
        try:
            document = json.loads(output)
        except ValueError:
            document = None
        schema = document.get('schema') if isinstance(document, dict) else None
        if schema not in (None, SCHEMA):
            found = json.dumps(schema)
            raise Refused('patchadm has documents of schema %s, but %s is needed' % (found, SCHEMA), command=words)
        if schema is not None and 'exit' in document and 'exit_code' not in document:
            # It may have done what was asked.
            raise Refused('patchadm on the target is of version 0.1, and this collection needs 1.0 or later', command=words,
                          changed=bool(document.get('changed')))
        if schema is None or 'exit_code' not in document:
            said = one_line(complaint) or 'nothing on standard error'
            if code < 0:
                raise self.interrupted(-code, said)
            raise Refused('patchadm exited with %s without a document: %s' % (code, said), command=words)
        self.document = document
        self.code = document['exit_code']
        self.cause = document['cause']

    def interrupted(self, signal, said):
        """Returns why there is no document: the program was ended, perhaps in the midst of a run."""
        advice = 'patchadm -R %s recover' % shlex.quote(self.words[2])
        return Refused('patchadm was ended by signal %d before it answered: %s; what it had begun is undone or completed '
                       'by the next run there, or by %s' % (signal, said, advice), command=self.words, advice=[advice])

    def is_good(self):
        """Tells whether patchadm did what was asked, or had nothing to do."""
        return self.code == 0

    def patches(self):
        """Returns the patches that are described by more than their ids."""
        return [patch for patch in self.document.get('patches', []) if isinstance(patch, dict)]

    def has_changed(self, is_plan):
        """Tells whether the root differs, or would differ."""
        return bool(self.document.get('would_change' if is_plan else 'changed'))

    def reasons(self):
        """Returns why it went wrong, a sentence for each patch."""
        reasons = []
        if self.document.get('error'):
            reasons.append(self.document['error'])
        check = self.document.get('trial', {}).get('check')
        if check is not None and not check['good']:
            reasons.append('the probe failed, and everything was reverted: %s' % check['end'])
        if self.document.get('trial', {}).get('error'):
            reasons.append(self.document['trial']['error'])
        for patch in self.patches():
            is_bad = patch.get('code', 0) != 0 and patch.get('verdict') not in IN_FORCE
            if is_bad and patch.get('reason'):
                reasons.append('%s: %s' % (patch['id'], patch['reason']))
        for conflict in self.document.get('conflicts', []):
            if conflict['decision'] == 'stop':
                reasons.append('%s was changed on both sides' % conflict['path'])
        return reasons or ['patchadm exited with %s (%s)' % (self.code, self.cause)]

    def in_force(self):
        """Returns why patches needed nothing, a sentence for each."""
        return ['%s: %s' % (patch['id'], patch['reason']) for patch in self.patches()
                if patch.get('verdict') in IN_FORCE + ('not-applicable',) and patch.get('reason')]

    def restart(self):
        """Returns the most urgent restart that a patch asks for which this run applies, or would apply; or None."""
        asked = [patch.get('reboot') for patch in self.patches() if patch.get('verdict') in ('applied', 'planned')]
        return next((word for word in RESTARTS if word in asked), None)

    def values(self, is_plan):
        """Returns what a task that registers the result gets to know."""
        document = self.document
        restart = self.restart()
        values = {
            'cause': self.cause,
            'changed': self.has_changed(is_plan),
            'command': self.words,
            'exit_code': self.code,
            'outcome': document.get('result'),
            'patches': [without_details(patch) for patch in document.get('patches', [])],
            'reboot': restart,
            # A plan changes nothing that a restart could be due for; `reboot` names the one that the run would ask for.
            'reboot_required': restart is not None and not is_plan,
            'reasons': self.in_force() if self.is_good() else self.reasons(),
        }
        for name in ('run', 'trial', 'adopted', 'refresh', 'recovered', 'notes', 'advice', 'irremovable', 'freed',
                     'paths', 'holders', 'confirmed', 'conflicts', 'kept', 'packages', 'bytes', 'stage', 'taken',
                     'objects', 'removed'):
            if name in document:
                values[name] = document[name]
        return values


def without_details(patch):
    """Returns a patch without the list of its objects, which the difference shows."""
    if not isinstance(patch, dict):
        return patch
    return dict((name, value) for name, value in patch.items() if name != 'changes')


def finished(answer, is_plan, is_fine=False):
    """Returns the values of an answer, or refuses with its reasons."""
    values = answer.values(is_plan)
    if not answer.is_good() and not is_fine:
        raise Refused('; '.join(answer.reasons()), **values)
    if values['reasons']:
        values['msg'] = '; '.join(one_line(reason) for reason in values['reasons'])
    return values


def state_words(state):
    """Returns an object in a few words."""
    if state is None:
        return 'nothing'
    words = [state['kind']]
    if state.get('target') is not None:
        words.append('to %s' % state['target'])
    if state.get('device') is not None:
        words.append('%s,%s' % tuple(state['device']))
    if state.get('size') is not None:
        words.append('%d bytes' % state['size'])
    if state['kind'] != 'symlink':
        words.append('%04o %d:%d' % (state['mode'], state['uid'], state['gid']))
    if state.get('b3'):
        words.append('b3 %s' % state['b3'][:12])
    words.extend(sorted(state.get('xattrs', {})))
    return ', '.join(words)


def differences(document):
    """Returns the lists of patches and the objects of a plan before and after it, as Ansible shows differences."""
    shown = []
    for entry in document.get('patch_lists', []):
        shown.append({
            'before_header': 'PATCHLIST of %s' % entry['package'],
            'after_header': 'PATCHLIST of %s' % entry['package'],
            'before': lines_of(entry['before']),
            'after': lines_of(entry['after']),
        })
    objects = {}
    for patch in document.get('patches', []):
        for change in patch.get('changes', []):
            # Of several patches the first finds the object, and the last one leaves it. An earlier program tells neither.
            if 'before' in change:
                before, _last = objects.get(change['path'], (change['before'], None))
                objects[change['path']] = (before, change['after'])
    if objects:
        paths = sorted(objects)
        lines = ([], [])
        for path in paths[:MOST_DIFF_LINES]:
            for side, state in zip(lines, objects[path]):
                side.append('%s: %s' % (path, state_words(state)))
        if len(paths) > MOST_DIFF_LINES:
            for side in lines:
                side.append('... and %d more' % (len(paths) - MOST_DIFF_LINES))
        shown.append({
            'before_header': 'files',
            'after_header': 'files',
            'before': lines_of(lines[0]),
            'after': lines_of(lines[1]),
        })
    return shown


def printable(text):
    """Returns a text without what would drive a terminal."""
    return CONTROL.sub(lambda found: '\\u%04x' % ord(found.group()), text)


def texts(document):
    """Returns the differences of the texts of files in a plan, and why others are not shown."""
    shown, not_shown = [], []
    for patch in document.get('patches', []):
        for change in patch.get('changes', []):
            if change.get('diff'):
                shown.append({'prepared': printable(change['diff'])})
            elif change.get('not_shown'):
                not_shown.append('%s: not shown: %s' % (change['path'], change['not_shown']))
    if len(not_shown) > MOST_NOT_SHOWN:
        more = len(not_shown) - MOST_NOT_SHOWN
        not_shown = not_shown[:MOST_NOT_SHOWN] + ['... and %d more' % more]
    if not_shown:
        shown.append({'prepared': printable(lines_of(not_shown))})
    return shown


def lines_of(words):
    """Returns words, each on a line of its own."""
    return ''.join('%s\n' % word for word in words)


class Program(object):
    """The program on the target, for one root."""

    def __init__(self, module):
        self.module = module
        named = module.params['executable']
        found = module.get_bin_path(named, opt_dirs=['/usr/local/bin'])
        if found is None:
            raise Refused('%s is not installed on the target, or not where programs are looked for; specify its path by '
                          'executable' % named)
        self.path = found

    def ask(self, verb, words, operands=()):
        """Calls a verb, and returns its answer. Nothing is expanded, and no shell is between."""
        call = [self.path, '-R', self.module.params['root']] + list(verb) + ['--json'] + list(words)
        if operands:
            call += ['--'] + list(operands)
        # A proxy may have a password, which every user of the target would see among the words of a process.
        proxy = self.module.params.get('proxy')
        environment = {'PATCHADM_PROXY': proxy} if proxy else {}
        code, output, complaint = self.module.run_command(call, expand_user_and_vars=False,
                                                          environ_update=environment)
        return Answer(call, code, output, complaint)


class Work(object):
    """What one task does on one root."""

    def __init__(self, module):
        self.module = module
        self.params = module.params

    def shows_differences(self):
        """Tells whether Ansible was asked for differences."""
        return bool(getattr(self.module, '_diff', False))

    def carried_out(self, program, verb, words, operands, may_end=()):
        """Calls a verb that can be planned: in check mode the plan alone, else the run.

        Where differences are asked for, they are those of the plan, which the run then carries out. Beside success, a
        call may end with the causes in `may_end`.
        """
        is_plan, shows = self.module.check_mode, self.shows_differences()
        plan = None
        if is_plan or shows:
            planning = list(words) + ['--dry-run']
            plan = program.ask(verb, planning + (['--diff'] if shows and verb in WITH_TEXTS else []), operands)
            if plan.cause == 'usage':
                # An earlier program has no texts of files.
                plan = program.ask(verb, planning, operands)
        answer = plan if is_plan else program.ask(verb, words, operands)
        values = finished(answer, is_plan, is_fine=answer.cause in may_end)
        if shows and plan.is_good():
            values['diff'] = differences(plan.document) + texts(plan.document)
        return values


def root_arguments():
    """Returns the arguments that every module has."""
    return {
        'root': {'type': 'path', 'default': '/'},
        'executable': {'type': 'path', 'default': 'patchadm'},
    }


def changing_arguments():
    """Returns the arguments of every module that can change a root."""
    arguments = root_arguments()
    arguments.update({
        'policy': {'type': 'path'},
        'wait': {'type': 'str'},
        'note': {'type': 'str'},
        'as_owner': {'type': 'bool', 'default': False},
        'trust_root': {'type': 'bool', 'default': False},
    })
    return arguments


def trial_arguments():
    """Returns the arguments of a change that can be on trial."""
    return {
        'trial': {'type': 'str'},
        'trial_reboots': {'type': 'int'},
        'probe': {'type': 'str'},
    }


def ended(work):
    """Carries out what a task does, and returns what came out: a failure has its reason in one line."""
    try:
        return work.done()
    except Refused as refused:
        return dict(refused.known, failed=True, msg=str(refused))


def judged(work):
    """Carries out what a module does, and ends it."""
    values = ended(work)
    if values.pop('failed', False):
        work.module.fail_json(**values)
    work.module.exit_json(**values)
