//! What a plan survives and what it exposes, exactly: for every set of principals, whether it brings the value back and whether it reads it.
//!
//! A plan becomes a formula over safes and a few *gates* (the book, a proof of who one is, file, words), and the formula a truth table over all
//! sets of safes, 64 sets to a machine word, one for every state of the gates. Which gates are open to whom puts them together to a table over
//! all *principals*. Everything else is read off these tables; nothing is sampled. The rules are those of
//! `spec/plan.md` §6, and `tests/tests/plans.rs` holds them against what programs do.

mod family;
mod formula;

pub use family::{Family, Pattern};
use formula::{Formula, Gate, Op};

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

struct Compiler<'a, S> {
    principals: &'a [Principal<S>],
    setting: &'a Setting<S>,
    question: Question,
    ops: Vec<Op>,
}

impl<S: PartialEq + Clone> Compiler<'_, S> {
    fn var(&mut self, principal: &Principal<S>) {
        let index = self.principals.iter().position(|known| known == principal);
        self.ops.push(index.map_or(Op::Const(false), Op::Var));
    }

    fn gate(&mut self, gate: Gate) {
        self.ops.push(Op::Gate(gate));
    }

    fn all(&mut self, n: usize) {
        self.ops.push(Op::AtLeast(n, n));
    }

    fn any(&mut self, n: usize) {
        self.ops.push(Op::AtLeast(1, n));
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
                self.gate(Gate::Book);
                self.var(&Principal::Safe(safe.clone()));
                if *owner {
                    self.gate(Gate::Authenticated);
                }
                self.all(if *owner { 3 } else { 2 });
            }
            (Place::Safe { safe, owner }, Question::Disclosure | Question::Guess) => {
                self.gate(Gate::Book);
                if *owner {
                    self.gate(Gate::Authenticated);
                    self.safe_or_former(safe);
                    self.any(2);
                    self.all(2);
                }
            }
            (Place::Book, _) => self.gate(Gate::Book),
            (Place::File, _) => self.gate(Gate::File),
            (Place::Memory, _) => self.gate(Gate::Memory),
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

    /// What the plan asks of safes and of the gates.
    fn plan(mut self, plan: &Plan<S>) -> Formula {
        self.node(plan);
        Formula(self.ops)
    }

    /// At least t of the enrolled safes; without an enrolment never.
    fn enrolled(mut self) -> Formula {
        let (safes, t) = self.setting.enrolment.as_ref().map_or((&[][..], 1), |known| (&known.safes[..], known.t));
        safes.iter().for_each(|safe| self.var(&Principal::Safe(safe.clone())));
        self.ops.push(Op::AtLeast(t, safes.len()));
        Formula(self.ops)
    }
}

/// Whether one of these is in a set of them.
fn has<S: PartialEq>(principals: &[Principal<S>], set: usize, wanted: &Principal<S>) -> bool {
    principals.iter().enumerate().any(|(i, principal)| principal == wanted && set >> i & 1 == 1)
}

/// The family of a plan's answers to a question: the plan's tables over sets of safes, one for every state of the gates, put together for
/// every set of what is the owner's.
fn family<S: PartialEq + Clone>(
    plan: &Plan<S>,
    setting: &Setting<S>,
    principals: &[Principal<S>],
    question: Question,
) -> Family {
    let compiler = || Compiler { principals, setting, question, ops: Vec::new() };
    let n = principals.iter().filter(|p| matches!(p, Principal::Safe(_) | Principal::Former(_))).count();
    let formula = compiler().plan(plan);
    if question == Question::Coalition {
        // They know what is in the book, and nothing else that is the owner's.
        return Family::new(n, 0, formula.given(|gate| gate == Gate::Book).tabulate(n));
    }
    let enough = compiler().enrolled().tabulate(n);
    // Safes that keep to the rules answer whoever knows the passphrase.
    let here = question == Question::Recovery || setting.enrolment.is_none();
    let answers = if here { enough.clone() } else { vec![!0; enough.len()] };
    let own = &principals[n..];
    // Device, kit and passphrase are always among them, and before the rest.
    let (always, rest) = own.split_at(3.min(own.len()));
    let mut table = Vec::new();
    for kept in 0..1_usize << rest.len() {
        let (file, memory) = (has(rest, kept, &Principal::File), has(rest, kept, &Principal::Memory));
        let sets = |book, authenticated| {
            let open = |gate| match gate {
                Gate::Book => book,
                Gate::Authenticated => authenticated,
                Gate::File => file,
                Gate::Memory => memory,
            };
            formula.given(open).tabulate(n)
        };
        let (neither, book, both) = (sets(false, false), sets(true, false), sets(true, true));
        for owner in 0..1_usize << always.len() {
            let has = |wanted| has(always, owner, &wanted);
            let (kit, from) = (has(Principal::Kit), table.len());
            if has(Principal::Device) {
                table.extend(&both);
            } else if question == Question::Guess || has(Principal::Passphrase) {
                let unanswered = if kit { &book } else { &neither };
                let answered = both.iter().zip(&answers).zip(unanswered);
                table.extend(answered.map(|((both, answer), unanswered)| both & answer | unanswered));
            } else {
                table.extend(&neither);
            }
            if question == Question::Guess && !kit {
                // What a guess can be tried on with nobody's help is the kit, or enough safes to do what safes do for the owner. Others
                // have to ask safes that keep to the rules, and count.
                table[from..].iter_mut().zip(&enough).for_each(|(set, enough)| *set &= enough);
            }
        }
    }
    Family::new(n, own.len(), table)
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
    let family = |question| family(plan, setting, &principals, question);
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
