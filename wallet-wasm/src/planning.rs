//! Plans as their owner writes and weighs them: with the names of the wallet's safes, and in sentences.

use core::str::FromStr;

use protocol::{
    analysis::{Analysis, Enrolment, Pattern, Principal, Set, Setting, analyse},
    book::KnownSafe,
    bundle,
    identity::Whereabouts,
    ids::{BackupId, SafeId, ValueId},
    layout::{Cost, Layout},
    plan::{Place, Plan, PlanError},
};
use serde::Serialize;

use crate::{
    claiming,
    machine::{WalletError, check_places},
    state::State,
    view::sentence,
};

/// Most alternatives that a sentence lists.
const MAX_WAYS: usize = 4;
/// How often a safe is there, where nobody says otherwise.
pub const AVAILABILITY: f64 = 0.99;

/// The safe that a name stands for: a nickname of one of the wallet's safes, or the id of one.
fn find(state: &State, name: &str) -> Result<SafeId, PlanError> {
    let mut named = state.safes.values().filter(|safe| safe.nickname == name).map(|safe| safe.id);
    match (named.next(), named.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => Err(PlanError::AmbiguousSafe(name.to_owned())),
        (None, _) => {
            let id = SafeId::from_str(name).ok().filter(|id| state.safes.contains_key(id));
            id.ok_or_else(|| PlanError::UnknownSafe(name.to_owned()))
        }
    }
}

/// How a safe is called in the text of a plan that is to be read again: by its nickname, or where several have it by its id.
pub fn name_of(state: &State, safe: &SafeId) -> String {
    let nickname = state.nickname(safe);
    if find(state, &nickname).is_ok_and(|found| found == *safe) { nickname } else { safe.to_string() }
}

/// The plan that a text stands for in this wallet.
///
/// # Errors
/// [`WalletError::PlanText`] with the place of the fault, or [`WalletError::Plan`] if a name is of no safe here, or of several.
pub fn bind(state: &State, text: &str) -> Result<Plan<SafeId>, WalletError> {
    let plan = text.parse::<Plan<String>>()?;
    Ok(plan.bind(&|name: &String| find(state, name))?)
}

/// A plan as its owner's page sees it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct Reading {
    pub text: Option<String>,
    pub error: Option<Fault>,
    pub safe_ids: Vec<String>,
    pub has_words: bool,
    pub has_file: bool,
}

/// What is wrong with a text.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct Fault {
    pub at: Option<usize>,
    pub message: String,
}

fn describe(state: &State, plan: &Plan<SafeId>) -> Reading {
    let places = plan.places();
    let has = |wanted: &Place<SafeId>| places.iter().any(|(_, place)| *place == wanted);
    Reading {
        text: Some(plan.to_text(&|safe| state.nickname(safe))),
        error: None,
        safe_ids: plan.safes().iter().map(ToString::to_string).collect(),
        has_words: has(&Place::Memory),
        has_file: has(&Place::File),
    }
}

/// Reads a text as a plan; what is wrong with it is part of the answer.
pub fn read(state: &State, text: &str) -> Reading {
    bind(state, text).map_or_else(
        |error| {
            let at = match &error {
                // Characters are counted otherwise in the page.
                WalletError::PlanText(error) => Some(text.chars().take(error.at).map(char::len_utf16).sum()),
                _ => None,
            };
            Reading { error: Some(Fault { at, message: sentence(&error.to_string()) }), ..Reading::default() }
        },
        |plan| describe(state, &plan),
    )
}

/// How grave a sentence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    /// What the plan is good for.
    Good,
    /// What its owner should know.
    Note,
    /// What can lose or expose the value.
    Warning,
}

/// What a person reads of a plan.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct Sentence {
    pub tone: Tone,
    pub text: String,
}

/// Sets that are alike, by name.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct Way {
    pub parts: Vec<Part>,
    pub sets: u64,
}

/// So many of these.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct Part {
    pub of: Vec<String>,
    pub count: usize,
}

/// What a plan costs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct CostView {
    pub safes: Vec<SafeCost>,
    pub bytes: u64,
    pub requests: u64,
    pub writes: u64,
    pub book_bytes: u64,
    pub file_bytes: u64,
}

/// What it costs at one safe.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct SafeCost {
    pub safe_id: String,
    pub bytes: u64,
    pub requests: u64,
    pub writes: u64,
}

