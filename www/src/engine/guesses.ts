/**
 * How many guesses a new passphrase takes. The word lists are large and the work may take half a second, so this is a chunk of its own, and
 * `startEstimating` (bridge.ts) runs it in a worker.
 *
 * It knows English, names, leaked passwords, dates, keyboards, and what people do to them. It does not know quotations, and words of other
 * languages are to it letters drawn at random; whoever shows an estimate says so.
 */
import { ZxcvbnFactory } from '@zxcvbn-ts/core';
import { adjacencyGraphs, dictionary as common } from '@zxcvbn-ts/language-common';
import { dictionary as english } from '@zxcvbn-ts/language-en';

/*! @license zxcvbn-ts (https://github.com/zxcvbn-ts/zxcvbn): MIT, (c) 2012-2016 Dan Wheeler and Dropbox, Inc., (c) 2021 @zxcvbn-ts.
 * Its list of common words is derived from OpenSubtitles 2024 by way of OPUS (https://opus.nlpl.eu, Helsinki-NLP), ODC-BY: tokenized,
 * counted, normalized and filtered. */

/** What a passphrase is worth. */
export interface Estimate {
  /** Decimal logarithm of the guesses after which it is found. */
  log10: number;
  /** The estimator's name for what makes it weak, if it has one. */
  weakness: string | null;
}

/** Longest part that is looked at, characters: about ten words. The work grows with the square, and what is cut off would only add. */
const LONGEST = 64;

const { 'diceware-common': diceware, ...leaked } = common;
const zxcvbn = new ZxcvbnFactory({
  // Under this name each word of the dice list counts 6⁵ / 2; under another, its place in the alphabet.
  dictionary: { diceware, ...leaked, ...english },
  graphs: adjacencyGraphs,
  maxLength: LONGEST,
});

/** `known` is what whoever guesses would try first. */
export function estimate(passphrase: string, known: string[]): Estimate {
  const asTyped = zxcvbn.check(passphrase, known);
  const joined = zxcvbn.check(join(passphrase), known);
  const { guessesLog10, feedback } = joined.guessesLog10 < asTyped.guessesLog10 ? joined : asTyped;
  return { log10: guessesLog10, weakness: feedback.warning };
}

/**
 * Without what stands between words. To the estimator each gap is one more thing to be guessed (“correct horse battery staple”: 10^20, without
 * gaps 10^13), but whoever tries one word after another knows that there are gaps.
 */
const join = (text: string) => text.replace(/(?<=\p{L})[\s._-]+(?=\p{L})/gu, '');
