//! What a plan survives and what it exposes, exactly: for every set of principals, whether it brings the value back and whether it reads it.
//!
//! A plan becomes a formula over *principals* (safes, this device, the kit, its passphrase, file, words), and the formula a truth table over all
//! sets of those that matter, 64 sets to a machine word. Everything else is read off the tables; nothing is sampled. The rules are those of
//! `spec/plan.md` §6, and `tests/tests/plans.rs` holds them against what programs do.

mod family;
mod formula;

pub use family::{Family, Pattern};
use formula::{Formula, Op};

use crate::plan::{Node, Place, Plan};

/// Most safes that are analysed, present and former together; with the rest of the principals a table has 2^25 sets, 4 MiB.
pub use crate::plan::MAX_SAFES;

/// A plan is too large to be analysed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} safes are too many to look at every case; at most {MAX_SAFES}")]
pub struct TooManySafes(pub usize);

/// Somebody or something that has a part in a value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Principal<S> {
    /// A safe.
    Safe(S),
    /// A safe that has had pieces under the same content key.
    Former(S),
    /// A device with the wallet open on it: it has the book.
    Device,
    /// What carries the book elsewhere, sealed under a passphrase: the certificate file.
    Kit,
    /// The passphrase.
    Passphrase,
    /// The file that the owner keeps.
    File,
    /// The words that the owner remembers.
    Memory,
}

/// What is known beside the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<S> {
    /// Where the owner can prove who he is with his passphrase.
    pub enrolment: Option<Enrolment<S>>,
    /// Safes that had the pieces of others before: (former, present).
    pub former: Vec<(S, S)>,
}

impl<S> Default for Setting<S> {
    fn default() -> Self {
        Self { enrolment: None, former: Vec::new() }
    }
}

/// Safes that know their owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment<S> {
    /// The safes.
    pub safes: Vec<S>,
    /// How many of them are needed.
    pub t: usize,
}

/// A set of principals: bit i is the i-th of [`Analysis::principals`].
pub type Set = u32;

/// What of a plan is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// Does the owner get it back, if these are at hand?
    Recovery,
    /// Do these read it, if the other safes keep to the rules?
    Disclosure,
    /// The same, once they have guessed the passphrase: can they try guesses as often as they like?
    Guess,
    /// Do these safes read it, if the secrets of their envelopes are known?
    Coalition,
}

// ---- questions as formulas -------------------------------------------------------------------------------------

/// Numbers of what most places need.
const BOOK: usize = 0;
const AUTHENTICATED: usize = 1;

struct Compiler<'a, S> {
    principals: &'a [Principal<S>],
    setting: &'a Setting<S>,
    question: Question,
    ops: Vec<Op>,
    /// What is needed again and again, to be computed beforehand.
    kept: Vec<Op>,
}

