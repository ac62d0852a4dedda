//! The Merkle tree of RFC 9162 over the log: leaf number `position - 1` is the event at `position`. Nothing here waits.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, Digest, SHA256, digest};
use serde::{Serialize, Serializer};

const NODE: u8 = 1;

/// A SHA-256 hash. Written as base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash([u8; 32]);

impl Hash {
    /// From its 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn from_digest(digest: &Digest) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest.as_ref());
        Self(hash)
    }

    /// The root of a tree without leaves.
    pub fn of_nothing() -> Self {
        Self::from_digest(&digest(&SHA256, b""))
    }

    /// The node above two others.
    pub fn above(left: Self, right: Self) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&[NODE]);
        context.update(&left.0);
        context.update(&right.0);
        Self::from_digest(&context.finish())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = STANDARD.decode(text).map_err(|_| "not base64")?;
        Self::from_slice(&bytes).ok_or("not 32 bytes")
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A tree that grows at its end, by the roots of its complete subtrees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// One for each bit that is set in `size`, the largest subtree first.
    roots: Vec<Hash>,
}

impl Frontier {
    /// A tree of so many leaves; `None` when there are not as many roots as it has complete subtrees.
    pub fn new(size: u64, roots: Vec<Hash>) -> Option<Self> {
        (roots.len() == size.count_ones() as usize).then_some(Self { size, roots })
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut root = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                root = Hash::above(left, root);
            }
        }
        self.roots.push(root);
        self.size += 1;
    }

    /// Its root.
    pub fn root(&self) -> Hash {
        let joined = self.roots.iter().rev().copied().reduce(|right, left| Hash::above(left, right));
        joined.unwrap_or_else(Hash::of_nothing)
    }
}

/// The ranges of leaves of complete subtrees that a tree of `size` leaves consists of, the largest first.
pub fn subtrees(leaves: Range<u64>) -> Vec<Range<u64>> {
    let mut start = leaves.start;
    let mut found = Vec::new();
    while start < leaves.end {
        let end = start + largest_power(leaves.end - start);
        found.push(start..end);
        start = end;
    }
    found
}

/// The largest power of two that is not above `n`, which is not 0.
fn largest_power(n: u64) -> u64 {
    1 << n.ilog2()
}

/// Where a tree of so many leaves, at least two, is split: the largest power of two below their number.
fn split(n: u64) -> u64 {
    largest_power(n - 1)
}

/// The leaves whose roots prove that leaf `index` is in a tree of `size` leaves, in the order of the proof.
pub fn inclusion_path(index: u64, size: u64) -> Vec<Range<u64>> {
    let (mut tree, mut path) = (0..size, Vec::new());
    while tree.end - tree.start > 1 {
        let middle = tree.start + split(tree.end - tree.start);
        if index < middle {
            path.push(middle..tree.end);
            tree.end = middle;
        } else {
            path.push(tree.start..middle);
            tree.start = middle;
        }
    }
    path.reverse();
    path
}

/// The leaves whose roots prove that a tree of `from` leaves is how one of `to` leaves began, in the order of the proof.
pub fn consistency_path(from: u64, to: u64) -> Vec<Range<u64>> {
    let (mut tree, mut whole, mut path) = (0..to, true, Vec::new());
    if from == 0 {
        return path;
    }
    while tree.end != from {
        let middle = tree.start + split(tree.end - tree.start);
        if from <= middle {
            path.push(middle..tree.end);
            tree.end = middle;
        } else {
            path.push(tree.start..middle);
            tree.start = middle;
            whole = false;
        }
    }
    // Whoever verifies has the root of the older tree, when it is a complete subtree of the newer one.
    if !whole {
        path.push(tree);
    }
    path.reverse();
    path
}

/// Whether `path` proves that `leaf` is leaf `index` of the tree of `size` leaves with this root.
pub fn verify_inclusion(leaf: Hash, index: u64, size: u64, path: &[Hash], root: Hash) -> bool {
    root_above(leaf, index, size, path) == Some(root)
}

/// The root of the tree of `size` leaves in which `path` leads up from leaf `index` (RFC 9162, 2.1.3.2); none when it
/// leads nowhere.
pub fn root_above(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut node, mut last, mut computed) = (index, size - 1, leaf);
    for hash in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            computed = Hash::above(*hash, computed);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            computed = Hash::above(computed, *hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    (last == 0).then_some(computed)
}

