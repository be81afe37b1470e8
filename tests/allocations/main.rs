//! No memory is asked for per event: from stored bytes to sealed batches, what is asked for grows with batches alone.

#![expect(unsafe_code, reason = "whoever counts allocations must be the allocator")]
#![expect(clippy::unwrap_used, reason = "a test that cannot make its objects fails")]
#![allow(dead_code, reason = "the benches share more than is used here")]

#[path = "../../benches/core/ours.rs"]
mod ours;
#[path = "../../benches/core/sets.rs"]
mod sets;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use self::ours::Ours;
use self::sets::{Kind, Set};

/// Events for each time that memory is asked for, at least.
const EVENTS_LEAST: u64 = 20;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

/// The system's, which counts how often this thread asks.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count() {
    // At a thread's end there is nothing to count with, or for.
    let _ended = ASKED.try_with(|asked| asked.set(asked.get() + 1));
}

// SAFETY: all is the system's allocator's, which is asked for the same; the count asks for no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that are asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[test]
fn no_memory_is_asked_for_per_event() {
    for kind in Kind::ALL {
        let set = Set::of(kind, 2);
        let mut ours = Ours::new();
        // The first time makes what is used again.
        let events = ours.run(&set, |_| {});
        let before = ASKED.get();
        assert_eq!(ours.run(&set, |_| {}), events);
        let asked = ASKED.get() - before;
        assert!(asked > 0, "the count counts");
        assert!(asked * EVENTS_LEAST <= events, "{kind:?}: {asked} times for {events} events");
    }
}
