//! Programs: what is to be computed to lay a segment out by a plan, or to rebuild it, as a list of steps over numbered registers.
//!
//! A plan is compiled once and then interpreted: with bytes by [`Work`] (which hands bulk encryption to its shell where that has a faster
//! cipher), and with symbols by whoever wants to know what a set of pieces gives away. Both see the same steps, so what is shown of the
//! symbols holds for the bytes. The steps are those of `spec/piece.md` §4 to §6, in its words.
//!
//! Left to others: which pieces are at hand and which are best ([`crate::layout`]), and what places are ([`crate::plan`]).

use zeroize::Zeroizing;

use crate::{
    SUITE, codec,
    crypto::{self, CryptoError, Secret, blake3_commit, derive_bytes, derive_secret, expand_seed, same_bytes},
    ids::{BackupId, Root},
    layout::{GatherError, gather_dispersed, make_dispersed},
    seal::{Purpose, Sealer},
};

/// A numbered register.
pub type Reg = usize;
/// Length of a secret that hides what is shared, in front of it, bytes: pieces name a commitment, and what is committed to may be guessable.
pub const BLIND_LEN: usize = 32;
/// From this length on a shell may be asked to encrypt, bytes.
const BULK: usize = 64 * 1024;

/// What is sealed, which decides how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sealing {
    /// Content, under the content key of a seal.
    Content,
    /// A content key, under the key that the parts give.
    Wrap,
    /// Content that is too long to be shared, under a key that is shared instead.
    Shared,
}

impl Sealing {
    /// The purpose, [`crate::seal::Purpose::purpose`].
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Wrap => "wrap",
            Self::Shared => "shared",
        }
    }
}

/// A node of the plan at a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// The node.
    pub path: Vec<u8>,
    /// The segment.
    pub segment: u32,
}

impl At {
    fn context(&self) -> Vec<u8> {
        [&self.path[..], &self.segment.to_be_bytes()].concat()
    }
}

/// One step. `out` is written once; inputs were written before.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// 32 fresh random bytes; the same whenever the program is repeated.
    Draw {
        /// What for.
        label: &'static str,
        /// Where.
        at: At,
        /// Result.
        out: Reg,
    },
    /// Bytes that follow from the words that the owner remembers.
    Words {
        /// The place.
        at: At,
        /// How many bytes.
        len: usize,
        /// Result.
        out: Reg,
    },
    /// The key that needs all parts.
    Derive {
        /// The seal.
        path: Vec<u8>,
        /// The parts, in tree order.
        parts: Vec<Reg>,
        /// Result, 32 bytes.
        out: Reg,
    },
    /// Authenticated encryption.
    Seal {
        /// What.
        what: Sealing,
        /// Where.
        at: At,
        /// The key.
        key: Reg,
        /// Content.
        input: Reg,
        /// Sealed form.
        out: Reg,
    },
    /// Inverse of `Seal`.
    Open {
        /// What.
        what: Sealing,
        /// Where.
        at: At,
        /// The key.
        key: Reg,
        /// Sealed form.
        input: Reg,
        /// Content.
        out: Reg,
    },
    /// One behind the other.
    Join {
        /// First.
        first: Reg,
        /// Second.
        second: Reg,
        /// Result.
        out: Reg,
    },
    /// Inverse of `Join`, where the length of the first is known.
    Cut {
        /// What was joined.
        input: Reg,
        /// Length of the first, bytes.
        len: usize,
        /// First.
        first: Reg,
        /// Second.
        second: Reg,
    },
    /// Secret sharing. Shares of `fixed` are given, the others follow.
    Share {
        /// Where.
        at: At,
        /// How many suffice.
        k: u8,
        /// How many there are.
        n: u8,
        /// What is shared.
        input: Reg,
        /// (number of the share, its bytes without the number).
        fixed: Vec<(u8, Reg)>,
        /// (number of the share, the share).
        outs: Vec<(u8, Reg)>,
    },
    /// Inverse of `Share`, from exactly k.
    Combine {
        /// How many suffice.
        k: u8,
        /// Shares.
        shares: Vec<Reg>,
        /// (number of the share, its bytes without the number).
        fixed: Vec<(u8, Reg)>,
        /// What was shared.
        out: Reg,
    },
    /// Erasure coding.
    Encode {
        /// How many suffice.
        k: usize,
        /// What is dispersed.
        input: Reg,
        /// The shards, all n.
        outs: Vec<Reg>,
    },
    /// Inverse of `Encode`, from exactly k.
    Decode {
        /// How many suffice.
        k: usize,
        /// How many there are.
        n: usize,
        /// Length of what was dispersed, bytes.
        len: u64,
        /// (number of the shard, the shard).
        shards: Vec<(usize, Reg)>,
        /// What was dispersed.
        out: Reg,
    },
    /// The commitment that the pieces below a group name.
    Commit {
        /// The group.
        at: At,
        /// What it commits to.
        parts: Vec<Reg>,
        /// Result, 32 bytes.
        out: Reg,
    },
    /// The same, compared with what the pieces that were used name.
    Check {
        /// The group.
        at: At,
        /// How many groups stand above it.
        depth: usize,
        /// What it commits to.
        parts: Vec<Reg>,
        /// The pieces that were used below it, as numbers of `Take` steps.
        taken: Vec<usize>,
    },
    /// A piece is ready.
    Emit {
        /// Its place.
        at: At,
        /// Its bytes.
        input: Reg,
        /// Commitments of the groups above it, from the root.
        parents: Vec<Reg>,
    },
    /// A piece is needed. Such steps are numbered in their order.
    Take {
        /// Its place.
        at: At,
        /// Its bytes.
        out: Reg,
    },
    /// A key is known from now on; other segments need it no more.
    Learn {
        /// The seal or split.
        path: Vec<u8>,
        /// The key.
        key: Reg,
    },
    /// A key that is known.
    Know {
        /// The seal or split.
        path: Vec<u8>,
        /// The key.
        out: Reg,
    },
}

