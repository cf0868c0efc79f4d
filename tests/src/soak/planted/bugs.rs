//! The bugs: each makes of a sound archive what a dumper with that bug would have written, and says whether this archive gave it the occasion.

use std::fmt::Write as _;

use rand::RngExt;
use rand::rngs::StdRng;
use shared::archive::toc::section;

use super::archive::{Archive, fields};

/// A bug of a dumper.
pub struct Bug {
    /// What the dumper does wrong.
    pub name: &'static str,
    pub(super) plant: fn(&mut Archive, &mut StdRng) -> bool,
}

const fn bug(name: &'static str, plant: fn(&mut Archive, &mut StdRng) -> bool) -> Bug {
    Bug { name, plant }
}

/// Every bug.
pub const BUGS: &[Bug] = &[
    bug("the last row before a slice's bound is lost", last_row_lost),
    bug("the row at a slice's bound is in both slices", bound_inclusive),
    bug("a slice is missing", slice_missing),
    bug("a slice is there twice", slice_doubled),
    bug("two slices are in each other's place", slices_swapped),
    bug("a row is split where the data came in pieces", row_split),
    bug("the COPY statement names the columns in another order", column_order),
    bug("extra_float_digits is too low", float_digits),
    bug("the database's DateStyle leaks in", date_style),
    bug("the database's TimeZone leaks in", time_zone),
    bug("the database's IntervalStyle leaks in", interval_style),
    bug("minus zero becomes zero", |archive, _| archive.rewrite(is_float, |field| (field == b"-0").then(|| b"0".to_vec()))),
    bug("NaN becomes null", |archive, _| archive.rewrite(is_float, |field| (field == b"NaN").then(|| b"\\N".to_vec()))),
    bug("null becomes the empty string", |archive, _| archive.rewrite(is_text, |field| (field == b"\\N").then(Vec::new))),
    bug("the empty string becomes null", |archive, _| archive.rewrite(is_text, |field| field.is_empty().then(|| b"\\N".to_vec()))),
    bug("a backslash is not escaped", |archive, _| archive.rewrite(is_text, |field| Some(replace(field, b"\\\\", b"\\")))),
    bug("a tab is not escaped", |archive, _| archive.rewrite(is_text, |field| Some(replace(field, b"\\t", b"\t")))),
    bug("what is not ASCII becomes a question mark", |archive, _| archive.rewrite(is_text, ascii)),
    bug("blanks at the end are cut off", |archive, _| {
        archive.rewrite(|sql_type| sql_type == "character", |field| Some(field.trim_ascii_end().to_vec()))
    }),
    bug("bytea in the escape format", |archive, _| archive.rewrite(|sql_type| sql_type == "bytea", escape_format)),
    bug("a sequence's position is missing", sequence_missing),
    bug("a sequence's position is one behind", sequence_behind),
    bug("a large object is cut short", large_object_cut),
    bug("a parent is dumped with the rows of its children", parent_with_children),
    bug("row security hides rows", row_security),
    bug("a generated column is in the data", generated_column),
    bug("an unlogged table is skipped", unlogged_skipped),
    bug("a partition is not loaded through its root", not_through_root),
    bug("an index or key does not wait for all slices", does_not_wait),
];

fn last_row_lost(archive: &mut Archive, rng: &mut StdRng) -> bool {
    let Some((table, number)) = archive.slice(rng) else { return false };
    let mut lines = archive.lines(&table.pieces[number]);
    lines.pop();
    archive.set_lines(&table.pieces[number], &lines);
    true
}

fn bound_inclusive(archive: &mut Archive, rng: &mut StdRng) -> bool {
    let Some((table, number)) = archive.slice(rng) else { return false };
    let last = archive.lines(&table.pieces[number]).pop().expect("a row");
    let next = &table.pieces[number + 1];
    let mut lines = archive.lines(next);
    lines.insert(0, last);
    archive.set_lines(next, &lines);
    true
}

