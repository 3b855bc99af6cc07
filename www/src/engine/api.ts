/**
 * What the engine (Rust in a Web Worker) offers to the page: the wallet's JavaScript API.
 * Calls are promises; the page draws from `WalletView`, which the engine pushes whenever something changed.
 * Times are Unix milliseconds, sizes are bytes, ids and digests are text.
 */

/** What a value is; it chooses the icon and the rules that match. */
export type ValueKind =
  | 'seed-phrase'
  | 'key'
  | 'recovery-codes'
  | 'ticket'
  | 'voucher'
  | 'document'
  | 'note'
  | 'file';

/** Where a value stands (DESIGN §7). */
export type ValueState = 'local-only' | 'protecting' | 'protected' | 'at-risk' | 'moved' | 'unrecoverable';

/** One safe as this wallet knows it. */
export interface SafeView {
  /** `safe1…`: the bech32m thumbprint of the safe's identity key; the wallet pins it. */
  id: string;
  /** The owner's own name for it. */
  nickname: string;
  /** What the safe calls itself. */
  name: string;
  url: string;
  /** The id in groups of four, for comparing by eye. */
  fingerprint: string;
  /** Largest body it takes, bytes. */
  limitBody: number;
  /** Last contact in this session. */
  contact: 'untried' | 'reachable' | 'away' | 'not-itself';
  /** Whether the wallet has an admission token of its operator. */
  token: boolean;
  /** How many deposits of this wallet it holds, without those that are only still to be let go. */
  deposits: number;
  /** How many it is still to let go. */
  releasing: number;
  whereabouts: Whereabouts;
  /** It is to go, and another one takes its place; null: it stays. */
  retiring: {
    /** The other one's nickname. */
    to: string;
    /** Backups that are still to go by themselves. */
    open: number;
    /** Of each backup that its owner has to renew by hand, a value: it needs words or a file, or the other safe has a part in it already. */
    left: string[];
  } | null;
}

/** What a safe says it may have in common with others: who runs it, on whose machines, and where these stand. Null where it says nothing. */
export interface Whereabouts {
  operator: string | null;
  cloud: string | null;
  region: string | null;
}

/** What a safe says of itself before the owner has decided to trust it. */
export interface SafeProbe {
  id: string;
  name: string;
  url: string;
  fingerprint: string;
  limitBody: number;
  admission: string;
  whereabouts: Whereabouts;
  /** Already in this wallet. */
  known: boolean;
}

/** Progress of one safe inside an operation. */
export interface SafeProgress {
  safeId: string;
  nickname: string;
  state: 'waiting' | 'working' | 'done' | 'away' | 'lied' | 'refused';
  /** Bodies done and to do at this safe. */
  done: number;
  total: number;
  /** A sentence where something is wrong. */
  detail: string | null;
}

export interface OperationView {
  /**
   * `move`: to the safes, and then off this device. `bring-back`: from the safes, and then off them. `drill`: a recovery that changes nothing.
   * `renew`: the next generation, proven, and then in the place of the one before.
   */
  kind: 'register' | 'move' | 'recover' | 'bring-back' | 'drill' | 'renew' | 'release';
  /** 0 to 1. */
  progress: number;
  safes: SafeProgress[];
  /** Always true for journalled operations: they go on when the wallet is opened again. */
  mayClose: boolean;
  /** `cancel` takes it back, and nothing is lost. */
  canCancel: boolean;
  /** Pieces are being fetched: it may need what the owner keeps, by `recover`. */
  gathering: boolean;
  /** So many bytes are missing on this device: it is suspended, and goes on when there is room; null: it fits. */
  lacking: number | null;
  /** Why it waits, and for what; null while it runs. */
  waiting: string | null;
}

export interface CertificateView {
  depositId: string;
  safeId: string;
  nickname: string;
  /** Which segment of the content this deposit holds, from 0, and of how many. */
  segment: number;
  segments: number;
  state: 'planned' | 'offered' | 'held' | 'released';
  /** The rest is null until there is a certificate. */
  length: number | null;
  /** BLAKE3 root of the deposited body, hex. */
  root: string | null;
  issued: number | null;
  leaseEnd: number | null;
  /** Serial of the safe's chain entry that signed it. */
  entry: number | null;
  url: string | null;
  /** When the safe last showed that it has the piece. */
  audited: number | null;
  /** It is being asked to. */
  auditing: boolean;
  /** What has been wrong since then: a phrase that follows the safe's name. */
  fault: string | null;
}