/// Whether `path` proves that the tree of `from` leaves with the root `old` is how the tree of `to` leaves with the root
/// `new` began (RFC 9162, 2.1.4.2).
pub fn verify_consistency(from: u64, to: u64, old: Hash, new: Hash, path: &[Hash]) -> bool {
    if from == to {
        return path.is_empty() && old == new;
    }
    if from == 0 {
        return path.is_empty() && old == Hash::of_nothing();
    }
    if from > to {
        return false;
    }
    let mut path = path.iter().copied();
    let first = if from.is_power_of_two() { Some(old) } else { path.next() };
    let Some(first) = first else { return false };
    let (mut node, mut last) = (from - 1, to - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let (mut computed_old, mut computed_new) = (first, first);
    for hash in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            computed_old = Hash::above(hash, computed_old);
            computed_new = Hash::above(hash, computed_new);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            computed_new = Hash::above(computed_new, hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && computed_old == old && computed_new == new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(data: &[u8]) -> Hash {
        let mut context = Context::new(&SHA256);
        context.update(&[0]);
        context.update(data);
        Hash::from_digest(&context.finish())
    }

    fn leaves(number: u64) -> Vec<Hash> {
        (0..number).map(|n| leaf(&n.to_be_bytes())).collect()
    }

    /// The root, as RFC 9162 defines it.
    fn root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::of_nothing(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
                Hash::above(root(left), root(right))
            }
        }
    }

    fn hashes(leaves: &[Hash], path: &[Range<u64>]) -> Vec<Hash> {
        path.iter().map(|range| root(&leaves[range.start as usize..range.end as usize])).collect()
    }

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let data: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let known = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Frontier::default();
        for (data, known) in data.iter().zip(known) {
            tree.push(leaf(data));
            let hex: String = tree.root().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, known);
        }
    }

    #[test]
    fn a_tree_that_grows_has_the_root_of_one_that_was_whole_from_the_start() {
        let leaves = leaves(300);
        let mut tree = Frontier::default();
        for size in 0..leaves.len() {
            assert_eq!(tree.root(), root(&leaves[..size]), "{size}");
            let roots = hashes(&leaves, &subtrees(0..size as u64));
            assert_eq!(Frontier::new(size as u64, roots), Some(tree.clone()));
            tree.push(leaves[size]);
        }
        assert_eq!(Frontier::new(3, vec![leaves[0]]), None);
    }

    #[test]
    fn every_leaf_is_proved_and_nothing_else_is() {
        let leaves = leaves(70);
        for size in 1..=70u64 {
            let root = root(&leaves[..size as usize]);
            for index in 0..size {
                let path = hashes(&leaves, &inclusion_path(index, size));
                let leaf = leaves[index as usize];
                assert!(verify_inclusion(leaf, index, size, &path, root), "{index} in {size}");
                assert!(!verify_inclusion(leaf, index + 1, size, &path, root) || size == 1 && index + 1 >= size);
                assert!(!verify_inclusion(Hash::of_nothing(), index, size, &path, root));
                assert!(!verify_inclusion(leaf, index, size, &path, Hash::of_nothing()));
                assert!(!verify_inclusion(leaf, index, size, &[path.clone(), vec![leaf]].concat(), root));
                if let Some(shorter) = path.len().checked_sub(1) {
                    assert!(!verify_inclusion(leaf, index, size, &path[..shorter], root));
                }
            }
        }
    }

    #[test]
    fn every_growth_is_proved_and_no_other_past_is() {
        let leaves = leaves(70);
        let mut rewritten = leaves.clone();
        rewritten[0] = Hash::of_nothing();
        for to in 0..=70u64 {
            for from in 0..=to {
                let (old, new) = (root(&leaves[..from as usize]), root(&leaves[..to as usize]));
                let path = hashes(&leaves, &consistency_path(from, to));
                assert!(verify_consistency(from, to, old, new, &path), "{from} to {to}");
                assert!(!verify_consistency(to + 1, to, old, new, &path));
                if from > 0 {
                    let another = root(&rewritten[..from as usize]);
                    assert!(!verify_consistency(from, to, another, new, &path), "{from} to {to}");
                    let path = hashes(&rewritten, &consistency_path(from, to));
                    let new = root(&rewritten[..to as usize]);
                    assert!(!verify_consistency(from, to, old, new, &path), "{from} to {to}");
                }
            }
        }
    }
}
