/**
 * The page's end, and the only place that knows there is a worker.
 */
import { proxy, transfer, wrap } from 'comlink';
import type { Engine } from './api.ts';
import { carryEngineErrors, EngineError } from './errors.ts';
import type { Estimate } from './guesses.ts';
import { timed } from './timed.ts';
import { trust } from './trusted.ts';
import type { Host } from './worker.ts';
import workerUrl from './worker.ts?worker&url';

let script: string | undefined;

function start(name: string): Worker {
  script ??= trust(workerUrl);
  return new Worker(script, { type: 'module', name });
}

/** Starts the worker and opens the named wallet in it. `onFailure` hears of a worker that breaks down later. */
export async function openEngine(dbName: string, onFailure: (error: EngineError) => void): Promise<Engine> {
  carryEngineErrors();
  const worker = start('strongroom-engine');
  const remote = wrap<Host>(worker);

  // A worker whose script cannot be loaded answers nothing at all: without this, every call would wait for ever.
  const broken = new Promise<never>((_, reject) => {
    worker.addEventListener('error', (event) => {
      const error = new EngineError({
        code: 'engine-failed',
        message: `The wallet could not start or has stopped${event.message ? `: ${event.message}` : '.'}`,
        next: 'Reload the page. What the wallet had stored is still there.',
      });
      reject(error);
      onFailure(error);
    });
  });
  await Promise.race([remote.open(dbName), broken]);

  return {
    status: () => remote.status(),
    create: (passphrase) => remote.create(passphrase),
    unlock: (passphrase) => remote.unlock(passphrase),
    passkeys: () => remote.passkeys(),
    // Handed over, not copied: then nothing of it is left in the page.
    unlockWithPasskey: (id, output) => remote.unlockWithPasskey(id, transfer(output, [output.buffer])),
    addPasskey: (id, salt, output, label) =>
      remote.addPasskey(id, salt, transfer(output, [output.buffer]), label),
    removePasskey: (id) => remote.removePasskey(id),
    lock: () => remote.lock(),
    view: () => remote.view(),
    subscribe: (listener) => remote.subscribe(proxy(timed(listener))),
    probeSafe: (url) => remote.probeSafe(url),
    addSafe: (url, id, nickname, token) => remote.addSafe(url, id, nickname, token),
    setToken: (id, token) => remote.setToken(id, token),
    retireSafe: (from, to) => remote.retireSafe(from, to),
    keepSafe: (id) => remote.keepSafe(id),
    removeSafe: (id) => remote.removeSafe(id),
    addValue: (meta, content) => remote.addValue(meta, content),
    changeValue: (id, meta, content) => remote.changeValue(id, meta, content),
    reveal: (id) => remote.reveal(id),
    removeValue: (id) => remote.removeValue(id),
    setRules: (rules) => remote.setRules(rules),
    previewRule: (rule) => remote.previewRule(rule),
    followRules: (id) => remote.followRules(id),
    setCapacity: (bytes) => remote.setCapacity(bytes),
    giveUpRoom: () => remote.giveUpRoom(),
    plan: {
      parse: (text) => remote.parsePlan(text),
      analyse: (text, values, what) => remote.analysePlan(text, values, what),
    },
    backup: (values, plan, options) => remote.backup(values, plan, options),
    pieceFile: (id) => remote.pieceFile(id),
    pieceFileSaved: (id, file) => remote.pieceFileSaved(id, file),
    audit: (id) => remote.audit(id),
    recover: (ids, given) => remote.recover(ids, given),
    carriers: (id) => remote.carriers(id),
    recoverThrough: (id, safe) => remote.recoverThrough(id, safe),
    moveOut: (id) => remote.moveOut(id),
    bringBack: (id) => remote.bringBack(id),
    takeOver: (id) => remote.takeOver(id),
    drill: (id) => remote.drill(id),
    renew: (id, how) => remote.renew(id, how),
    cancel: (id) => remote.cancel(id),
    release: (id) => remote.release(id),
    retry: () => remote.retry(),
    exportCertificates: (ids, passphrase) => remote.exportCertificates(ids, passphrase),
    importCertificates: (file, passphrase) => remote.importCertificates(file, passphrase),
    enrol: (handle, passphrase, threshold, safes, label) =>
      remote.enrol(handle, passphrase, threshold, safes, label),
    changeOwner: (current, passphrase, threshold, safes, instead) =>
      remote.changeOwner(current, passphrase, threshold, safes, instead),
    cancelChange: () => remote.cancelChange(),
    forgetLeaving: (safeId) => remote.forgetLeaving(safeId),
    renewExposed: () => remote.renewExposed(),
    lookForOwner: (name, addresses) => remote.lookForOwner(name, addresses),
    lookWithKit: (text) => remote.lookWithKit(text),
    lookForDevice: (handle, addresses) => remote.lookForDevice(handle, addresses),
    deviceInput: () => remote.deviceInput(),
    comeBackWithDevice: (output, label) =>
      remote.comeBackWithDevice(transfer(output, [output.buffer]), label),
    comeBack: (passphrase, label) => remote.comeBack(passphrase, label),
    listPast: (passphrase) => remote.listPast(passphrase),
    listPastWithDevice: (output) => remote.listPastWithDevice(transfer(output, [output.buffer])),
    goBack: (which, exactly, label) => remote.goBack(which, exactly, label),
    credentials: () => remote.credentials(),
    revoke: (credential, passphrase) => remote.revoke(credential, passphrase),
    deviceLost: (credential, passphrase, next) => remote.deviceLost(credential, passphrase, next),
    forgetTries: (passphrase) => remote.forgetTries(passphrase),
    makeKit: (passphrase) => remote.makeKit(passphrase),
    confirmKit: (code) => remote.confirmKit(code),
    beginDevice: (passphrase) => remote.beginDevice(passphrase),
    endDevice: () => remote.endDevice(),
    renewDevice: (credential, handle, output) =>
      remote.renewDevice(credential, transfer(handle, [handle.buffer]), transfer(output, [output.buffer])),
    addDevice: (output, label) => remote.addDevice(transfer(output, [output.buffer]), label),
    certificate: (depositId) => remote.certificate(depositId),
    dropExhibit: (depositId) => remote.dropExhibit(depositId),
    examine: (files, ask) => remote.examine(files, ask),
  };
}

/** Says how easily passphrases are guessed. */
export interface Estimator {
  estimate(passphrase: string, known: string[]): Promise<Estimate>;
  end(): void;
}

/**
 * A second worker of the same script, for as long as a passphrase is being chosen: nobody waits for it, and its end gives the memory of its
 * word lists back.
 */
export function startEstimating(): Estimator {
  const worker = start('strongroom-guesses');
  const remote = wrap<Host>(worker);
  const broken = new Promise<never>((_, reject) => {
    worker.addEventListener('error', reject, { once: true });
  });
  return {
    estimate: (passphrase, known) => Promise.race([remote.estimate(passphrase, known), broken]),
    end: () => worker.terminate(),
  };
}