export interface BackupView {
  id: string;
  /** The plan as text, safes by nickname. */
  plan: string;
  /** Any `threshold` of `total` safes suffice. Echoed from the finished backup, not from a form. */
  threshold: number;
  total: number;
  /** Fewest safes that have enough to read it, or a part of it, were the secrets of their envelopes known; null: not even all. */
  coalition: number | null;
  /** Without the owner's words, or his file, nothing brings it back. */
  needsWords: boolean;
  needsFile: boolean;
  /** The values that it couples, in order. */
  values: string[];
  /** Some of it follows from words that the owner chose. */
  hasWords: boolean;
  /** Some of it is in a file that the owner keeps. */
  hasFile: boolean;
  /** The file is ready and waits to be saved: `pieceFile`, then `pieceFileSaved`. */
  fileUnsaved: boolean;
  /** When it was last rebuilt from what the safes have, as a trial; null: never. */
  drilled: number | null;
  /**
   * To whom the values belong, where they may live only once: to this wallet, to another one, or to the first that claims them; null: they may
   * live often.
   */
  claim: 'ours' | 'taken' | 'open' | null;
  certificates: CertificateView[];
}

export interface ValueView {
  id: string;
  title: string;
  kind: ValueKind;
  fileName: string | null;
  mime: string;
  size: number;
  created: number;
  /** It may live only once, as a ticket does: of several devices with its certificates one gets it. */
  unique: boolean;
  /** Words by which its owner groups it. */
  tags: string[];
  /** Since when rules leave it alone, because its owner took it back; null: they do not. `followRules` ends that. */
  leftAlone: number | null;
  /** The content on this device is another one than the safes have: `renew` backs it up. */
  changed: boolean;
  /** True if the content is on this device. */
  local: boolean;
  state: ValueState;
  /** One sentence: why it is in that state. */
  reason: string;
  /** One sentence: what to do next; null where nothing is to be done. */
  nextStep: string | null;
  backup: BackupView | null;
  operation: OperationView | null;
}

/** One line of the Activity page. */
export interface ActivityView {
  at: number;
  level: 'info' | 'warning' | 'error';
  text: string;
}

export interface WalletView {
  safes: SafeView[];
  values: ValueView[];
  activity: ActivityView[];
  /** Answer of `navigator.storage.persisted()`. */
  storagePersistent: boolean;
  /** In their order: the first that a value meets gives the plan. */
  rules: Rule[];
  room: RoomView;
  exhibits: KeptExhibit[];
  /** Null until the owner is enrolled at safes, or while nobody has come back. */
  owner: OwnerView | null;
  /** What opens this wallet on this device beside the passphrase, in the order in which it was added. */
  passkeys: PasskeyView[];
  /** This window works; false: another window of this wallet does, and this one follows it until its owner does something here. */
  leading: boolean;
}

/** A passkey or security key that opens the wallet on this device. */
export interface PasskeyView {
  /** The credential's id, as WebAuthn writes it. */
  id: string;
  /** What the owner calls it; may be empty. */
  label: string;
  added: number;
}

/** What the authenticator of a passkey has to be asked with, before the wallet is open. Base64url, as WebAuthn writes ids. */
export interface PasskeyOffer {
  id: string;
  /** What it makes its key of: the input of the `prf` extension. */
  salt: string;
}

