/** The words for what the engine reports, in one place, so that every page says the same. */
import { html, type TemplateResult } from 'lit';
import type {
  BackupView,
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
  move: 'Moving to the safes',
  recover: 'Recovering',
  'bring-back': 'Bringing back',
  drill: 'Trying whether it comes back',
  renew: 'Renewing',
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

/** What of a plan says how strong it is. */
type Strength = Pick<BackupView, 'threshold' | 'total' | 'coalition' | 'needsWords' | 'needsFile'>;

/** What a plan means in one sentence: what brings it back, what can be lost, who learns nothing. */
export function strengthSentence({
  threshold: k,
  total: n,
  coalition,
  needsWords,
  needsFile,
}: Strength): string {
  const own = [needsWords ? 'your words' : '', needsFile ? 'your file' : ''].filter(Boolean).join(' and ');
  const also = own ? ` with ${own}` : '';
  const back =
    k === 0
      ? 'It comes back without a safe'
      : n === 1
        ? `One safe brings it back${also}`
        : k === n
          ? `All ${n} safes are needed to bring it back${also}`
          : k === 1
            ? `Any one of these ${n} safes brings it back${also}`
            : `Any ${k} of these ${n} safes bring it back${also}`;
  const lost =
    k === n
      ? n === 1
        ? 'it must not be lost'
        : 'none can be lost'
      : n - k === 1
        ? 'any one can be lost'
        : `any ${n - k} can be lost`;
  return `${back}; ${lost}; ${learning(coalition)}.`;
}

function learning(coalition: number | null): string {
  if (coalition === null) return 'the safes alone can read nothing';
  if (coalition === 1) return "only your wallet's secrets keep a single one from reading it, or a part";
  return coalition === 2 ? 'one alone learns nothing' : `${coalition - 1} together learn nothing`;
}
