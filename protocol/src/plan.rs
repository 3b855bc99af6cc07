//! Plans: how a value is laid out over safes and what stays with its owner, as a small algebra.
//!
//! ```text
//! seal(X, K)          X under a fresh content key, wrapped by a key that needs all parts of K; the wrap travels with X
//! split(k, P…)        secret sharing: any k suffice, fewer tell nothing
//! disperse(k, P…)     erasure coding: any k rebuild, each costs 1/k
//! copies(P…)          any one suffices
//! derive(P, …)        as the second part of a seal: a key from everything listed
//! at(S)               the safe S            at(S, owner)    the safe S, which gives it to its authenticated owner only
//! book                the wallet's book     file            a file that the owner keeps
//! memory              words that the owner remembers, by way of Argon2id
//! ```
//!
//! A plan is text (with the owner's nicknames), a tree, and data (with safe ids): `Plan<String>` and `Plan<SafeId>` are the same tree
//! over two kinds of names. Every plan that exists has passed all checks, so nobody checks again. A node is addressed by its path, the
//! child numbers from the root; a seal's content is 0 and the parts of its key are 1, 2, …. What it does says
//! [`crate::layout`]. Spec: `spec/plan.md`.

use core::{fmt, str::FromStr};

use minicbor::{Decode, Encode};
use winnow::{
    ModalResult, Parser,
    ascii::multispace0,
    combinator::{alt, cut_err, delimited, fail, not, opt, preceded, repeat, terminated},
    error::{ContextError, StrContext, StrContextValue},
    token::{any, none_of, take_while},
};

use crate::ids::SafeId;

/// Most children of one node.
pub const MAX_CHILDREN: usize = 20;
/// Most different safes of one plan: what it survives and exposes is looked at case by case, and every safe doubles the cases.
pub const MAX_SAFES: usize = 20;
/// Most places of one plan: ciphertext and key over 20 safes, and as much again.
pub const MAX_PLACES: usize = 80;
/// Deepest plan: seal, disperse, seal, split, at and as much again.
pub const MAX_DEPTH: usize = 8;
/// Longest text of a plan, bytes: 80 places with names of 64 bytes, each escaped, and 16 around each, are 11,520; and the rest.
pub const MAX_TEXT_LEN: usize = 16 * 1024;

/// A plan was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A threshold does not fit its children.
    #[error("a threshold of {k} does not fit {n} places; choose from {least} to {n}")]
    Threshold {
        /// Asked for.
        k: usize,
        /// Children.
        n: usize,
        /// The least that makes sense here.
        least: usize,
    },
    /// Too few children.
    #[error("{got} are too few here; at least {least}")]
    TooFew {
        /// There are.
        got: usize,
        /// Needed.
        least: usize,
    },
    /// Too many children.
    #[error("{0} places are too many; at most {MAX_CHILDREN}")]
    TooWide(usize),
    /// Too many places in all.
    #[error("{0} places are too many for one plan; at most {MAX_PLACES}")]
    TooMany(usize),
    /// Too many different safes.
    #[error("{0} different safes are too many for one plan; at most {MAX_SAFES}")]
    TooManySafes(usize),
    /// Too deep.
    #[error("the plan is nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// One place would get two pieces of one group, so that its loss would count twice.
    #[error("the same place stands twice in one group; each must be another one")]
    PlaceTwice,
    /// Words that the owner chooses cannot be the result of a computation.
    #[error(
        "memory holds words that you choose, so it can be a key or fewer than k of the parts of a split, but nothing that is computed"
    )]
    Memory,
    /// A name that stands for no safe.
    #[error("no safe is called “{0}”; use the name of one of your safes")]
    UnknownSafe(String),
    /// A name that stands for several safes.
    #[error("several safes are called “{0}”; give them different names first")]
    AmbiguousSafe(String),
    /// Nothing of the plan is at a safe.
    #[error("the plan uses no safe; put at(…) somewhere")]
    NoSafe,
    /// What would stay in the book is too long for it.
    #[error("{got} bytes would stay in the book, which takes {most}; put keys or shares there, not content")]
    BookFull {
        /// Would stay there, bytes.
        got: u64,
        /// It takes, bytes.
        most: u64,
    },
    /// What would go into the file is too long for one.
    #[error("{got} bytes would go into the file, which takes {most}; put keys or shares there, or fewer values")]
    FileFull {
        /// Would go there, bytes.
        got: u64,
        /// It takes, bytes.
        most: u64,
    },
    /// The segments do not fit the bundle, or the bundle is longer than any can be.
    #[error("{0} bytes are no length that a backup has; the description of the backup is damaged")]
    Length(u64),
    /// The safes' limits leave no room for a piece.
    #[error("a safe takes only {0} bytes at a time, too few for a piece")]
    LimitTooSmall(u64),
}