/** Who comes back with a name and a passphrase. */
export interface OwnerView {
  /** The recovery name. */
  name: string;
  /** How many of the safes must answer. */
  threshold: number;
  /** In force at all safes. */
  enrolled: boolean;
  seats: OwnerSeat[];
  /** Another device keeps the book at the safes by now. */
  superseded: boolean;
  /** How many safes have the newest book; it counts from `quorum` on. */
  written: number;
  quorum: number;
  /** Backups that the book at the safes has no room for; nothing is let go as long as there are any. */
  leftOut: number;
  /** Parts of the book that stand at the safes as backups of their own. */
  chapters: number;
  /** How many of them this device has not read yet, and what safes did that were asked for them. */
  unread: number;
  unreadTrouble: string[];
  /** How many passphrases anybody could try at once, and ever. */
  guessesPrompt: number;
  guessesLifetime: number;
  /** The kit that was printed last, if this device knows of one. */
  kit: KitView | null;
  /** Another passphrase, or other safes, that are to take the place of these; null: none are. */
  change: ChangeView | null;
  /** Another device has begun such a change, and it is not over: until it is, or another one has taken its place, nothing is let go. */
  changeElsewhere: boolean;
  /** Safes that are the owner's no longer, and do not know it yet: they keep what the old passphrase had to do with. `forgetLeaving` waits no longer. */
  leaving: { safeId: string; nickname: string }[];
  /** Another device has changed the passphrase or the safes: this one has to come back by the passphrase of now. */
  outdated: boolean;
  /** Of `backups`, those whose way back whoever had the old passphrase may know: `renewExposed` protects them anew. */
  exposed: number;
  /** Of `backups`, those that were made before the safes knew their owner: an open device that is stolen lets them go for good. `renewExposed` renews them, too. */
  unkept: number;
  /** A value of each of both that its owner has to renew by hand. */
  exposedLeft: string[];
  backups: number;
  /** They are being renewed. */
  renewing: boolean;
  /** Backups, and parts of the book, that may have been let go and are to be taken back after `goBack`. */
  takingBack: number;
  /** It goes on only when the owner has come back once more by `goBack`: the wallet was locked meanwhile, or another window has gone on with it. */
  takingBackWaits: boolean;
}

/** A kit that is on paper. */
export interface KitView {
  /** Six characters that stand on it. */
  code: string;
  made: number;
  /** When the first of the leases ended that were running then. */
  leaseEnd: number | null;
  /** Why it does not fit any more; null: it does. */
  stale: string | null;
}

/** A kit as it was made, for the printer. */
export interface KitReport {
  /** What its QR code says. */
  text: string;
  code: string;
  name: string;
  /** Generation of the enrolment. */
  generation: number;
  threshold: number;
  made: number;
  leaseEnd: number | null;
  safes: { name: string; url: string }[];
  /** Safes that did not answer: they do not know it. */
  silent: string[];
}

/** By what the owner is known. */
export interface CredentialView {
  id: string;
  kind: 'wallet' | 'device' | 'kit';
  /** What its owner calls it; may be empty. A kit is called by its code. */
  label: string;
  added: number;
  /** Names of the safes that know it. */
  safes: string[];
  /** Those of them where it is known for an enrolment before this one: it brings nobody back from there until it is renewed. Passkeys only. */
  behind: string[];
  /** It is this wallet's. */
  mine: boolean;
}

/** What the safes list. */
export interface CredentialsReport {
  credentials: CredentialView[];
  /** Safes that did not answer. */
  silent: string[];
  /** Guesses that are counted, at the safe that counts most. */
  tries: number;
}

/** Where something was done. */
export interface DoneReport {
  done: string[];
  /** Safes that did not answer, or refused. */
  silent: string[];
}

/** What an authenticator is asked for, to be a way to come back. */
export interface DeviceWish {
  /** What it keeps as its user's handle, base64url. */
  handle: string;
  /** What it makes its output of, base64url. */
  input: string;
  /** The recovery name. */
  name: string;
}

/** The enrolment that is to take the place of the one in force. */
export interface ChangeView {
  threshold: number;
  seats: OwnerSeat[];
  /** Nothing of it is in force yet: `cancelChange` gives it up. */
  mayCancel: boolean;
  /** Enough safes have it; what was before is being forgotten. */
  inForce: boolean;
}

/** One of the owner's safes. */
export interface OwnerSeat {
  safeId: string;
  nickname: string;
  done: boolean;
  /** False: it was away when this device came back, and does not know it. `lookForOwner` and `comeBack` again let it know. */
  known: boolean;
  /** What it does, as a phrase that follows its name. */
  step: string;
  /** What keeps it, as such a phrase. */
  trouble: string | null;
}

/** What safes show of a name. */
export interface LookReport {
  name: string;
  threshold: number;
  /** How many safes the owner has enrolled at. */
  seats: number;
  /** Names of the safes that know it. */
  answered: string[];
  /** Addresses at which nobody answered. */
  silent: string[];
  /** Passphrases that may be tried now, and ever. */
  guesses: number;
  guessesEver: number;
  /** Seconds until the next one; null: none will be. */
  wait: number | null;
  /** The code of the kit, whose guesses these are; null: without one. */
  kit: string | null;
}

