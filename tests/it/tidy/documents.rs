//! Rules about the documents: the runbook has a section for whatever a report can say, and links lead somewhere.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use shared::finding::FindingKind;

use super::assert_none;
use super::tree::{files, root, text};

// ---------------------------------------------------------------------------------------------------------------------------------------------
// The runbook
// ---------------------------------------------------------------------------------------------------------------------------------------------

/// Anchors of the runbook that head a section: `<a id="objectCorrupt"></a>`, and a heading below it that says the same.
fn sections(runbook: &str) -> Vec<String> {
    let lines: Vec<&str> = runbook.lines().collect();
    let mut sections = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let name = line.trim().strip_prefix("<a id=\"").and_then(|rest| rest.strip_suffix("\"></a>"));
        let heading = lines[number + 1..].iter().find(|line| !line.trim().is_empty());
        if let Some(name) =
            name.filter(|name| heading.is_some_and(|heading| heading.trim_start_matches('#').trim() == *name && heading.starts_with('#')))
        {
            sections.push(name.to_owned());
        }
    }
    sections
}

fn section_mistakes(runbook: &str, names: &[&str]) -> Vec<String> {
    let sections = sections(runbook);
    let mut mistakes: Vec<String> = Vec::new();
    mistakes.extend(
        names.iter().filter(|name| !sections.iter().any(|section| section == *name)).map(|name| format!("docs/runbook.md has no section {name}")),
    );
    mistakes.extend(
        sections
            .iter()
            .filter(|section| !names.contains(&section.as_str()))
            .map(|name| format!("docs/runbook.md explains {name}, which no report says")),
    );
    let distinct: BTreeSet<&String> = sections.iter().collect();
    if distinct.len() != sections.len() {
        mistakes.push("docs/runbook.md has two sections of one name".to_owned());
    }
    mistakes.extend(
        runbook
            .lines()
            .filter(|line| line.contains("<a id="))
            .count()
            .checked_sub(sections.len())
            .filter(|more| *more > 0)
            .map(|more| format!("docs/runbook.md has {more} anchors without a heading of their name")),
    );
    mistakes
}

/// The variants of `FailureKind`, as its source has them: they are the `errorType` of a failed invocation.
fn failure_kinds(source: &str) -> Vec<&str> {
    let (_, body) = source.split_once("pub enum FailureKind {").expect("failure.rs has the kinds");
    let (body, _) = body.split_once('}').expect("the enum ends");
    body.lines().filter_map(|line| line.trim().strip_suffix(',')).filter(|name| !name.starts_with("//")).collect()
}

#[test]
fn whatever_a_report_can_say_has_a_section_in_the_runbook() {
    let mut names: Vec<&str> = FindingKind::ALL.iter().map(|kind| kind.name()).collect();
    let failures = failure_kinds(text("shared/src/failure.rs"));
    assert!(failures.len() >= 10, "{failures:?}");
    names.extend(failures);
    assert_none(&section_mistakes(text("docs/runbook.md"), &names));
}

#[test]
fn planted_sections_are_noticed() {
    let good = "# Runbook\n\n<a id=\"oneThing\"></a>\n\n### oneThing\n\nText.\n";
    assert_none(&section_mistakes(good, &["oneThing"]));
    assert_eq!(section_mistakes(good, &["oneThing", "another"]).len(), 1);
    assert_eq!(section_mistakes(good, &[]).len(), 1);
    assert!(!section_mistakes(&good.replace("### oneThing", "### onething"), &["oneThing"]).is_empty());
    assert!(!section_mistakes(&format!("{good}{good}"), &["oneThing"]).is_empty());
}

// ---------------------------------------------------------------------------------------------------------------------------------------------
// Links
// ---------------------------------------------------------------------------------------------------------------------------------------------

/// Lines outside code blocks.
fn prose(markdown: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    markdown.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// Targets of the links within this repository.
fn links(markdown: &str) -> Vec<&str> {
    prose(markdown)
        .flat_map(|line| line.match_indices("](").map(move |(at, _)| &line[at + 2..]))
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .collect()
}

/// What a `#…` may name: headings as GitHub makes anchors of them, and explicit anchors.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(markdown) {
        if line.starts_with('#') {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            anchors.insert(
                heading
                    .chars()
                    .filter(|char| char.is_alphanumeric() || "-_ ".contains(*char))
                    .map(|char| if char == ' ' { '-' } else { char })
                    .collect(),
            );
        }
        anchors.extend(line.match_indices("<a id=\"").filter_map(|(at, mark)| line[at + mark.len()..].split('"').next()).map(str::to_owned));
    }
    anchors
}

/// `docs/../README.md` is `README.md`.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut normal, component| {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
        normal
    })
}

fn link_mistakes(path: &str, markdown: &str, exists: &dyn Fn(&Path) -> bool, read: &dyn Fn(&Path) -> String) -> Vec<String> {
    let mut mistakes = Vec::new();
    for target in links(markdown) {
        let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
        let file = if file.is_empty() { PathBuf::from(path) } else { normal(&Path::new(path).with_file_name("").join(file)) };
        if !exists(&file) {
            mistakes.push(format!("{path} links to {target}, which is not there"));
        } else if let Some(anchor) = anchor.filter(|anchor| !anchors(&read(&file)).contains(*anchor)) {
            mistakes.push(format!("{path} links to {target}, and there is no section #{anchor}"));
        }
    }
    mistakes
}

#[test]
fn links_lead_somewhere() {
    let exists = |path: &Path| root().join(path).exists();
    let read = |path: &Path| std::fs::read_to_string(root().join(path)).unwrap_or_default();
    let documents: Vec<_> = files().iter().filter(|file| file.has_extension("md")).collect();
    assert!(documents.len() >= 8, "{} documents", documents.len());
    assert_none(&documents.iter().flat_map(|file| link_mistakes(&file.path, &file.text, &exists, &read)).collect::<Vec<_>>());
}

#[test]
fn planted_links_are_noticed() {
    let (exists, read) =
        (|path: &Path| path == Path::new("docs/a.md") || path == Path::new("README.md"), |_: &Path| "# A heading: of *two* `parts`\n".to_owned());
    let mistakes = |text: &str| link_mistakes("docs/a.md", text, &exists, &read).len();
    assert_eq!(mistakes("[x](a.md) [y](../README.md#a-heading-of-two-parts) [z](https://example.com/b.md)\n```sh\n[w](nowhere)\n```\n"), 0);
    for bad in ["[x](b.md)", "[x](a.md#nothing)", "[x](../docs/c.md)", "[x](#nothing)"] {
        assert_eq!(mistakes(bad), 1, "{bad}");
    }
}
