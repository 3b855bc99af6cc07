import { EngineError } from '../engine/errors.ts';

/** The engine's own floor, told before the form is sent. */
export const SHORTEST = 12;

/** What is wrong with a new passphrase that was typed twice; null if nothing is. */
export function passphraseProblem(first: string, again: string): EngineError | null {
  // Counts what a person sees as characters, not UTF-16 units.
  const length = [...first].length;
  if (length < SHORTEST) {
    return new EngineError({
      code: 'passphrase-too-short',
      message: `The passphrase has ${length} of at least ${SHORTEST} characters.`,
      next: 'Add another word or two.',
    });
  }
  if (first !== again) {
    return new EngineError({
      code: 'passphrases-differ',
      message: 'The two passphrases are not the same.',
      next: 'Type it again in both fields.',
    });
  }
  return null;
}