/** What coming back has brought. */
export interface CameBack {
  /** Titles of the values in the head of the book. */
  values: string[];
  /** Parts of the book that are fetched from now on. */
  chapters: number;
  /** Backups that the book had no room for. */
  leftOut: number;
  /** Names of safes that answered wrongly. */
  wrong: string[];
}

/** How the owner's book stands, or stood for some time of the last seven days. Milliseconds. */
export interface PastHead {
  /** 0: not known. */
  from: number;
  /** Of the one that stands: now. */
  until: number;
  /** Names of the safes that have kept it. */
  safes: string[];
}

/** The certificate of a piece that its safe did not show, kept as evidence when the backup was renewed: `certificate` gives it. */
export interface KeptExhibit {
  depositId: string;
  nickname: string;
  /** What it was a piece of. */
  title: string;
  /** A phrase that follows the safe's name. */
  what: string;
  since: number;
}

/** Room for contents on this device, bytes. */
export interface RoomView {
  /** What the owner has set as the most. */
  set: number | null;
  /** The most, by the owner or the browser, whichever is less; null: nobody says. */
  capacity: number | null;
  used: number;
  free: number | null;
  /** Missing for all that waits: recoveries, and a value that did not fit. */
  lacking: number;
  /** Values that are going to the safes to make room, or next. */
  leaving: string[];
}

/** What a rule asks of a value. */
export interface Condition {
  /** `older` and `unused` count from when it was put in and last used; `room-below` holds, too, while something waits for room. */
  what: 'kind' | 'tag' | 'larger' | 'smaller' | 'older' | 'changed' | 'unused' | 'room-below';
  /** Of `kind` and `tag`: one of these. */
  words: string[];
  /** Bytes of `larger`, `smaller` and `room-below`, seconds of `older` and `unused`. */
  amount: number;
}

/** What is done by itself with values that meet all conditions; without conditions, with every value. */
export interface Rule {
  name: string;
  on: boolean;
  when: Condition[];
  /** By which plan a value is backed up that is not yet, as text. A change is backed up by the plan that the value has. */
  plan: string;
  /** The copy on this device goes then. */
  moves: boolean;
}

/** What a rule would do now. */
export interface RulePreview {
  /** Why it cannot be followed. */
  error: string | null;
  /** The values that meet it. */
  values: {
    id: string;
    effect:
      | 'backs-up'
      | 'backs-up-change'
      | 'moves'
      | 'moves-for-room'
      | 'is-so'
      | 'left-alone'
      | 'needs-owner'
      | 'busy';
  }[];
}

/** `none`: no wallet in this browser profile yet. */
export type WalletStatus = 'none' | 'locked' | 'open';

export interface NewValue {
  title: string;
  kind: ValueKind;
  fileName: string | null;
  mime: string;
  /** It may live only once: a ticket, a voucher, an electronic coin. */
  unique?: boolean;
  /** Up to 8, of up to 64 bytes each. */
  tags?: string[];
}

export interface ImportReport {
  /** Titles of the values whose certificates came with the file. */
  titles: string[];
  /** Nicknames of safes that the file added to this wallet. */
  safesAdded: string[];
}

/** What a certificate shows of the value (claim 2). */
export interface Face {
  /** For everybody; otherwise sealed, and opened by this wallet. */
  readable: boolean;
  title: string;
  kind: string;
  date: number;
  hint: string | null;
}

/** What stands in one file. Nothing of it has been checked; that is what a finding is for. */
export interface Exhibit {
  kind: 'certificate' | 'offer' | 'receipt' | 'testimony' | 'descriptor' | 'unknown';
  safeId: string | null;
  fingerprint: string | null;
  /** The owner's name for the safe, where it is in this wallet. */
  nickname: string | null;
  /** What the safe calls itself, in a descriptor. */
  name: string | null;
  url: string | null;
  depositId: string | null;
  /** The deposit is of this wallet. */
  mine: boolean;
  length: number | null;
  root: string | null;
  entry: number | null;
  issued: number | null;
  leaseEnd: number | null;
  /** Null where it is sealed for another wallet. */
  face: Face | null;
  /** It lives once. */
  unique: boolean;
  /** What a testimony states. */
  verdict: string | null;
  /** Why it does not count as evidence. */
  leftOut: string | null;
}

