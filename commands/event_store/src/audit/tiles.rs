//! The tree as it is kept: tiles of 256 hashes, so that any proof reads a handful of rows.

use std::collections::HashMap;
use std::ops::Range;

use sqlx::PgConnection;

use super::tree::{Frontier, Hash, subtrees};
use crate::StoreError;

/// Hashes in a whole tile.
pub(crate) const WIDTH: usize = 256;
const HASH: usize = 32;
/// The height of a tile, in levels of the tree.
const HEIGHT: u32 = WIDTH.ilog2();

/// The root of a few nodes side by side.
pub(crate) fn root_of(nodes: &[Hash]) -> Hash {
    let mut tree = Frontier::default();
    nodes.iter().for_each(|node| tree.push(*node));
    tree.root()
}

/// Where some nodes side by side are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TileId {
    pub(crate) level: i16,
    pub(crate) index: i64,
}

/// A tile's hashes that are to be added at its end.
pub(crate) struct Addition {
    tile: TileId,
    /// How many hashes the tile has with them.
    total: usize,
    added: Vec<Hash>,
}

/// The right edge of the tree, to which leaves are added.
pub(crate) struct Edge {
    size: u64,
    /// The hashes of the last tile of each level, from the leaves up; none is whole.
    levels: Vec<Vec<Hash>>,
    /// How many of them are in the database.
    kept: Vec<usize>,
    whole: Vec<Addition>,
}

impl Edge {
    /// The edge of the tree of the first `size` events.
    pub(crate) async fn load(connection: &mut PgConnection, size: u64) -> Result<Self, StoreError> {
        let counts: Vec<u64> = (0..).map(|level| size >> (HEIGHT * level)).take_while(|count| *count > 0).collect();
        let ids: Vec<TileId> = (0i16..).zip(&counts).map(|(level, count)| tile(level, *count)).collect();
        let tiles = load(connection, &ids).await?;
        let mut levels = Vec::with_capacity(counts.len());
        for (id, count) in ids.iter().zip(&counts) {
            let hashes = tiles.get(id).map_or(&[][..], Vec::as_slice);
            let here = offset(*count);
            if hashes.len() != here {
                return Err(StoreError::Broken(format!("the tree has {} hashes where it had {here}", hashes.len())));
            }
            levels.push(hashes.to_vec());
        }
        let kept = levels.iter().map(Vec::len).collect();
        Ok(Self { size, levels, kept, whole: Vec::new() })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf.
    pub(crate) fn push(&mut self, leaf: Hash) {
        let (mut node, mut level) = (leaf, 0);
        loop {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
                self.kept.push(0);
            }
            self.levels[level].push(node);
            if self.levels[level].len() < WIDTH {
                break;
            }
            let hashes = std::mem::take(&mut self.levels[level]);
            node = root_of(&hashes);
            let kept = std::mem::take(&mut self.kept[level]);
            let index = self.size >> (HEIGHT * (level as u32 + 1));
            let tile = TileId { level: level as i16, index: index.cast_signed() };
            self.whole.push(Addition { tile, total: WIDTH, added: hashes[kept..].to_vec() });
            level += 1;
        }
        self.size += 1;
    }

    /// The root of the tree.
    pub(crate) fn root(&self) -> Hash {
        // Within a level, complete subtrees from the left; above it, the levels.
        let roots = self.levels.iter().rev().flat_map(|hashes| {
            let parts = subtrees(0..hashes.len() as u64);
            parts.into_iter().map(|part| root_of(&hashes[part.start as usize..part.end as usize]))
        });
        Frontier::new(self.size, roots.collect()).map_or_else(Hash::of_nothing, |tree| tree.root())
    }

