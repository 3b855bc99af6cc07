/**
 * Errors keep their code and next step on the way from the worker to the page. Both ends import this file.
 */
import { type TransferHandler, transferHandlers } from 'comlink';
import type { EngineErrorShape } from './api.ts';

export class EngineError extends Error {
  readonly code: string;
  readonly next: string | null;

  constructor({ code, message, next }: EngineErrorShape) {
    super(message);
    this.name = 'EngineError';
    this.code = code;
    this.next = next;
  }
}

/** Anything thrown, as an error a person can act on. */
export function toEngineError(thrown: unknown): EngineError {
  if (thrown instanceof EngineError) return thrown;
  if (thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string') {
    const next = 'next' in thrown && typeof thrown.next === 'string' ? thrown.next : null;
    return new EngineError({ code: thrown.code, message: thrown.message, next });
  }
  return new EngineError({
    code: 'engine-failed',
    message: `The wallet stopped working: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
    next: 'Reload the page and unlock the wallet again. What it had stored is still there.',
  });
}

/** comlink's own handler sends name, message and stack only; the code and the next step would be lost. */
export function carryEngineErrors(): void {
  const theirs = transferHandlers.get('throw');
  if (!theirs) throw new Error('comlink has no handler named "throw"');
  const ours: TransferHandler<{ value: unknown }, EngineErrorShape> = {
    canHandle: (value): value is { value: unknown } => theirs.canHandle(value),
    serialize: ({ value }) => {
      const { code, message, next } = toEngineError(value);
      return [{ code, message, next }, []];
    },
    deserialize: (shape) => {
      throw new EngineError(shape);
    },
  };
  transferHandlers.set('throw', ours);
}
