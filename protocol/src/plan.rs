//! Plans: how a value is laid out over safes, as a tree.
//!
//! ```text
//! seal(X, K)          X under a fresh content key, wrapped by a key that needs all parts of K
//! split(k, P…)        secret sharing: any k suffice, fewer tell nothing
//! disperse(k, P…)     erasure coding: any k rebuild, each costs 1/k
//! at(S)               the safe S
//! ```
//!
//! A plan is text (with the owner's nicknames), a tree, and data (with safe ids): `Plan<String>` and `Plan<SafeId>` are the same tree
//! over two kinds of names. A node is addressed by its path, the child numbers from the root. Spec: `spec/piece.md` §3.

use core::fmt;

use minicbor::{Decode, Encode};

use crate::ids::SafeId;

/// Most children of one node and most safes of one plan.
pub const MAX_CHILDREN: usize = 20;
/// Deepest plan: seal, disperse, seal, split, at and as much again.
pub const MAX_DEPTH: usize = 8;

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
    /// Too many children.
    #[error("{0} places are too many; at most {MAX_CHILDREN}")]
    TooWide(usize),
    /// Too deep.
    #[error("the plan is nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// One safe would get two pieces of one group, so that its loss would count twice.
    #[error("a safe stands twice in one group; each must be another one")]
    SafeTwice,
    /// The plan has a form that cannot be carried out: only `seal(disperse(…) | at(…), split(…) | at(…))` can.
    #[error("this form of plan cannot be carried out yet; use seal(disperse(k, …), split(k, …))")]
    NotExecutable,
    /// The segments are not whole stripes, or the bundle is longer than any can be.
    #[error("{0} bytes are no length that a backup has; the description of the backup is damaged")]
    Length(u64),
    /// The safes' limits leave no room for a single stripe.
    #[error("a safe takes only {0} bytes at a time, too few for a piece")]
    LimitTooSmall(u64),
}

/// `k` of the children suffice; checked once, when made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<S> {
    k: u8,
    children: Vec<Plan<S>>,
}

impl<S> Group<S> {
    /// A group of which any `k` suffice.
    ///
    /// # Errors
    /// [`PlanError::Threshold`] unless `least` ≤ `k` ≤ number of children; [`PlanError::TooWide`].
    fn new(k: usize, least: usize, children: Vec<Plan<S>>) -> Result<Self, PlanError> {
        let n = children.len();
        if n > MAX_CHILDREN {
            return Err(PlanError::TooWide(n));
        }
        if k < least || k > n {
            return Err(PlanError::Threshold { k, n, least });
        }
        Ok(Self { k: u8::try_from(k).unwrap_or(u8::MAX), children })
    }

    /// How many suffice.
    pub fn k(&self) -> usize {
        usize::from(self.k)
    }

    /// The places, in order.
    pub fn children(&self) -> &[Plan<S>] {
        &self.children
    }
}

/// A plan over names of safes of kind `S`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Plan<S> {
    /// One safe.
    At(S),
    /// Content under a fresh key whose wrap needs all parts of `key`.
    Seal {
        /// Where the ciphertext goes.
        content: Box<Self>,
        /// Where the parts of the key go.
        key: Box<Self>,
    },
    /// Shamir's sharing, 2 ≤ k ≤ n.
    Split(Group<S>),
    /// Reed–Solomon dispersal, 1 ≤ k ≤ n.
    Disperse(Group<S>),
}

impl<S> Plan<S> {
    /// `seal(content, key)`.
    pub fn seal(content: Self, key: Self) -> Self {
        Self::Seal { content: Box::new(content), key: Box::new(key) }
    }

    /// `split(k, children…)`.
    ///
    /// # Errors
    /// [`PlanError`]; k below 2 shares nothing: that is what copies are for.
    pub fn split(k: usize, children: Vec<Self>) -> Result<Self, PlanError> {
        Group::new(k, 2, children).map(Self::Split)
    }

