/**
 * The generated module as the worker sees it. Written by hand, so that types are checked against the contract whether or not
 * `pkg/` has been built; `vite.config.ts` points the name `wallet-wasm` at the generated file.
 */
import type { Engine as Contract, DoneReport, PlanOutlook, PlanReading, WalletView } from './api.ts';

/** Fetches and compiles the WebAssembly module that lies beside the script; or takes one that was compiled already. */
export default function init(from?: { module_or_path: WebAssembly.Module }): Promise<unknown>;

interface WasmEngine
  extends Omit<
    Contract,
    'lock' | 'subscribe' | 'backup' | 'recover' | 'renew' | 'plan' | 'changeOwner' | 'deviceLost'
  > {
  lock(): void;
  /** Calls back after every commit: the other windows of this wallet are to `follow`. */
  onCommit(tell: () => void): void;
  /** Whether this window works, or follows another one that does. */
  setLeading(leading: boolean): Promise<void>;
  /** Takes over what another window has committed. */
  follow(): Promise<void>;
  /** The listener says how many milliseconds the page took. */
  subscribe(listener: (view: WalletView) => Promise<unknown>): void;
  parsePlan(text: string): Promise<PlanReading>;
  analysePlan(
    text: string,
    values: string[],
    gone: string[],
    curious: string[],
    named: string[],
    availability: Float64Array,
  ): Promise<PlanOutlook>;
  backup(
    values: string[],
    plan: string,
    words: string | undefined,
    readable: boolean,
    hint: string | undefined,
    moving: boolean,
  ): Promise<void>;
  changeOwner(
    current: string,
    passphrase: string | undefined,
    threshold: number,
    safes: string[],
    instead: boolean,
  ): Promise<void>;
  deviceLost(credential: string, passphrase: string, next: string | undefined): Promise<DoneReport>;
  renew(id: string, words: string | undefined, from: string[], to: string[]): Promise<void>;
  recover(ids: string[], words: string | undefined, file: Uint8Array | undefined): Promise<void>;
}

/** Argon2id of a passphrase, or of what is guessed like one; undefined if the cost is out of range. */
export declare function stretch(
  passphrase: Uint8Array,
  salt: Uint8Array,
  memoryKib: number,
  passes: number,
  lanes: number,
): Uint8Array | undefined;

export declare const Engine: {
  /** `derive` runs `stretch` in a place of its choice. */
  open(
    dbName: string,
    derive: (...args: Parameters<typeof stretch>) => Promise<Uint8Array | undefined>,
  ): Promise<WasmEngine>;
  /** A wallet that is kept nowhere, and only reads. */
  openInMemory(derive: (...args: Parameters<typeof stretch>) => Promise<Uint8Array | undefined>): WasmEngine;
};