/// A text is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {}: {what}", at + 1)]
pub struct PlanTextError {
    /// Where, in characters from 0.
    pub at: usize,
    /// What was expected there, or what is wrong with what begins there.
    pub what: String,
    /// What is wrong, where the text is one of a plan that cannot be.
    pub error: Option<PlanError>,
}

/// Where a piece goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place<S> {
    /// A safe.
    Safe {
        /// Which.
        safe: S,
        /// It gives the piece to its authenticated owner only; otherwise to whoever presents the certificate.
        owner: bool,
    },
    /// The wallet's book.
    Book,
    /// A file that the owner keeps.
    File,
    /// Words that the owner remembers.
    Memory,
}

impl<S: PartialEq> Place<S> {
    /// Whether the loss of one is the loss of the other.
    fn is_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Safe { safe: a, .. }, Self::Safe { safe: b, .. }) => a == b,
            _ => self == other,
        }
    }
}

/// `k` of the children suffice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<S> {
    k: u8,
    children: Vec<Plan<S>>,
}

impl<S> Group<S> {
    /// How many suffice.
    pub fn k(&self) -> usize {
        usize::from(self.k)
    }

    /// The children, in order.
    pub fn children(&self) -> &[Plan<S>] {
        &self.children
    }
}

/// One node of a plan, for reading.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Node<S> {
    /// A place.
    Place(Place<S>),
    /// Content under a fresh key whose wrap needs all parts of `key`.
    Seal {
        /// Where the ciphertext goes.
        content: Box<Plan<S>>,
        /// Where each part of the key goes; one or more. Two or more are written `derive(…)`.
        key: Vec<Plan<S>>,
    },
    /// Secret sharing, 2 ≤ k ≤ n.
    Split(Group<S>),
    /// Erasure coding, 1 ≤ k ≤ n.
    Disperse(Group<S>),
    /// The same everywhere; two or more.
    Copies(Vec<Plan<S>>),
}

/// A plan over names of safes of kind `S`. Its constructors are the only makers, and check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<S>(Node<S>);

impl<S: PartialEq> Plan<S> {
    /// A single place.
    pub const fn place(place: Place<S>) -> Self {
        Self(Node::Place(place))
    }

    /// `at(safe)`.
    pub const fn at(safe: S) -> Self {
        Self::place(Place::Safe { safe, owner: false })
    }

    /// `seal(content, derive(key…))`.
    ///
    /// # Errors
    /// [`PlanError`]: no part or too many, too deep or too large, or ciphertext in [`Place::Memory`].
    pub fn seal(content: Self, key: Vec<Self>) -> Result<Self, PlanError> {
        if content.is_chosen() {
            return Err(PlanError::Memory);
        }
        at_least(key.len(), 1)?;
        at_most(key.len())?;
        Self(Node::Seal { content: Box::new(content), key }).within_bounds()
    }

    /// `split(k, children…)`.
    ///
    /// # Errors
    /// [`PlanError`]; k below 2 shares nothing: that is what copies are for.
    pub fn split(k: usize, children: Vec<Self>) -> Result<Self, PlanError> {
        let group = Self::group(k, 2, children)?;
        // k shares determine all others, so fewer than k can be words.
        if group.children.iter().filter(|child| child.is_chosen()).count() >= group.k() {
            return Err(PlanError::Memory);
        }
        Self(Node::Split(group)).within_bounds()
    }