impl Step {
    /// The registers that it reads.
    pub fn inputs(&self) -> Vec<Reg> {
        match self {
            Self::Draw { .. } | Self::Words { .. } | Self::Take { .. } | Self::Know { .. } => Vec::new(),
            Self::Derive { parts, .. } | Self::Commit { parts, .. } | Self::Check { parts, .. } => parts.clone(),
            Self::Seal { key, input, .. } | Self::Open { key, input, .. } => vec![*key, *input],
            Self::Join { first, second, .. } => vec![*first, *second],
            Self::Cut { input, .. } | Self::Encode { input, .. } => vec![*input],
            Self::Share { input, fixed, .. } => core::iter::once(*input).chain(fixed.iter().map(|f| f.1)).collect(),
            Self::Combine { shares, fixed, .. } => shares.iter().copied().chain(fixed.iter().map(|f| f.1)).collect(),
            Self::Decode { shards, .. } => shards.iter().map(|s| s.1).collect(),
            Self::Emit { input, parents, .. } => core::iter::once(*input).chain(parents.iter().copied()).collect(),
            Self::Learn { key, .. } => vec![*key],
        }
    }
}

/// A list of steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Program {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// The register of the segment: before the first step of a program that lays out, after the last of one that rebuilds.
    pub segment: Reg,
    /// How many registers they use.
    pub registers: usize,
}

impl Program {
    /// A register that was not used yet.
    pub(crate) const fn fresh(&mut self) -> Reg {
        self.registers += 1;
        self.registers - 1
    }

    /// Adds a step with one new register.
    pub(crate) fn add(&mut self, step: impl FnOnce(Reg) -> Step) -> Reg {
        let out = self.fresh();
        self.steps.push(step(out));
        out
    }
}

/// A piece as a program makes or takes it.
#[derive(Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its place in the plan.
    pub path: Vec<u8>,
    /// Its segment.
    pub segment: u32,
    /// Commitments of the groups above it, from the root.
    pub parents: Vec<Root>,
    /// Its bytes.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// Where it belongs; its bytes may be a key.
impl core::fmt::Debug for Piece {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Piece").field("path", &self.path).field("segment", &self.segment).finish_non_exhaustive()
    }
}

/// Keys that a recovery has learned, by node.
pub type Keys = Vec<(Vec<u8>, Secret)>;

/// What a program needs beside its registers.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The backup.
    pub backup: &'a BackupId,
    /// The seed of the operation; only programs that lay out need it.
    pub op_seed: Option<&'a Secret>,
    /// The key of the owner's words, where the plan has any.
    pub words: Option<&'a Secret>,
    /// Keys that are known.
    pub keys: &'a [(Vec<u8>, Secret)],
}

