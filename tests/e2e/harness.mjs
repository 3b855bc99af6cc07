// Starts the product as a developer would, and drives it as an owner would.
//
// `Product` is `cargo xtask run` on free ports with a state of its own; single safes can be taken down. `Wallet` is one
// browser profile in Chromium, driven through the page's test ids only. Nothing here waits for time to pass: every
// wait is for a condition.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import jsQR from 'jsqr';
import { chromium } from 'playwright-core';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const XTASK = process.env.STRONGROOM_XTASK ?? join(ROOT, 'target/debug/xtask');
const CHROMIUM = process.env.CHROMIUM ?? '/usr/lib/chromium/chromium';

/**
 * Longest wait for anything, the browser's start included, milliseconds: three times as long as the wallet waits for a safe, for five safes
 * and a browser may share a small busy machine.
 */
const PATIENCE = 180_000;

const BROWSER = {
  executablePath: CHROMIUM,
  headless: true,
  timeout: PATIENCE,
  // Without these Chromium looks up hosts of its own and waits for answers that a closed network never gives.
  args: [
    '--disable-quic',
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1',
    '--no-first-run',
  ],
};

/** A browser without a profile, for pages that are not the product's. */
export const launch = () => chromium.launch(BROWSER);

export const PASSPHRASE = 'correct horse battery staple';
export const FILE_PASSPHRASE = 'seven quiet lanterns at noon';

/** The running product. */
export class Product {
  #child;
  #port;
  #state;
  #count;
  #tokens;
  #exited;
  #replies = new Map();
  #lastId = 0;

  static async start({ safes = 5, tokens = 0 } = {}) {
    const product = new Product();
    product.#count = safes;
    product.#tokens = tokens;
    product.#port = await freePorts(safes + 1);
    product.#state = await mkdtemp(join(tmpdir(), 'strongroom-e2e-'));
    await product.#run();
    return product;
  }

  get page() {
    return `http://localhost:${this.#port}`;
  }