    /// `disperse(k, children…)`.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn disperse(k: usize, children: Vec<Self>) -> Result<Self, PlanError> {
        let group = Self::group(k, 1, children)?;
        if group.children.iter().any(Self::is_chosen) {
            return Err(PlanError::Memory);
        }
        Self(Node::Disperse(group)).within_bounds()
    }

    /// `copies(children…)`.
    ///
    /// # Errors
    /// [`PlanError`]; a single copy is none.
    pub fn copies(children: Vec<Self>) -> Result<Self, PlanError> {
        at_least(children.len(), 2)?;
        at_most(children.len())?;
        distinct(&children)?;
        if children.iter().filter(|child| child.is_chosen()).count() > 1 {
            return Err(PlanError::Memory);
        }
        Self(Node::Copies(children)).within_bounds()
    }

    fn group(k: usize, least: usize, children: Vec<Self>) -> Result<Group<S>, PlanError> {
        let n = children.len();
        at_most(n)?;
        if k < least || k > n {
            return Err(PlanError::Threshold { k, n, least });
        }
        distinct(&children)?;
        Ok(Group { k: u8::try_from(k).unwrap_or(u8::MAX), children })
    }

    fn within_bounds(self) -> Result<Self, PlanError> {
        if self.depth() > MAX_DEPTH {
            return Err(PlanError::TooDeep);
        }
        let places = self.places().len();
        if places > MAX_PLACES {
            return Err(PlanError::TooMany(places));
        }
        let safes = self.safes().len();
        if safes > MAX_SAFES {
            return Err(PlanError::TooManySafes(safes));
        }
        Ok(self)
    }

    /// The same plan over other names, each looked up once per place.
    ///
    /// # Errors
    /// What `find` says, or [`PlanError::PlaceTwice`] if two names of one group are one safe.
    pub fn bind<T: PartialEq>(&self, find: &impl Fn(&S) -> Result<T, PlanError>) -> Result<Plan<T>, PlanError> {
        let all = |plans: &[Self]| plans.iter().map(|p| p.bind(find)).collect::<Result<Vec<_>, _>>();
        match &self.0 {
            Node::Place(Place::Safe { safe, owner }) => {
                Ok(Plan::place(Place::Safe { safe: find(safe)?, owner: *owner }))
            }
            Node::Place(Place::Book) => Ok(Plan::place(Place::Book)),
            Node::Place(Place::File) => Ok(Plan::place(Place::File)),
            Node::Place(Place::Memory) => Ok(Plan::place(Place::Memory)),
            Node::Seal { content, key } => Plan::seal(content.bind(find)?, all(key)?),
            Node::Split(g) => Plan::split(g.k(), all(&g.children)?),
            Node::Disperse(g) => Plan::disperse(g.k(), all(&g.children)?),
            Node::Copies(children) => Plan::copies(all(children)?),
        }
    }
}

impl<S> Plan<S> {
    /// What stands at the root.
    pub const fn node(&self) -> &Node<S> {
        &self.0
    }

    /// The children in the order of their path numbers.
    pub fn children(&self) -> Vec<&Self> {
        match &self.0 {
            Node::Place(_) => Vec::new(),
            Node::Seal { content, key } => core::iter::once(&**content).chain(key).collect(),
            Node::Split(g) | Node::Disperse(g) => g.children.iter().collect(),
            Node::Copies(children) => children.iter().collect(),
        }
    }

    /// All places with their paths, in tree order.
    pub fn places(&self) -> Vec<(Vec<u8>, &Place<S>)> {
        let mut places = Vec::new();
        self.walk(&mut Vec::new(), &mut |path, plan| {
            if let Node::Place(place) = &plan.0 {
                places.push((path.to_vec(), place));
            }
        });
        places
    }

    /// Visits every node with its path, parents first.
    pub fn walk<'a>(&'a self, path: &mut Vec<u8>, visit: &mut impl FnMut(&[u8], &'a Self)) {
        visit(path, self);
        for (number, child) in (0_u8..).zip(self.children()) {
            path.push(number);
            child.walk(path, visit);
            path.pop();
        }
    }