impl Context<'_> {
    /// What binds a sealed form to its place: backup, then path.
    fn object(&self, path: &[u8]) -> Vec<u8> {
        [&self.backup.0[..], path].concat()
    }

    fn seed(&self) -> Result<&Secret, GatherError> {
        self.op_seed.ok_or(GatherError::Crypto(CryptoError))
    }

    fn commitment(&self, at: &At, parts: &[&[u8]]) -> [u8; 32] {
        let segment = at.segment.to_be_bytes();
        let all: Vec<&[u8]> =
            [&self.backup.0[..], &at.path, &segment].into_iter().chain(parts.iter().copied()).collect();
        blake3_commit("strongroom 1 group", &all)
    }
}

/// Encryption that the shell may do.
pub struct Task {
    /// Key, header and nonces.
    pub sealer: Sealer,
    /// Content, or the sealed form.
    pub input: Zeroizing<Vec<u8>>,
    /// Whether `input` is to be opened.
    pub open: bool,
}

impl Task {
    /// Does it here.
    ///
    /// # Errors
    /// [`CryptoError`] if what is to be opened was altered.
    pub fn run(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        if self.open {
            return self.sealer.open(&self.input);
        }
        let total = crate::seal::sealed_len(self.input.len() as u64);
        let mut out = Zeroizing::new(Vec::with_capacity(usize::try_from(total).map_err(|_| CryptoError)?));
        self.sealer.seal_range(&self.input, 0, total, &mut out)?;
        Ok(out)
    }
}

/// A program at work.
pub struct Work<'a> {
    program: &'a Program,
    context: Context<'a>,
    registers: Vec<Option<Zeroizing<Vec<u8>>>>,
    last_use: Vec<usize>,
    next: usize,
    /// The register that a task's result goes to.
    pending: Option<Reg>,
    pieces: Vec<Piece>,
    taken: Vec<usize>,
    learned: Keys,
    used_words: bool,
}

impl<'a> Work<'a> {
    /// Begins to lay a segment out.
    pub fn lay(program: &'a Program, context: Context<'a>, segment: Zeroizing<Vec<u8>>) -> Self {
        let mut work = Self::new(program, context, Vec::new());
        work.set(program.segment, segment);
        work
    }

    /// Begins to rebuild from pieces.
    pub fn rebuild(program: &'a Program, context: Context<'a>, pieces: Vec<Piece>) -> Self {
        let mut work = Self::new(program, context, pieces);
        // The result outlives the steps.
        if let Some(last) = work.last_use.get_mut(program.segment) {
            *last = usize::MAX;
        }
        work
    }

    fn new(program: &'a Program, context: Context<'a>, pieces: Vec<Piece>) -> Self {
        let mut last_use = vec![usize::MAX; program.registers];
        for (at, step) in program.steps.iter().enumerate() {
            for input in step.inputs() {
                last_use[input] = at;
            }
        }
        Self {
            program,
            context,
            registers: vec![None; program.registers],
            last_use,
            next: 0,
            pending: None,
            pieces,
            taken: Vec::new(),
            learned: Vec::new(),
            used_words: false,
        }
    }

    /// Goes on until encryption of bulk is to be done, or to the end.
    ///
    /// # Errors
    /// [`GatherError`].
    pub fn go_on(&mut self) -> Result<Option<Task>, GatherError> {
        while let Some(step) = self.program.steps.get(self.next) {
            let task = self.step(step).map_err(|error| self.blame(error))?;
            self.next += 1;
            if let Some((out, task)) = task {
                self.pending = Some(out);
                if task.input.len() >= BULK {
                    return Ok(Some(task));
                }
                let done = task.run();
                self.done(done)?;
            }
        }
        Ok(None)
    }

    /// Takes the result of a task.
    ///
    /// # Errors
    /// [`GatherError`] if it could not be done.
    pub fn done(&mut self, result: Result<Zeroizing<Vec<u8>>, CryptoError>) -> Result<(), GatherError> {
        let result = result.map_err(|_| self.blame(GatherError::Inconsistent))?;
        if let Some(out) = self.pending.take() {
            self.registers[out] = Some(result);
        }
        Ok(())
    }

    /// Does everything here.
    ///
    /// # Errors
    /// [`GatherError`].
    pub fn run(&mut self) -> Result<(), GatherError> {
        while let Some(task) = self.go_on()? {
            let result = task.run();
            self.done(result)?;
        }
        Ok(())
    }

