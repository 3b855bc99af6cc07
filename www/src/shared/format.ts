const whole = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 1 });
const day = new Intl.DateTimeFormat('en-GB', { dateStyle: 'long' });
const minute = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

export function size(bytes: number): string {
  if (bytes === 1) return '1 byte';
  if (bytes < 1024) return `${whole.format(bytes)} bytes`;
  if (bytes < 1024 ** 2) return `${tenths.format(bytes / 1024)} KiB`;
  if (bytes < 1024 ** 3) return `${tenths.format(bytes / 1024 ** 2)} MiB`;
  return `${tenths.format(bytes / 1024 ** 3)} GiB`;
}

export const date = (ms: number) => day.format(ms);
export const time = (ms: number) => minute.format(ms);

/** 2026-11-23, in the owner's own time zone; for file names. */
export function isoDay(ms: number): string {
  const at = new Date(ms);
  const two = (part: number) => String(part).padStart(2, '0');
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** What its owner has typed between commas. */
export const listed = (text: string) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean);

export const count = (n: number, one: string, many = `${one}s`) =>
  `${whole.format(n)} ${n === 1 ? one : many}`;
