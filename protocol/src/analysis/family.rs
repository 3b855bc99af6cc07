//! Families of sets, as tables.

use super::{
    Set,
    formula::{LOW, PATTERNS},
};

/// Places of a word by how many of the low variables their sets have.
const SIZES: [u64; LOW + 1] = {
    let mut sizes = [0; LOW + 1];
    let mut set = 0_usize;
    while set < 64 {
        sizes[set.count_ones() as usize] |= 1 << set;
        set += 1;
    }
    sizes
};

/// Ways to choose k of n.
fn binomial(n: usize, k: usize) -> u64 {
    (0..k).fold(1, |ways, i| ways * (n - i) as u64 / (i + 1) as u64)
}

/// A monotone family of sets: with a set it has all that contain it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Principals that matter, ascending.
    pub(super) vars: Vec<usize>,
    table: Vec<u64>,
}

/// Sets that are alike: so many of each class of interchangeable principals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// (principals of a class, how many of them).
    pub parts: Vec<(Vec<usize>, usize)>,
    /// How many sets it stands for.
    pub sets: u64,
}

impl Family {
    /// The family of a table over n safes, or as many variables as a word has, and above them over some of the owner's.
    pub(super) fn new(safes: usize, own: usize, table: Vec<u64>) -> Self {
        // What makes up the word stands for nobody, so nothing depends on it.
        let nobody = safes..safes.max(LOW);
        let vars = (0..safes).chain(nobody.map(|_| usize::MAX)).chain(safes..safes + own).collect();
        let mut family = Self { vars, table };
        (0..family.vars.len()).rev().for_each(|v| {
            if !family.depends_on(v) {
                family.fix(v, false);
            }
        });
        family
    }

    /// Whether a variable matters.
    fn depends_on(&self, v: usize) -> bool {
        match PATTERNS.get(v) {
            Some(pattern) => self.table.iter().any(|word| (word ^ word >> (1 << v)) & !pattern != 0),
            None => self.table.chunks(2 << (v - LOW)).any(|halves| {
                let (without, with) = halves.split_at(halves.len() / 2);
                without != with
            }),
        }
    }

    /// Whether a set is in it.
    pub fn contains(&self, set: Set) -> bool {
        let index = self.vars.iter().enumerate().filter(|(_, v)| set >> **v & 1 == 1).map(|(i, _)| 1_usize << i).sum();
        self.at(index)
    }

    pub(super) fn at(&self, index: usize) -> bool {
        self.table.get(index >> LOW).is_some_and(|word| word >> (index & 63) & 1 == 1)
    }

    fn widen(&self, index: usize) -> Set {
        self.vars.iter().enumerate().filter(|(i, _)| index >> i & 1 == 1).map(|(_, v)| 1 << v).sum()
    }

    /// The table of the members from which nothing can be left out.
    fn minimal_table(&self) -> Vec<u64> {
        let mut minimal = self.table.clone();
        for v in 0..self.vars.len() {
            // Members without v, seen from the sets with it.
            match PATTERNS.get(v) {
                Some(pattern) => {
                    let without = self.table.iter().map(|word| (word & !pattern) << (1 << v));
                    minimal.iter_mut().zip(without).for_each(|(word, without)| *word &= !without);
                }
                None => {
                    let bit = 1 << (v - LOW);
                    let with = minimal.iter_mut().enumerate().filter(|(at, _)| at & bit != 0);
                    with.for_each(|(at, word)| *word &= !self.table[at ^ bit]);
                }
            }
        }
        minimal
    }

