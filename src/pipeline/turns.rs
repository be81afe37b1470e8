//! Turns: of what goes to one log stream, what arrived first goes into the lane first, however long each object takes to
//! find its tenant.
//!
//! A message is worked on by a task of its own, so two messages of one stream may find their tenant in either order. Each
//! takes its turns when it arrives, all of them at once; nobody waits for a turn that was taken later, so none waits for
//! ever.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// The last turn that was taken, by number, and its end.
type Last = (u64, oneshot::Receiver<Infallible>);

/// Who goes next, per `K`. Cheap to clone. It holds an entry for each `K` that somebody has a turn of.
#[derive(Debug)]
pub(super) struct Turns<K> {
    table: Arc<Mutex<Table<K>>>,
}

#[derive(Debug)]
struct Table<K> {
    last: HashMap<K, Last>,
    numbers: u64,
}

/// A place in the order of `K`, left when it is dropped. Who drops it before it has come lets those behind pass those
/// before; that happens when messages are handed back, of which no order is promised.
#[derive(Debug)]
pub(super) struct Turn<K: Clone + Eq + Hash> {
    before: Option<oneshot::Receiver<Infallible>>,
    /// Its end is the end of the turn.
    _end: oneshot::Sender<Infallible>,
    number: u64,
    of: K,
    table: Arc<Mutex<Table<K>>>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { table: Arc::new(Mutex::new(Table { last: HashMap::new(), numbers: 0 })) }
    }
}

impl<K: Clone + Eq + Hash> Turns<K> {
    /// Takes the place behind all who have one.
    pub(super) fn take(&self, of: K) -> Turn<K> {
        let (end, ended) = oneshot::channel();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.numbers += 1;
        let number = table.numbers;
        let before = table.last.insert(of.clone(), (number, ended)).map(|(_, before)| before);
        drop(table);
        Turn { before, _end: end, number, of, table: Arc::clone(&self.table) }
    }
}

impl<K: Clone + Eq + Hash> Turn<K> {
    /// What it is a turn of.
    pub(super) const fn of(&self) -> &K {
        &self.of
    }

    /// Waits until nobody is before it any more.
    pub(super) async fn come(&mut self) {
        if let Some(before) = &mut self.before {
            // Nothing is ever sent: it ends with its turn.
            let _ended = before.await;
            self.before = None;
        }
    }
}

impl<K: Clone + Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.last.get(&self.of).is_some_and(|(number, _)| *number == self.number) {
            table.last.remove(&self.of);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn each_comes_when_all_before_it_have_gone() {
        let turns = Turns::default();
        let (first, mut second, mut third, mut other) =
            (turns.take("a"), turns.take("a"), turns.take("a"), turns.take("b"));
        assert!(other.come().now_or_never().is_some(), "nobody waits for what is not its own");
        assert!(second.come().now_or_never().is_none());
        assert!(third.come().now_or_never().is_none());
        drop(first);
        assert!(third.come().now_or_never().is_none());
        assert!(second.come().now_or_never().is_some());
        assert!(second.come().now_or_never().is_some(), "it stays");
        drop(second);
        assert!(third.come().now_or_never().is_some());
        let mut fourth = turns.take("a");
        assert!(fourth.come().now_or_never().is_none());
        drop((third, other));
        assert!(fourth.come().now_or_never().is_some());
        drop(fourth);
        assert!(turns.table.lock().unwrap().last.is_empty(), "what nobody has a turn of takes no room");
    }
}