    /// All safes, in tree order, each once.
    pub fn safes(&self) -> Vec<&S>
    where
        S: PartialEq,
    {
        let mut safes: Vec<&S> = Vec::new();
        for (_, place) in self.places() {
            if let Place::Safe { safe, .. } = place
                && !safes.contains(&safe)
            {
                safes.push(safe);
            }
        }
        safes
    }

    /// Levels, a place being 1.
    fn depth(&self) -> usize {
        1 + self.children().into_iter().map(Self::depth).max().unwrap_or(0)
    }

    /// Whether what is laid out here is fixed beforehand, by words that the owner chose.
    pub fn is_chosen(&self) -> bool {
        match &self.0 {
            Node::Place(place) => matches!(place, Place::Memory),
            Node::Copies(children) => children.iter().any(Self::is_chosen),
            _ => false,
        }
    }
}

const fn at_least(got: usize, least: usize) -> Result<(), PlanError> {
    if got < least { Err(PlanError::TooFew { got, least }) } else { Ok(()) }
}

const fn at_most(n: usize) -> Result<(), PlanError> {
    if n > MAX_CHILDREN { Err(PlanError::TooWide(n)) } else { Ok(()) }
}

fn distinct<S: PartialEq>(children: &[Plan<S>]) -> Result<(), PlanError> {
    let places: Vec<&Place<S>> = children
        .iter()
        .filter_map(|child| match &child.0 {
            Node::Place(place) => Some(place),
            _ => None,
        })
        .collect();
    let twice = (0..places.len()).any(|i| places[..i].iter().any(|p| p.is_with(places[i])));
    if twice { Err(PlanError::PlaceTwice) } else { Ok(()) }
}

impl<S: Clone + PartialEq> Plan<S> {
    /// `seal(disperse(k, at(A)…), split(k, at(A)…))`: ciphertext and key both need `k` of the safes; `k − 1` learn nothing.
    ///
    /// # Errors
    /// [`PlanError`]: the threshold, or a safe that stands twice.
    pub fn spread(k: usize, safes: &[S]) -> Result<Self, PlanError> {
        let places = || safes.iter().map(|s| Self::at(s.clone())).collect::<Vec<_>>();
        Self::seal(Self::disperse(k, places())?, vec![Self::split(k, places())?])
    }

    /// `seal(disperse(k, at(A, owner)…), derive(book, split(k, at(A, owner)…)))`: beside k safes it takes the book and the owner, to have it, to claim it, and to let it go.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn guarded(k: usize, safes: &[S]) -> Result<Self, PlanError> {
        let places = || safes.iter().map(|s| Self::place(Place::Safe { safe: s.clone(), owner: true })).collect();
        let key = vec![Self::place(Place::Book), Self::split(k, places())?];
        Self::seal(Self::disperse(k, places())?, key)
    }
}

// ---- text ------------------------------------------------------------------------------------------------------

/// Inverse of parsing.
impl<S: fmt::Display> fmt::Display for Plan<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &S::to_string)
    }
}

impl<S> Plan<S> {
    /// The text with names of the caller's. Two safes of one name make a text that cannot be taken back.
    pub fn to_text(&self, name: &dyn Fn(&S) -> String) -> String {
        let mut text = String::new();
        // Writing to memory cannot fail.
        let _ = self.write(&mut text, name);
        text
    }

    /// Names that are no plain word stand in quotes.
    fn write(&self, f: &mut dyn fmt::Write, name: &dyn Fn(&S) -> String) -> fmt::Result {
        match &self.0 {
            Node::Place(Place::Safe { safe, owner }) => {
                let name = name(safe);
                let end = if *owner { ", owner)" } else { ")" };
                if !name.is_empty() && name.chars().all(is_plain) {
                    return write!(f, "at({name}{end}");
                }
                f.write_str("at(\"")?;
                for c in name.chars() {
                    write!(f, "{}{c}", if matches!(c, '"' | '\\') { "\\" } else { "" })?;
                }
                write!(f, "\"{end}")
            }
            Node::Place(Place::Book) => f.write_str("book"),
            Node::Place(Place::File) => f.write_str("file"),
            Node::Place(Place::Memory) => f.write_str("memory"),
            Node::Seal { content, key } => {
                f.write_str("seal(")?;
                content.write(f, name)?;
                if let [part] = key.as_slice() {
                    f.write_str(", ")?;
                    part.write(f, name)?;
                } else {
                    f.write_str(", derive")?;
                    Self::write_list(f, None, key, name)?;
                }
                f.write_str(")")
            }
            Node::Split(g) => {
                f.write_str("split")?;
                Self::write_list(f, Some(g.k), &g.children, name)
            }
            Node::Disperse(g) => {
                f.write_str("disperse")?;
                Self::write_list(f, Some(g.k), &g.children, name)
            }
            Node::Copies(children) => {
                f.write_str("copies")?;
                Self::write_list(f, None, children, name)
            }
        }
    }