impl<S: PartialEq + Clone> Compiler<'_, S> {
    fn var(&mut self, principal: &Principal<S>) {
        if self.question == Question::Guess && *principal == Principal::Passphrase {
            return self.ops.push(Op::Const(true));
        }
        let index = self.principals.iter().position(|known| known == principal);
        self.ops.push(index.map_or(Op::Const(false), Op::Var));
    }

    fn all(&mut self, n: usize) {
        self.ops.push(Op::AtLeast(n, n));
    }

    fn any(&mut self, n: usize) {
        self.ops.push(Op::AtLeast(1, n));
    }

    /// Enough safes answer the owner; those that keep to the rules answer whoever knows the passphrase.
    fn enrolled(&mut self) {
        match &self.setting.enrolment {
            None => self.ops.push(Op::Const(false)),
            Some(_) if self.question != Question::Recovery => self.ops.push(Op::Const(true)),
            Some(Enrolment { safes, t }) => {
                safes.iter().for_each(|safe| self.var(&Principal::Safe(safe.clone())));
                self.ops.push(Op::AtLeast(*t, safes.len()));
            }
        }
    }

    /// Adds what is needed again and again.
    fn once(&mut self, number: usize, add: fn(&mut Self)) {
        if !self.kept.contains(&Op::Keep(number)) {
            let ops = core::mem::take(&mut self.ops);
            add(self);
            let added = core::mem::replace(&mut self.ops, ops);
            self.kept.extend(added);
            self.kept.push(Op::Keep(number));
        }
        self.ops.push(Op::Kept(number));
    }

    /// Passphrase and enough safes that know it.
    fn authenticated(&mut self) {
        self.once(AUTHENTICATED, |this| {
            this.var(&Principal::Device);
            this.var(&Principal::Passphrase);
            this.enrolled();
            this.all(2);
            this.any(2);
        });
    }

    fn book(&mut self) {
        if self.question == Question::Coalition {
            return self.ops.push(Op::Const(true));
        }
        self.once(BOOK, |this| {
            this.authenticated();
            this.var(&Principal::Kit);
            this.var(&Principal::Passphrase);
            this.all(2);
            this.any(2);
        });
    }

    /// What a guess of the passphrase can be tried on with nobody's help: the kit, or enough safes to do what safes do for the owner. Safes
    /// that keep to the rules count what they are asked.
    fn tries(&mut self) {
        self.var(&Principal::Kit);
        let mut n = 1;
        if let Some(Enrolment { safes, t }) = &self.setting.enrolment {
            safes.iter().for_each(|safe| self.var(&Principal::Safe(safe.clone())));
            self.ops.push(Op::AtLeast(*t, safes.len()));
            n += 1;
        }
        self.any(n);
    }

    /// The safe itself, or one that had the same.
    fn safe_or_former(&mut self, safe: &S) {
        self.var(&Principal::Safe(safe.clone()));
        let mut n = 1;
        for (former, _) in self.setting.former.iter().filter(|(_, present)| present == safe) {
            self.var(&Principal::Former(former.clone()));
            n += 1;
        }
        self.any(n);
    }

    fn place(&mut self, place: &Place<S>) {
        match (place, self.question) {
            (Place::Safe { safe, .. }, Question::Coalition) => self.safe_or_former(safe),
            (Place::Safe { safe, owner }, Question::Recovery) => {
                self.book();
                self.var(&Principal::Safe(safe.clone()));
                if *owner {
                    self.authenticated();
                }
                self.all(if *owner { 3 } else { 2 });
            }
            (Place::Safe { safe, owner }, Question::Disclosure | Question::Guess) => {
                self.book();
                if *owner {
                    self.authenticated();
                    self.safe_or_former(safe);
                    self.any(2);
                    self.all(2);
                }
            }
            (Place::Book, _) => self.book(),
            (Place::File | Place::Memory, Question::Coalition) => self.ops.push(Op::Const(false)),
            (Place::File, _) => self.var(&Principal::File),
            (Place::Memory, _) => self.var(&Principal::Memory),
        }
    }

    fn node(&mut self, plan: &Plan<S>) {
        if let Node::Place(place) = plan.node() {
            return self.place(place);
        }
        let children = plan.children();
        children.iter().for_each(|child| self.node(child));
        let k = match plan.node() {
            Node::Seal { .. } => children.len(),
            Node::Split(group) => group.k(),
            // A piece of what is only erasure coded shows a part of it.
            Node::Disperse(group) if self.question == Question::Recovery => group.k(),
            Node::Disperse(_) | Node::Copies(_) | Node::Place(_) => 1,
        };
        self.ops.push(Op::AtLeast(k, children.len()));
    }
}

// ---- the analysis ----------------------------------------------------------------------------------------------

/// What a plan survives and exposes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analysis<S> {
    /// Everybody who has a part in it: present safes in the order of the plan, then those of the enrolment, then former ones, then the owner's.
    pub principals: Vec<Principal<S>>,
    /// Sets with which the owner gets the value back.
    pub recovering: Family,
    /// Sets that read the value, or a part of it, if all other safes keep to the rules: they give what they have to whoever presents its
    /// certificate.
    pub disclosing: Family,
    /// Sets that read it once they have guessed the passphrase, and that can try as many guesses as they like. Whoever else guesses has to
    /// ask safes, which count.
    pub guessing: Family,
    /// Sets of safes that read the value, or a part of it, if they know the secrets of their envelopes and what is in the book.
    pub coalitions: Family,
}

/// What becomes of a value when several safes fall together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Together {
    /// The owner, with all that is his, gets it back without them.
    pub survives: bool,
    /// They are a coalition.
    pub reads: bool,
}

