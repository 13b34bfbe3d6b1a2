"""A guest behind tools/wire/wire.py: user networking at the far end, faults between."""

import json
import os

from vm import TOP, VM

WIRE = os.path.join(TOP, 'tools', 'wire', 'wire.py')

class Cable(VM):
    """in_, out: faults as wire.py takes them; rules: its rules; play: a capture
    towards the guest."""

    def __init__(self, seed=1, in_='', out='', rules=(), play=None, **options):
        options['extra'] = ('-W', *options.get('extra', ()))
        super().__init__(**options)
        self.jsonl = self.dir + '.jsonl'
        self.args = [WIRE, '--seed', str(seed), '--in', in_, '--out', out, *(w for r in rules for w in ('--rule', r)),
                     *(('--play', play) if play else ()), '--log', self.jsonl, '--', *self.args]

    def acts(self):
        """What the wire has done so far."""
        with open(self.jsonl) as f:
            return [json.loads(line) for line in f]

    def remove(self):
        super().remove()
        os.unlink(self.jsonl)
