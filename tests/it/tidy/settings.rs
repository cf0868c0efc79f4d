//! Every setting that a function reads is set by the template, and what sets it is explained in DEPLOYMENT.md; nothing is set that nobody reads.

use std::collections::{BTreeMap, BTreeSet};

use local::binaries::FUNCTIONS;

use super::assert_none;
use super::tree::{File, files, text, without_comments};

/// How `shared::env::Reader` is asked.
const READERS: [&str; 4] = [".required(", ".optional(", ".parsed(", ".number("];

/// Names of the variables that code reads.
fn read(code: &str) -> BTreeSet<String> {
    let code = without_comments(code);
    let mut names = BTreeSet::new();
    for reader in READERS {
        for (at, _) in code.match_indices(reader) {
            let rest = code[at + reader.len()..].trim_start();
            let name = rest.strip_prefix('"').and_then(|rest| rest.split('"').next());
            names.extend(name.filter(|name| is_variable(name)).map(str::to_owned));
        }
    }
    names
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|char| char.is_ascii_uppercase() || char.is_ascii_digit() || char == '_')
}

/// Variables by the folder of their function (`*` for all functions), each with the parameters and resources that its value names.
fn set(template: &str) -> BTreeMap<(String, String), Vec<String>> {
    let mut found = BTreeMap::new();
    let (mut function, mut inside) = (None, None);
    for line in template.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        let indent = line.len() - line.trim_start().len();
        let (name, value) = line.trim().split_once(':').unwrap_or((line.trim(), ""));
        match indent {
            0 => function = (name == "Globals").then(|| "*".to_owned()),
            2 if function.as_deref() != Some("*") => function = None,
            _ => {}
        }
        if name == "CodeUri" {
            function = value.trim().strip_prefix("functions/").map(str::to_owned);
        }
        if inside.is_some_and(|outer| indent <= outer) {
            inside = None;
        }
        match (&function, inside) {
            (Some(function), Some(_)) if is_variable(name) => {
                found.insert((function.clone(), name.to_owned()), named(value));
            }
            (Some(_), None) if name == "Variables" => inside = Some(indent),
            _ => {}
        }
    }
    found
}

/// What `!Ref X`, `!GetAtt X.y` and `${X}` name, but for what AWS gives.
fn named(value: &str) -> Vec<String> {
    let marks = ["!Ref ", "!GetAtt ", "${"];
    let after = marks.iter().flat_map(|mark| value.match_indices(mark).map(|(at, mark)| &value[at + mark.len()..]));
    let names = after.map(|rest| rest.chars().take_while(|char| char.is_ascii_alphanumeric() || *char == ':').collect::<String>());
    names.filter(|name| !name.starts_with("AWS::")).collect()
}

/// Not ours: the C library reads them when the process starts.
const READ_BY_THE_C_LIBRARY: &[&str] = &["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"];

fn mistakes(reads: &BTreeMap<String, BTreeSet<String>>, sets: &BTreeMap<(String, String), Vec<String>>, deployment: &str) -> Vec<String> {
    let mut mistakes = Vec::new();
    let is_set = |function: &str, name: &str| sets.contains_key(&(function.to_owned(), name.to_owned()));
    for (function, names) in reads {
        for name in names.iter().filter(|name| !is_set(function, name) && !is_set("*", name)) {
            mistakes.push(format!("{function} reads {name}, which template.yaml does not set"));
        }
    }
    for ((function, name), refers) in sets {
        let is_read = reads.iter().any(|(reader, names)| (function == "*" || reader == function) && names.contains(name));
        if !is_read && !READ_BY_THE_C_LIBRARY.contains(&name.as_str()) {
            mistakes.push(format!("template.yaml sets {name} for {function}, and nobody reads it"));
        }
        for refer in refers.iter().filter(|refer| !deployment.contains(&format!("`{refer}"))) {
            mistakes.push(format!("{name} comes from {refer}, which DEPLOYMENT.md does not explain"));
        }
    }
    mistakes
}

#[test]
fn every_setting_is_set_and_explained() {
    let sets = set(text("template.yaml"));
    let common = read(text("shared/src/lambda.rs"));
    let mut reads: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for function in FUNCTIONS {
        let folder = format!("functions/{function}/src/");
        let own: Vec<&str> = files().iter().filter(|file| file.path.starts_with(&folder)).map(File::product).collect();
        let mut names: BTreeSet<String> = own.iter().copied().flat_map(read).chain(common.clone()).collect();
        if own.iter().any(|code| code.contains("Destinations::read(")) {
            names.extend(read(text("shared/src/destination.rs").split("#[cfg(test)]").next().unwrap_or_default()));
        }
        reads.insert(function.to_owned(), names);
    }
    assert!(common.contains("LIFEBOAT_BUCKET") && reads["logical-dump"].contains("SLICE_BYTES"), "{reads:?}");
    assert!(sets.len() >= 20, "{sets:?}");
    assert_none(&mistakes(&reads, &sets, text("DEPLOYMENT.md")));
}

#[test]
fn planted_settings_are_noticed() {
    let template = "Globals:\n  Function:\n    Environment:\n      Variables:\n        ALL: !Ref All\nResources:\n  F:\n    Properties:\n      CodeUri: functions/f\n      Environment:\n        Variables:\n          # why\n          OWN: !If [Has, !Ref Own, !Sub \"/x/${Stage}\"]\n    Metadata:\n      X: y\n  G:\n    Variables:\n      NOT: !Ref Anything\n";
    let sets = set(template);
    let names: Vec<_> = sets.iter().map(|((function, name), refers)| (function.as_str(), name.as_str(), refers.join(" "))).collect();
    assert_eq!(names, [("*", "ALL", "All".to_owned()), ("f", "OWN", "Own Stage".to_owned())]);
    let reads = |code: &str| BTreeMap::from([("f".to_owned(), read(code))]);
    let good = "reader.required(\"ALL\"); reader.number(\n    \"OWN\", 1, 1..=2)";
    assert_none(&mistakes(&reads(good), &sets, "`All` `Own` `Stage`"));
    assert_eq!(mistakes(&reads(&format!("{good}; reader.optional(\"MORE\")")), &sets, "`All` `Own` `Stage`").len(), 1);
    assert_eq!(mistakes(&reads("reader.required(\"ALL\")"), &sets, "`All` `Own` `Stage`").len(), 1);
    assert_eq!(mistakes(&reads(good), &sets, "`All` and `Stage`, not the other").len(), 1);
}
