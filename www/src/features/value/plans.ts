/** Plans as text, from what a form has chosen. What a plan means, the engine says. */
import type { SafeView } from '../../engine/api.ts';

/** A way of laying a value out, as the form offers it. */
export interface Preset {
  id: 'guarded' | 'spread' | 'keepers' | 'copies' | 'custom';
  label: string;
  /** What it is good for. */
  meaning: string;
  /** Fewest safes that it takes, and most. */
  least: number;
  most: number;
}

/** Most safes of one group. */
const MOST = 20;

export const presets: Preset[] = [
  {
    id: 'guarded',
    label: 'Guarded',
    meaning:
      'Some of the safes bring it back, and only to you: with this wallet, or with your recovery name and passphrase.',
    least: 2,
    most: MOST,
  },
  {
    id: 'spread',
    label: 'Spread',
    meaning: 'Some of the safes bring it back, fewer learn nothing.',
    least: 2,
    most: MOST,
  },
  {
    id: 'keepers',
    label: 'Two keepers',
    meaning: 'One safe has it sealed, the other has the key.',
    least: 2,
    most: 2,
  },
  {
    id: 'copies',
    label: 'Copies',
    meaning: 'Each safe has it sealed; the key stays in this wallet and its certificate file.',
    least: 2,
    most: MOST,
  },
  { id: 'custom', label: 'Custom', meaning: 'A plan of your own.', least: 1, most: MOST },
];

/** A safe in the text of a plan: by its nickname, or where that is not unique by its id. */
export function nameOf(safe: SafeView, all: SafeView[]): string {
  if (all.filter(({ nickname }) => nickname === safe.nickname).length > 1) return safe.id;
  const plain = /^[A-Za-z0-9_.-]+$/.test(safe.nickname);
  return plain ? safe.nickname : `"${safe.nickname.replace(/["\\]/g, '\\$&')}"`;
}

/** The text of a preset over some safes. */
export function planOf(preset: Preset['id'], k: number, safes: SafeView[], all: SafeView[]): string {
  const at = safes.map((safe) => `at(${nameOf(safe, all)})`);
  const list = at.join(', ');
  switch (preset) {
    case 'guarded': {
      const owner = safes.map((safe) => `at(${nameOf(safe, all)}, owner)`).join(', ');
      return `seal(disperse(${k}, ${owner}), derive(book, split(${k}, ${owner})))`;
    }
    case 'keepers':
      return `seal(${list})`;
    case 'copies':
      return `seal(copies(${list}), book)`;
    default:
      return `seal(disperse(${k}, ${list}), split(${k}, ${list}))`;
  }
}

/** What people do with plans, for the custom one: with the names of safes that are there. */
export function examples(all: SafeView[]): { label: string; plan: string; safes: number }[] {
  const [a = 'A', b = 'B', c = 'C'] = all.map((safe) => nameOf(safe, all));
  const at = (...names: string[]) => names.map((name) => `at(${name})`).join(', ');
  return [
    { label: 'One safe keeps it', plan: `at(${a})`, safes: 1 },
    { label: 'Several safes keep it', plan: `copies(${at(a, b)})`, safes: 2 },
    { label: 'A safe keeps it sealed, the key stays here', plan: `seal(at(${a}), book)`, safes: 1 },
    { label: 'The key is kept here and there', plan: `seal(at(${a}), copies(book, at(${a})))`, safes: 1 },
    { label: 'The key is at another safe', plan: `seal(${at(a, b)})`, safes: 2 },
    { label: 'All pieces are needed', plan: `split(3, ${at(a, b, c)})`, safes: 3 },
    { label: 'Two pieces of three suffice', plan: `split(2, ${at(a, b, c)})`, safes: 3 },
    {
      label: 'The same, smaller, but each piece tells something',
      plan: `disperse(2, ${at(a, b, c)})`,
      safes: 3,
    },
    { label: 'You keep one piece in a file', plan: `split(2, ${at(a, b)}, file)`, safes: 2 },
    {
      label: 'Divide, then seal each piece',
      plan: `split(2, seal(at(${a}), book), seal(at(${b}), book), seal(at(${c}), book))`,
      safes: 3,
    },
    { label: 'Seal, then divide', plan: `seal(disperse(2, ${at(a, b, c)}), book)`, safes: 3 },
    {
      label: 'Half of the key beside it, half elsewhere',
      plan: `seal(at(${a}), split(2, ${at(a, b)}))`,
      safes: 2,
    },
    {
      label: 'Words that you remember are part of the key',
      plan: `seal(at(${a}), derive(memory, at(${b})))`,
      safes: 2,
    },
    {
      label: 'A file that you keep is part of the key',
      plan: `seal(at(${a}), derive(file, at(${b})))`,
      safes: 2,
    },
    {
      label: 'A safe has a seed, this wallet the rest of the key',
      plan: `seal(at(${a}), derive(book, at(${b})))`,
      safes: 2,
    },
  ];
}
