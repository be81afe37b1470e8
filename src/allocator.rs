//! How the allocator treats buffers, so that memory which the budget has got back leaves the process too.
//!
//! Bodies, chunks and windows come and go in sizes from 64 KiB to some MiB. glibc learns from the first one freed to keep
//! such sizes in its heaps, where they leave holes: 200 streams in 40 MiB then peak at 72 MiB instead of 58. With a fixed
//! threshold each is a mapping of its own, given back when it is freed, and grown without a copy.

/// Bytes from which an allocation is a mapping of its own: the step in which bodies grow.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_FROM_BYTES: libc::c_int = 64 * 1024;
/// Heaps for all threads together; small allocations are few on the way of an object.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAPS_MAX: libc::c_int = 2;

/// Sets the allocator up. Called once, before there are other threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "glibc's settings have no safe binding")]
pub fn set_up() {
    let settings = [(libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES), (libc::M_ARENA_MAX, HEAPS_MAX)];
    for (name, value) in settings {
        // SAFETY: mallopt(3) takes two integers, checks both, and touches nothing but the allocator's own settings. A value
        // that it refuses leaves them as they are.
        let _taken = unsafe { libc::mallopt(name, value) };
    }
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub const fn set_up() {}