  /** The addresses of the safes; safe number n, counted from 1, is at n - 1. */
  get safes() {
    return Array.from({ length: this.#count }, (_, index) => `http://127.0.0.1:${this.#port + index + 1}`);
  }

  /** An admission token of a safe's operator. */
  async invite(number, { megabytes = 50, deposits = 500 } = {}) {
    const keys = join(this.#state, 'safes', String(number), 'keys.json');
    const args = ['safe', 'invite', '--keys', keys, '--megabytes', megabytes, '--deposits', deposits];
    const { stdout } = await promisify(execFile)(XTASK, args.map(String), { cwd: ROOT });
    return stdout.trim();
  }

  /** Makes new keys for a safe and revokes those that it had. It uses them from its next start with the whole product. */
  async rotate(number) {
    const keys = join(this.#state, 'safes', String(number), 'keys.json');
    await promisify(execFile)(XTASK, ['safe', 'rotate', '--keys', keys, '--revoke'], { cwd: ROOT });
  }

  /** Takes a safe down in the ordinary way. */
  stopSafe(number) {
    return this.#command({ do: 'stop', safe: number });
  }

  /** Takes a safe down by SIGKILL. */
  killSafe(number) {
    return this.#command({ do: 'kill', safe: number });
  }

  /** Starts a safe again; `port` puts it elsewhere than its address says. */
  startSafe(number, { port } = {}) {
    return this.#command({ do: 'start', safe: number, port });
  }

  /** Takes a safe down, makes it forget every deposit, and starts it again: its bodies are there, its ledger is not. */
  async loseLedger(number) {
    await this.stopSafe(number);
    await rm(join(this.#state, 'safes', String(number), 'objects'), { recursive: true });
    await this.startSafe(number);
  }

  /** Kills every process of the product at once and starts it again on the same ports with the same state. */
  async killAndRestart() {
    for (let number = 1; number <= this.#count; number += 1) await this.killSafe(number);
    this.#child.kill('SIGKILL');
    await this.#exited;
    await portsAreFree(this.#port, this.#count + 1);
    await this.#run();
  }

  async stop() {
    this.#child.kill('SIGTERM');
    await this.#exited;
    await rm(this.#state, { recursive: true, force: true, maxRetries: 5 });
  }

  async #run() {
    const args = ['run', '--safes', this.#count, '--port', this.#port, '--state', this.#state, '--control'];
    args.push('--tokens', this.#tokens);
    this.#child = spawn(XTASK, args.map(String), { cwd: ROOT, stdio: ['pipe', 'pipe', 'inherit'] });
    this.#exited = once(this.#child, 'exit');
    // What is written to a product that was just killed is lost, and that is what was wanted.
    this.#child.stdin.on('error', () => {});
    const ready = new Promise((resolve, reject) => {
      createInterface({ input: this.#child.stdout }).on('line', (line) => {
        if (line === 'ready') resolve();
        if (line.startsWith('{')) this.#settle(JSON.parse(line));
      });
      this.#exited.then(([code]) => reject(new Error(`the product ended before it was ready (${code})`)));
    });
    await ready;
  }

  #command(command) {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      this.#replies.set(id, { resolve, reject });
      this.#child.stdin.write(`${JSON.stringify({ id, ...command })}\n`);
    });
  }

  #settle({ id, ok, error }) {
    const { resolve, reject } = this.#replies.get(id);
    this.#replies.delete(id);
    if (ok) resolve();
    else reject(new Error(error));
  }
}

/** The state of a process and its parent, from what Linux says of it; nothing if it is gone. */
async function processStat(pid) {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The name, in brackets, may hold anything.
  const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state, parent: Number(parent) };
}

/** A process, and those that it and its children have started. */
async function withDescendants(root) {
  const all = (await readdir('/proc')).map(Number).filter(Boolean);
  const parents = new Map(await Promise.all(all.map(async (pid) => [pid, (await processStat(pid)).parent])));
  const isOf = (pid) => pid === root || (parents.has(pid) && isOf(parents.get(pid)));
  return all.filter(isOf);
}

async function isRunning(pid) {
  const { state } = await processStat(pid);
  return Boolean(state) && state !== 'Z' && state !== 'X';
}

function killIfThere(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** One browser profile with its wallet. */
export class Wallet {
  #product;
  #profile;
  #context;
  #page;
  #complaints = [];
  #devtools;

  /** A browser that has never seen the product. */
  static async fresh(product, options = {}) {
    const wallet = new Wallet();
    wallet.#product = product;
    wallet.#profile = await mkdtemp(join(tmpdir(), 'strongroom-profile-'));
    await wallet.reopen(options);
    return wallet;
  }

  get page() {
    return this.#page;
  }

  /** Opens the browser on the same profile again; `disk` limits what it may store, bytes, until `liftDiskLimit`. */
  async reopen({ disk, ...options } = {}) {
    this.#context = await chromium.launchPersistentContext(this.#profile, {
      ...BROWSER,
      acceptDownloads: true,
      locale: 'en-GB',
      ...options,
    });
    this.#context.setDefaultTimeout(PATIENCE);
    this.#devtools = undefined;
    this.#page = this.#context.pages()[0] ?? (await this.#context.newPage());
    this.#page.on('pageerror', (error) => this.#complaints.push(String(error)));
    this.#page.on('console', (message) => {
      // A safe that is away is an error to Chromium, too; only breaches of the page's own policy are ours.
      if (/Content Security Policy|TrustedHTML|TrustedScript/i.test(message.text())) {
        this.#complaints.push(message.text());
      }
    });
    // Chromium remembers for a while how much room there was, so the limit stands before the page first asks.
    if (disk !== undefined) await this.#overrideQuota({ quotaSize: disk });
    await this.#page.goto(this.#product.page);
  }

  /** Kills the whole browser, as a crash or an empty battery would: all of its processes, and none is left that still writes when it is opened again. */
  async kill() {
    const closed = once(this.#context, 'close');
    const pids = await withDescendants(await this.browserPid());
    for (const pid of pids) killIfThere(pid);
    await closed;
    while ((await Promise.all(pids.map(isRunning))).some(Boolean)) await new Promise(setImmediate);
  }

  /**
   * What the disk of a killed browser may hold: of a write that was under way, only its beginning. Chromium keeps IndexedDB in LevelDB, whose
   * log it goes on with (leveldb `doc/log_format.md`: checksum of 4 bytes, length of 2, type, then so many bytes).
   */
  async tearLastWrite() {
    const root = join(this.#profile, 'Default', 'IndexedDB');
    const files = (await readdir(root, { recursive: true })).filter((name) =>
      /\.leveldb\/\d+\.log$/.test(name),
    );
    assert.equal(files.length, 1, 'one log is being written');
    const log = join(root, files[0]);
    // The beginning of a write that happened, with less than its length says.
    const written = await readFile(log);
    assert.ok(written.readUInt16LE(4) > 16);
    await appendFile(log, written.subarray(0, 7 + 16));
  }

  /** The browser's process, which Chromium names in the lock of the profile: `host-1234`. */
  async browserPid() {
    const lock = await readlink(join(this.#profile, 'SingletonLock'));
    return Number(lock.split('-').at(-1));
  }

  /** Closes the browser, throws its profile away, and says what the page complained about. */
  async close() {
    await this.#context.close();
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
    assert.deepEqual(this.#complaints, [], 'the page has complained');
  }

  /** Another window of the same wallet, which is locked. It closes with the first. */
  async secondWindow() {
    const second = new Wallet();
    second.#product = this.#product;
    second.#context = this.#context;
    second.#complaints = this.#complaints;
    second.#page = await this.#context.newPage();
    second.#page.on('pageerror', (error) => this.#complaints.push(String(error)));
    await second.#page.goto(this.#product.page);
    await second.find('unlock-passphrase').waitFor();
    return second;
  }

  /** An address cannot be reached from this browser, until what this returns is called. */
  async block(url) {
    const there = `${url}/**`;
    await this.#context.route(there, (route) => route.abort());
    return () => this.#context.unroute(there);
  }

  /** The browser clears what the wallet has stored, as one that is short of room does, and is opened again. */
  async clearDatabase() {
    await this.#page.goto('about:blank');
    this.#devtools ??= await this.#context.newCDPSession(this.#page);
    const { origin } = new URL(this.#product.page);
    await this.#devtools.send('Storage.clearDataForOrigin', { origin, storageTypes: 'indexeddb' });
    await this.#page.goto(this.#product.page);
  }

  /** The disk has room again. */
  async liftDiskLimit() {
    await this.#overrideQuota({});
  }

  async #overrideQuota(limit) {
    this.#devtools ??= await this.#context.newCDPSession(this.#page);
    const { origin } = new URL(this.#product.page);
    await this.#devtools.send('Storage.overrideQuotaForOrigin', { origin, ...limit });
  }

  /** What a reader of the page finds on it, for the report of a failure. */
  async shows() {
    return `${this.#page.url()}\n${await this.#page.locator('body').ariaSnapshot()}\n${this.#complaints.join('\n')}`;
  }

  /** The elements with a test id and data attributes, within `scope`. */
  find(testId, attributes = {}, scope = this.#page) {
    const more = Object.entries(attributes).map(([name, value]) => `[data-${name}="${value}"]`);
    return scope.locator(`[data-testid="${testId}"]${more.join('')}`);
  }

  async click(testId, attributes) {
    await this.find(testId, attributes).click();
  }

  async fill(testId, text) {
    await this.find(testId).fill(text);
  }

  async create(passphrase = PASSPHRASE) {
    await this.fill('create-passphrase', passphrase);
    await this.fill('create-passphrase-again', passphrase);
    await this.click('create-submit');
    await this.find('nav-values').waitFor();
  }

  async lock() {
    await this.click('lock');
    await this.find('unlock-passphrase').waitFor();
  }

  async unlock(passphrase = PASSPHRASE) {
    await this.tryUnlock(passphrase);
    await this.find('nav-values').waitFor();
  }

  /**
   * Unlocks after a crash. A browser that was killed may not give its storage back at once; then the page offers to be loaded again, and its
   * owner does so, once. Gives what the page showed then, for the report.
   */
  async wake(passphrase = PASSPHRASE) {
    const offered = this.find('unlock-passphrase').or(this.find('create-passphrase')).or(this.find('reload'));
    await offered.waitFor();
    let shown;
    if (await this.find('reload').isVisible()) {
      shown = await this.shows();
      // As the button does, which goes if the wallet opens after all.
      await this.#page.reload();
      await offered.waitFor();
    }
    assert.ok(await this.find('unlock-passphrase').isVisible(), 'the wallet is gone');
    await this.unlock(passphrase);
    return shown;
  }

  async tryUnlock(passphrase) {
    await this.fill('unlock-passphrase', passphrase);
    await this.click('unlock-submit');
  }

  /** Plugs one of Chromium's virtual authenticators into this window: a passkey, or with `transport: 'usb'` a security key. */
  async plug(options = {}) {
    const devtools = await this.#context.newCDPSession(this.#page);
    await devtools.send('WebAuthn.enable');
    const { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', {
      options: {
        protocol: 'ctap2',
        ctap2Version: 'ctap2_1',
        transport: 'internal',
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true,
        hasPrf: true,
        automaticPresenceSimulation: true,
        ...options,
      },
    });
    return {
      /** How many credentials it keeps. */
      count: async () =>
        (await devtools.send('WebAuthn.getCredentials', { authenticatorId })).credentials.length,
      /** Whether whoever uses it passes its check. */
      setVerified: (isUserVerified) =>
        devtools.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified }),
      unplug: () => devtools.send('WebAuthn.removeVirtualAuthenticator', { authenticatorId }),
    };
  }

  /** Asks the authenticator of this window for a passkey, whatever comes of it. */
  async tryToAddPasskey(label) {
    await this.click('unlocking-open');
    await this.fill('passkey-label', label);
    await this.click('passkey-add');
  }

  async addPasskey(label) {
    await this.tryToAddPasskey(label);
    await this.find('passkey-row', { label }).waitFor();
    await this.find('passkey-said').filter({ hasText: 'Added.' }).waitFor();
  }

  async unlockByPasskey() {
    await this.click('unlock-passkey');
    await this.find('nav-values').waitFor();
  }

  /** Adds every safe of the product; their nicknames are `safe-1`, `safe-2`, … */
  async addSafes(urls = this.#product.safes, tokens = {}) {
    await this.click('nav-safes');
    for (const [index, url] of urls.entries()) {
      await this.fill('safe-url', url);
      await this.click('safe-probe');
      await this.find('safe-fingerprint').waitFor();
      await this.fill('safe-nickname', nickname(index + 1));
      if (tokens[index + 1]) await this.fill('safe-token', tokens[index + 1]);
      await this.click('safe-add');
      await this.find('safe-row', { safe: nickname(index + 1) }).waitFor();
    }
  }

  /** Gives the wallet another token for a safe. */
  async setToken(number, token) {
    await this.click('nav-safes');
    const row = this.find('safe-row', { safe: nickname(number) });
    await row.locator('summary').click();
    await row.getByTestId('safe-token-new').fill(token);
    await row.getByTestId('safe-token-set').click();
    await row.getByTestId('safe-token-kept').waitFor();
  }

  /** Lets a safe retire, and another one take its place. */
  async retireSafe(number, to) {
    await this.click('nav-safes');
    const row = this.find('safe-row', { safe: nickname(number) });
    await row.locator('summary').click();
    await row.getByTestId('safe-retire-to').selectOption({ label: nickname(to) });
    await row.getByTestId('safe-retire').click();
  }

  /** Removes a safe that holds nothing. */
  async removeSafe(number) {
    await this.click('nav-safes');
    const row = this.find('safe-row', { safe: nickname(number) });
    await row.locator('summary').click();
    await row.getByTestId('safe-remove').click();
    await row.waitFor({ state: 'detached' });
  }

  /** How many MiB values may take on this device; empty: as many as the browser gives. */
  async setCapacity(mib) {
    await this.click('nav-rules');
    await this.fill('room-capacity', String(mib));
    await this.click('room-set');
  }

  /**
   * Adds a rule over all safes: the template of this number, with another name, tags in place of its conditions, and another amount in its only
   * one. `preview`: how many values it says it would do what with.
   */
  async addRule({ template = 0, name, tags, moves, amount, preview }) {
    await this.click('nav-rules');
    const rules = await this.find('rule-row').count();
    await this.click('rule-add');
    await this.find('rule-template').selectOption(String(template));
    if (name) await this.fill('rule-name', name);
    if (tags) {
      await this.click('condition-add');
      await this.find('condition-what').last().selectOption('tag');
      await this.find('condition-tags').last().fill(tags);
    }
    if (amount !== undefined) await this.fill('condition-amount', String(amount));
    if (moves) await this.click('rule-moves');
    const all = Object.values(preview).reduce((sum, count) => sum + count, 0);
    await this.find('rule-preview', { count: all }).waitFor();
    for (const [effect, count] of Object.entries(preview)) {
      assert.equal(await this.find('previewed', { effect }).count(), count, effect);
    }
    await this.click('rule-save');
    await this.find('rule-save').waitFor({ state: 'detached' });
    await this.find('rule-row').nth(rules).waitFor();
  }

  /** Adds a typed value; gives its id. Of a ticket there may be only one. */
  async addText(title, text, { kind, tags } = {}) {
    return this.#add(title, async () => {
      if (kind) await this.find('value-kind').selectOption(kind);
      if (tags) await this.fill('value-tags', tags);
      await this.fill('value-text', text);
    });
  }

  /** Adds a file; gives the value's id. */
  async addFile(title, name, bytes) {
    const file = { name, mimeType: 'application/octet-stream', buffer: Buffer.from(bytes) };
    return this.#add(title, () => this.find('value-file').setInputFiles(file));
  }

  /** Adds files, a value each, named like its file. */
  async addFiles(contents) {
    await this.click('nav-values');
    await this.click('value-add');
    const files = contents.map(([name, bytes]) => {
      return { name, mimeType: 'application/octet-stream', buffer: Buffer.from(bytes) };
    });
    await this.find('value-file').setInputFiles(files);
    await this.click('value-save');
    await this.find('value-save').waitFor({ state: 'detached' });
  }

  /** Fills the form and sends it, whatever comes of it. */
  async tryAddFile(title, name, bytes) {
    const file = { name, mimeType: 'application/octet-stream', buffer: Buffer.from(bytes) };
    await this.#tryAdd(title, () => this.find('value-file').setInputFiles(file));
  }

  async #tryAdd(title, content) {
    await this.click('nav-values');
    await this.click('value-add');
    await this.fill('value-title', title);
    await content();
    await this.click('value-save');
  }

  async #add(title, content) {
    await this.#tryAdd(title, content);
    const row = this.find('value-row').filter({ hasText: title });
    await row.waitFor();
    await this.find('value-title').waitFor({ state: 'detached' });
    return row.getAttribute('data-value-id');
  }

  /** Goes to the page of one value. */
  async openValue(id) {
    await this.click('nav-values');
    await this.click('value-row', { 'value-id': id });
    await this.find('value-state').first().waitFor();
  }

  /** Changes a typed value. */
  async change(id, { title, text }) {
    await this.openValue(id);
    await this.click('edit');
    if (title) await this.fill('edit-title', title);
    await this.fill('edit-text', text);
    await this.click('edit-save');
    await this.find('edit-save').waitFor({ state: 'detached' });
  }

  /** Begins to back a value up over all safes; with `readable`, title and `hint` stand on the certificates for everybody. */
  async startBackup(id, { readable = false, hint = '', plan, words, others = [], moving = false } = {}) {
    await this.openValue(id);
    await this.click('backup-start');
    if (plan) {
      await this.click('backup-preset', { preset: 'custom' });
      await this.fill('plan-text', plan);
    }
    if (words) await this.fill('backup-words', words);
    if (moving) await this.click('backup-move');
    if (others.length > 0) await this.click('backup-together');
    for (const other of others) await this.click('backup-with', { 'value-id': other });
    if (readable || hint) {
      await this.click('backup-face');
      if (readable) await this.click('backup-readable');
      await this.fill('backup-hint', hint);
    }
    await this.click('backup-submit');
    await this.find('progress-safe').or(this.find('certificate-row')).first().waitFor();
  }

  /** Saves the file with the piece that the open value's owner is to keep, and shows it; gives the file. */
  async keepPiece() {
    const file = await this.#download('piece-save');
    await this.find('piece-show').setInputFiles(pieceFile(file));
    return file;
  }

  /** Has the open value's piece drawn, reads the code as a telephone would, and shows that it was read; gives its text. */
  async scanPiece() {
    await this.click('piece-print');
    const text = await this.readQr();
    await this.fill('piece-typed', text);
    await this.click('piece-typed-submit');
    return text;
  }

  /** Gives a recovery that waits what it waits for. */
  async give(id, { words, file, text }) {
    const row = this.recoverRow(id);
    if (words) await this.find('given-words', {}, row).fill(words);
    if (file) await this.find('given-file', {}, row).setInputFiles(pieceFile(file));
    if (text) await this.find('given-text', {}, row).fill(text);
    await this.find('given-submit', {}, row).click();
  }

  /** Waits until a value is in a state, on the list. */
  async waitForState(id, state) {
    await this.click('nav-values');
    await this.find('value-row', { 'value-id': id, state }).waitFor();
  }

  /** Backs a value up and checks that every safe has certified. */
  async backUp(id, face) {
    await this.startBackup(id, face);
    await this.expectProtected(id);
  }

  async expectProtected(id) {
    await this.waitForState(id, 'protected');
    await this.openValue(id);
    for (const [index] of this.#product.safes.entries()) {
      await this.find('certificate-row', { state: 'held', safe: nickname(index + 1) }).waitFor();
    }
  }

  /** The numbers of the safes in the order in which the open value's backup lists them. */
  async safesInOrder() {
    const rows = await this.find('certificate-row').all();
    const names = await Promise.all(rows.map((row) => row.getAttribute('data-safe')));
    return names.map((name) => Number(name.replace(nickname(''), '')));
  }

  /** Saves the certificates of all values; gives the file. */
  async exportCertificates(passphrase = FILE_PASSPHRASE) {
    await this.click('export-certificates');
    await this.fill('export-passphrase', passphrase);
    await this.fill('export-passphrase-again', passphrase);
    return this.#download('export-submit');
  }

  /** Opens a certificate file. */
  async importCertificates(bytes, passphrase = FILE_PASSPHRASE) {
    await this.tryImport(bytes, passphrase);
    await this.find('import-report').waitFor();
  }

  async tryImport(bytes, passphrase) {
    await this.click('nav-recover');
    const file = { name: 'certificates.strongroom', mimeType: 'application/octet-stream', buffer: bytes };
    await this.find('import-file').setInputFiles(file);
    await this.fill('import-passphrase', passphrase);
    await this.click('import-submit');
  }

  /** Has the safes let a value go, and deletes it on this device, too. */
  async bringBackAndDelete(id) {
    await this.openValue(id);
    const either = this.find('bring-back').or(this.find('release-start'));
    await either.first().waitFor();
    if ((await this.find('bring-back').count()) > 0) {
      await this.click('bring-back');
    } else {
      await this.click('release-start');
      await this.click('release-confirm');
    }
    await this.waitForState(id, 'local-only');
    await this.openValue(id);
    await this.click('value-remove');
    await this.click('value-remove-confirm');
    await this.find('value-add').waitFor();
  }

  /** Begins to recover a value. */
  async startRecovery(id) {
    await this.click('nav-recover');
    await this.find('recover-start', {}, this.recoverRow(id)).click();
  }

  /** Recovers a value from the safes; with what its owner kept, if it needs that. */
  async recover(id, given) {
    await this.startRecovery(id);
    if (given) await this.give(id, given);
    // The way to the value appears when it is back on this device.
    await this.recoverRow(id).locator('a[href^="#/value/"]').waitFor();
  }

  /** Fills in the enrolment; returns once it is committed on this device. */
  async beginEnrolment(handle, passphrase) {
    await this.click('nav-recover');
    await this.fill('enrol-handle', handle);
    await this.fill('enrol-passphrase', passphrase);
    await this.fill('enrol-again', passphrase);
    await this.click('enrol-submit');
  }

  /** Enrols the owner at all safes; gives the recovery name. */
  async enrol(handle, passphrase) {
    await this.beginEnrolment(handle, passphrase);
    await this.find('owner', { enrolled: true }).waitFor();
    await this.settledBook();
    return (await this.find('owner-name').textContent()).trim();
  }

  /** All of the owner's safes have the newest book. */
  async settledBook() {
    await this.click('nav-recover');
    await this.find('owner', { settled: true }).waitFor();
  }

  /** Looks for a recovery name at all safes; gives how many passphrases may be tried. */
  async lookFor(name) {
    await this.click('nav-recover');
    await this.fill('return-name', name);
    await this.fill('return-addresses', this.#product.safes.join('\n'));
    await this.click('return-look');
    return Number(await this.find('return-found').getAttribute('data-guesses'));
  }

  /** Comes back, or is told with this code why not. */
  async comeBack(passphrase, code) {
    await this.fill('return-passphrase', passphrase);
    await this.click('return-submit');
    await (code ? this.find('error-message', { code }) : this.find('return-report')).waitFor();
  }

  /** Looks with the text of a kit; gives how many passphrases may be tried with it, or is told with this code why not. */
  async lookWithKit(text, code) {
    await this.click('nav-recover');
    const details = this.find('return-kit-open');
    if (!(await details.evaluate((element) => element.open))) await details.locator('summary').click();
    await this.fill('return-kit', text);
    await this.click('return-kit-look');
    if (code) return this.find('error-message', { code }).waitFor();
    return Number(await this.find('return-found').getAttribute('data-guesses'));
  }

  /** Comes back with the passkey of this window, or is told with this code why not. */
  async returnByDevice(code) {
    await this.beginReturnByDevice();
    await this.click('return-device-submit');
    await (code ? this.find('error-message', { code }) : this.find('return-report')).waitFor();
  }

  /** The passkey of this window says whose it is, and the safes show themselves. */
  async beginReturnByDevice() {
    await this.click('nav-recover');
    await this.find('return-device-open').locator('summary').click();
    await this.fill('return-device-addresses', this.#product.safes.join('\n'));
    await this.click('return-device');
    await this.find('return-device-submit').waitFor();
  }

  /** Another wallet in the same browser, which does not exist yet. */
  async openAnother(wallet) {
    await this.#page.goto(`${this.#product.page}/?wallet=${wallet}`);
    await this.find('create-passphrase').waitFor();
  }

  async openKit() {
    await this.click('nav-recover');
    await this.click('kit-open');
    await this.find('kit', { state: 'none' }).waitFor();
  }

  /** Makes a kit, or is told with this code why not. */
  async makeKit(passphrase, code) {
    await this.fill('kit-passphrase', passphrase);
    await this.click('kit-make');
    await (code ? this.find('error-message', { code }) : this.find('kit', { state: 'made' })).waitFor();
  }

  /** What stands on the sheet. */
  async kitOnPaper() {
    return {
      code: (await this.find('kit-sheet-code').textContent()).trim(),
      text: await this.find('kit-text').getAttribute('data-text'),
    };
  }

  /** What a telephone reads from the code on the page. */
  async readQr() {
    return readCode(await this.find('qr').locator('path').getAttribute('d'));
  }

  async confirmKit(code, error) {
    await this.fill('kit-code', code);
    await this.click('kit-confirm');
    await (error
      ? this.find('error-message', { code: error })
      : this.find('kit', { state: 'saved' })
    ).waitFor();
  }

  async openReturning() {
    await this.click('nav-recover');
    await this.click('returning-open');
    await this.find('credentials-again').and(this.#page.locator(':enabled')).waitFor();
  }

  /** By what the owner is known, in order: kind and label. */
  async credentials() {
    const rows = await this.find('credential-row').evaluateAll((all) =>
      all.map(({ dataset: { kind, label, mine } }) => `${kind} ${mine === 'true' ? '(this one)' : label}`),
    );
    return rows.sort();
  }

  async addDevice(label, passphrase) {
    await this.fill('device-label', label);
    await this.fill('device-passphrase', passphrase);
    await this.click('device-add');
    await this.find('credentials-said').filter({ hasText: 'Added and tried' }).waitFor();
  }

  /** Uses a passkey once more after a change. */
  async renewDevice(label, passphrase) {
    await this.find('credential-renew', {}, this.find('credential-row', { label })).click();
    await this.fill('credential-passphrase', passphrase);
    await this.click('credential-confirm');
    await this.find('credentials-said').filter({ hasText: 'Renewed and tried' }).waitFor();
  }

  /** Revokes what is called so, or is told with this code why not. `next`: of a device that is lost, another passphrase. */
  async revoke(label, passphrase, code, next) {
    if (!(await this.find('credential-passphrase').count())) {
      await this.find('credential-revoke', {}, this.find('credential-row', { label })).click();
    }
    await this.fill('credential-passphrase', passphrase);
    if (next) await this.fill('credential-next', next);
    await this.click('credential-confirm');
    await (code
      ? this.find('error-message', { code })
      : this.find('credentials-said').filter({ hasText: 'Done' })
    ).waitFor();
  }

  async forgetTries(passphrase) {
    await this.click('tries-forget');
    await this.fill('credential-passphrase', passphrase);
    await this.click('credential-confirm');
    await this.find('credentials-said').filter({ hasText: 'Done' }).waitFor();
  }

  recoverRow(id) {
    return this.find('recover-row', { 'value-id': id });
  }

  /** The id of the value with a title, on the page of what can be recovered. */
  async recoverableId(title) {
    await this.click('nav-recover');
    return this.find('recover-row').filter({ hasText: title }).getAttribute('data-value-id');
  }

  /** A typed value as the page shows it. */
  async reveal(id) {
    await this.openValue(id);
    await this.click('reveal');
    return this.find('reveal-content').textContent();
  }

  /** The bytes of a value as the page lets them be saved. */
  async content(id) {
    await this.openValue(id);
    return this.#download('download-content');
  }

  /** Opens the certificate of a safe on the page of the open value, and looks into it. */
  async examineCertificate(number) {
    const row = this.find('certificate-row', { safe: nickname(number) });
    await row.locator('summary').click();
    await row.getByTestId('certificate-examine').click();
    await this.find('exhibit', { kind: 'certificate' }).waitFor();
  }

  /** Looks into files; `names` and contents. */
  async examineFiles(files) {
    await this.page.goto(`${this.#product.page}/#/evidence`);
    const inputs = files.map((buffer, at) => ({
      name: `file-${at}`,
      mimeType: 'application/octet-stream',
      buffer,
    }));
    await this.find('evidence-files').setInputFiles(inputs);
    await this.find('exhibit')
      .nth(files.length - 1)
      .waitFor();
  }

  /** The signed certificate of a safe, as the page of the open value lets it be saved. */
  async certificate(number) {
    const row = this.find('certificate-row', { safe: nickname(number) });
    await row.locator('summary').click();
    return this.#download('certificate-download', row);
  }

  /** Saves what the safe answered. */
  async evidence(kind) {
    return this.#download('exhibit-save', this.find('exhibit', { kind }));
  }

  /** The lines of the activity page that say something is wrong. */
  async warnings() {
    await this.click('nav-activity');
    await this.find('activity-row').first().waitFor();
    const rows = await this.find('activity-row').all();
    const levels = await Promise.all(rows.map((row) => row.getAttribute('data-level')));
    const texts = await Promise.all(rows.map((row) => row.textContent()));
    return texts.filter((_, index) => levels[index] !== 'info');
  }

  async #download(testId, scope) {
    const download = this.#page.waitForEvent('download', { timeout: PATIENCE });
    await this.find(testId, {}, scope).click();
    return readFile(await (await download).path());
  }
}

/** recover.html, opened from a disk in a browser profile of its own. */
export class Rescue {
  #profile;
  #context;
  #page;
  #complaints = [];

  static async open(address, options = {}) {
    const rescue = new Rescue();
    rescue.#profile = await mkdtemp(join(tmpdir(), 'strongroom-profile-'));
    rescue.#context = await chromium.launchPersistentContext(rescue.#profile, {
      ...BROWSER,
      acceptDownloads: true,
      locale: 'en-GB',
      ...options,
    });
    rescue.#context.setDefaultTimeout(PATIENCE);
    rescue.#page = rescue.#context.pages()[0] ?? (await rescue.#context.newPage());
    rescue.#page.on('pageerror', (error) => rescue.#complaints.push(String(error)));
    rescue.#page.on('console', (message) => {
      if (/Content Security Policy|TrustedHTML|TrustedScript/i.test(message.text())) {
        rescue.#complaints.push(message.text());
      }
    });
    await rescue.#page.goto(address);
    await rescue.find('rescue-look').waitFor();
    return rescue;
  }

  get page() {
    return this.#page;
  }

  find(testId, attributes = {}, scope = this.#page) {
    const more = Object.entries(attributes).map(([name, value]) => `[data-${name}="${value}"]`);
    return scope.locator(`[data-testid="${testId}"]${more.join('')}`);
  }

  async click(testId, attributes, scope) {
    await this.find(testId, attributes, scope).click();
  }

  async fill(testId, text) {
    await this.find(testId).fill(text);
  }

  /** Says with what the owner comes: `kit` or `name`. */
  async choose(way) {
    await this.find('rescue-way', { way }).check();
  }

  async pass(passphrase) {
    await this.fill('rescue-passphrase', passphrase);
    await this.click('rescue-submit');
  }

  row(title) {
    return this.find('recover-row').filter({ hasText: title });
  }

  /** A typed value as the page shows it, once it is there. */
  async reveal(title) {
    await this.click('reveal', {}, this.row(title));
    return this.find('reveal-content', {}, this.row(title)).textContent();
  }

  /** Saves everything that may be fetched without asking; gives the files by name. */
  async saveAll(expected) {
    const downloads = [];
    const all = new Promise((resolve) => {
      this.#page.on('download', (download) => {
        downloads.push(download);
        if (downloads.length === expected) resolve();
      });
    });
    await this.click('rescue-save-all');
    await all;
    const files = downloads.map(async (one) => [one.suggestedFilename(), await readFile(await one.path())]);
    return new Map(await Promise.all(files));
  }

  /** What the page has stored in the browser, by the browser's word. */
  stored() {
    return this.#page.evaluate(async () => ({
      databases: await indexedDB.databases(),
      local: localStorage.length,
      session: sessionStorage.length,
      // A page from disk may not even ask for these.
      caches: await caches.keys().catch(() => []),
      workers: (await navigator.serviceWorker?.getRegistrations().catch(() => []))?.length ?? 0,
    }));
  }

  /** Closes the browser; gives the profile that it leaves. */
  async quit() {
    await this.#context.close();
    return this.#profile;
  }

  /** The same, throws the profile away, and says what the page complained about. */
  async close() {
    await this.#context.close();
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
    assert.deepEqual(this.#complaints, [], 'the page has complained');
  }
}

