/**
 * Passkeys and security keys as the browser has them (WebAuthn Level 3 with the `prf` extension). What is done with their outputs is the
 * engine's; nothing is kept here.
 */
import type { DeviceWish, PasskeyOffer } from '../../engine/api.ts';
import { EngineError } from '../../engine/errors.ts';

/** What an authenticator has given. Whoever takes the output hands it over or wipes it. */
export interface Answer extends PasskeyOffer {
  /** 32 bytes that this authenticator makes of the salt, at this site, for a user whom it has verified. */
  output: Uint8Array;
}

const SALT_LEN = 32;

/** Why there can be none here, as a sentence; null: there can. */
export function obstacle(): string | null {
  if (!isSecureContext || typeof PublicKeyCredential === 'undefined') {
    return 'This browser, or the way in which this page was opened, allows no passkeys.';
  }
  // A passkey belongs to a name; browsers refuse addresses that are numbers.
  if (/^[\d.]+$|:/.test(location.hostname)) {
    return 'Passkeys work only where the address of this page is a name, and here it is a number.';
  }
  return null;
}

/** Makes a passkey that none of the known authenticators has. One that cannot open a wallet is refused, and the wallet stays as it is. */
export async function register(label: string, known: string[], signal: AbortSignal): Promise<Answer> {
  const salt = random();
  const created = await asked(
    navigator.credentials.create({
      signal,
      publicKey: {
        rp: { id: location.hostname, name: 'Strongroom' },
        // A handle of its own each time: with the same one, an authenticator would replace the passkey of another wallet at this address.
        user: { id: random(), name: label || 'wallet', displayName: label || 'wallet' },
        challenge: challenge(),
        pubKeyCredParams: [-7, -8, -257].map((alg) => ({ type: 'public-key', alg })),
        excludeCredentials: known.map(descriptor),
        authenticatorSelection: { userVerification: 'required', residentKey: 'preferred' },
        extensions: { prf: { eval: { first: salt } } },
      },
    }),
  );
  const offer = { id: created.id, salt: toText(salt) };
  const output = outputOf(created);
  if (output) return { ...offer, output };
  // Many authenticators make it only when they are asked again.
  if (created.getClientExtensionResults().prf?.enabled) return ask([offer], signal);
  throw withoutPrf();
}

/** Asks for one of these passkeys. */
export async function ask(offers: PasskeyOffer[], signal: AbortSignal): Promise<Answer> {
  const evalByCredential = Object.fromEntries(offers.map(({ id, salt }) => [id, { first: toBytes(salt) }]));
  const got = await asked(
    navigator.credentials.get({
      signal,
      publicKey: {
        rpId: location.hostname,
        challenge: challenge(),
        allowCredentials: offers.map(({ id }) => descriptor(id)),
        userVerification: 'required',
        extensions: { prf: { evalByCredential } },
      },
    }),
  );
  const offer = offers.find(({ id }) => id === got.id);
  const output = outputOf(got);
  if (!offer || !output) throw withoutPrf();
  return { ...offer, output };
}

/** Makes a passkey that brings its owner back at his safes: it keeps whose it is, and can be found without anything being known of it. */
export async function enrolDevice(
  { handle, input, name }: DeviceWish,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const created = await asked(
    navigator.credentials.create({
      signal,
      publicKey: {
        rp: { id: location.hostname, name: 'Strongroom' },
        user: { id: toBytes(handle), name, displayName: name },
        challenge: challenge(),
        pubKeyCredParams: [-7, -8, -257].map((alg) => ({ type: 'public-key', alg })),
        authenticatorSelection: {
          userVerification: 'required',
          residentKey: 'required',
          requireResidentKey: true,
        },
        extensions: { prf: { eval: { first: toBytes(input) } } },
      },
    }),
  );
  const output = outputOf(created);
  if (output) return output;
  if (created.getClientExtensionResults().prf?.enabled) return answer(created.id, toBytes(input), signal);
  throw withoutPrf();
}

/** A passkey that says whose it is, and nothing else. */
export async function discover(signal: AbortSignal): Promise<{ id: string; handle: Uint8Array }> {
  const got = await asked(
    navigator.credentials.get({
      signal,
      publicKey: { rpId: location.hostname, challenge: challenge(), userVerification: 'required' },
    }),
  );
  return { id: got.id, handle: handleOf(got) };
}