/** Who is at fault, by signed bytes alone. */
export interface Finding {
  code:
    | 'no-contradiction'
    | 'safe-at-fault'
    | 'released'
    | 'lease-ended'
    | 'wrong-secret'
    | 'no-certificate'
    | 'no-chain'
    | 'key-revoked'
    | 'did-not-answer';
  /** The safe has convicted itself. */
  atFault: boolean;
  /** A sentence without its full stop. */
  text: string;
  at: number | null;
}

export interface Examination {
  /** In the order of the files, and then of what was fetched. */
  exhibits: Exhibit[];
  /** Null without a certificate, or without the keys of its safe. */
  finding: Finding | null;
  /** The safe was asked. */
  asked: boolean;
  /** What it answered: its descriptor, and a testimony where this wallet could demand one. Evidence, to be kept. */
  fetched: Uint8Array[];
}

/** What goes with a backup beside its plan. */
export interface BackupOptions {
  /** Where the plan has `memory`: the owner's words, at least 12 characters. */
  words?: string;
  /** Title, kind, date and hint stand on the certificates for everybody to read; otherwise only this wallet can. */
  readable?: boolean;
  hint?: string;
  /** The contents on this device go when every safe has signed. */
  moving?: boolean;
}

/** A plan as text, read against the safes of this wallet. */
export interface PlanReading {
  /** The one way to write it; null if it is none. */
  text: string | null;
  /** What is wrong, and where: in UTF-16 units from 0; null where no place is to blame. */
  error: { at: number | null; message: string } | null;
  /** The safes in it, in order. */
  safeIds: string[];
  hasWords: boolean;
  hasFile: boolean;
}

/** A set of principals in which several are interchangeable: all of `count` of `of`, for each part. */
export interface Way {
  /** `of`: nicknames of safes, “this device”, “the certificate file”, “its passphrase”, “your file”, “your words”. */
  parts: { of: string[]; count: number }[];
  /** How many sets it stands for. */
  sets: number;
}

/** What a plan survives, exposes and costs; exact. */
export interface PlanOutlook {
  reading: PlanReading;
  /** Why it cannot be carried out; null if it can. */
  refusal: string | null;
  /** How many safes can be lost, whichever they are: with this device, and without it; null: it never comes back so. */
  losses: number | null;
  lossesElsewhere: number | null;
  /** Fewest safes that have enough to read it, or a part of it, were the secrets of their envelopes known; null: not even all. */
  coalition: number | null;
  /** How likely it comes back, given how often each safe is there. */
  availability: number;
  /** The smallest sets that bring it back, and those that read it while the other safes keep to the rules. */
  recovering: Way[];
  disclosing: Way[];
  /** The smallest sets that can try passphrases as often as they like, and read it with the right one. */
  guessing: Way[];
  sentences: { tone: 'good' | 'note' | 'warning'; text: string }[];
  /** Null where it cannot be carried out. */
  cost: {
    safes: { safeId: string; bytes: number; requests: number; writes: number }[];
    bytes: number;
    requests: number;
    /** Writes of the safes' stores. */
    writes: number;
    bookBytes: number;
    fileBytes: number;
  } | null;
  /** The case that was asked for: does it come back here, and on another device; do the curious safes have enough to read it? */
  scenario: { recovers: boolean; recoversElsewhere: boolean; reads: boolean } | null;
}

/** A case: safes that are gone, and safes that put together what they have. Ids. */
export interface Case {
  gone?: string[];
  curious?: string[];
  /** How often each safe is there, 0 to 1, by id; one that is not named: 0.99. */
  availability?: Record<string, number>;
}

/** How a backup is renewed. */
export interface Renewal {
  /** Where the plan has `memory`: words, new ones or the same. */
  words?: string;
  /** Safes that others take the place of; ids. */
  replace?: { from: string; to: string }[];
}

/** A safe that asks others for its owner. */
export interface Carrier {
  id: string;
  name: string;
  /** Names of the safes that it asks, of those that keep something of the value. */
  brings: string[];
}