    /// `disperse(k, children…)`.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn disperse(k: usize, children: Vec<Self>) -> Result<Self, PlanError> {
        Group::new(k, 1, children).map(Self::Disperse)
    }

    /// The same tree over other names.
    pub fn map<T>(&self, rename: &impl Fn(&S) -> T) -> Plan<T> {
        let group = |g: &Group<S>| Group { k: g.k, children: g.children.iter().map(|c| c.map(rename)).collect() };
        match self {
            Self::At(safe) => Plan::At(rename(safe)),
            Self::Seal { content, key } => Plan::seal(content.map(rename), key.map(rename)),
            Self::Split(g) => Plan::Split(group(g)),
            Self::Disperse(g) => Plan::Disperse(group(g)),
        }
    }

    /// All safes, in tree order, doubled ones included.
    pub fn safes(&self) -> Vec<&S> {
        match self {
            Self::At(safe) => vec![safe],
            Self::Seal { content, key } => [content.safes(), key.safes()].concat(),
            Self::Split(g) | Self::Disperse(g) => g.children.iter().flat_map(Self::safes).collect(),
        }
    }
}

impl Plan<SafeId> {
    /// `seal(disperse(k, at(A)…), split(k, at(A)…))`: ciphertext and key both need `k` of the safes; `k − 1` learn nothing.
    ///
    /// # Errors
    /// [`PlanError`]: the threshold, or a safe that stands twice.
    pub fn spread(k: usize, safes: &[SafeId]) -> Result<Self, PlanError> {
        if (0..safes.len()).any(|i| safes[..i].contains(&safes[i])) {
            return Err(PlanError::SafeTwice);
        }
        let places = || safes.iter().map(|s| Self::At(*s)).collect::<Vec<_>>();
        Ok(Self::seal(Self::disperse(k, places())?, Self::split(k, places())?))
    }
}

/// Inverse of parsing; `at(name)`, one space after commas.
impl<S: fmt::Display> fmt::Display for Plan<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = |f: &mut fmt::Formatter<'_>, name: &str, g: &Group<S>| {
            write!(f, "{name}({}", g.k)?;
            g.children.iter().try_for_each(|c| write!(f, ", {c}"))?;
            f.write_str(")")
        };
        match self {
            Self::At(safe) => write!(f, "at({safe})"),
            Self::Seal { content, key } => write!(f, "seal({content}, {key})"),
            Self::Split(g) => group(f, "split", g),
            Self::Disperse(g) => group(f, "disperse", g),
        }
    }
}

// Data form: [0, safe] | [1, content, key] | [2, k, [child…]] | [3, k, [child…]].

impl<C> Encode<C> for Plan<SafeId> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            Self::At(safe) => e.array(2)?.u8(0)?.encode_with(safe, ctx)?.ok(),
            Self::Seal { content, key } => e.array(3)?.u8(1)?.encode_with(content, ctx)?.encode_with(key, ctx)?.ok(),
            Self::Split(g) | Self::Disperse(g) => {
                let tag = if matches!(self, Self::Split(_)) { 2 } else { 3 };
                e.array(3)?.u8(tag)?.u8(g.k)?.array(g.children.len() as u64)?;
                g.children.iter().try_for_each(|c| c.encode(e, ctx))
            }
        }
    }
}

impl<'b, C> Decode<'b, C> for Plan<SafeId> {
    fn decode(d: &mut minicbor::Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        decode_node(d, ctx, MAX_DEPTH)
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
        (0, Some(2)) => Ok(Plan::At(d.decode_with(ctx)?)),
        (1, Some(3)) => {
            let content = decode_node(d, ctx, depth)?;
            let key = decode_node(d, ctx, depth)?;
            Ok(Plan::seal(content, key))
        }
        (2 | 3, Some(3)) => {
            let k = usize::from(d.u8()?);
            let n = d.array()?.and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= MAX_CHILDREN);
            let n = n.ok_or_else(|| Error::message("too many places"))?;
            let children = (0..n).map(|_| decode_node(d, ctx, depth)).collect::<Result<Vec<_>, _>>()?;
            if tag == 2 { Plan::split(k, children) } else { Plan::disperse(k, children) }.map_err(Error::message)
        }
        _ => Err(Error::message("no such plan node")),
    }
}
