//! `Index`: hash to position, in 4 to 8 bytes an entry.
//!
//! Open addressing with linear probing, never more than half full. It stores neither keys nor whole hashes: who asks
//! compares the entry itself. Nine bits of the hash stand beside each position, so that a neighbour in the table is
//! nearly never mistaken for a match, which would cost a look into memory that is not in any cache.

/// Bits of a slot that hold the position.
const POSITION_BITS: u32 = 23;

/// No slot can hold a position from here on.
pub(super) const MAX_POSITIONS: usize = (1 << POSITION_BITS) - 1;

const EMPTY: u32 = u32::MAX;

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    slots: Vec<u32>,
    entries: usize,
}

impl Index {
    /// An empty index that does not grow before there are so many entries.
    pub(super) fn for_entries(entries: usize) -> Self {
        let slots = if entries == 0 { 0 } else { (2 * entries).next_power_of_two() };
        Self { slots: vec![EMPTY; slots], entries: 0 }
    }

    /// Whether there is no entry.
    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The position of the entry with this hash that `is_it` recognises.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            let slot = *self.slots.get(at)?;
            if slot == EMPTY {
                return None;
            }
            let position = (slot & MAX_POSITIONS as u32) as usize;
            if slot >> POSITION_BITS == tag(hash) && is_it(position) {
                return Some(position);
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds an entry that is not there yet. `hash_of` gives the hash of each entry so far, for the index may grow.
    pub(super) fn insert(&mut self, hash: u64, position: usize, hash_of: impl Fn(usize) -> u64) {
        if self.slots.len() < 2 * (self.entries + 1) {
            let larger = (2 * self.slots.len()).max(8);
            let slots = std::mem::replace(&mut self.slots, vec![EMPTY; larger]);
            for slot in slots.into_iter().filter(|&slot| slot != EMPTY) {
                let position = (slot & MAX_POSITIONS as u32) as usize;
                self.place(hash_of(position), position);
            }
        }
        self.place(hash, position);
        self.entries += 1;
    }

    fn place(&mut self, hash: u64, position: usize) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots.get(at).is_some_and(|&slot| slot != EMPTY) {
            at = (at + 1) & mask;
        }
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = tag(hash) << POSITION_BITS | position as u32;
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u32>()
    }
}

/// From the other end than the slot's number is taken from. `EMPTY` can never come out of it: no position is that high.
fn tag(hash: u64) -> u32 {
    (hash >> (64 - (32 - POSITION_BITS))) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(number: usize) -> u64 {
        (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn every_entry_is_found_and_nothing_else() {
        let mut index = Index::default();
        assert_eq!(index.find(7, |_| true), None);
        for number in 0..10_000 {
            index.insert(mixed(number), number, mixed);
        }
        for number in 0..10_000 {
            assert_eq!(index.find(mixed(number), |at| at == number), Some(number));
        }
        assert!((10_000..20_000).all(|number| index.find(mixed(number), |at| at == number).is_none()));
    }

    #[test]
    fn one_with_room_does_not_grow() {
        let mut index = Index::for_entries(1000);
        let bytes = index.heap_bytes();
        for number in 0..1000 {
            index.insert(mixed(number), number, |_| panic!("no hash is asked for"));
        }
        assert_eq!(index.heap_bytes(), bytes);
        assert!((0..1000).all(|number| index.find(mixed(number), |at| at == number) == Some(number)));
    }

    #[test]
    fn equal_hashes_are_told_apart_by_the_entry() {
        let mut index = Index::default();
        for number in 0..20 {
            index.insert(u64::MAX, number, |_| u64::MAX);
        }
        assert!((0..20).all(|number| index.find(u64::MAX, |at| at == number) == Some(number)));
    }
}
