//! A wall clock that a test can step: preloaded (`LD_PRELOAD`) into a process, it adds to the time of day
//! the seconds that stand in the file called by `E2E_CLOCK` (8 bytes, signed, little-endian). Clocks that
//! only go forward are left alone. libfaketime bends these, sleeps and timeouts too, and breaks some.

use std::{
    ffi::CStr,
    sync::atomic::{AtomicI64, AtomicPtr, Ordering},
};

/// The file, mapped; null without one.
static SECONDS: AtomicPtr<AtomicI64> = AtomicPtr::new(std::ptr::null_mut());

/// Maps the file before the program begins.
#[used]
#[allow(unsafe_code)]
// SAFETY: the loader calls what stands in this section, once, with arguments that are not looked at.
#[unsafe(link_section = ".init_array")]
static INIT: extern "C" fn() = init;

#[allow(unsafe_code)]
extern "C" fn init() {
    const NAME: &CStr = c"E2E_CLOCK";
    // SAFETY: calls of the C library with texts that end in NUL; the mapping is never taken away.
    unsafe {
        let path = libc::getenv(NAME.as_ptr());
        if path.is_null() {
            return;
        }
        let file = libc::open(path, libc::O_RDONLY | libc::O_CLOEXEC);
        if file < 0 {
            return;
        }
        let (null, shared) = (std::ptr::null_mut(), libc::MAP_SHARED);
        let page = libc::mmap(null, 8, libc::PROT_READ, shared, file, 0);
        libc::close(file);
        if page != libc::MAP_FAILED {
            SECONDS.store(page.cast(), Ordering::Release);
        }
    }
}

#[allow(unsafe_code)]
fn seconds() -> i64 {
    let seconds = SECONDS.load(Ordering::Acquire);
    // SAFETY: null, or the mapping, which is aligned to a page and holds 8 bytes.
    unsafe { seconds.as_ref() }.map_or(0, |s| s.load(Ordering::Relaxed))
}

/// As the C library's.
///
/// # Safety
/// As the C library's.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(
    clock: libc::clockid_t,
    time: *mut libc::timespec,
) -> libc::c_int {
    // SAFETY: the caller's promise, handed on to the kernel.
    unsafe {
        let result = libc::syscall(libc::SYS_clock_gettime, clock, time) as libc::c_int;
        let is_of_day = clock == libc::CLOCK_REALTIME || clock == libc::CLOCK_REALTIME_COARSE;
        if result == 0 && is_of_day {
            (*time).tv_sec += seconds();
        }
        result
    }
}

/// As the C library's.
///
/// # Safety
/// As the C library's.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(
    time: *mut libc::timeval,
    zone: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the caller's promise, handed on to the kernel.
    unsafe {
        let result = libc::syscall(libc::SYS_gettimeofday, time, zone) as libc::c_int;
        if result == 0 && !time.is_null() {
            (*time).tv_sec += seconds();
        }
        result
    }
}
