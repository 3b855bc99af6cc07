//! A bundle: the values that one backup couples (claim 10), with what a fresh device needs to know of each.
//!
//! ```text
//! BE32(length of head) ‖ head = CBOR {suite, values} ‖ content of value 0 ‖ content of value 1 ‖ …
//! ```

use core::ops::Range;

use minicbor::{Decode, Encode};

use crate::{
    SUITE,
    codec::{self, CodecError},
    ids::{EditionId, Seconds, ValueId},
};

/// Largest content of one value, bytes.
pub const MAX_VALUE_LEN: u64 = 16 * 1024 * 1024;
/// Longest title, bytes of UTF-8.
pub const MAX_TITLE_LEN: usize = 256;
/// Longest file name, media type or kind, bytes of UTF-8.
pub const MAX_NAME_LEN: usize = 256;
/// Most tags of one value.
pub const MAX_TAGS: usize = 8;
/// Most editions that are told of one value: of more changes the last ones.
pub const MAX_EDITIONS: usize = 16;
/// Longest tag, bytes of UTF-8.
pub const MAX_TAG_LEN: usize = 64;
/// Most values in one bundle.
pub const MAX_VALUES: usize = 4096;
/// Longest head, bytes: 4096 values of less than 1 KiB of description.
pub const MAX_HEAD_LEN: usize = MAX_VALUES * 1024;

/// Longest bundle, bytes: 64 GiB of contents and their head.
pub const MAX_BUNDLE_LEN: u64 = 4 + MAX_HEAD_LEN as u64 + MAX_VALUES as u64 * MAX_VALUE_LEN;

/// What is known of a value besides its content.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ValueMeta {
    /// The value.
    #[n(0)]
    pub id: ValueId,
    /// The owner's title.
    #[n(1)]
    pub title: String,
    /// Kind, one of the words of `spec/value.md`; others are kept as they are.
    #[n(2)]
    pub kind: String,
    /// Name of the file that it came from.
    #[n(3)]
    pub file_name: Option<String>,
    /// Media type.
    #[n(4)]
    pub mime: String,
    /// When it was put into the wallet.
    #[n(5)]
    pub created: Seconds,
    /// Length of the content, bytes.
    #[n(6)]
    pub length: u64,
    /// `true`: it may live only once, as a ticket, a voucher or an electronic coin does ([`crate::register`]); else left out.
    #[n(7)]
    pub unique: Option<bool>,
    /// Words by which its owner groups it, each once; left out if there are none.
    #[n(8)]
    pub tags: Option<Vec<String>>,
    /// The changes of its content that led to the one of now, which is the last; left out if it was never changed. They say which of two contents was
    /// made of the other one, and nothing of either: a hash could be compared with guesses.
    #[n(9)]
    pub editions: Option<Vec<EditionId>>,
}

/// How one content of a value came about beside another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lineage {
    /// It is the same.
    Same,
    /// It was made of the other one.
    Later,
    /// The other one was made of it.
    Earlier,
    /// Each has a change that the other one lacks.
    Apart,
}

impl ValueMeta {
    /// Its editions.
    pub fn editions(&self) -> &[EditionId] {
        self.editions.as_deref().unwrap_or_default()
    }

    /// Which content it has; `None`: the first.
    pub fn edition(&self) -> Option<EditionId> {
        self.editions().last().copied()
    }

    /// Its editions once its content has been changed into this one.
    pub fn editions_with(&self, next: EditionId) -> Vec<EditionId> {
        let known = self.editions();
        let kept = &known[known.len().saturating_sub(MAX_EDITIONS - 1)..];
        kept.iter().copied().chain([next]).collect()
    }

    /// What the content of this description is to that of another one of the same value. Of contents that are more than [`MAX_EDITIONS`] changes apart it is
    /// said that each lacks a change, by which none of them is lost.
    pub fn lineage(&self, other: &Self) -> Lineage {
        // The first one is part of everything.
        let has = |all: &Self, one: Option<EditionId>| one.is_none_or(|one| all.editions().contains(&one));
        match (has(self, other.edition()), has(other, self.edition())) {
            (true, true) => Lineage::Same,
            (true, false) => Lineage::Later,
            (false, true) => Lineage::Earlier,
            (false, false) => Lineage::Apart,
        }
    }

    /// Whether it may have been changed more often than its editions tell.
    pub fn may_leave_out(&self) -> bool {
        self.editions().len() >= MAX_EDITIONS
    }

    /// Whether it may live only once.
    pub fn lives_once(&self) -> bool {
        self.unique == Some(true)
    }

