//! The rules of this repository that no compiler and no linter holds: what may depend on what, what the pure half may know, that every finding has its
//! section in the runbook, every setting its place in the template.
//!
//! A rule is a function from text to mistakes. Beside the test that runs it over the checkout stands one that runs it over a planted mistake:
//! a check that cannot fail is no check. Nothing here needs the local cloud, the network or an installed tool.

mod dependencies;
mod documents;
mod events;
mod licence;
mod settings;
mod source;
mod tree;

/// Fails with all mistakes at once.
#[track_caller]
fn assert_none(mistakes: &[String]) {
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));
}