/** What a recovery may need from its owner. */
export interface Given {
  words?: string;
  file?: Uint8Array;
}

/** Errors thrown by the engine carry a stable code, what happened, and what to do next. */
export interface EngineErrorShape {
  code: string;
  message: string;
  next: string | null;
}

export interface Engine {
  status(): Promise<WalletStatus>;
  /** Makes a wallet in this browser profile. Error `wallet-exists`, `passphrase-too-short`. */
  create(passphrase: string): Promise<void>;
  /** Error `wrong-passphrase`, `no-wallet`, `store-damaged`. */
  unlock(passphrase: string): Promise<void>;
  /** The passkeys that are said to open the wallet. Needs no open wallet. Error `no-wallet`, `store-damaged`. */
  passkeys(): Promise<PasskeyOffer[]>;
  /** Opens the wallet with the output of a passkey's `prf` extension, which is handed over and wiped. Error `wrong-passkey`. */
  unlockWithPasskey(id: string, output: Uint8Array): Promise<void>;
  /**
   * Lets a passkey open the wallet on this device, beside the passphrase. `output` is handed over and wiped. Error `locked`, `passkey-known`,
   * `too-many-passkeys`.
   */
  addPasskey(id: string, salt: string, output: Uint8Array, label: string): Promise<void>;
  /** It opens the wallet no longer. The authenticator keeps what it has. Error `locked`, `unknown`. */
  removePasskey(id: string): Promise<void>;
  lock(): Promise<void>;
  view(): Promise<WalletView>;
  /** Calls back with every new view until the wallet is locked. One listener. */
  subscribe(listener: (view: WalletView) => void): Promise<void>;

  /** Asks a safe who it is. Error `safe-away`, `not-a-safe`, `bad-address`. */
  probeSafe(url: string): Promise<SafeProbe>;
  /** Pins the safe whose id was shown; `token` is empty where it wants none. Error `safe-mismatch` if it has changed meanwhile. */
  addSafe(url: string, id: string, nickname: string, token: string): Promise<void>;
  /** Takes another admission token of the safe's operator (empty: none) and asks again what was refused. */
  setToken(id: string, token: string): Promise<void>;
  /** Every backup with a piece at the first safe gets its next generation with the second one in its place; rules use that, too. */
  retireSafe(from: string, to: string): Promise<void>;
  /** It stays after all; what has gone elsewhere stays there. */
  keepSafe(id: string): Promise<void>;
  /** Error `safe-in-use` while values have pieces there, `safe-in-rule` while a rule backs values up there. */
  removeSafe(id: string): Promise<void>;

  /**
   * Stores a value on this device; resolves with its id. Error `too-large` (16 MiB), `no-room`, `does-not-fit`: then rules make room, until it is
   * tried again or `giveUpRoom`.
   */
  addValue(meta: NewValue, content: Uint8Array): Promise<string>;
  /** Changes what a value is called, and its content where one is given; `unique` stays as it is. Error `too-large`, `no-room`, `does-not-fit`, `not-local`. */
  changeValue(id: string, meta: NewValue, content?: Uint8Array): Promise<void>;
  /** The content. Error `not-local`. */
  reveal(id: string): Promise<Uint8Array>;
  /** Deletes a local value that has no backup, or takes one from the list that belongs to another device. Error `has-backup`. */
  removeValue(id: string): Promise<void>;

  /** All rules, in their order. Error `rule-refused`, `plan-unreadable`, `plan-refused`. */
  setRules(rules: Rule[]): Promise<void>;
  /** What a rule would do now, by itself. */
  previewRule(rule: Rule): Promise<RulePreview>;
  /** Rules see again to a value that they leave alone. */
  followRules(id: string): Promise<void>;
  /** How much contents may take on this device, bytes; null: what the browser gives. */
  setCapacity(bytes: number | null): Promise<void>;
  /** What did not fit is no longer to be put in. */
  giveUpRoom(): Promise<void>;