    /// Its tags.
    pub fn tags(&self) -> &[String] {
        self.tags.as_deref().unwrap_or_default()
    }

    /// Checks lengths.
    ///
    /// # Errors
    /// [`CodecError::TooLong`] naming the first that is; [`CodecError::Malformed`] if it is said that it lives more than once, or if tags or editions are
    /// said that are none, empty or the same.
    pub fn check(&self) -> Result<(), CodecError> {
        let within = |got: usize, most: usize| if got > most { Err(CodecError::TooLong { got, most }) } else { Ok(()) };
        within(self.title.len(), MAX_TITLE_LEN)?;
        within(self.kind.len(), MAX_NAME_LEN)?;
        within(self.mime.len(), MAX_NAME_LEN)?;
        within(self.file_name.as_ref().map_or(0, String::len), MAX_NAME_LEN)?;
        if self.unique == Some(false) {
            return Err(CodecError::Malformed);
        }
        if let Some(tags) = &self.tags {
            within(tags.len(), MAX_TAGS)?;
            tags.iter().try_for_each(|tag| within(tag.len(), MAX_TAG_LEN))?;
            let twice = (1..tags.len()).any(|i| tags[..i].contains(&tags[i]));
            if tags.is_empty() || twice || tags.iter().any(String::is_empty) {
                return Err(CodecError::Malformed);
            }
        }
        if let Some(editions) = &self.editions {
            within(editions.len(), MAX_EDITIONS)?;
            if editions.is_empty() || (1..editions.len()).any(|i| editions[..i].contains(&editions[i])) {
                return Err(CodecError::Malformed);
            }
        }
        if self.length > MAX_VALUE_LEN {
            return Err(CodecError::TooLong { got: self.length as usize, most: MAX_VALUE_LEN as usize });
        }
        Ok(())
    }
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Head {
    #[n(0)]
    suite: u8,
    #[n(1)]
    values: Vec<ValueMeta>,
}

/// The bytes before the first content.
pub fn head(values: &[ValueMeta]) -> Vec<u8> {
    let head = codec::encode(&Head { suite: SUITE, values: values.to_vec() });
    let mut out = Vec::with_capacity(head.len() + 4);
    // MAX_HEAD_LEN is far below 2^32.
    out.extend_from_slice(&u32::try_from(head.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&head);
    out
}

/// Length of the whole bundle, bytes.
pub fn length(values: &[ValueMeta]) -> u64 {
    head(values).len() as u64 + values.iter().map(|v| v.length).sum::<u64>()
}

/// Where the content of each value lies in the bundle.
pub fn ranges(values: &[ValueMeta]) -> impl Iterator<Item = (&ValueMeta, Range<u64>)> {
    let mut at = head(values).len() as u64;
    values.iter().map(move |value| {
        let start = at;
        at += value.length;
        (value, start..at)
    })
}

/// The descriptions at the beginning of a bundle, and where the first content starts; `None`: more bytes are needed to tell.
///
/// # Errors
/// [`CodecError`] if this is no bundle.
pub fn parse_head(beginning: &[u8]) -> Result<Option<(Vec<ValueMeta>, usize)>, CodecError> {
    let Some((len, rest)) = beginning.split_first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_be_bytes(*len) as usize;
    if len > MAX_HEAD_LEN {
        return Err(CodecError::TooLong { got: len, most: MAX_HEAD_LEN });
    }
    let Some(head) = rest.get(..len) else { return Ok(None) };
    let head: Head = codec::decode(head, MAX_HEAD_LEN)?;
    codec::expect_suite(head.suite)?;
    head.values.iter().try_for_each(ValueMeta::check)?;
    Ok(Some((head.values, 4 + len)))
}

/// Takes a whole bundle apart into descriptions and contents. Inverse of writing [`head`] and then the contents.
///
/// # Errors
/// [`CodecError`] if lengths do not add up.
pub fn parse(bundle: &[u8]) -> Result<Vec<(ValueMeta, &[u8])>, CodecError> {
    let (metas, start) = parse_head(bundle)?.ok_or(CodecError::Malformed)?;
    let mut rest = &bundle[start..];
    let mut values = Vec::with_capacity(metas.len());
    for meta in metas {
        let len = usize::try_from(meta.length).map_err(|_| CodecError::Malformed)?;
        let (content, tail) = rest.split_at_checked(len).ok_or(CodecError::Malformed)?;
        values.push((meta, content));
        rest = tail;
    }
    if rest.is_empty() { Ok(values) } else { Err(CodecError::Malformed) }
}
