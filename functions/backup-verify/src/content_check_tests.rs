//! Each test shows an archive clean, breaks one thing in its bytes, and gets one finding of its own kind.

use super::*;

use crate::listing_check;
use crate::reading::Reading;
use crate::test_archive::{TestArchive, compressed};

const ALL: [Compression; 3] = [Compression::Zstd(1), Compression::Gzip(6), Compression::None];

/// Judges an archive; its objects are read in pieces of this size.
fn judge(archive: &TestArchive, piece: usize) -> (Vec<Finding>, u64) {
    let (listed, others) = listing_check::compare(&archive.key, &archive.manifest, &archive.versions);
    let mut judge = Judge::new(&archive.key, &archive.manifest);
    let (first, rest): (Vec<_>, Vec<_>) = listed.iter().partition(|listed| Judge::comes_first(&listed.object.name));
    for listed in first.into_iter().chain(rest) {
        if listed.standing == Standing::Missing {
            judge.take_missing(listed);
            continue;
        }
        let name = &listed.object.name;
        let mut reading = Reading::new(name, judge.role(name));
        archive.bytes[name].chunks(piece).for_each(|chunk| reading.write(chunk));
        judge.take(listed, Attempt::Read(reading.finish()));
    }
    let rows = judge.rows();
    (judge.finish().into_iter().chain(others).collect(), rows)
}

fn found(archive: &TestArchive) -> Vec<(FindingKind, String)> {
    judge(archive, 7).0.into_iter().map(|finding| (finding.kind, finding.subject)).collect()
}

fn clean(compression: Compression) -> TestArchive {
    let archive = TestArchive::new(compression);
    assert_eq!(found(&archive), []);
    archive
}

#[test]
fn a_whole_archive_is_clean_in_pieces_of_any_size() {
    for compression in ALL {
        let archive = TestArchive::new(compression);
        for piece in [1, 5, 64, usize::MAX] {
            assert_eq!(judge(&archive, piece), (Vec::new(), 5), "{compression}, pieces of {piece}");
        }
    }
}