    fn write_list(f: &mut dyn fmt::Write, k: Option<u8>, plans: &[Self], name: &dyn Fn(&S) -> String) -> fmt::Result {
        let mut separator = "(";
        if let Some(k) = k {
            write!(f, "({k}")?;
            separator = ", ";
        }
        for plan in plans {
            f.write_str(separator)?;
            plan.write(f, name)?;
            separator = ", ";
        }
        f.write_str(")")
    }
}

/// Characters of names that need no quotes.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Inverse of `Display`; space is free between words.
impl FromStr for Plan<String> {
    type Err = PlanTextError;

    fn from_str(text: &str) -> Result<Self, PlanTextError> {
        let refuse = |at, error: PlanError| PlanTextError { at, what: error.to_string(), error: Some(error) };
        if text.len() > MAX_TEXT_LEN {
            let what = format!("the text is longer than {MAX_TEXT_LEN} bytes");
            return Err(PlanTextError { at: 0, what, error: None });
        }
        // The parser recurses: what nests deeper than any plan never gets there. Each level of a plan is one bracket.
        let mut depth = 0_usize;
        let mut quoted = false;
        let mut escaped = false;
        for (at, c) in text.chars().enumerate() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                '(' if !quoted => depth += 1,
                ')' if !quoted => depth = depth.saturating_sub(1),
                _ => {}
            }
            // `derive` is a bracket, but no level.
            if depth > 2 * MAX_DEPTH {
                return Err(refuse(at, PlanError::TooDeep));
            }
        }
        let mut whole = delimited(multispace0, plan, (multispace0, end));
        let plan = whole.parse(text).map_err(|error| {
            let at = text.get(..error.offset()).map_or(0, |before| before.chars().count());
            let cause = error.inner().cause().and_then(|cause| cause.downcast_ref::<PlanError>()).cloned();
            if let Some(cause) = cause {
                return refuse(at, cause);
            }
            let mut wanted: Vec<String> = Vec::new();
            for context in error.inner().context() {
                if let StrContext::Expected(StrContextValue::Description(what)) = context {
                    wanted.push((*what).to_owned());
                }
            }
            let wanted = wanted.first().map_or("a plan", String::as_str).to_owned();
            let found = text.get(error.offset()..).and_then(|rest| rest.chars().next());
            let found = found.map_or_else(|| "the text ends".to_owned(), |c| format!("there is “{c}”"));
            PlanTextError { at, what: format!("expected {wanted}, but {found}"), error: None }
        })?;
        if plan.is_chosen() {
            return Err(refuse(0, PlanError::Memory));
        }
        Ok(plan)
    }
}

const fn expected(what: &'static str) -> StrContext {
    StrContext::Expected(StrContextValue::Description(what))
}

fn end(input: &mut &str) -> ModalResult<()> {
    not(any).context(expected("nothing more")).parse_next(input)
}

fn token<'a>(text: &'static str, what: &'static str) -> impl Parser<&'a str, (), winnow::error::ErrMode<ContextError>> {
    delimited(multispace0, text, multispace0).void().context(expected(what))
}

const PLAN: &str = "at(…), book, file, memory, seal(…), split(…), disperse(…) or copies(…)";

fn word<'a>(input: &mut &'a str) -> ModalResult<&'a str> {
    take_while(1.., |c: char| c.is_ascii_alphabetic()).parse_next(input)
}