fn slice_missing(archive: &mut Archive, rng: &mut StdRng) -> bool {
    let Some((table, number)) = archive.slice(rng) else { return false };
    archive.toc.entries.retain(|entry| entry.data_file().as_deref() != Some(&table.pieces[number]));
    true
}

fn slice_doubled(archive: &mut Archive, rng: &mut StdRng) -> bool {
    let Some((table, number)) = archive.slice(rng) else { return false };
    let next = &table.pieces[number + 1];
    let lines = [archive.lines(&table.pieces[number]), archive.lines(next)].concat();
    archive.set_lines(next, &lines);
    true
}

fn slices_swapped(archive: &mut Archive, rng: &mut StdRng) -> bool {
    let Some((table, number)) = archive.slice(rng) else { return false };
    let (left, right) = (&table.pieces[number], &table.pieces[number + 1]);
    let (left_lines, right_lines) = (archive.lines(left), archive.lines(right));
    archive.set_lines(left, &right_lines);
    archive.set_lines(right, &left_lines);
    [left_lines.concat(), right_lines.concat()].concat() != [right_lines.concat(), left_lines.concat()].concat()
}

fn row_split(archive: &mut Archive, rng: &mut StdRng) -> bool {
    let Some((table, number)) = archive.slice(rng) else { return false };
    let mut lines = archive.lines(&table.pieces[number]);
    let place = rng.random_range(0..lines.len());
    if lines[place].len() < 2 {
        return false;
    }
    let at = lines[place].len() / 2;
    let rest = lines[place].split_off(at);
    lines.insert(place + 1, rest);
    archive.set_lines(&table.pieces[number], &lines);
    true
}

fn column_order(archive: &mut Archive, _: &mut StdRng) -> bool {
    let found =
        archive.toc.entries.iter_mut().find(|entry| entry.copy_statement.as_deref().is_some_and(|copy| copy.windows(2).any(|two| two == b", ")));
    let Some(copy) = found.and_then(|entry| entry.copy_statement.as_mut()) else { return false };
    // The first name goes to the end of the list.
    let (open, close) = (copy.iter().position(|byte| *byte == b'('), copy.iter().rposition(|byte| *byte == b')'));
    let (Some(open), Some(close)) = (open, close) else { return false };
    let list = String::from_utf8_lossy(&copy[open + 1..close]).into_owned();
    let Some((first, rest)) = list.split_once(", ") else { return false };
    let list = format!("{rest}, {first}").into_bytes();
    copy.splice(open + 1..close, list);
    true
}

fn is_float(sql_type: &str) -> bool {
    matches!(sql_type, "double precision" | "real")
}

fn is_text(sql_type: &str) -> bool {
    matches!(sql_type, "text" | "character varying")
}

/// What `extra_float_digits = 0` prints: 15 digits that count.
fn float_digits(archive: &mut Archive, _: &mut StdRng) -> bool {
    archive.rewrite(
        |sql_type| sql_type == "double precision",
        |field| {
            let text = std::str::from_utf8(field).ok().filter(|text| !text.contains('e'))?;
            let digits = text.bytes().filter(u8::is_ascii_digit).count();
            let (_, decimals) = text.split_once('.')?;
            let too_many = digits.checked_sub(15)?.min(decimals.len());
            let value: f64 = text.parse().ok()?;
            (too_many > 0).then(|| format!("{value:.*}", decimals.len() - too_many).into_bytes())
        },
    )
}

/// `2024-02-29 …` as `29/02/2024 …`.
fn date_style(archive: &mut Archive, _: &mut StdRng) -> bool {
    archive.rewrite(
        |sql_type| sql_type == "date" || sql_type.starts_with("timestamp"),
        |field| {
            let text = std::str::from_utf8(field).ok()?;
            let mut parts = text.get(..10)?.split('-');
            let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
            Some(format!("{day}/{month}/{year}{}", &text[10..]).into_bytes())
        },
    )
}

