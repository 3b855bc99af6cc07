/**
 * The generated module as the worker sees it. Written by hand, so that types are checked against the contract whether or not
 * `pkg/` has been built; `vite.config.ts` points the name `wallet-wasm` at the generated file.
 */
import type { Engine as Contract, WalletView } from './api.ts';

/** Fetches and compiles the WebAssembly module that lies beside the script. */
export default function init(): Promise<unknown>;

interface WasmEngine extends Omit<Contract, 'lock' | 'subscribe' | 'addValue'> {
  lock(): void;
  subscribe(listener: (view: WalletView) => void): void;
  addValue(
    title: string,
    kind: string,
    fileName: string | null,
    mime: string,
    content: Uint8Array,
  ): Promise<string>;
}

export declare const Engine: { open(dbName: string): Promise<WasmEngine> };