    /// Writes what was added since the last time.
    pub(crate) async fn write(&mut self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let mut additions = std::mem::take(&mut self.whole);
        for (level, hashes) in self.levels.iter().enumerate() {
            let kept = std::mem::replace(&mut self.kept[level], hashes.len());
            if hashes.len() > kept {
                let tile = tile(level as i16, self.size >> (HEIGHT * level as u32));
                additions.push(Addition { tile, total: hashes.len(), added: hashes[kept..].to_vec() });
            }
        }
        let bytes = |hashes: &[Hash]| hashes.iter().flat_map(Hash::as_bytes).copied().collect::<Vec<u8>>();
        let written: Vec<(i16, i64, i32)> = sqlx::query_as(
            "insert into audit_tiles as t (level, index, hashes)
             select * from unnest($1::smallint[], $2::bigint[], $3::bytea[])
             on conflict (level, index) do update set hashes = t.hashes || excluded.hashes
             returning level, index, octet_length(hashes)",
        )
        .bind(additions.iter().map(|addition| addition.tile.level).collect::<Vec<_>>())
        .bind(additions.iter().map(|addition| addition.tile.index).collect::<Vec<_>>())
        .bind(additions.iter().map(|addition| bytes(&addition.added)).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
        let lengths: HashMap<TileId, usize> = written
            .into_iter()
            .map(|(level, index, length)| (TileId { level, index }, length.cast_unsigned() as usize / HASH))
            .collect();
        match additions.iter().find(|addition| lengths.get(&addition.tile) != Some(&addition.total)) {
            None => Ok(()),
            Some(addition) => Err(StoreError::Broken(format!("the tree was changed at {:?}", addition.tile))),
        }
    }
}

/// The roots over ranges of leaves, each of which begins where a tree as large as it may begin.
pub(crate) async fn roots(connection: &mut PgConnection, ranges: &[Range<u64>]) -> Result<Vec<Hash>, StoreError> {
    let parts: Vec<Vec<Nodes>> =
        ranges.iter().map(|range| subtrees(range.clone()).into_iter().map(Nodes::of).collect()).collect();
    let mut wanted: Vec<TileId> = parts.iter().flatten().map(|nodes| nodes.tile).collect();
    wanted.sort_unstable_by_key(|tile| (tile.level, tile.index));
    wanted.dedup();
    let tiles = load(connection, &wanted).await?;
    let root = |nodes: &Nodes| {
        let hashes = tiles.get(&nodes.tile).and_then(|hashes| hashes.get(nodes.within.clone()));
        hashes.map(root_of).ok_or_else(|| StoreError::Broken(format!("the tree lacks a part of {:?}", nodes.tile)))
    };
    let mut roots = Vec::with_capacity(ranges.len());
    for parts in &parts {
        let joined = parts.iter().rev().map(root).reduce(|right, left| Ok(Hash::above(left?, right?)));
        roots.push(joined.unwrap_or_else(|| Ok(Hash::of_nothing()))?);
    }
    Ok(roots)
}

/// The leaves that are kept of these positions.
pub(crate) async fn leaves(connection: &mut PgConnection, positions: Range<u64>) -> Result<Vec<Hash>, StoreError> {
    let (first, last) = (positions.start - 1, positions.end.saturating_sub(2));
    let ids: Vec<TileId> = (first / WIDTH as u64..=last / WIDTH as u64)
        .map(|index| TileId { level: 0, index: index.cast_signed() })
        .collect();
    let tiles = load(connection, &ids).await?;
    let mut found = Vec::with_capacity((positions.end - positions.start) as usize);
    for id in &ids {
        let Some(hashes) = tiles.get(id) else { break };
        found.extend(hashes);
        if hashes.len() < WIDTH {
            break;
        }
    }
    let skipped = (first % WIDTH as u64) as usize;
    found.truncate(skipped + (positions.end - positions.start) as usize);
    Ok(found.split_off(skipped.min(found.len())))
}

/// Nodes side by side in one tile.
struct Nodes {
    tile: TileId,
    within: Range<usize>,
}

impl Nodes {
    /// Those that a complete subtree stands upon, or is.
    fn of(leaves: Range<u64>) -> Self {
        let height = (leaves.end - leaves.start).ilog2();
        let level = height / HEIGHT;
        let first = leaves.start >> (HEIGHT * level);
        let begin = offset(first);
        Self { tile: tile(level as i16, first), within: begin..begin + (1 << (height % HEIGHT)) }
    }
}

/// The tile of a level's node.
fn tile(level: i16, node: u64) -> TileId {
    TileId { level, index: (node / WIDTH as u64).cast_signed() }
}

/// A node's place in its tile.
fn offset(node: u64) -> usize {
    (node % WIDTH as u64) as usize
}

async fn load(connection: &mut PgConnection, ids: &[TileId]) -> Result<HashMap<TileId, Vec<Hash>>, StoreError> {
    let rows: Vec<(i16, i64, Vec<u8>)> = sqlx::query_as(
        "select t.level, t.index, t.hashes from unnest($1::smallint[], $2::bigint[]) as w (level, index)
         join audit_tiles t on t.level = w.level and t.index = w.index",
    )
    .bind(ids.iter().map(|id| id.level).collect::<Vec<_>>())
    .bind(ids.iter().map(|id| id.index).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let hashes = |bytes: &[u8]| bytes.chunks_exact(HASH).filter_map(Hash::from_slice).collect::<Vec<_>>();
    Ok(rows.into_iter().map(|(level, index, bytes)| (TileId { level, index }, hashes(&bytes))).collect())
}