/// What becomes of it if some safes are gone and others put together what they have.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct Scenario {
    pub recovers: bool,
    pub recovers_elsewhere: bool,
    pub reads: bool,
}

/// What a plan survives and exposes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct Outlook {
    pub reading: Reading,
    pub refusal: Option<String>,
    pub losses: Option<usize>,
    pub losses_elsewhere: Option<usize>,
    pub coalition: Option<usize>,
    pub availability: f64,
    pub recovering: Vec<Way>,
    pub disclosing: Vec<Way>,
    pub guessing: Vec<Way>,
    pub sentences: Vec<Sentence>,
    pub cost: Option<CostView>,
    pub scenario: Option<Scenario>,
}

/// What the owner wonders about.
#[derive(Debug, Default)]
pub struct Case {
    /// Safes that are gone.
    pub gone: Vec<SafeId>,
    /// Safes that put together what they have.
    pub curious: Vec<SafeId>,
    /// How often safes are there, 0 to 1; others: [`AVAILABILITY`].
    pub availability: Vec<(SafeId, f64)>,
}

impl Case {
    /// How often a principal is there; what is the owner's always is.
    fn presence(&self, principal: Option<&Principal<SafeId>>) -> f64 {
        let Some(Principal::Safe(safe)) = principal else { return 1.0 };
        let said = self.availability.iter().find(|(id, _)| id == safe).map(|(_, often)| often.clamp(0.0, 1.0));
        said.filter(|often| !often.is_nan()).unwrap_or(AVAILABILITY)
    }
}

/// Weighs a plan for some values of the wallet, and in a case.
pub fn weigh(state: &State, text: &str, values: &[ValueId], case: &Case) -> Outlook {
    let mut outlook = Outlook {
        reading: read(state, text),
        refusal: None,
        losses: None,
        losses_elsewhere: None,
        coalition: None,
        availability: 0.0,
        recovering: Vec::new(),
        disclosing: Vec::new(),
        guessing: Vec::new(),
        sentences: Vec::new(),
        cost: None,
        scenario: None,
    };
    let Ok(plan) = bind(state, text) else { return outlook };
    match check_places(state, &plan).and_then(|()| cost(state, &plan, values)) {
        Ok(cost) => outlook.cost = Some(cost),
        Err(error) => outlook.refusal = Some(sentence(&error.to_string())),
    }
    let setting = setting_of(state, &plan);
    let enrolled = setting.enrolment.is_some();
    let analysis = match analyse(&plan, &setting) {
        Ok(analysis) => analysis,
        Err(error) => {
            outlook.refusal = Some(sentence(&error.to_string()));
            return outlook;
        }
    };
    let speaker = Speaker { state, analysis: &analysis, enrolled };
    let safe_in = |ids: &[SafeId]| analysis.set(|p| matches!(p, Principal::Safe(id) if ids.contains(id)));
    let all = analysis.set(|_| true);
    let device = analysis.set(|p| *p == Principal::Device);
    outlook.scenario = Some(Scenario {
        recovers: analysis.recovering.contains(all & !safe_in(&case.gone)),
        recovers_elsewhere: analysis.recovering.contains(all & !safe_in(&case.gone) & !device),
        reads: analysis.coalitions.contains(safe_in(&case.curious)),
    });
    // What lives once is given to nobody before so many safes agree to whom.
    let once = values.iter().filter_map(|id| state.values.get(id)).any(|value| value.meta.lives_once());
    let safes = plan.safes().len();
    let needed = if once { claiming::needed(safes, false) } else { 0 };
    let bounded = |losses: Option<usize>| losses.map(|losses| losses.min(safes - needed.min(safes)));
    outlook.losses = bounded(analysis.losses(true));
    outlook.losses_elsewhere = bounded(analysis.losses(false));
    outlook.coalition = analysis.coalitions.least();
    outlook.availability = analysis.recovering.probability(&|i| case.presence(analysis.principals.get(i)));
    let ways = |patterns: Vec<Pattern>| patterns.into_iter().map(|pattern| speaker.way(pattern)).collect();
    outlook.recovering = ways(analysis.recovering.patterns());
    outlook.disclosing = ways(analysis.disclosing.patterns());
    outlook.guessing = ways(analysis.guessing.patterns());
    outlook.sentences = speaker.sentences();
    if once {
        outlook.sentences.push(say_uniqueness(safes, needed));
    }
    outlook
}

