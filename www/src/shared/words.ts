/** The words for what the engine reports, in one place, so that every page says the same. */
import { html, type TemplateResult } from 'lit';
import type {
  CertificateView,
  Exhibit,
  Finding,
  OperationView,
  SafeProgress,
  SafeView,
  ValueKind,
  ValueState,
} from '../engine/api.ts';
import { type IconName, icon } from './icons.ts';

export const kinds: Record<ValueKind, string> = {
  'seed-phrase': 'Seed phrase',
  key: 'Key',
  'recovery-codes': 'Recovery codes',
  ticket: 'Ticket',
  voucher: 'Voucher',
  document: 'Document',
  note: 'Note',
  file: 'File',
};

/** How a state looks. */
interface Face {
  label: string;
  tone: '' | 'good' | 'busy' | 'warn' | 'bad';
  icon: IconName;
}

const valueStates: Record<ValueState, Face> = {
  'local-only': { label: 'Local only', tone: '', icon: 'device' },
  protecting: { label: 'Protecting', tone: 'busy', icon: 'clock' },
  protected: { label: 'Protected', tone: 'good', icon: 'check' },
  'at-risk': { label: 'At risk', tone: 'warn', icon: 'alert' },
  moved: { label: 'Moved', tone: 'good', icon: 'moved' },
  unrecoverable: { label: 'Unrecoverable', tone: 'bad', icon: 'cross' },
};

const contacts: Record<SafeView['contact'], Face> = {
  untried: { label: 'Not tried yet', tone: '', icon: 'clock' },
  reachable: { label: 'Reachable', tone: 'good', icon: 'check' },
  away: { label: 'Not answering', tone: 'warn', icon: 'alert' },
  'not-itself': { label: 'Not the same safe', tone: 'bad', icon: 'cross' },
};

const progressStates: Record<SafeProgress['state'], Face> = {
  waiting: { label: 'Waiting', tone: '', icon: 'clock' },
  working: { label: 'Working', tone: 'busy', icon: 'clock' },
  done: { label: 'Done', tone: 'good', icon: 'check' },
  away: { label: 'Not answering', tone: 'warn', icon: 'alert' },
  lied: { label: 'Sent something false', tone: 'bad', icon: 'cross' },
  refused: { label: 'Refused', tone: 'bad', icon: 'cross' },
};

const certificateStates: Record<CertificateView['state'], Face> = {
  planned: { label: 'Planned', tone: '', icon: 'clock' },
  offered: { label: 'Offered', tone: 'busy', icon: 'clock' },
  held: { label: 'Held', tone: 'good', icon: 'check' },
  released: { label: 'Released', tone: '', icon: 'moved' },
};

export const operations: Record<OperationView['kind'], string> = {
  register: 'Backing up',
  recover: 'Recovering',
  release: 'Releasing from the safes',
};

function badge({ label, tone, icon: drawing }: Face): TemplateResult {
  return html`<span class="badge ${tone}">${icon(drawing)}${label}</span>`;
}

export const valueBadge = (state: ValueState) =>
  html`<span data-testid="value-state" data-state=${state}>${badge(valueStates[state])}</span>`;
export const contactBadge = (contact: SafeView['contact']) => badge(contacts[contact]);
export const progressBadge = (state: SafeProgress['state']) => badge(progressStates[state]);
export const certificateBadge = (state: CertificateView['state']) => badge(certificateStates[state]);

export const exhibits: Record<Exhibit['kind'], string> = {
  certificate: 'Registration certificate',
  offer: 'Offer: a promise that binds nobody yet',
  receipt: 'Receipt: a holder let it go',
  testimony: 'Testimony: the answer to a demand',
  descriptor: 'Keys of a safe',
  unknown: 'Unknown',
};

const findings: Record<Finding['code'], Face> = {
  'no-contradiction': { label: 'Nothing contradicts it', tone: 'good', icon: 'check' },
  'safe-at-fault': { label: 'The safe is at fault', tone: 'bad', icon: 'cross' },
  released: { label: 'Released', tone: '', icon: 'moved' },
  'lease-ended': { label: 'Lease ended', tone: '', icon: 'clock' },
  'wrong-secret': { label: 'Says nothing', tone: 'warn', icon: 'alert' },
  'no-certificate': { label: 'No certificate', tone: 'bad', icon: 'cross' },
  'no-chain': { label: 'Cannot be checked', tone: 'warn', icon: 'alert' },
  'key-revoked': { label: 'Proves nothing', tone: 'warn', icon: 'alert' },
  'did-not-answer': { label: 'Did not answer you', tone: 'warn', icon: 'alert' },
};

export const findingBadge = ({ code }: Finding) => badge(findings[code]);

/** A safe that did not show what it signed for. */
export const faultBadge = badge({ label: 'Not shown', tone: 'bad', icon: 'cross' });

/** What a threshold means, for a plan in which any `k` of `n` safes suffice. */
export function thresholdSentence(k: number, n: number): string {
  const back =
    k === n ? `All ${n} safes are needed to bring it back` : `Any ${k} of these ${n} safes bring it back`;
  const lost =
    k === n ? 'none can be lost' : n - k === 1 ? 'any one can be lost' : `any ${n - k} can be lost`;
  const learn = k === 2 ? 'one alone learns nothing' : `${k - 1} together learn nothing`;
  return `${back}; ${lost}; ${learn}.`;
}