/** The text of a QR code that is drawn as unit squares, one path. */
function readCode(path) {
  const modules = [...path.matchAll(/M(\d+) (\d+)h1v1h-1z/g)].map(([, x, y]) => [Number(x), Number(y)]);
  const [scale, quiet] = [4, 4];
  const side = (Math.max(...modules.flat()) + 1 + 2 * quiet) * scale;
  const image = new Uint8ClampedArray(side * side * 4).fill(255);
  for (const [x, y] of modules) {
    for (let row = 0; row < scale; row += 1) {
      const start = (((y + quiet) * scale + row) * side + (x + quiet) * scale) * 4;
      for (let at = start; at < start + scale * 4; at += 4) image.fill(0, at, at + 3);
    }
  }
  return jsQR.default(image, side, side).data;
}

const pieceFile = (buffer) => ({ name: 'kept.piece', mimeType: 'application/octet-stream', buffer });

/** What the tests call safe number `number`. */
export const nickname = (number) => `safe-${number}`;

/** Bytes that do not compress and are the same in every run (xorshift32). */
export function noise(length, seed = 1) {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = seed;
  for (let index = 0; index < words.length; index += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[index] = state;
  }
  return Buffer.from(words.buffer, 0, length);
}

/** Ports of one process of the tests: processes that run side by side do not take each other's while their safes are down. */
const BLOCK = 16;
const BLOCKS = 12_000 / BLOCK;

/** The first of `count` free ports in a row. */
export async function freePorts(count) {
  for (let block = process.pid; ; block += 1) {
    // Below 32768, where the system takes the ports that programs leave to it.
    const first = 20_000 + (block % BLOCKS) * BLOCK;
    for (let base = first; base + count <= first + BLOCK; base += 1) {
      if (await areFree(base, count)) return base;
    }
  }
}

async function portsAreFree(base, count) {
  // The product's children notice its death by themselves; they are gone when their ports are.
  while (!(await areFree(base, count)));
}

async function areFree(base, count) {
  const ports = Array.from({ length: count }, (_, index) => base + index);
  return (await Promise.all(ports.map(isFree))).every(Boolean);
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1' }, () => server.close(() => resolve(true)));
  });
}