fn plan(input: &mut &str) -> ModalResult<Plan<String>> {
    let start = *input;
    match word.context(expected(PLAN)).parse_next(input)? {
        "at" => cut_err(parenthesised(place)).parse_next(input),
        "book" => Ok(Plan::place(Place::Book)),
        "file" => Ok(Plan::place(Place::File)),
        "memory" => Ok(Plan::place(Place::Memory)),
        "seal" => {
            let parts = (terminated(plan, comma), key);
            let made = |(content, key)| Plan::seal(content, key);
            build(start, input, parenthesised(parts), made)
        }
        "split" => build(start, input, parenthesised(group), |(k, children)| Plan::split(k, children)),
        "disperse" => build(start, input, parenthesised(group), |(k, children)| Plan::disperse(k, children)),
        "copies" => build(start, input, parenthesised(plans), Plan::copies),
        _ => {
            *input = start;
            cut_err(fail.context(expected(PLAN))).parse_next(input)
        }
    }
}

/// Parses the arguments of a node and makes it; a plan that cannot be is reported where the node begins.
fn build<'a, A>(
    start: &'a str,
    input: &mut &'a str,
    arguments: impl Parser<&'a str, A, winnow::error::ErrMode<ContextError>>,
    make: impl Fn(A) -> Result<Plan<String>, PlanError>,
) -> ModalResult<Plan<String>> {
    let arguments = cut_err(arguments).parse_next(input)?;
    make(arguments).map_err(|error| {
        *input = start;
        winnow::error::ErrMode::Cut(winnow::error::FromExternalError::from_external_error(input, error))
    })
}

fn parenthesised<'a, A>(
    inner: impl Parser<&'a str, A, winnow::error::ErrMode<ContextError>>,
) -> impl Parser<&'a str, A, winnow::error::ErrMode<ContextError>> {
    delimited(token("(", "“(”"), inner, preceded(multispace0, ")".void().context(expected("“,” or “)”"))))
}

fn comma(input: &mut &str) -> ModalResult<()> {
    token(",", "“,” and the next part").parse_next(input)
}

fn plans(input: &mut &str) -> ModalResult<Vec<Plan<String>>> {
    let first = plan(input)?;
    let more: Vec<_> = repeat(0.., preceded(separator, cut_err(plan))).parse_next(input)?;
    Ok(core::iter::once(first).chain(more).collect())
}

fn separator(input: &mut &str) -> ModalResult<()> {
    delimited(multispace0, ",", multispace0).void().parse_next(input)
}

fn group(input: &mut &str) -> ModalResult<(usize, Vec<Plan<String>>)> {
    let digits = take_while(1..=4, |c: char| c.is_ascii_digit());
    let k = digits.parse_to::<usize>().context(expected("how many suffice, a number")).parse_next(input)?;
    comma(input)?;
    Ok((k, plans(input)?))
}

fn key(input: &mut &str) -> ModalResult<Vec<Plan<String>>> {
    if opt(("derive", multispace0, "(").void()).parse_next(input)?.is_none() {
        return Ok(vec![cut_err(plan).parse_next(input)?]);
    }
    multispace0.parse_next(input)?;
    let at = *input;
    let parts = plans(input)?;
    if parts.len() < 2 {
        *input = at;
        let error = PlanError::TooFew { got: parts.len(), least: 2 };
        return Err(winnow::error::ErrMode::Cut(winnow::error::FromExternalError::from_external_error(input, error)));
    }
    preceded(multispace0, ")".void().context(expected("“,” or “)”"))).parse_next(input)?;
    Ok(parts)
}

fn place(input: &mut &str) -> ModalResult<Plan<String>> {
    let plain = take_while(1.., is_plain).map(str::to_owned);
    let escaped = preceded('\\', any);
    let quoted =
        delimited('"', repeat(0.., alt((escaped, none_of(['"', '\\'])))), cut_err('"'.context(expected("“\"”"))));
    let safe = alt((quoted, plain)).context(expected("the name of a safe")).parse_next(input)?;
    let owner = opt(preceded(separator, cut_err("owner".context(expected("owner"))))).parse_next(input)?.is_some();
    Ok(Plan::place(Place::Safe { safe, owner }))
}

// ---- data ------------------------------------------------------------------------------------------------------