    /// The pieces that were made, in tree order.
    pub fn into_pieces(self) -> Vec<Piece> {
        self.pieces
    }

    /// The segment that was rebuilt, and the keys that were learned.
    ///
    /// # Errors
    /// [`GatherError`] if the program does not rebuild.
    pub fn into_segment(mut self) -> Result<(Zeroizing<Vec<u8>>, Keys), GatherError> {
        let segment = self.registers.get_mut(self.program.segment).and_then(Option::take).ok_or(GatherError::Stray)?;
        Ok((segment, self.learned))
    }

    /// Words that were mistyped look like pieces that do not fit.
    fn blame(&self, error: GatherError) -> GatherError {
        match error {
            GatherError::Inconsistent if self.used_words => GatherError::Words,
            other => other,
        }
    }

    fn get(&self, reg: Reg) -> Result<&[u8], GatherError> {
        self.registers.get(reg).and_then(Option::as_ref).map(|bytes| bytes.as_slice()).ok_or(GatherError::Stray)
    }

    /// The bytes of a register, which are gone afterwards if nothing else needs them.
    fn take(&mut self, reg: Reg) -> Result<Zeroizing<Vec<u8>>, GatherError> {
        if self.last_use.get(reg) == Some(&self.next) {
            self.registers.get_mut(reg).and_then(Option::take).ok_or(GatherError::Stray)
        } else {
            self.get(reg).map(|bytes| Zeroizing::new(bytes.to_vec()))
        }
    }

    fn set(&mut self, reg: Reg, bytes: impl Into<Zeroizing<Vec<u8>>>) {
        if let Some(register) = self.registers.get_mut(reg) {
            *register = Some(bytes.into());
        }
    }

    fn secret(&self, reg: Reg) -> Result<Secret, GatherError> {
        Ok(Secret::try_from(self.get(reg)?)?)
    }

    fn all(&self, regs: &[Reg]) -> Result<Vec<&[u8]>, GatherError> {
        regs.iter().map(|reg| self.get(*reg)).collect()
    }

    fn sealer(&self, what: Sealing, at: &At, key: Reg, sealed: Option<&[u8]>) -> Result<Sealer, GatherError> {
        let object = self.context.object(&at.path);
        // A wrap stands in the first segment only, whichever is being rebuilt.
        let version = if what == Sealing::Wrap { 0 } else { u64::from(at.segment) };
        let purpose = Purpose { purpose: what.purpose(), object: &object, version };
        let key = self.secret(key)?;
        match sealed {
            Some(sealed) => Sealer::of(&key, sealed, &purpose).map_err(|_| GatherError::Inconsistent),
            None => {
                let label = match what {
                    Sealing::Content => "content salt",
                    Sealing::Wrap => "wrap salt",
                    Sealing::Shared => "shared salt",
                };
                let salt = derive_secret(self.context.seed()?, label, &at.context());
                Ok(Sealer::new(&key, salt.expose(), &purpose)?)
            }
        }
    }