/// `2024-02-29 10:00:00+00` as `2024-02-29 11:00:00+01`.
fn time_zone(archive: &mut Archive, _: &mut StdRng) -> bool {
    archive.rewrite(
        |sql_type| sql_type == "timestamp with time zone",
        |field| {
            let text = std::str::from_utf8(field).ok()?.strip_suffix("+00")?;
            let hour: u32 = text.get(11..13)?.parse().ok().filter(|hour| *hour < 23)?;
            Some(format!("{}{:02}{}+01", &text[..11], hour + 1, &text[13..]).into_bytes())
        },
    )
}

/// `00:00:00.000123` as `PT0.000123S`; only what is short of a minute.
fn interval_style(archive: &mut Archive, _: &mut StdRng) -> bool {
    archive.rewrite(
        |sql_type| sql_type == "interval",
        |field| {
            let seconds = std::str::from_utf8(field).ok()?.strip_prefix("00:00:")?;
            Some(format!("PT{}S", seconds.trim_start_matches('0')).into_bytes())
        },
    )
}

fn replace(field: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut new = Vec::new();
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(from) {
            new.extend_from_slice(to);
            rest = after;
        } else {
            new.push(*first);
            rest = after;
        }
    }
    new
}

fn ascii(field: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(field).ok()?;
    Some(text.chars().map(|character| if character.is_ascii() { character } else { '?' }).collect::<String>().into_bytes())
}

/// `\\x5c61` as `\\\\a`: printable bytes stand for themselves, others as octal numbers; COPY doubles every backslash.
fn escape_format(field: &[u8]) -> Option<Vec<u8>> {
    let hex = field.strip_prefix(b"\\\\x")?;
    let mut new = String::new();
    for pair in hex.chunks(2) {
        let byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        match byte {
            b'\\' => new.push_str("\\\\\\\\"),
            b' '..=b'~' => new.push(char::from(byte)),
            _ => write!(new, "\\\\{byte:03o}").ok()?,
        }
    }
    Some(new.into_bytes())
}

fn sequence_missing(archive: &mut Archive, _: &mut StdRng) -> bool {
    let place = archive.toc.entries.iter().position(|entry| entry.is("SEQUENCE SET"));
    place.map(|place| archive.toc.entries.remove(place)).is_some()
}

fn sequence_behind(archive: &mut Archive, _: &mut StdRng) -> bool {
    for entry in archive.toc.entries.iter_mut().filter(|entry| entry.is("SEQUENCE SET")) {
        let statement = String::from_utf8_lossy(entry.definition.as_deref().unwrap_or_default()).into_owned();
        let mut words = statement.rsplitn(3, ", ");
        if let (Some(is_called), Some(Ok(value)), Some(name)) = (words.next(), words.next().map(str::parse::<i64>), words.next()) {
            entry.definition = Some(format!("{name}, {}, {is_called}", value - 1).into_bytes());
            return true;
        }
    }
    false
}

fn large_object_cut(archive: &mut Archive, _: &mut StdRng) -> bool {
    let Some(bytes) = archive.large_objects.iter().find(|name| archive.files[*name].len() > 1).cloned() else { return false };
    let bytes = archive.files.get_mut(&bytes).expect("the file of a large object");
    bytes.truncate(bytes.len() / 2);
    true
}

/// `COPY (SELECT … FROM parent)` without ONLY.
fn parent_with_children(archive: &mut Archive, _: &mut StdRng) -> bool {
    for parent in archive.tables.clone() {
        let mut more = Vec::new();
        for child in archive.tables.iter().filter(|table| parent.children.contains(&table.oid)) {
            let place = |name: &str| child.columns.iter().position(|(column, _)| column == name);
            let Some(places) = parent.columns.iter().map(|(name, _)| place(name)).collect::<Option<Vec<usize>>>() else { continue };
            for line in child.pieces.iter().flat_map(|file| archive.lines(file)) {
                let fields = fields(&line);
                more.push(places.iter().map(|place| fields[*place].clone()).collect::<Vec<_>>().join(&b'\t'));
            }
        }
        if let (Some(file), false) = (parent.pieces.last(), more.is_empty()) {
            let lines = [archive.lines(file), more].concat();
            archive.set_lines(file, &lines);
            return true;
        }
    }
    false
}

