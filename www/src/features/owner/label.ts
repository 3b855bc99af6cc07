/** What a browser that says little about itself is called: enough for its owner to tell two devices apart. */
export function thisDevice(): string {
  const data = (navigator as { userAgentData?: { brands: { brand: string }[]; platform: string } })
    .userAgentData;
  const brand = data?.brands.map(({ brand: name }) => name).find((name) => !/not.?a.?brand/i.test(name));
  if (brand) return [brand, data?.platform].filter(Boolean).join(' on ');
  const known = /Firefox|Safari|Chrome/.exec(navigator.userAgent)?.[0] ?? 'Browser';
  const system = /Android|iPhone|iPad|Mac OS X|Windows|Linux/.exec(navigator.userAgent)?.[0];
  return system ? `${known} on ${system}` : known;
}
