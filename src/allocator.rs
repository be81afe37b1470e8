//! The program's allocator: small pieces by mimalloc, large ones by the system, so that memory which the budget has got back
//! leaves the process too.
//!
//! Small pieces are most of what there is to do, and go from thread to thread, for which mimalloc takes a fraction of glibc's
//! time. But it keeps what is freed for a second, with all that was written to it: 200 streams in 40 MiB then peak at 97 MiB
//! instead of 53. So buffers, chunks and windows, whose sizes are from 64 KiB to some MiB, are the system's. glibc would learn
//! from the first one freed to keep such sizes in its heaps, where they leave holes. With a fixed threshold each is a mapping
//! of its own, given back when it is freed, and grown without a copy.

#![expect(unsafe_code, reason = "an allocator is unsafe to write")]

use std::alloc::{GlobalAlloc, Layout, System};

use mimalloc::MiMalloc;

/// Bytes from which an allocation is the system's: the step in which bodies grow.
const LARGE_BYTES: usize = 64 * 1024;
/// Heaps for all threads together; small allocations in them are those of libraries written in C.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAPS_MAX: libc::c_int = 1;

/// See the [module](self).
#[derive(Clone, Copy, Debug)]
pub struct Allocator;

const fn is_large(bytes: usize) -> bool {
    bytes >= LARGE_BYTES
}

// SAFETY: each piece is had of one of two sound allocators, and given back to the same one: which one follows from the size in
// its layout alone, and whoever frees or changes a piece passes the layout that it has. Neither unwinds.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout.size()) {
            // SAFETY: the caller's promise of a size that is not zero is the same.
            unsafe { System.alloc(layout) }
        } else {
            // SAFETY: as above.
            unsafe { MiMalloc.alloc(layout) }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(layout.size()) {
            // SAFETY: as for `alloc`.
            unsafe { System.alloc_zeroed(layout) }
        } else {
            // SAFETY: as for `alloc`.
            unsafe { MiMalloc.alloc_zeroed(layout) }
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        if is_large(layout.size()) {
            // SAFETY: the piece was had with this layout, by its size of the system.
            unsafe { System.dealloc(piece, layout) };
        } else {
            // SAFETY: the same, of mimalloc.
            unsafe { MiMalloc.dealloc(piece, layout) };
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        match (is_large(layout.size()), is_large(size)) {
            // SAFETY: the piece was had with this layout, by its size of the system, and stays there; the caller promises that
            // the new size is neither zero nor too large.
            (true, true) => unsafe { System.realloc(piece, layout, size) },
            // SAFETY: the same, of mimalloc.
            (false, false) => unsafe { MiMalloc.realloc(piece, layout, size) },
            _ => {
                // SAFETY: the caller promises that the new size, rounded up to the alignment, is no more than a layout may have.
                let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
                // SAFETY: the caller promises that the new size is not zero.
                let moved = unsafe { self.alloc(new) };
                if !moved.is_null() {
                    // SAFETY: the old piece has the bytes of its layout, the new one those of its own, and so many of the less
                    // are copied; they are different pieces.
                    unsafe { std::ptr::copy_nonoverlapping(piece, moved, layout.size().min(size)) };
                    // SAFETY: the caller gave the piece away with its layout.
                    unsafe { self.dealloc(piece, layout) };
                }
                moved
            }
        }
    }
}

/// Sets the system's allocator up. Called once, before there are other threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn set_up() {
    let threshold = libc::c_int::try_from(LARGE_BYTES).unwrap_or(libc::c_int::MAX);
    for (name, value) in [(libc::M_MMAP_THRESHOLD, threshold), (libc::M_ARENA_MAX, HEAPS_MAX)] {
        // SAFETY: mallopt(3) takes two integers, checks both, and touches nothing but the allocator's own settings. A value
        // that it refuses leaves them as they are.
        let _taken = unsafe { libc::mallopt(name, value) };
    }
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub const fn set_up() {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sizes of both kinds, many near the border between them.
    fn sizes() -> impl Strategy<Value = usize> {
        prop_oneof![1..2_000_usize, LARGE_BYTES - 3..LARGE_BYTES + 3, 1..4 * LARGE_BYTES]
    }

    /// Whether a piece has the bytes that were written to it.
    fn holds(piece: *const u8, bytes: usize) -> bool {
        // SAFETY: the test's pieces have as many bytes, all of which were written.
        unsafe { std::slice::from_raw_parts(piece, bytes) }.iter().enumerate().all(|(at, byte)| *byte == mark(at))
    }

    fn mark(at: usize) -> u8 {
        (at % 251).to_le_bytes()[0]
    }

    fn write(piece: *mut u8, from: usize, to: usize) {
        for at in from..to {
            // SAFETY: within the piece, which has `to` bytes.
            let place = unsafe { piece.add(at) };
            // SAFETY: as above.
            unsafe { place.write(mark(at)) };
        }
    }

    proptest! {
        /// A piece keeps its bytes however its size changes, and begins where its alignment wants it.
        #[test]
        fn pieces_keep_their_bytes(first in sizes(), then in prop::collection::vec(sizes(), 0..8), align in 0..8_u32) {
            let align = 1 << align;
            let mut layout = Layout::from_size_align(first, align).unwrap();
            // SAFETY: the size is not zero.
            let mut piece = unsafe { Allocator.alloc_zeroed(layout) };
            // SAFETY: it has that many bytes.
            let bytes = unsafe { std::slice::from_raw_parts(piece, first) };
            prop_assert!(bytes.iter().all(|byte| *byte == 0));
            write(piece, 0, first);
            for size in then {
                // SAFETY: the piece has this layout; the size is neither zero nor too large.
                piece = unsafe { Allocator.realloc(piece, layout, size) };
                prop_assert!(piece.addr().is_multiple_of(align));
                prop_assert!(holds(piece, size.min(layout.size())));
                write(piece, layout.size().min(size), size);
                layout = Layout::from_size_align(size, align).unwrap();
            }
            prop_assert!(holds(piece, layout.size()));
            // SAFETY: the piece has this layout, and is not used any more.
            unsafe { Allocator.dealloc(piece, layout) };
        }
    }
}
