//! An allocator that wipes what is given back.
//!
//! A secret passes through memory that is no [`Secret`](crate::Secret): buffers of the connection, of TLS and JSON, of
//! libraries. They are freed soon, but what they held would lie in the heap until it is used again, also after the server
//! is sealed. So a program that handles secrets makes this its allocator.

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator; memory is wiped before it is given back.
#[derive(Clone, Copy, Debug, Default)]
pub struct WipingAllocator;

// SAFETY: what `System` promises is passed on. Memory is written to only in `dealloc`, within its layout, while it still
// belongs to the caller. `realloc` is the one of the trait: it copies to new memory and gives the old back through
// `dealloc`, so nothing stays where a block was before it grew, nor behind the end of one that shrank.
unsafe impl GlobalAlloc for WipingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `memory` is the caller's until it is given back below, and has the size of `layout`.
        unsafe { memory.write_bytes(0, layout.size()) };
        // To the compiler, somebody may look at the zeros: else it leaves out what is written right before a free.
        std::hint::black_box(memory);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(unsafe_code, reason = "an allocator is tried by its own interface")]
    fn blocks_keep_what_is_in_them_while_they_grow_and_shrink() {
        let layout = |size| Layout::from_size_align(size, 8).unwrap();
        // SAFETY: each block is used within its size, and given back once with the layout it has.
        unsafe {
            let small = WipingAllocator.alloc(layout(16));
            small.copy_from(b"0123456789abcdef".as_ptr(), 16);
            let large = WipingAllocator.realloc(small, layout(16), 4096);
            assert_ne!(small, large, "grown in place");
            assert_eq!(std::slice::from_raw_parts(large, 16), b"0123456789abcdef");
            let small = WipingAllocator.realloc(large, layout(4096), 4);
            assert_eq!(std::slice::from_raw_parts(small, 4), b"0123");
            WipingAllocator.dealloc(small, layout(4));
            let zeros = WipingAllocator.alloc_zeroed(layout(64));
            assert_eq!(std::slice::from_raw_parts(zeros, 64), [0; 64]);
            WipingAllocator.dealloc(zeros, layout(64));
        }
    }
}