  /** Plans before they are carried out. */
  plan: {
    /** Reads a text; what is wrong with it is part of the answer. */
    parse(text: string): Promise<PlanReading>;
    /** Weighs a plan for some values. */
    analyse(text: string, values: string[], what?: Case): Promise<PlanOutlook>;
  };
  /**
   * Starts a backup of some values, coupled, by a plan: text with nicknames or ids of safes. Progress comes by `subscribe`. Error
   * `plan-unreadable`, `plan-refused`, `words-needed`, `values-refused`, `has-backup`, `not-local`. Values that may live only once and others are not coupled.
   */
  backup(values: string[], plan: string, options?: BackupOptions): Promise<void>;
  /** The file with a piece that the owner of a value is to keep, while `fileUnsaved`. */
  pieceFile(id: string): Promise<Uint8Array>;
  /** Shows that the file is kept; with it and the last certificate the backup is done. Error `not-the-piece-file`. */
  pieceFileSaved(id: string, file: Uint8Array): Promise<void>;
  /** Asks the safes to show that they have what they signed for: the pieces of one value, or (null) all. */
  audit(id: string | null): Promise<void>;
  /**
   * Brings values of one backup back from the safes, or gives a recovery that waits what it waits for. Error `not-the-piece-file`, `busy`,
   * `taken`: it may live only once, and another device has claimed it.
   */
  recover(ids: string[], given?: Given): Promise<void>;
  /** The safes that say that they bring what others keep of a value. Asks them. */
  carriers(id: string): Promise<Carrier[]>;
  /**
   * Brings all values of a backup back through one safe, and protects them anew at once; or goes on in this way with a recovery that waits. Error `not-enrolled`, `busy`.
   */
  recoverThrough(id: string, safe: string): Promise<void>;
  /** The copy here goes, once it was rebuilt from what the safes have. Error `not-local`, `busy`. */
  moveOut(id: string): Promise<void>;
  /** All values of a backup come back, and then the safes let theirs go. Error `busy`. */
  bringBack(id: string): Promise<void>;
  /** Takes over what may live only once, from a device that is lost or although too many safes are. It may live twice then. Error `busy`. */
  takeOver(id: string): Promise<void>;
  /** A fire drill: rebuilds a backup from what the safes have, and changes nothing. Error `busy`, `lives-once`: it would be claimed. */
  drill(id: string): Promise<void>;
  /**
   * Encrypts everything of a backup anew, gives it to the safes, proves that it comes back, and lets the old pieces go. Error `busy`, `no-backup`.
   */
  renew(id: string, how?: Renewal): Promise<void>;
  /** Takes back what is under way: a move goes on as a backup, a backup is given up, a recovery or a drill ends. */
  cancel(id: string): Promise<void>;
  /** Asks every safe to let its pieces go; the local copy stays. Error `not-local`: recover first. */
  release(id: string): Promise<void>;
  /** Tries safes that were away again at once. */
  retry(): Promise<void>;

  /** The certificates with their deposit secrets, sealed under a passphrase of their own. */
  exportCertificates(ids: string[], passphrase: string): Promise<Uint8Array>;
  /** Inverse of `exportCertificates`. Error `wrong-passphrase`, `not-a-certificate-file`. */
  importCertificates(file: Uint8Array, passphrase: string): Promise<ImportReport>;