/// What it takes to have a value back that may live only once.
fn say_uniqueness(safes: usize, needed: usize) -> Sentence {
    let text = match (safes, needed) {
        (1, _) => "It may live only once: the safe gives it to one device, and has to be honest about it.".to_owned(),
        (2, _) => "It may live only once: both safes must agree to which device it belongs.".to_owned(),
        _ if needed == safes => format!(
            "It may live only once: all {safes} safes must agree to which device it belongs. If one is gone for good, you can take it over all the same, and it could then live twice."
        ),
        _ => format!(
            "It may live only once: {needed} of the {safes} safes must agree to which device it belongs. If more are gone for good, you can take it over all the same, and it could then live twice."
        ),
    };
    Sentence { tone: Tone::Note, text }
}

fn cost(state: &State, plan: &Plan<SafeId>, values: &[ValueId]) -> Result<CostView, WalletError> {
    let metas: Vec<_> = values.iter().filter_map(|id| state.values.get(id)).map(|value| value.meta.clone()).collect();
    let limits = plan.safes().into_iter().filter_map(|safe| state.safes.get(safe)).map(|safe| safe.limit_body);
    // Only lengths follow from it.
    let any = BackupId([0; 16]);
    let layout = Layout::new(any, plan, bundle::length(&metas), limits.min().unwrap_or(u64::MAX))?;
    let Cost { safes, book, file } = layout.cost();
    let safes: Vec<SafeCost> = safes
        .into_iter()
        .map(|(safe, deposits, bytes)| SafeCost {
            safe_id: safe.to_string(),
            bytes,
            // A deposit and its confirmation; the body is one value of the safe's store.
            requests: 2 * deposits,
            writes: deposits,
        })
        .collect();
    let sum = |of: fn(&SafeCost) -> u64| safes.iter().map(of).sum();
    Ok(CostView {
        bytes: sum(|s| s.bytes),
        requests: sum(|s| s.requests),
        writes: sum(|s| s.writes),
        safes,
        book_bytes: book,
        file_bytes: file,
    })
}

/// Puts an analysis into words.
struct Speaker<'a> {
    state: &'a State,
    analysis: &'a Analysis<SafeId>,
    /// The owner comes back with name and passphrase; otherwise with a certificate file and its own.
    enrolled: bool,
}

/// What is known of the owner, where the plan has to do with him.
pub(crate) fn setting_of(state: &State, plan: &Plan<SafeId>) -> Setting<SafeId> {
    let bound = plan.places().iter().any(|(_, place)| matches!(place, Place::Safe { owner: true, .. }));
    let owner = state.owner.as_ref().filter(|owner| bound && owner.making.is_none() && owner.root.is_some());
    let enrolment = owner.map(|owner| Enrolment {
        safes: owner.seats.iter().map(|seat| seat.safe).collect(),
        t: usize::from(owner.threshold),
    });
    Setting { enrolment, ..Setting::default() }
}

/// “a, b and c”.
fn list(names: &[String], last: &str) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}

