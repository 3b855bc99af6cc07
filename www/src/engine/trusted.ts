/**
 * The policy of page and workers lets no string become the address of a script, except what passes here.
 */

/** The part of the Trusted Types API used here; the DOM library of TypeScript does not have it yet. */
interface TrustedTypes {
  createPolicy(
    name: string,
    rules: { createScriptURL(url: string): string },
  ): { createScriptURL(url: string): string };
}

/** Lets this one address through; to be called once. */
export function trust(address: string): string {
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
  const policy = trustedTypes?.createPolicy('strongroom-worker', {
    createScriptURL(asked) {
      if (asked !== address) throw new TypeError('not the address of the wallet’s worker');
      return asked;
    },
  });
  return policy ? policy.createScriptURL(address) : address;
}