    fn step(&mut self, step: &Step) -> Result<Option<(Reg, Task)>, GatherError> {
        match step {
            Step::Draw { label, at, out } => {
                let drawn = derive_secret(self.context.seed()?, label, &at.context());
                self.set(*out, drawn.expose().to_vec());
            }
            Step::Words { at, len, out } => {
                self.used_words = true;
                let words = self.context.words.ok_or(GatherError::WordsMissing)?;
                let path = codec::Bytes(at.path.clone());
                let info = codec::encode(&(SUITE, "words", path, at.segment, *self.context.backup));
                let mut bytes = Zeroizing::new(vec![0; *len]);
                derive_bytes(words.expose(), b"", &info, &mut bytes)?;
                self.set(*out, bytes);
            }
            Step::Derive { path, parts, out } => {
                let parts = Zeroizing::new(self.all(parts)?.concat());
                let info = codec::encode(&(SUITE, "kek", codec::Bytes(path.clone()), *self.context.backup));
                let mut kek = Zeroizing::new(vec![0; 32]);
                derive_bytes(&parts, b"", &info, &mut kek)?;
                self.set(*out, kek);
            }
            Step::Seal { what, at, key, input, out } => {
                let sealer = self.sealer(*what, at, *key, None)?;
                let input = self.take(*input)?;
                return Ok(Some((*out, Task { sealer, input, open: false })));
            }
            Step::Open { what, at, key, input, out } => {
                let sealer = self.sealer(*what, at, *key, Some(self.get(*input)?))?;
                let input = self.take(*input)?;
                return Ok(Some((*out, Task { sealer, input, open: true })));
            }
            Step::Join { first, second, out } => {
                let joined = Zeroizing::new([self.get(*first)?, self.get(*second)?].concat());
                self.set(*out, joined);
            }
            Step::Cut { input, len, first, second } => {
                let (head, tail) = self.get(*input)?.split_at_checked(*len).ok_or(GatherError::Inconsistent)?;
                let (head, tail) = (head.to_vec(), tail.to_vec());
                drop(self.take(*input)?);
                self.set(*first, head);
                self.set(*second, tail);
            }
            Step::Share { at, k, n, input, fixed, outs } => {
                let mut rng = expand_seed(&derive_secret(self.context.seed()?, "shares", &at.context()));
                let given = fixed.iter().map(|(i, reg)| Ok((*i, self.get(*reg)?)));
                let given = given.collect::<Result<Vec<_>, GatherError>>()?;
                let shares = crypto::make_shares(self.get(*input)?, *k, *n, &given, &mut rng)?;
                for (number, out) in outs {
                    let share = shares.get(usize::from(*number)).ok_or(CryptoError)?;
                    self.set(*out, share.clone());
                }
            }
            Step::Combine { k, shares, fixed, out } => {
                let mut all = Vec::with_capacity(usize::from(*k));
                for reg in shares {
                    all.push(Zeroizing::new(self.get(*reg)?.to_vec()));
                }
                for (number, reg) in fixed {
                    all.push(Zeroizing::new([&[number + 1], self.get(*reg)?].concat()));
                }
                let secret = crypto::combine_shares(&all).map_err(|_| GatherError::Inconsistent)?;
                self.set(*out, secret);
            }
            Step::Encode { k, input, outs } => {
                let shards = make_dispersed(&self.take(*input)?, *k, outs.len())?;
                for (out, shard) in outs.iter().zip(shards) {
                    self.set(*out, shard);
                }
            }
            Step::Decode { k, n, len, shards, out } => {
                let parts =
                    shards.iter().map(|(i, reg)| Ok((*i, self.get(*reg)?))).collect::<Result<Vec<_>, GatherError>>()?;
                let content = gather_dispersed(&parts, *k, *n, *len)?;
                self.set(*out, content);
            }
            Step::Commit { at, parts, out } => {
                let commitment = self.context.commitment(at, &self.all(parts)?);
                self.set(*out, commitment.to_vec());
            }
            Step::Check { at, depth, parts, taken } => {
                let commitment = self.context.commitment(at, &self.all(parts)?);
                let named = |take: &usize| Some(self.pieces.get(*self.taken.get(*take)?)?.parents.get(*depth)?.0);
                if !taken.iter().all(|take| named(take).is_some_and(|root| same_bytes(&root, &commitment))) {
                    return Err(GatherError::Inconsistent);
                }
            }
            Step::Emit { at, input, parents } => {
                let roots = self.all(parents)?.into_iter().map(Root::try_from).collect::<Result<Vec<_>, _>>();
                let parents = roots.map_err(|_| CryptoError)?;
                let bytes = self.take(*input)?;
                self.pieces.push(Piece { path: at.path.clone(), segment: at.segment, parents, bytes });
            }
            Step::Take { at, out } => {
                let fits = |p: &Piece| p.path == at.path && p.segment == at.segment;
                let index = self.pieces.iter().position(fits).ok_or(GatherError::Stray)?;
                self.taken.push(index);
                // Its head stays for the checks.
                let bytes = core::mem::take(&mut self.pieces[index].bytes);
                self.set(*out, bytes);
            }
            Step::Learn { path, key } => {
                let key = self.secret(*key)?;
                self.learned.push((path.clone(), key));
            }
            Step::Know { path, out } => {
                let known = self.context.keys.iter().find(|(p, _)| p == path).ok_or(GatherError::Stray)?;
                self.set(*out, known.1.expose().to_vec());
            }
        }
        self.release(step);
        Ok(None)
    }

    /// Drops what no later step reads.
    fn release(&mut self, step: &Step) {
        for reg in step.inputs() {
            if self.last_use[reg] == self.next {
                self.registers[reg] = None;
            }
        }
    }
}