// [0, safe] at | [1, content, key…] | [2, k, [child…]] split | [3, k, [child…]] disperse | [4, [child…]] copies
// [5, safe] at owner | [6] book | [7] file | [8] memory

impl<C> Encode<C> for Plan<SafeId> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match &self.0 {
            Node::Place(Place::Safe { safe, owner }) => {
                e.array(2)?.u8(if *owner { 5 } else { 0 })?.encode_with(safe, ctx)?.ok()
            }
            Node::Place(Place::Book) => e.array(1)?.u8(6)?.ok(),
            Node::Place(Place::File) => e.array(1)?.u8(7)?.ok(),
            Node::Place(Place::Memory) => e.array(1)?.u8(8)?.ok(),
            Node::Seal { content, key } => {
                e.array(2 + key.len() as u64)?.u8(1)?.encode_with(content, ctx)?;
                key.iter().try_for_each(|part| part.encode(e, ctx))
            }
            Node::Split(g) | Node::Disperse(g) => {
                let tag = if matches!(self.0, Node::Split(_)) { 2 } else { 3 };
                e.array(3)?.u8(tag)?.u8(g.k)?.array(g.children.len() as u64)?;
                g.children.iter().try_for_each(|c| c.encode(e, ctx))
            }
            Node::Copies(children) => {
                e.array(2)?.u8(4)?.array(children.len() as u64)?;
                children.iter().try_for_each(|c| c.encode(e, ctx))
            }
        }
    }
}

impl<'b, C> Decode<'b, C> for Plan<SafeId> {
    fn decode(d: &mut minicbor::Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let plan = decode_node(d, ctx, MAX_DEPTH)?;
        if plan.is_chosen() { Err(minicbor::decode::Error::message(PlanError::Memory)) } else { Ok(plan) }
    }
}

fn decode_node<'b, C>(
    d: &mut minicbor::Decoder<'b>,
    ctx: &mut C,
    depth: usize,
) -> Result<Plan<SafeId>, minicbor::decode::Error> {
    use minicbor::decode::Error;
    // The bound keeps a hostile file from exhausting the stack.
    let depth = depth.checked_sub(1).ok_or_else(|| Error::message(PlanError::TooDeep))?;
    let len = d.array()?;
    let tag = d.u8()?;
    match (tag, len) {
        (0 | 5, Some(2)) => Ok(Plan::place(Place::Safe { safe: d.decode_with(ctx)?, owner: tag == 5 })),
        (6, Some(1)) => Ok(Plan::place(Place::Book)),
        (7, Some(1)) => Ok(Plan::place(Place::File)),
        (8, Some(1)) => Ok(Plan::place(Place::Memory)),
        (1, Some(items)) if items > 2 => {
            let content = decode_node(d, ctx, depth)?;
            Plan::seal(content, decode_nodes(d, ctx, depth, items - 2)?).map_err(Error::message)
        }
        (2 | 3, Some(3)) => {
            let k = usize::from(d.u8()?);
            let children = decode_list(d, ctx, depth)?;
            if tag == 2 { Plan::split(k, children) } else { Plan::disperse(k, children) }.map_err(Error::message)
        }
        (4, Some(2)) => Plan::copies(decode_list(d, ctx, depth)?).map_err(Error::message),
        _ => Err(Error::message("no such plan node")),
    }
}

fn decode_list<'b, C>(
    d: &mut minicbor::Decoder<'b>,
    ctx: &mut C,
    depth: usize,
) -> Result<Vec<Plan<SafeId>>, minicbor::decode::Error> {
    let n = d.array()?.ok_or_else(|| minicbor::decode::Error::message("a list of unknown length"))?;
    decode_nodes(d, ctx, depth, n)
}

fn decode_nodes<'b, C>(
    d: &mut minicbor::Decoder<'b>,
    ctx: &mut C,
    depth: usize,
    n: u64,
) -> Result<Vec<Plan<SafeId>>, minicbor::decode::Error> {
    if n > MAX_CHILDREN as u64 {
        return Err(minicbor::decode::Error::message("too many places"));
    }
    (0..n).map(|_| decode_node(d, ctx, depth)).collect()
}
