//! Workers that share the memory of this module and take pieces of its kernels' work, where a page may share memory.
//!
//! The standard library of WebAssembly knows of one thread. Members therefore run nothing but pieces that are shared
//! here, and these touch nothing static, but for the allocator, which is behind a lock meanwhile. What crosses threads
//! is atomic: `ofa-bindgen` (`threads.rs`) puts instructions in the place of the imports of `atomics`, and makes the memory shared
//! in a file of its own; in the others nobody joins.

use crate::kernels::host::memory::Aligned;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;

/// Multiply-adds below which telling the others costs more than they save.
const WORTH: usize = 1 << 16;
/// How often a member looks for work before it sleeps: some 50 microseconds, longer than most kernels are apart.
const LOOKS: usize = 20_000;
/// Bytes of a member's stack, as the module's own.
const STACK: usize = 1 << 20;

#[link(wasm_import_module = "atomics")]
unsafe extern "C" {
    safe fn load(word: &Word) -> u32;
    safe fn store(word: &Word, value: u32);
    /// Gives what was there, as `swap` does.
    safe fn add(word: &Word, value: u32) -> u32;
    safe fn swap(word: &Word, value: u32) -> u32;
    /// Sleeps until it is notified, unless the word has another value already.
    safe fn wait(word: &Word, value: u32);
    /// Wakes all who wait.
    safe fn notify(word: &Word);
}

/// A number that threads share.
#[repr(transparent)]
struct Word(UnsafeCell<u32>);

// SAFETY: only atomic instructions touch it.
unsafe impl Sync for Word {}

impl Word {
    const fn zero() -> Self {
        Self(UnsafeCell::new(0))
    }
}

/// What is to be done, and in how many pieces.
#[derive(Clone, Copy)]
struct Job {
    each: &'static (dyn Fn(usize) + Sync),
    pieces: usize,
}

impl Job {
    fn take_pieces(self) {
        loop {
            let piece = add(&NEXT, 1) as usize;
            if piece >= self.pieces {
                return;
            }
            (self.each)(piece);
        }
    }
}

struct Posted(UnsafeCell<Option<Job>>);

// SAFETY: it changes while nobody is inside.
unsafe impl Sync for Posted {}

static POSTED: Posted = Posted(UnsafeCell::new(None));
/// The next piece of it.
static NEXT: Word = Word::zero();
/// Whether members may begin pieces.
static OPEN: Word = Word::zero();
/// How many members may be at one, or look whether they may.
static INSIDE: Word = Word::zero();
/// Whether a job is under way, from before it is open until nobody is inside.
static BUSY: Word = Word::zero();
/// Counts jobs. Members sleep on it.
static JOBS: Word = Word::zero();
static ASLEEP: Word = Word::zero();
static MEMBERS: Word = Word::zero();
/// Whether a member's piece ended in a trap.
static FAILED: Word = Word::zero();
/// Whether members are to leave.
static OVER: Word = Word::zero();
/// Whether all is worth it.
static ALL: Word = Word::zero();
static ALLOCATING: Word = Word::zero();

/// Threads that this one shares so many multiply-adds with, itself included. What is shared already is not shared further.
pub fn threads(work: usize) -> usize {
    let worth = work >= WORTH || (cfg!(feature = "parity") && load(&ALL) == 1);
    if worth && load(&BUSY) == 0 { crew_threads() } else { 1 }
}

/// Calls `each` for all of `0..pieces` on whichever threads come.
///
/// Traps where a member did.
pub fn share(pieces: usize, each: &(dyn Fn(usize) + Sync)) {
    // SAFETY: members use it while they are inside, and this returns when none is.
    let job = Job {
        each: unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(each) },
        pieces,
    };
    store(&BUSY, 1);
    // SAFETY: nobody is inside.
    unsafe { *POSTED.0.get() = Some(job) };
    store(&NEXT, 0);
    store(&OPEN, 1);
    add(&JOBS, 1);
    if load(&ASLEEP) > 0 {
        notify(&JOBS);
    }
    job.take_pieces();
    store(&OPEN, 0);
    while load(&INSIDE) > 0 {
        trap_with_others();
    }
    store(&BUSY, 0);
}

/// Nobody waits for a member that trapped. To panic would be to allocate.
fn trap_with_others() {
    if load(&FAILED) == 1 {
        std::arch::wasm32::unreachable();
    }
}

/// The end of a new member's stack.
#[unsafe(no_mangle)]
extern "C" fn crew_stack() -> *mut u8 {
    // SAFETY: the layout is not empty, and the end lies behind what was allocated.
    unsafe {
        let layout = Layout::from_size_align_unchecked(STACK, 16);
        let start = std::alloc::alloc(layout);
        if start.is_null() {
            std::alloc::handle_alloc_error(layout);
        }
        start.add(STACK)
    }
}

/// Makes the calling thread, which has an instance and a stack of its own, a member until [`crew_end`].
#[unsafe(no_mangle)]
extern "C" fn crew_join() {
    add(&MEMBERS, 1);
    loop {
        let jobs = load(&JOBS);
        if load(&OVER) == 1 {
            add(&MEMBERS, 1_u32.wrapping_neg());
            return;
        }
        add(&INSIDE, 1);
        // Whoever closes the job looks afterwards whether somebody is inside.
        if load(&OPEN) == 1 {
            // SAFETY: the job was written before it was opened, and stays until this is outside again.
            if let Some(job) = unsafe { *POSTED.0.get() } {
                job.take_pieces();
            }
        }
        add(&INSIDE, 1_u32.wrapping_neg());
        if (0..LOOKS).all(|_| load(&JOBS) == jobs) {
            add(&ASLEEP, 1);
            wait(&JOBS, jobs);
            add(&ASLEEP, 1_u32.wrapping_neg());
        }
    }
}

/// Has members leave when they are done with their pieces. There are to be none afterwards.
#[unsafe(no_mangle)]
extern "C" fn crew_end() {
    store(&OVER, 1);
    add(&JOBS, 1);
    notify(&JOBS);
}

/// Tells that the calling member ended in a trap.
#[unsafe(no_mangle)]
extern "C" fn crew_failed() {
    store(&FAILED, 1);
}

/// How many threads there are.
#[unsafe(no_mangle)]
extern "C" fn crew_threads() -> usize {
    1 + load(&MEMBERS) as usize
}

/// Has everything shared, however little, as goldens are small.
#[cfg(feature = "parity")]
#[unsafe(no_mangle)]
extern "C" fn crew_share_all() {
    store(&ALL, 1);
}

/// The allocator, whose inner one is built for one thread, one at a time.
struct OneAtATime;

#[global_allocator]
static ALLOCATOR: OneAtATime = OneAtATime;

impl OneAtATime {
    fn turn<T>(&self, act: impl FnOnce() -> T) -> T {
        // Nobody else allocates then.
        if load(&BUSY) == 0 {
            return act();
        }
        while swap(&ALLOCATING, 1) == 1 {
            trap_with_others();
        }
        let done = act();
        store(&ALLOCATING, 0);
        done
    }
}

// SAFETY: all is passed on.
unsafe impl GlobalAlloc for OneAtATime {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.turn(|| unsafe { Aligned.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.turn(|| unsafe { Aligned.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        self.turn(|| unsafe { Aligned.dealloc(at, layout) })
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.turn(|| unsafe { Aligned.realloc(at, layout, size) })
    }
}