  /**
   * Enrols the owner at safes, of which `threshold` must answer later. Returns the recovery name: the handle, and six characters that make it hard to guess.
   * `label`: what this device is called among the owner's.
   */
  enrol(
    handle: string,
    passphrase: string,
    threshold: number,
    safes: string[],
    label: string,
  ): Promise<string>;
  /**
   * Changes the passphrase (null: it stays), the safes, or how many of them must answer. Takes the passphrase in force, and for it a guess, which is given back. Error
   * `wrong-passphrase`, `no-guesses`, `too-few-safes`, `busy`, `come-back-first`, `change-elsewhere`: see `changeElsewhere`; with `instead` it takes the place of that one.
   */
  changeOwner(
    current: string,
    passphrase: string | null,
    threshold: number,
    safes: string[],
    instead: boolean,
  ): Promise<void>;
  /** Gives up a change of which nothing is in force yet. Error `busy`. */
  cancelChange(): Promise<void>;
  /** Waits no longer for a safe in `leaving`. */
  forgetLeaving(safeId: string): Promise<void>;
  /** Protects anew what is `exposed`. */
  renewExposed(): Promise<void>;
  /** Looks whether safes at these addresses know a name. Costs no guess. */
  lookForOwner(name: string, addresses: string[]): Promise<LookReport>;
  /** The same with the text of a kit. Error `not-a-kit`, `kit-mistyped`, `safes-behind`: they show an enrolment that is older than the kit. */
  lookWithKit(text: string): Promise<LookReport>;
  /** The same with what a passkey has kept as its user's handle; the safes show that they have their keys before it is used. Error `not-the-device`. */
  lookForDevice(handle: Uint8Array, addresses: string[]): Promise<LookReport>;
  /** What a passkey makes its output of for `comeBackWithDevice`. */
  deviceInput(): Promise<Uint8Array>;
  /** Comes back with that output, after `lookForDevice`. Costs no guess. Error `device-unknown`; `device-behind`: it was added to an enrolment before this one. */
  comeBackWithDevice(output: Uint8Array, label: string): Promise<CameBack>;
  /**
   * Comes back with the passphrase, after `lookForOwner` or `lookWithKit`; again, for safes that were away, or to take the book back from another device. Costs a
   * guess, which is given back if it is the right one.
   */
  comeBack(passphrase: string, label: string): Promise<CameBack>;
  /**
   * How the book stands, and stood in the last seven days, the newest first: for whoever knows the passphrase, after a look or on a device that is enrolled. Errors as of `comeBack`.
   */
  listPast(passphrase: string): Promise<PastHead[]>;
  /** The same with a passkey's output, after `lookForDevice`. */
  listPastWithDevice(output: Uint8Array): Promise<PastHead[]>;
  /**
   * Comes back, and has everything taken back that was let go since then: `which` of those listed. What has another backup by now keeps that, unless `exactly`: then what came since is
   * left out, for it may be somebody else's. Error `past-away`, `safes-contradict`.
   */
  goBack(which: number, exactly: boolean, label: string): Promise<CameBack>;
  /** By what the owner is known at the safes. All below changes that, and takes the recovery passphrase: the open wallet alone is not enough. */
  credentials(): Promise<CredentialsReport>;
  /** Forgets one at every safe that answers. */
  revoke(credential: string, passphrase: string): Promise<DoneReport>;
  /**
   * Shuts out whoever has a device that is lost: its credential is revoked, and a change begins as by `changeOwner`, to another root, and to another passphrase unless `next` is
   * null; what the old root has told of is protected anew after it. Errors as of both; what was revoked stays so.
   */
  deviceLost(credential: string, passphrase: string, next: string | null): Promise<DoneReport>;
  /** Forgets all guesses that are counted, whoever made them. */
  forgetTries(passphrase: string): Promise<DoneReport>;
  /** Makes a kit, and has it bring the owner back as a trial. Error `too-few-safes`, `not-proven`. */
  makeKit(passphrase: string): Promise<KitReport>;
  /** It is on paper, from which the code was read; from now on it is the one that counts. Error `other-kit`. */
  confirmKit(code: string): Promise<DoneReport>;
  /** Begins to add a passkey or security key as a way to come back, or to renew one. */
  beginDevice(passphrase: string): Promise<DeviceWish>;
  /** Adds it, with its output, and tries it. Error `too-many-credentials`, `not-proven`. */
  addDevice(output: Uint8Array, label: string): Promise<DoneReport>;
  /**
   * Renews one that was added for an enrolment before, after `beginDevice`: with its user's handle, and its output for the input of the wish. Error `not-the-device`,
   * `other-device`, `device-unknown`, `too-many-credentials`, `not-proven`.
   */
  renewDevice(credential: string, handle: Uint8Array, output: Uint8Array): Promise<DoneReport>;
  /** Forgets what `beginDevice` began, if nothing came of it. */
  endDevice(): Promise<void>;
  /** The signed certificate of one deposit, also of one that is kept as evidence; COSE_Sign1 bytes, for a file. */
  certificate(depositId: string): Promise<Uint8Array>;
  /** Forgets one that is kept as evidence. */
  dropExhibit(depositId: string): Promise<void>;
  /**
   * Says what signed files say and who is at fault; needs no open wallet. With `ask`, the safe that the first certificate points to is asked
   * for its keys and, about a deposit of this wallet, for a testimony. Error `no-certificate`, `too-large`, `bad-address`, `not-a-safe`.
   */
  examine(files: Uint8Array[], ask: boolean): Promise<Examination>;
}
