//! What must be undone however a task ends: by its last line, by being dropped, or by a panic.

/// Does its work when it is dropped.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        panic::{AssertUnwindSafe, catch_unwind},
    };

    use super::*;

    #[test]
    fn a_count_goes_down_after_a_panic_too() {
        let count = Cell::new(1);
        let work = AssertUnwindSafe(|| {
            let _counted = OnDrop(|| count.set(count.get() - 1));
            panic!("as in a bug");
        });
        assert!(catch_unwind(work).is_err());
        assert_eq!(count.get(), 0);
    }
}
