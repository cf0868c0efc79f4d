//! The text files of the checkout, read once.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Made by tools, not by people.
const SKIPPED: [&str; 3] = ["target", "__pycache__", "node_modules"];
/// Folders whose names begin with a dot and that are ours.
const HIDDEN_OURS: [&str; 3] = [".cargo", ".ci", ".github"];

/// A file.
pub(super) struct File {
    /// Its path from the root of the checkout, with slashes.
    pub(super) path: String,
    /// What is in it.
    pub(super) text: String,
}

impl File {
    /// Whether its name ends so.
    pub(super) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// Whether all of it is tests.
    pub(super) fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("_tests.rs")
    }

    /// The part that is not tests: in Rust, what stands before the module of the tests.
    pub(super) fn product(&self) -> &str {
        if self.is_test() { "" } else { &self.text[..tests_begin(&self.text)] }
    }

    /// The part that is tests.
    pub(super) fn tests(&self) -> &str {
        if self.is_test() { &self.text } else { &self.text[tests_begin(&self.text)..] }
    }
}

fn tests_begin(text: &str) -> usize {
    ["\n#[cfg(test)]\nmod tests {", "\n#[cfg(test)]\n#[path"].iter().filter_map(|mark| text.find(mark)).min().map_or(text.len(), |at| at + 1)
}

/// The root of the checkout.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the checkout")
}

/// Every text file of the checkout, by path.
pub(super) fn files() -> &'static [File] {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    FILES.get_or_init(|| {
        let mut files = Vec::new();
        read(root().to_path_buf(), &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    })
}

fn read(folder: PathBuf, files: &mut Vec<File>) {
    for entry in std::fs::read_dir(folder).expect("list the checkout") {
        let entry = entry.expect("list the checkout");
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        let kind = entry.file_type().expect("look at a file");
        let is_hidden = name.starts_with('.') && !HIDDEN_OURS.contains(&name.as_str());
        if kind.is_dir() && !is_hidden && !SKIPPED.contains(&name.as_str()) {
            read(path, files);
        } else if kind.is_file()
            && let Ok(text) = std::fs::read_to_string(&path)
        {
            let path = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
            files.push(File { path, text });
        }
    }
}

/// The text of a file that must be there.
pub(super) fn text(path: &str) -> &'static str {
    files().iter().find(|file| file.path == path).map_or_else(|| panic!("there is no {path}"), |file| &file.text)
}

/// Rust without its comments, for rules about what code does. Comments that share a line with code stay; they have not misled a rule yet.
pub(super) fn without_comments(text: &str) -> String {
    text.lines().map(|line| if line.trim_start().starts_with("//") { "\n" } else { line }).collect::<Vec<_>>().join("\n")
}

#[test]
fn product_and_tests_of_a_file_are_told_apart() {
    let file = File { path: "shared/src/x.rs".into(), text: "fn product() {}\n\n#[cfg(test)]\nmod tests {\n}\n".into() };
    assert_eq!((file.product(), file.tests()), ("fn product() {}\n\n", "#[cfg(test)]\nmod tests {\n}\n"));
    let file = File { path: "local/tests/x.rs".into(), text: "fn f() {}\n".into() };
    assert_eq!((file.product(), file.tests()), ("", "fn f() {}\n"));
    assert!(files().iter().any(|file| file.path == ".ci/run") && files().iter().all(|file| !file.path.starts_with("target/")));
}
