//! What somebody who waits gets to see.

use std::io::{IsTerminal as _, Write as _};

/// One line that is written over, where there is somebody to look at it.
pub fn progress(line: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[2K{line}");
        _ = std::io::stderr().flush();
    }
}
