//! Each test shows the archive clean, breaks one thing in the listing, and gets one finding of its own kind.

use super::*;

use shared::compression::Compression;

use crate::test_archive::TestArchive;

fn clean() -> TestArchive {
    let archive = TestArchive::new(Compression::Zstd(1));
    assert_eq!(found(&archive), []);
    archive
}

fn findings(archive: &TestArchive) -> Vec<Finding> {
    let (listed, others) = compare(&archive.key, &archive.manifest, &archive.versions);
    listed.into_iter().filter_map(|listed| listed.finding).chain(others).collect()
}

fn found(archive: &TestArchive) -> Vec<(FindingKind, String)> {
    findings(archive).into_iter().map(|finding| (finding.kind, finding.subject)).collect()
}

#[test]
fn an_object_that_is_gone_is_missing() {
    let mut archive = clean();
    let key = archive.key.object("t2.dat.zst");
    archive.versions.retain(|version| version.key != key);
    assert_eq!(found(&archive), [(FindingKind::ObjectMissing, key)]);
}

#[test]
fn a_deleted_object_can_be_had_back() {
    let mut archive = clean();
    let key = archive.key.object("t2.dat.zst");
    let object = archive.versions.iter_mut().find(|version| version.key == key).expect("there");
    object.is_latest = false;
    let marker = Version { version_id: Some("marker".into()), is_latest: true, is_delete_marker: true, size_bytes: 0, ..object.clone() };
    archive.versions.push(marker);
    assert_eq!(found(&archive), [(FindingKind::ObjectMissing, key)]);
    assert!(findings(&archive)[0].hint.as_deref().is_some_and(|hint| hint.contains("marker")), "{:?}", findings(&archive));
}

#[test]
fn another_size_is_truncated_whatever_its_version() {
    for size_bytes in [0, 1, 1_000_000] {
        let mut archive = clean();
        archive.versions[0].size_bytes = size_bytes;
        assert_eq!(found(&archive), [(FindingKind::ObjectTruncated, archive.versions[0].key.clone())]);
    }
    let mut archive = clean();
    archive.overwrite("globals.sql", b"longer than it was before".to_vec());
    assert_eq!(found(&archive), [(FindingKind::ObjectTruncated, archive.key.object("globals.sql"))]);
}

#[test]
fn another_version_is_replaced_and_the_old_one_is_pointed_at() {
    let mut archive = clean();
    archive.overwrite("globals.sql", archive.bytes["globals.sql"].clone());
    assert_eq!(found(&archive), [(FindingKind::ObjectReplaced, archive.key.object("globals.sql"))]);
    assert!(findings(&archive)[0].hint.as_deref().is_some_and(|hint| hint.contains("still there")));
}

#[test]
fn a_bucket_without_versions_has_nothing_to_compare() {
    let mut archive = clean();
    archive.manifest.objects.iter_mut().for_each(|object| object.version_id = None);
    archive.versions.iter_mut().for_each(|version| version.version_id = None);
    assert_eq!(found(&archive), []);
}

#[test]
fn what_the_manifest_does_not_name_is_extra() {
    let mut archive = clean();
    let extra = Version { key: archive.key.object("x/y.dat"), ..archive.versions[0].clone() };
    archive.versions.push(extra.clone());
    assert_eq!(found(&archive), [(FindingKind::ObjectExtra, extra.key.clone())]);
    archive.versions.last_mut().expect("there").is_delete_marker = true;
    assert_eq!(found(&archive), [], "what was deleted again is not there");
}

#[test]
fn a_manifest_that_was_written_twice_is_replaced() {
    let mut archive = clean();
    let key = archive.key.object(MANIFEST);
    let old = archive.versions.iter_mut().find(|version| version.key == key).expect("there");
    old.is_latest = false;
    let new = Version { version_id: Some("w".into()), is_latest: true, ..old.clone() };
    archive.versions.push(new);
    assert_eq!(found(&archive), [(FindingKind::ObjectReplaced, key)]);
    let archive = clean();
    assert_eq!(changed_manifest(&archive.key, &archive.manifest, &archive.manifest.checksum), None);
    assert_eq!(changed_manifest(&archive.key, &archive.manifest, "other").map(|finding| finding.kind), Some(FindingKind::ObjectReplaced));
}

#[test]
fn a_manifest_is_opened_only_whole_and_in_its_place() {
    let archive = clean();
    let bytes = archive.manifest.clone().seal().expect("seal");
    assert_eq!(open_manifest(&archive.key, &bytes), Ok(archive.manifest.clone()));
    let text = String::from_utf8(bytes.clone()).expect("text");
    let edited = text.replacen("\"rows\": 3", "\"rows\": 4", 1);
    assert_ne!(edited, text);
    let newer = text.replacen("\"format\": 1", "\"format\": 2", 1);
    for broken in [&b""[..], &bytes[..bytes.len() / 2], b"{}", edited.as_bytes(), newer.as_bytes()] {
        assert_eq!(open_manifest(&archive.key, broken).expect_err("damaged").kind, FindingKind::ManifestDamaged);
    }
    for other in [
        ArchiveKey { instance: "other".into(), ..archive.key.clone() },
        ArchiveKey { database: "other".into(), ..archive.key.clone() },
        ArchiveKey { run_id: "other".into(), ..archive.key.clone() },
        ArchiveKey { slot: archive.key.slot + chrono::TimeDelta::days(1), ..archive.key.clone() },
    ] {
        assert_eq!(open_manifest(&other, &bytes).expect_err("misplaced").kind, FindingKind::ManifestDamaged);
    }
}

#[test]
fn a_manifest_that_was_deleted_alone_is_missed_and_one_that_never_was_is_not() {
    let mut archive = clean();
    let key = archive.key.object(MANIFEST);
    archive.versions.retain(|version| version.key != key);
    assert_eq!(lost_manifest(&archive.key, &archive.versions, false), None, "a run that did not finish");
    assert_eq!(lost_manifest(&archive.key, &archive.versions, true).map(|finding| finding.kind), Some(FindingKind::ObjectMissing));
    let marker = Version { key, version_id: Some("m".into()), is_delete_marker: true, size_bytes: 0, ..archive.versions[0].clone() };
    archive.versions.push(marker);
    assert_eq!(lost_manifest(&archive.key, &archive.versions, false).map(|finding| finding.kind), Some(FindingKind::ObjectMissing));
    archive.versions.iter_mut().for_each(|version| version.is_delete_marker = true);
    assert_eq!(lost_manifest(&archive.key, &archive.versions, true), None, "the whole backup was deleted");
}