impl Speaker<'_> {
    fn name(&self, principal: &Principal<SafeId>) -> String {
        match principal {
            Principal::Safe(safe) | Principal::Former(safe) => self.state.nickname(safe),
            Principal::Device => "this device".to_owned(),
            Principal::Kit => "the certificate file".to_owned(),
            Principal::Passphrase if self.enrolled => "your recovery passphrase".to_owned(),
            Principal::Passphrase => "its passphrase".to_owned(),
            Principal::File => "your file".to_owned(),
            Principal::Memory => "your words".to_owned(),
            _ => "something unknown".to_owned(),
        }
    }

    fn names(&self, of: &[usize]) -> Vec<String> {
        of.iter().filter_map(|i| self.analysis.principals.get(*i)).map(|principal| self.name(principal)).collect()
    }

    fn names_of(&self, set: Set) -> Vec<String> {
        self.analysis.members(set).map(|principal| self.name(principal)).collect()
    }

    fn way(&self, pattern: Pattern) -> Way {
        let parts = pattern.parts.into_iter().map(|(of, count)| Part { of: self.names(&of), count });
        Way { parts: parts.collect(), sets: pattern.sets }
    }

    /// “any 2 of A, B and C, and your file”.
    fn say(&self, pattern: &Pattern) -> String {
        let part = |(of, count): &(Vec<usize>, usize)| {
            let names = self.names(of);
            match *count {
                all if all == names.len() => list(&names, "and"),
                1 => list(&names, "or"),
                some => format!("any {some} of {}", list(&names, "and")),
            }
        };
        let parts: Vec<String> = pattern.parts.iter().map(part).collect();
        // A comma tells where a list within the list ends.
        let long = pattern.parts.iter().any(|(of, _)| of.len() > 1);
        if long && parts.len() > 1 { parts.join(", and ") } else { list(&parts, "and") }
    }

    fn say_all(&self, patterns: &[Pattern]) -> String {
        let shown: Vec<String> = patterns.iter().take(MAX_WAYS).map(|pattern| self.say(pattern)).collect();
        match patterns.len().saturating_sub(MAX_WAYS) {
            0 => shown.join("; or "),
            more => format!("{}; or in {more} other ways", shown.join("; or ")),
        }
    }

    fn sentences(&self) -> Vec<Sentence> {
        let analysis = self.analysis;
        let mut sentences = Vec::new();
        let mut add = |tone, text: String| sentences.push(Sentence { tone, text });
        self.say_recovery(&mut add);
        self.say_losses(&mut add);
        self.say_coalitions(&mut add);
        self.say_disclosure(&mut add);
        for group in self.groups() {
            let together = analysis.together(group.1);
            let names = list(&self.names_of(group.1), "and");
            let (what, lost, read) = (group.0, !together.survives, together.reads);
            match (lost, read) {
                (true, true) => add(
                    Tone::Warning,
                    format!(
                        "{names} share {what}: what happens there can lose it, and they have enough pieces to read it."
                    ),
                ),
                (true, false) => add(Tone::Warning, format!("{names} share {what}: what happens there can lose it.")),
                (false, true) => {
                    add(Tone::Note, format!("{names} share {what}: together they have enough pieces to read it."))
                }
                (false, false) => {}
            }
        }
        sentences
    }

    fn say_recovery(&self, add: &mut dyn FnMut(Tone, String)) {
        let analysis = self.analysis;
        let device = analysis.set(|p| *p == Principal::Device);
        let carried = match self.enrolled {
            true => analysis.set(|p| *p == Principal::Passphrase),
            false => analysis.set(|p| matches!(p, Principal::Kit | Principal::Passphrase)),
        };
        let with = match self.enrolled {
            true => "with your recovery name and passphrase",
            false => "with the certificate file and its passphrase",
        };
        let here = analysis.recovering.given(device | carried, 0).patterns();
        let elsewhere = analysis.recovering.given(carried, device).patterns();
        match here.first() {
            None => add(Tone::Warning, "Nothing brings it back.".to_owned()),
            Some(Pattern { parts, .. }) if parts.is_empty() => {
                add(Tone::Note, "This device brings it back without a safe.".to_owned());
            }
            Some(_) => add(Tone::Good, format!("To bring it back it takes {}.", self.say_all(&here))),
        }
        if elsewhere.is_empty() {
            add(Tone::Warning, "If this device is lost, it is lost: only this device can bring it back.".to_owned());
        } else if elsewhere == here {
            add(Tone::Good, format!("On another device: the same, {with}."));
        } else {
            let ways = self.say_all(&elsewhere);
            add(Tone::Note, format!("On another device, {with}: {ways}."));
        }
    }

    fn say_losses(&self, add: &mut dyn FnMut(Tone, String)) {
        let analysis = self.analysis;
        let safes = analysis.safes();
        let n = safes.count_ones() as usize;
        let needed = analysis.needed();
        match analysis.losses(true) {
            None => {}
            Some(0) => {
                let names = self.names_of(needed & safes);
                let which = if names.is_empty() { "a single safe".to_owned() } else { list(&names, "or") };
                add(Tone::Warning, format!("If {which} is lost, it is lost."));
            }
            Some(losses) if losses == n => add(Tone::Note, "All safes can be lost.".to_owned()),
            Some(1) => add(Tone::Good, format!("Any one of the {n} safes can be lost.")),
            Some(losses) => add(Tone::Good, format!("Any {losses} of the {n} safes can be lost.")),
        }
        for principal in [Principal::File, Principal::Memory] {
            if needed & analysis.set(|p| *p == principal) != 0 {
                add(Tone::Warning, format!("Without {} nothing brings it back.", self.name(&principal)));
            }
        }
    }

    fn say_coalitions(&self, add: &mut dyn FnMut(Tone, String)) {
        let analysis = self.analysis;
        match analysis.coalitions.least() {
            None => add(Tone::Good, "The safes cannot read it, not even all of them together.".to_owned()),
            Some(1) => {
                let alone = analysis.coalitions.minimal(usize::MAX).into_iter().filter(|set| set.count_ones() == 1);
                let names = list(&self.names_of(alone.sum()), "or");
                let text = format!(
                    "Only the secrets of your wallet keep a single safe ({names}) from reading it, or a part of it."
                );
                add(Tone::Warning, text);
            }
            Some(least) => add(
                Tone::Good,
                format!(
                    "Fewer than {least} safes together can read nothing, not even with all secrets of your wallet."
                ),
            ),
        }
    }

    fn say_disclosure(&self, add: &mut dyn FnMut(Tone, String)) {
        let analysis = self.analysis;
        let set_of = |wanted: &[Principal<SafeId>]| analysis.set(|p| wanted.contains(p));
        let kit = if self.enrolled { &[Principal::Passphrase][..] } else { &[Principal::Kit, Principal::Passphrase] };
        let (device, kit) = (set_of(&[Principal::Device]), set_of(kit));
        let who = match self.enrolled {
            true => "whoever knows your recovery name and passphrase, or guesses them where guesses are counted",
            false => "whoever has the certificate file and knows or guesses its passphrase",
        };
        let reads = |set: Set| analysis.disclosing.contains(set);
        match (reads(device), reads(kit)) {
            (true, true) => {
                add(Tone::Note, format!("Whoever has this device with the wallet open can get it, and so can {who}."))
            }
            (true, false) => add(Tone::Note, "Whoever has this device with the wallet open can get it.".to_owned()),
            (false, true) => add(Tone::Note, sentence(&format!("{who} can get it"))),
            (false, false) => add(Tone::Good, "This device alone does not give it away.".to_owned()),
        }
        if let Some(set) = analysis.guessing_words(1).first() {
            let who = list(&self.names_of(*set), "and");
            let text = if *set == 0 {
                "Everybody can try to guess your words.".to_owned()
            } else {
                format!("Whoever has {who} can try to guess your words: choose some that nobody would.")
            };
            add(Tone::Note, text);
        }
    }

    /// Safes that fall together: (what they share, safes), where there are several. Safes that share more than one thing are one group.
    fn groups(&self) -> Vec<(String, Set)> {
        let mut groups: Vec<(String, Set)> = Vec::new();
        for (i, principal) in self.analysis.principals.iter().enumerate() {
            let Principal::Safe(safe) = principal else { continue };
            for what in self.state.safes.get(safe).map(shared).unwrap_or_default() {
                match groups.iter_mut().find(|(known, _)| *known == what) {
                    Some((_, set)) => *set |= 1 << i,
                    None => groups.push((what, 1 << i)),
                }
            }
        }
        groups.retain(|(_, set)| set.count_ones() > 1);
        let mut joined: Vec<(Vec<String>, Set)> = Vec::new();
        for (what, set) in groups {
            match joined.iter_mut().find(|(_, known)| *known == set) {
                Some((all, _)) => all.push(what),
                None => joined.push((vec![what], set)),
            }
        }
        joined.into_iter().map(|(all, set)| (list(&all, "and"), set)).collect()
    }
}