/** A passkey that says whose it is, with what it makes of the input: for safes that have shown who they are already. */
export async function recall(
  input: string,
  signal: AbortSignal,
): Promise<{ handle: Uint8Array; output: Uint8Array }> {
  const got = await asked(
    navigator.credentials.get({
      signal,
      publicKey: {
        rpId: location.hostname,
        challenge: challenge(),
        userVerification: 'required',
        extensions: { prf: { eval: { first: toBytes(input) } } },
      },
    }),
  );
  const output = outputOf(got);
  if (!output) throw unable();
  return { handle: handleOf(got), output };
}

/** What this passkey makes of the input. */
export async function answer(
  id: string,
  input: Uint8Array<ArrayBuffer>,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const got = await asked(
    navigator.credentials.get({
      signal,
      publicKey: {
        rpId: location.hostname,
        challenge: challenge(),
        allowCredentials: [descriptor(id)],
        userVerification: 'required',
        extensions: { prf: { eval: { first: input } } },
      },
    }),
  );
  const output = outputOf(got);
  if (!output) throw unable();
  return output;
}

/** Wipes an output that was not handed over. One that was is empty here already, and filling it would be an error. */
export function wipe(output: Uint8Array): void {
  if (output.byteLength > 0) output.fill(0);
}

/**
 * Random, and checked by nobody: a signature would show a server that somebody is there now, and here is no server to be shown anything. What
 * opens the wallet is the output of the authenticator's function, which nobody has who has not used the authenticator.
 */
const challenge = random;

function random(): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(SALT_LEN));
}

const descriptor = (id: string): PublicKeyCredentialDescriptor => ({ type: 'public-key', id: toBytes(id) });

function outputOf(credential: PublicKeyCredential): Uint8Array | null {
  const first = credential.getClientExtensionResults().prf?.results?.first;
  return first instanceof ArrayBuffer ? new Uint8Array(first) : null;
}

/** What the authenticator keeps as its user's handle; empty: nothing. */
function handleOf({ response }: PublicKeyCredential): Uint8Array {
  const handle = response instanceof AuthenticatorAssertionResponse ? response.userHandle : null;
  return new Uint8Array(handle ?? new ArrayBuffer(0));
}

function withoutPrf(): EngineError {
  return new EngineError({
    code: 'passkey-without-prf',
    message:
      'This passkey or security key can sign in to websites, but it cannot open a wallet: it, or this browser, lacks the function for that (“PRF”).',
    next: 'Your wallet is as it was. Try another one, or another browser. What it has kept for this page now is of no use; you may delete it there.',
  });
}

/** The same of one that was made elsewhere, and works there. */
function unable(): EngineError {
  return new EngineError({
    code: 'passkey-without-prf',
    message:
      'This browser cannot use the passkey or security key that way: it lacks the function for that (“PRF”).',
    next: 'Keep it: it is as it was. Try another browser.',
  });
}

async function asked(request: Promise<Credential | null>): Promise<PublicKeyCredential> {
  try {
    const credential = await request;
    if (credential instanceof PublicKeyCredential) return credential;
  } catch (thrown) {
    throw explained(thrown);
  }
  throw explained(null);
}

/** The browser's errors, in words for who held a key to a device. It does not say which of several things went wrong, so that sites learn nothing. */
function explained(thrown: unknown): EngineError {
  switch (thrown instanceof DOMException ? thrown.name : '') {
    case 'InvalidStateError':
      return new EngineError({
        code: 'passkey-known',
        message: 'This passkey or security key opens the wallet already.',
        next: 'Add another one, as a spare.',
      });
    case 'SecurityError':
      return new EngineError({
        code: 'passkey-address',
        message: 'The browser allows no passkeys at the address of this page.',
        next: 'Use your passphrase, which always works.',
      });
    case 'NotSupportedError':
    case 'ConstraintError':
      return new EngineError({
        code: 'passkey-unsuitable',
        message: 'This passkey or security key cannot check who uses it, by a PIN, a finger or a face.',
        next: 'Set a PIN for it, or try another one.',
      });
    default:
      return new EngineError({
        code: 'passkey-unused',
        message:
          'No passkey or security key was used: it was cancelled, it took too long, or it was not one that opens this wallet.',
        next: 'Try again, or use your passphrase, which always works.',
      });
  }
}

function toText(bytes: Uint8Array): string {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

function toBytes(text: string): Uint8Array<ArrayBuffer> {
  const bytes = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(bytes, (byte) => byte.charCodeAt(0));
}
