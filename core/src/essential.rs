//! Tasks without which a process cannot do its work. If one panics, the process ends: whoever started it starts it
//! again, which is better than a process that takes requests and answers none.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    process::exit,
};

/// The exit status after a panic: `EX_SOFTWARE` of sysexits.h.
pub const EXIT_STATUS: i32 = 70;

/// Awaits `task`, `what` of the process; a panic in it ends the process with [`EXIT_STATUS`].
pub async fn essential<T>(what: &str, task: impl Future<Output = T>) -> T {
    let mut task = pin!(task);
    poll_fn(|context| or_exit(what, || task.as_mut().poll(context))).await
}

/// Does `work`, `what` of the process; a panic in it ends the process with [`EXIT_STATUS`].
pub fn or_exit<T>(what: &str, work: impl FnOnce() -> T) -> T {
    // Nothing is looked at again that the panic may have left half done.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        tracing::error!(
            exit_status = EXIT_STATUS,
            "{what}: a panic, which is a bug; the process cannot do its work without it, and ends"
        );
        exit(EXIT_STATUS)
    })
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;

    /// Set in the process that is to end.
    const PANICS: &str = "AGUACERO_TEST_PANICS";

    /// Runs this test alone in a process of its own, where the task panics.
    #[test]
    fn a_panic_in_an_essential_task_ends_the_process() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        if env::var_os(PANICS).is_some() {
            let work = async {
                tokio::spawn(essential("a task", async { panic!("as in a bug") }));
                std::future::pending::<()>().await; // nothing else ends it
            };
            return { runtime }.build().unwrap().block_on(work);
        }
        let name = "essential::tests::a_panic_in_an_essential_task_ends_the_process";
        let mut process = Command::new(env::current_exe().unwrap());
        let status = process.args([name, "--exact"]).env(PANICS, "1").output();
        assert_eq!(status.unwrap().status.code(), Some(EXIT_STATUS));
    }
}