/// What a safe may have in common with others, as phrases that follow “share”. An operator who says nothing is known by his address.
fn shared(safe: &KnownSafe) -> Vec<String> {
    let Whereabouts { operator, cloud, region } = safe.whereabouts.clone().unwrap_or_default();
    let host = operator_of(&safe.url);
    let said = [("the operator", operator), ("the cloud", cloud), ("the region", region)];
    let said = said.into_iter().filter_map(|(what, name)| Some((what, name?.trim().to_owned())));
    let said = said.filter(|(_, name)| !name.is_empty()).map(|(what, name)| format!("{what} “{name}”"));
    core::iter::once(format!("the address {host}")).chain(said).collect()
}

/// What the address says of who runs a safe: the host, and of names under a shared domain the account's part.
pub fn operator_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // An address in brackets has colons of its own.
    let host = if authority.starts_with('[') { authority } else { authority.split(':').next().unwrap_or_default() };
    let labels: Vec<&str> = host.split('.').collect();
    let number = host.starts_with('[') || labels.iter().all(|label| label.bytes().all(|b| b.is_ascii_digit()));
    let kept = if host.ends_with(".workers.dev") { 3 } else { 2 };
    if number || labels.len() <= kept { host.to_owned() } else { labels[labels.len() - kept..].join(".") }
}
