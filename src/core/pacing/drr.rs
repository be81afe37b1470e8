//! Deficit round robin: work of many owners, each by its turn, however much of it one owner has.
//!
//! What a piece of work costs is known only when it is done, so an owner pays afterwards: it is passed over until its
//! rounds have made up for what it took.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Work that waits, by its owner.
#[derive(Debug)]
pub struct Rounds<K, T> {
    quantum: i64,
    owners: HashMap<K, Owner<T>>,
    /// Those with work that waits, in the order of their turns.
    round: VecDeque<K>,
    waiting: usize,
}

#[derive(Debug)]
struct Owner<T> {
    work: VecDeque<T>,
    /// What it may take before the others' turn; below zero after it took more.
    credit: i64,
    /// Pieces that were taken and are not paid for.
    taken: usize,
}

impl<K: Clone + Eq + Hash, T> Rounds<K, T> {
    /// Nothing waits. An owner that has work gets `quantum` in each round.
    #[must_use]
    pub fn new(quantum: u32) -> Self {
        Self { quantum: i64::from(quantum.max(1)), owners: HashMap::new(), round: VecDeque::new(), waiting: 0 }
    }

    /// Pieces of work that wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.waiting
    }

    /// Whether no work waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Adds a piece of work behind its owner's others.
    pub fn push(&mut self, owner: K, work: T) {
        let quantum = self.quantum;
        let entry = self.owners.entry(owner.clone()).or_insert_with(|| Owner {
            work: VecDeque::new(),
            credit: quantum,
            taken: 0,
        });
        if entry.work.is_empty() {
            self.round.push_back(owner);
        }
        entry.work.push_back(work);
        self.waiting += 1;
    }

    /// Takes the next piece of work, of the owner whose turn it is. [`Self::pay`] must follow when it is done.
    pub fn pop(&mut self) -> Option<(K, T)> {
        loop {
            let key = self.round.pop_front()?;
            // Who is in the round has an entry with work.
            let owner = self.owners.get_mut(&key)?;
            if owner.credit <= 0 {
                owner.credit += self.quantum;
                self.round.push_back(key);
                continue;
            }
            let work = owner.work.pop_front()?;
            owner.taken += 1;
            self.waiting -= 1;
            if !owner.work.is_empty() {
                self.round.push_front(key.clone());
            }
            return Some((key, work));
        }
    }

    /// Has the owner of a piece of work that was taken pay for it.
    pub fn pay(&mut self, owner: &K, cost: u32) {
        let Some(entry) = self.owners.get_mut(owner) else { return };
        entry.taken = entry.taken.saturating_sub(1);
        entry.credit -= i64::from(cost);
        // Nobody saves up for later, and whoever has nothing to do is forgotten.
        if entry.work.is_empty() && entry.taken == 0 && entry.credit > -self.quantum {
            self.owners.remove(owner);
        } else if entry.work.is_empty() && entry.taken == 0 {
            self.forgive();
        }
    }

    /// Forgets owners that only owe, once they are many: each push would find its own anyway.
    fn forgive(&mut self) {
        const DEBTORS_MAX: usize = 1_000;
        if self.owners.len() > self.round.len() + DEBTORS_MAX {
            self.owners.retain(|_, owner| !owner.work.is_empty() || owner.taken > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_owner_with_much_work_leaves_the_others_their_turns() {
        let mut rounds = Rounds::new(10);
        for at in 0..100 {
            rounds.push("loud", at);
        }
        rounds.push("quiet", 0);
        rounds.push("quiet", 1);
        let mut order = Vec::new();
        while let Some((owner, at)) = rounds.pop() {
            order.push((owner, at));
            rounds.pay(&owner, 10);
        }
        assert_eq!(order.len(), 102);
        let quiet: Vec<usize> =
            order.iter().enumerate().filter(|(_, (owner, _))| *owner == "quiet").map(|(place, _)| place).collect();
        assert_eq!(quiet, [1, 3], "every other turn, while it has work");
        assert!(order.iter().filter(|(owner, _)| *owner == "loud").map(|(_, at)| *at).eq(0..100), "in its own order");
    }

    proptest! {
        /// While two owners have work, what each has taken differs by no more than a quantum and its dearest piece; all
        /// work is done once, each owner's in its order.
        #[test]
        fn shares_are_equal(costs in prop::collection::vec((0_usize..4, 1_u32..40), 1..200), quantum in 1_u32..50) {
            let mut rounds = Rounds::new(quantum);
            for (at, (owner, cost)) in costs.iter().enumerate() {
                rounds.push(*owner, (at, *cost));
            }
            let mut left = [0_usize; 4];
            costs.iter().for_each(|(owner, _)| left[*owner] += 1);
            let (mut taken, mut last, mut done) = ([0_i64; 4], [None; 4], 0);
            while let Some((owner, (at, cost))) = rounds.pop() {
                prop_assert!(last[owner].replace(at) < Some(at));
                taken[owner] += i64::from(cost);
                left[owner] -= 1;
                done += 1;
                rounds.pay(&owner, cost);
                let busy: Vec<i64> = (0..4).filter(|it| left[*it] > 0).map(|it| taken[it]).collect();
                if let (Some(least), Some(most)) = (busy.iter().min(), busy.iter().max()) {
                    prop_assert!(most - least <= i64::from(quantum) + 40, "{:?}", taken);
                }
            }
            prop_assert_eq!((done, rounds.len(), rounds.owners.len()), (costs.len(), 0, rounds.owners.len()));
            prop_assert!(rounds.round.is_empty());
        }
    }
}
