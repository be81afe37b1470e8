//! Lines for whoever called the program. Who has closed a stream does not want its lines, so nothing fails for that.

use std::fmt::Display;
use std::io::Write as _;

/// Writes a line of the result to standard output.
pub fn say(line: impl Display) {
    let _closed = writeln!(std::io::stdout(), "{line}");
}

/// Writes a line about the result to standard error.
pub fn remark(line: impl Display) {
    let _closed = writeln!(std::io::stderr(), "{line}");
}