#[test]
fn every_single_flipped_bit_of_every_object_is_found_and_named() {
    for compression in ALL {
        let whole = clean(compression);
        for name in whole.bytes.keys() {
            for bit in 0..whole.bytes[name].len() * 8 {
                let mut archive = whole.clone();
                archive.rot(name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
                assert_eq!(found(&archive), [(FindingKind::ObjectCorrupt, archive.key.object(name))], "bit {bit} of {name}, {compression}");
            }
        }
    }
}

#[test]
fn a_truncated_object_is_one_finding_however_short() {
    for compression in ALL {
        let whole = clean(compression);
        for name in whole.bytes.keys() {
            for length in 0..whole.bytes[name].len() {
                let mut archive = whole.clone();
                archive.rot(name, |bytes| bytes.truncate(length));
                let found = found(&archive);
                // An empty file may be the bytes of an empty large object.
                assert!(
                    matches!(found.as_slice(), [(FindingKind::ObjectTruncated | FindingKind::ObjectSwapped, key)] if *key == archive.key.object(name)),
                    "{length} of {name}, {compression}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn swapped_objects_say_whose_bytes_they_hold() {
    for compression in ALL {
        let mut archive = clean(compression);
        let [a, b] = ["t1", "t1_002"].map(|name| format!("{name}.dat{}", compression.suffix()));
        let (bytes_a, bytes_b) = (archive.bytes[&a].clone(), archive.bytes[&b].clone());
        archive.overwrite(&a, bytes_b);
        archive.overwrite(&b, bytes_a);
        let (findings, _) = judge(&archive, 7);
        assert_eq!(findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [FindingKind::ObjectSwapped; 2]);
        assert!(findings[0].seen.contains(&b) && findings[1].seen.contains(&a), "{findings:?}");
    }
}

#[test]
fn an_object_that_was_written_again_is_replaced_if_the_bytes_are_the_same_and_corrupt_if_not() {
    let mut archive = clean(Compression::Zstd(1));
    archive.overwrite("t2.dat.zst", archive.bytes["t2.dat.zst"].clone());
    assert_eq!(found(&archive), [(FindingKind::ObjectReplaced, archive.key.object("t2.dat.zst"))]);
    let mut archive = clean(Compression::None);
    archive.overwrite("t2.dat", b"\\.\n\nx".to_vec());
    assert_eq!(found(&archive), [(FindingKind::ObjectCorrupt, archive.key.object("t2.dat"))]);
}

#[test]
fn a_missing_or_unreadable_object_is_one_finding_and_its_table_is_not_accused() {
    for name in ["t1_002.dat.zst", "toc.dat", "blobs_17.toc", "blob_9001.dat.zst", "globals.sql"] {
        let mut archive = clean(Compression::Zstd(1));
        let key = archive.key.object(name);
        archive.versions.retain(|version| version.key != key);
        assert_eq!(found(&archive), [(FindingKind::ObjectMissing, key)]);
    }
    let archive = clean(Compression::Zstd(1));
    let (listed, _) = listing_check::compare(&archive.key, &archive.manifest, &archive.versions);
    let mut judge = Judge::new(&archive.key, &archive.manifest);
    for listed in &listed {
        judge.take(listed, Attempt::Unreadable("refused".into()));
    }
    let kinds: BTreeSet<FindingKind> = judge.finish().iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, BTreeSet::from([FindingKind::ObjectUnreadable]));
}

/// The bytes are those of the manifest, but they are not what the manifest counts.
fn written_wrong(change: impl FnOnce(&mut TestArchive)) -> Vec<(FindingKind, String)> {
    let mut archive = clean(Compression::Zstd(1));
    change(&mut archive);
    archive.store();
    found(&archive)
}

#[test]
fn rows_that_are_not_counted_right_are_found_by_the_tables_name() {
    let expected = [(FindingKind::ContentMismatch, "dumps/app-db/app/2026-11-23T02-00-00Z-0badcafe/public.t1".to_owned())];
    assert_eq!(written_wrong(|archive| archive.manifest.tables[0].content.rows += 1), expected);
    assert_eq!(written_wrong(|archive| archive.manifest.tables[0].content.digest.0 ^= 1), expected);
    let same_count = |archive: &mut TestArchive| {
        archive.bytes.insert("t1_002.dat.zst".into(), compressed(Compression::Zstd(1), b"3\tthrEe\n\\.\n\n\n"));
    };
    assert_eq!(written_wrong(same_count), expected);
    let through_root = |archive: &mut TestArchive| {
        archive.manifest.tables[0].through_root = Some(shared::manifest::TableName { schema: "public".into(), name: "root".into() });
        archive.manifest.tables[0].content.rows += 1;
    };
    assert_eq!(written_wrong(through_root), expected);
}

#[test]
fn data_that_does_not_decode_is_found_by_its_object() {
    let object = |name: &str| [(FindingKind::ContentMismatch, format!("dumps/app-db/app/2026-11-23T02-00-00Z-0badcafe/{name}"))];
    for data in [&b"not zstd"[..], b""] {
        assert_eq!(written_wrong(|archive| drop(archive.bytes.insert("t2.dat.zst".into(), data.to_vec()))), object("t2.dat.zst"));
    }
    let without_end = compressed(Compression::Zstd(1), b"1\tone\n");
    assert_eq!(written_wrong(|archive| drop(archive.bytes.insert("t2.dat.zst".into(), without_end))), object("t2.dat.zst"));
    assert_eq!(written_wrong(|archive| drop(archive.bytes.insert("toc.dat".into(), b"PGDMP".to_vec()))), object("toc.dat"));
    assert_eq!(written_wrong(|archive| drop(archive.bytes.insert("blobs_17.toc".into(), b"x".to_vec()))), object("blobs_17.toc"));
}

#[test]
fn large_objects_are_compared_with_their_oids() {
    let large = [(FindingKind::ContentMismatch, "dumps/app-db/app/2026-11-23T02-00-00Z-0badcafe/large objects".to_owned())];
    assert_eq!(written_wrong(|archive| archive.manifest.large_objects.bytes += 1), large);
    assert_eq!(written_wrong(|archive| archive.manifest.large_objects.content.rows += 1), large);
    let exchanged = b"9002 blob_9001.dat\n9001 blob_9002.dat\n".to_vec();
    assert_eq!(written_wrong(|archive| drop(archive.bytes.insert("blobs_17.toc".into(), exchanged))), large);
}

#[test]
fn manifest_and_table_of_contents_must_name_the_same_files() {
    let kinds = |found: Vec<(FindingKind, String)>| {
        found.into_iter().map(|(kind, subject)| (kind, subject.rsplit('/').next().unwrap().to_owned())).collect::<Vec<_>>()
    };
    // A data file that pg_restore would not look at.
    let unnamed = |archive: &mut TestArchive| drop(archive.bytes.insert("t3.dat.zst".into(), compressed(Compression::Zstd(1), END)));
    assert_eq!(kinds(written_wrong(unnamed)), [(FindingKind::ContentMismatch, TOC.to_owned())]);
    // A data file that pg_restore would look for.
    let lost = |archive: &mut TestArchive| drop((archive.bytes.remove("t2.dat.zst"), archive.manifest.tables.pop()));
    assert_eq!(kinds(written_wrong(lost)), [(FindingKind::ContentMismatch, TOC.to_owned())]);
    let no_toc = |archive: &mut TestArchive| drop(archive.bytes.remove(TOC));
    let found = kinds(written_wrong(no_toc));
    assert!(found.contains(&(FindingKind::ContentMismatch, MANIFEST.to_owned())), "{found:?}");
}

const END: &[u8] = shared::copy_text::END_OF_DATA;