/// Looks at a plan.
///
/// # Errors
/// [`TooManySafes`].
pub fn analyse<S: PartialEq + Clone>(plan: &Plan<S>, setting: &Setting<S>) -> Result<Analysis<S>, TooManySafes> {
    let mut principals: Vec<Principal<S>> = Vec::new();
    let mut add = |principal: Principal<S>| {
        if !principals.contains(&principal) {
            principals.push(principal);
        }
    };
    plan.safes().into_iter().for_each(|safe| add(Principal::Safe(safe.clone())));
    let enrolled = setting.enrolment.iter().flat_map(|enrolment| &enrolment.safes);
    enrolled.for_each(|safe| add(Principal::Safe(safe.clone())));
    setting.former.iter().for_each(|(former, _)| add(Principal::Former(former.clone())));
    if principals.len() > MAX_SAFES {
        return Err(TooManySafes(principals.len()));
    }
    principals.extend([Principal::Device, Principal::Kit, Principal::Passphrase]);
    let places = plan.places();
    let has = |wanted: &Place<S>| places.iter().any(|(_, place)| *place == wanted);
    principals.extend(has(&Place::File).then_some(Principal::File));
    principals.extend(has(&Place::Memory).then_some(Principal::Memory));
    let family = |question| {
        let (ops, kept) = (Vec::new(), Vec::new());
        let mut compiler = Compiler { principals: &principals, setting, question, ops, kept };
        compiler.node(plan);
        if question == Question::Guess {
            compiler.tries();
            compiler.all(2);
        }
        Family::new(Formula { kept: compiler.kept, ops: compiler.ops })
    };
    let (recovering, disclosing) = (family(Question::Recovery), family(Question::Disclosure));
    let (guessing, coalitions) = (family(Question::Guess), family(Question::Coalition));
    Ok(Analysis { principals, recovering, disclosing, guessing, coalitions })
}

impl<S: PartialEq> Analysis<S> {
    /// The set of some principals.
    pub fn set(&self, of: impl Fn(&Principal<S>) -> bool) -> Set {
        (0..).zip(&self.principals).filter(|(_, principal)| of(principal)).map(|(i, _)| 1 << i).sum()
    }

    /// All present safes.
    pub fn safes(&self) -> Set {
        self.set(|principal| matches!(principal, Principal::Safe(_)))
    }

    /// The principals of a set.
    pub fn members(&self, set: Set) -> impl Iterator<Item = &Principal<S>> {
        self.principals.iter().enumerate().filter(move |(i, _)| set >> i & 1 == 1).map(|(_, principal)| principal)
    }

    /// Everything but the safes.
    fn own(&self) -> Set {
        self.set(|principal| !matches!(principal, Principal::Safe(_) | Principal::Former(_)))
    }

    /// The sets of safes that bring it back, with all that the owner has at hand; without this device, with the kit and its passphrase.
    pub fn enough_safes(&self, device: bool) -> Family {
        let own = self.own();
        let here = self.set(|principal| matches!(principal, Principal::Device));
        if device { self.recovering.given(own, 0) } else { self.recovering.given(own & !here, here) }
    }

    /// How many safes may be lost, whichever they are; `None`: not even all of them suffice.
    pub fn losses(&self, device: bool) -> Option<usize> {
        let enough = self.enough_safes(device);
        let n = enough.vars.len();
        if !enough.at((1 << n) - 1) {
            return None;
        }
        Some(enough.most_without().map_or(self.safes().count_ones() as usize, |most| n - most - 1))
    }

    /// The principals whose loss alone is the loss of the value.
    pub fn needed(&self) -> Set {
        let all = self.set(|_| true);
        let needed = |bit: &Set| !self.recovering.contains(all & !bit);
        (0..self.principals.len()).map(|i| 1 << i).filter(needed).sum()
    }

    /// What happens if these safes are lost together, or put together what they have.
    pub fn together(&self, safes: Set) -> Together {
        let survives = self.recovering.contains(self.set(|_| true) & !safes);
        Together { survives, reads: self.coalitions.contains(safes) }
    }

    /// The smallest sets that read it as soon as they guess the owner's words, at most `most`. What they guess with they have or get, so
    /// nobody counts how often.
    pub fn guessing_words(&self, most: usize) -> Vec<Set> {
        let bit = self.set(|principal| *principal == Principal::Memory);
        let sets = self.disclosing.given(bit, 0).minimal(usize::MAX).into_iter();
        sets.filter(|set| bit != 0 && !self.disclosing.contains(*set)).take(most).collect()
    }

    /// The smallest sets that read it as soon as they guess the passphrase, and can guess as often as they like, at most `most`.
    pub fn guessing_passphrase(&self, most: usize) -> Vec<Set> {
        let sets = self.guessing.minimal(usize::MAX).into_iter();
        sets.filter(|set| !self.disclosing.contains(*set)).take(most).collect()
    }
}