fn row_security(archive: &mut Archive, _: &mut StdRng) -> bool {
    let mut hidden = false;
    for file in archive.tables.clone().iter().filter(|table| table.has_row_security).flat_map(|table| &table.pieces) {
        let lines = archive.lines(file);
        let kept: Vec<Vec<u8>> = lines.iter().step_by(2).cloned().collect();
        hidden |= kept.len() < lines.len();
        archive.set_lines(file, &kept);
    }
    hidden
}

fn generated_column(archive: &mut Archive, _: &mut StdRng) -> bool {
    let Some((table, column)) = archive.tables.iter().find_map(|table| Some((table.clone(), table.generated.clone()?))) else { return false };
    for file in &table.pieces {
        let lines: Vec<Vec<u8>> = archive.lines(file).into_iter().map(|line| [line, b"0".to_vec()].join(&b'\t')).collect();
        archive.set_lines(file, &lines);
        let copy = archive.entry(file).copy_statement.as_mut().expect("a COPY statement");
        let end = copy.iter().rposition(|byte| *byte == b')').unwrap_or(copy.len());
        copy.splice(end..end, format!(", {column}").into_bytes());
    }
    !table.pieces.is_empty()
}

fn unlogged_skipped(archive: &mut Archive, _: &mut StdRng) -> bool {
    let before = archive.toc.entries.len();
    let skipped: Vec<u32> = archive.tables.iter().filter(|table| table.is_unlogged).map(|table| table.oid).collect();
    archive.toc.entries.retain(|entry| !(entry.is("TABLE DATA") && skipped.contains(&entry.oid())));
    archive.toc.entries.len() < before
}

/// The COPY statement names the leaf itself, so that its rows must belong there: a hash on an enum says something else in the copy.
fn not_through_root(archive: &mut Archive, _: &mut StdRng) -> bool {
    let leaves: Vec<u32> = archive.tables.iter().filter(|table| table.through_root).map(|table| table.oid).collect();
    let mut changed = false;
    for entry in archive.toc.entries.iter_mut().filter(|entry| entry.is("TABLE DATA") && leaves.contains(&entry.oid())) {
        let quoted = |text: &Option<Vec<u8>>| String::from_utf8_lossy(text.as_deref().unwrap_or_default()).replace('"', "\"\"");
        let leaf = format!("COPY \"{}\".\"{}\" (", quoted(&entry.namespace), quoted(&entry.tag));
        let Some(copy) = &mut entry.copy_statement else { continue };
        if let Some(open) = copy.iter().position(|byte| *byte == b'(') {
            copy.splice(..=open, leaf.into_bytes());
            changed = true;
        }
    }
    changed
}

/// As if the dependencies were pg_dump's alone: pg_restore then waits for one slice of a table.
fn does_not_wait(archive: &mut Archive, _: &mut StdRng) -> bool {
    let data: Vec<i32> = archive.toc.entries.iter().filter(|entry| entry.is("TABLE DATA")).map(|entry| entry.dump_id).collect();
    let is_sliced = archive.tables.iter().any(|table| table.pieces.len() > 1);
    let mut changed = false;
    for entry in archive.toc.entries.iter_mut().filter(|entry| entry.section == section::POST_DATA) {
        let before = entry.dependencies.len();
        entry.dependencies.retain(|id| std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()).is_none_or(|id: i32| !data.contains(&id)));
        changed |= entry.dependencies.len() < before;
    }
    changed && is_sliced
}