    fn indices(table: &[u64]) -> impl Iterator<Item = usize> + '_ {
        table.iter().enumerate().filter(|(_, word)| **word != 0).flat_map(|(at, word)| {
            (0..64_usize).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at << LOW | bit)
        })
    }

    /// How many minimal members there are.
    pub fn count_minimal(&self) -> u64 {
        self.minimal_table().iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// The minimal members, smallest first, at most `most` of them.
    pub fn minimal(&self, most: usize) -> Vec<Set> {
        let table = self.minimal_table();
        let mut sets: Vec<Set> = Self::indices(&table).map(|index| self.widen(index)).collect();
        sets.sort_unstable_by_key(|set| (set.count_ones(), *set));
        sets.truncate(most);
        sets
    }

    /// Size of the smallest member.
    pub fn least(&self) -> Option<usize> {
        let of_word = |(at, word): (usize, &u64)| {
            let low = SIZES.iter().position(|sets| word & sets != 0)?;
            Some(at.count_ones() as usize + low)
        };
        self.table.iter().enumerate().filter_map(of_word).min()
    }

    /// Size of the largest set that is no member.
    pub(super) fn most_without(&self) -> Option<usize> {
        // Of fewer variables than a word has room for, the rest of it is no set.
        let sets = if self.vars.len() < LOW { (1_u64 << (1 << self.vars.len())) - 1 } else { !0 };
        let of_word = |(at, word): (usize, &u64)| {
            let low = SIZES.iter().rposition(|of_size| !word & sets & of_size != 0)?;
            Some(at.count_ones() as usize + low)
        };
        self.table.iter().enumerate().filter_map(of_word).max()
    }

    /// Whether two of the variables can change places and nothing else changes.
    fn alike(&self, i: usize, j: usize) -> bool {
        let (i, j) = (i.min(j), i.max(j));
        let t = &self.table;
        if j < LOW {
            return t.iter().all(|word| {
                let only_i = (word & PATTERNS[i] & !PATTERNS[j]) >> (1 << i);
                let only_j = (word & PATTERNS[j] & !PATTERNS[i]) >> (1 << j);
                only_i == only_j
            });
        }
        let high = 1_usize << (j - LOW);
        (0..t.len()).filter(|at| at & high == 0).all(|at| {
            if i < LOW {
                (t[at] & PATTERNS[i]) >> (1 << i) == t[at | high] & !PATTERNS[i]
            } else {
                let low = 1 << (i - LOW);
                at & low == 0 || t[at] == t[at ^ low | high]
            }
        })
    }

    /// The minimal members, as patterns over classes of interchangeable principals, smallest first.
    pub fn patterns(&self) -> Vec<Pattern> {
        let mut classes: Vec<Vec<usize>> = Vec::new();
        for v in 0..self.vars.len() {
            match classes.iter_mut().find(|class| self.alike(class[0], v)) {
                Some(class) => class.push(v),
                None => classes.push(vec![v]),
            }
        }
        // The first so many of each class stand for all sets that have as many of it.
        let firsts: Vec<(usize, Vec<usize>)> = classes
            .iter()
            .map(|class| {
                let mut first = vec![0];
                class.iter().for_each(|v| first.push(first[first.len() - 1] | 1 << v));
                (first[class.len()], first)
            })
            .collect();
        let counts = |index: usize| {
            let count = move |(mask, first): &(usize, Vec<usize>)| {
                let count = (index & mask).count_ones() as usize;
                (first[count] == index & mask).then_some(count)
            };
            firsts.iter().map(count)
        };
        let minimal = self.minimal_table();
        let mut found: Vec<Vec<usize>> = Self::indices(&minimal)
            .filter(|index| counts(*index).all(|count| count.is_some()))
            .map(|index| counts(index).flatten().collect())
            .collect();
        found.sort_unstable_by_key(|counts| (counts.iter().sum::<usize>(), core::cmp::Reverse(counts.clone())));
        let patterns = found.into_iter().map(|counts| {
            let parts = || classes.iter().zip(&counts).filter(|(_, count)| **count > 0);
            let of = |class: &Vec<usize>| class.iter().map(|v| self.vars[*v]).collect::<Vec<_>>();
            Pattern {
                sets: parts().map(|(class, count)| binomial(class.len(), *count)).product(),
                parts: parts().map(|(class, count)| (of(class), *count)).collect(),
            }
        });
        patterns.collect()
    }

    /// The family of what is still missing beside some principals that are there, and others that are not.
    pub fn given(&self, there: Set, not: Set) -> Self {
        let mut rest = self.clone();
        for v in (0..self.vars.len()).rev() {
            let bit = 1 << self.vars[v];
            if (there | not) & bit != 0 {
                rest.fix(v, there & bit != 0);
            }
        }
        rest
    }

    /// Leaves those sets that have, or have not, a variable, and the variable out.
    fn fix(&mut self, v: usize, there: bool) {
        let n = self.vars.len();
        if v >= LOW {
            let half = 1 << (v - LOW);
            let halves = self.table.chunks(half).skip(usize::from(there)).step_by(2);
            self.table = halves.flatten().copied().collect();
        } else {
            // What is left of each word moves together into its lower half.
            let halves = self.table.iter().map(|word| {
                let left = if there { word >> (1 << v) } else { *word } & !PATTERNS[v];
                let join = |word: u64, step: usize| (word | word >> (1 << step)) & !PATTERNS[step + 1];
                (v..LOW - 1).fold(left, join)
            });
            let halves: Vec<u64> = halves.collect();
            let whole = |pair: &[u64]| pair[0] | pair.get(1).map_or(0, |high| high << (1 << (LOW - 1)));
            self.table = if n > LOW { halves.chunks(2).map(whole).collect() } else { halves };
        }
        self.vars.remove(v);
    }

    /// Probability that the principals which are there form a member, if each is there independently.
    pub fn probability(&self, available: &dyn Fn(usize) -> f64) -> f64 {
        let chances: Vec<f64> = self.vars.iter().map(|v| available(*v)).collect();
        let weight = |from: usize, count: usize, index: usize| -> f64 {
            let of = |i: usize| if index >> i & 1 == 1 { chances[from + i] } else { 1.0 - chances[from + i] };
            (0..count).map(of).product()
        };
        let low = LOW.min(chances.len());
        let weights: Vec<f64> = (0..1 << low).map(|index| weight(0, low, index)).collect();
        let word = |word: u64| -> f64 {
            if word == !0 {
                return 1.0;
            }
            weights.iter().enumerate().filter(|(bit, _)| word >> bit & 1 == 1).map(|(_, weight)| weight).sum()
        };
        // Folded from the lowest variable to the highest, half of the sums at a time.
        let mut sums: Vec<f64> = self.table.iter().map(|w| word(*w)).collect();
        for chance in &chances[low..] {
            sums = sums.chunks(2).map(|pair| pair[0] * (1.0 - chance) + pair[1] * chance).collect();
        }
        sums.first().copied().unwrap_or_default()
    }
}
