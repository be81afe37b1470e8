//! Turns: of what goes to one log stream, what arrived first goes into the lane first, however long each object takes to
//! find its tenant.
//!
//! A message is worked on by a task of its own, so two messages of one stream may find their tenant in either order. Each
//! takes its turns when it arrives, all of them at once; nobody waits for a turn that was taken later, so none waits for
//! ever.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// A turn that others wait for, by number, and its end. If it ends before it has come, it tells what it waited for.
#[derive(Debug)]
struct Ahead(u64, oneshot::Receiver<Self>);

/// Who goes next, per `K`. Cheap to clone. It holds an entry for each `K` that somebody has a turn of.
#[derive(Debug)]
pub(super) struct Turns<K> {
    table: Arc<Mutex<Table<K>>>,
}

#[derive(Debug)]
struct Table<K> {
    last: HashMap<K, Ahead>,
    numbers: u64,
}

/// A place in the order of `K`, left when it is dropped.
#[derive(Debug)]
pub(super) struct Turn<K: Clone + Eq + Hash> {
    before: Option<Ahead>,
    end: Option<oneshot::Sender<Ahead>>,
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
        let before = table.last.insert(of.clone(), Ahead(number, ended));
        drop(table);
        Turn { before, end: Some(end), number, of, table: Arc::clone(&self.table) }
    }
}

impl<K: Clone + Eq + Hash> Turn<K> {
    /// What it is a turn of.
    pub(super) const fn of(&self) -> &K {
        &self.of
    }

    /// Waits until nobody is before it any more.
    pub(super) async fn come(&mut self) {
        while let Some(Ahead(_, before)) = &mut self.before {
            self.before = before.await.ok();
        }
    }
}

impl<K: Clone + Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        // All of it behind the lock: an end is seen either before or after it.
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let end = self.end.take();
        let mut before = self.before.take();
        while let Some(Ahead(_, ended)) = &mut before {
            match ended.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => break,
                Err(oneshot::error::TryRecvError::Closed) => before = None,
                Ok(ahead) => before = Some(ahead),
            }
        }
        if table.last.get(&self.of).is_some_and(|Ahead(number, _)| *number == self.number) {
            // Whoever comes next waits for what this one waited for.
            match before {
                Some(before) => table.last.insert(self.of.clone(), before),
                None => table.last.remove(&self.of),
            };
        } else if let (Some(before), Some(end)) = (before, end) {
            // The one behind waits for it, or has given up itself.
            let _is_waited_for = end.send(before);
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
        drop(third);
        assert!(fourth.come().now_or_never().is_some());
        let (fifth, sixth) = (turns.take("a"), turns.take("a"));
        let mut seventh = turns.take("a");
        drop(sixth);
        drop(fifth);
        assert!(seventh.come().now_or_never().is_none(), "the fourth is still at work");
        drop(seventh);
        let mut eighth = turns.take("a");
        assert!(eighth.come().now_or_never().is_none(), "whoever gave up was not before all others");
        drop(fourth);
        let mut fourth = eighth;
        drop(other);
        assert!(fourth.come().now_or_never().is_some());
        drop(fourth);
        assert!(turns.table.lock().unwrap().last.is_empty(), "what nobody has a turn of takes no room");
    }
}
