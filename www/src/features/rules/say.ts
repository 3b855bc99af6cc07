/** Rules in words. */
import type { Condition, Rule, RulePreview, ValueKind } from '../../engine/api.ts';
import { size } from '../../shared/format.ts';
import { kinds } from '../../shared/words.ts';

export const HOUR = 3_600;
export const DAY = 24 * HOUR;
export const KIB = 1_024;
export const MIB = 1_024 * KIB;

/** What can be asked of a value, as the form offers it. */
export const conditions: Record<Condition['what'], string> = {
  kind: 'Its kind is',
  tag: 'It has the tag',
  larger: 'It is larger than',
  smaller: 'It is smaller than',
  older: 'It was put in at least … ago',
  changed: 'It was changed since it was backed up',
  unused: 'It was not used for',
  'room-below': 'Less room is left than',
};

export const effects: Record<RulePreview['values'][number]['effect'], string> = {
  'backs-up': 'is backed up',
  'backs-up-change': 'its change is backed up',
  moves: 'goes to the safes',
  'moves-for-room': 'goes to the safes when room is short',
  'is-so': 'is so already',
  'left-alone': 'is left alone, for you took it back',
  'needs-owner': 'needs your words or your file, so you back it up',
  busy: 'is being worked on',
};

function span(seconds: number): string {
  const [unit, name] = seconds % DAY === 0 && seconds > 0 ? [DAY, 'day'] : [HOUR, 'hour'];
  const n = Math.round(seconds / unit);
  return `${n} ${name}${n === 1 ? '' : 's'}`;
}

const either = (words: string[]) => words.join(' or ');

function ask({ what, words, amount }: Condition): string {
  switch (what) {
    case 'kind':
      return either(words.map((word) => kinds[word as ValueKind]?.toLowerCase() ?? word));
    case 'tag':
      return `tagged ${either(words.map((word) => `#${word}`))}`;
    case 'larger':
      return `larger than ${size(amount)}`;
    case 'smaller':
      return `smaller than ${size(amount)}`;
    case 'older':
      return `put in at least ${span(amount)} ago`;
    case 'changed':
      return 'changed since it was backed up';
    case 'unused':
      return `not used for ${span(amount)}`;
    case 'room-below':
      return amount > 0 ? `when less than ${size(amount)} is left` : 'when something waits for room';
  }
}

/** “Ticket, put in at least 7 days ago: backed up, then off this device.” */
export function say({ when, moves }: Rule): string {
  const asked = when.length === 0 ? 'Everything' : when.map(ask).join(', ');
  const done = moves ? 'backed up, then off this device' : 'backed up';
  return `${asked.charAt(0).toUpperCase()}${asked.slice(1)}: ${done}.`;
}

/** What people use rules for. */
export const templates: { label: string; rule: Omit<Rule, 'plan' | 'on'> }[] = [
  { label: 'Everything, and every change of it', rule: { name: 'Everything', when: [], moves: false } },
  {
    label: 'Tickets and vouchers older than a week leave this device',
    rule: {
      name: 'Old tickets',
      when: [
        { what: 'kind', words: ['ticket', 'voucher'], amount: 0 },
        { what: 'older', words: [], amount: 7 * DAY },
      ],
      moves: true,
    },
  },
  {
    label: 'Large files that nobody uses leave this device',
    rule: {
      name: 'Large files',
      when: [
        { what: 'larger', words: [], amount: MIB },
        { what: 'unused', words: [], amount: 30 * DAY },
      ],
      moves: true,
    },
  },
  {
    label: 'When room is short, something leaves this device',
    rule: { name: 'Make room', when: [{ what: 'room-below', words: [], amount: 20 * MIB }], moves: true },
  },
];
