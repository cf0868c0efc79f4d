//! The history in a bucket: written once, read by date, never overwritten.

use chrono::{DateTime, Days, Utc};
use integrity_check::anomaly::{Calendar, Marks, Metric, judge};
use integrity_check::history::{BYTES_MAX, Extremes, TableTonight, key, read, write};
use integrity_check::model::{ColumnMetrics, TableMetrics, TypeClass};
use shared::failure::FailureKind;
use shared::finding::FindingKind;
use tests::bed::Bed;
use tests::world::run;

fn table(rows: u64) -> TableTonight {
    let column = ColumnMetrics { column: "id".into(), distinct: Some(7.0), ..ColumnMetrics::default() };
    let metrics = TableMetrics { table: "public.orders".into(), rows, seen: rows, pages: 1, partial: None, columns: vec![column] };
    TableTonight {
        table: "public.orders".into(),
        quoted: "\"public\".\"orders\"".into(),
        pages: 1,
        columns: vec![("id".into(), TypeClass::Integer)],
        metrics: Some(metrics),
    }
}

#[test]
fn nights_are_written_once_and_read_back() {
    run(async {
        let bed = Bed::new().await;
        let first = "2026-09-01T02:00:00Z".parse::<DateTime<Utc>>().expect("a time");
        let slot = |night: u64| first + Days::new(night);
        for night in 0..80 {
            let stored = write(&bed.store, "app/db", "shop", slot(night), &[table(1_000 + night)], &Marks::default(), Extremes::Values).await;
            stored.expect("write a night");
        }
        // Others' and damaged ones beside them.
        write(&bed.store, "app/db", "shop2", slot(79), &[table(5)], &Marks::default(), Extremes::Values).await.expect("write another database");
        let damaged = key("app/db", "shop", slot(70) + chrono::TimeDelta::hours(1));
        bed.store.put(&damaged, b"no gzip".to_vec(), "application/gzip").await.expect("put");

        let tonight = [TableTonight { ..table(0) }];
        let past = read(&bed.store, "app/db", "shop", slot(80), &tonight, BYTES_MAX).await.expect("read");
        let rows = past.table("public.orders").expect("it is there").rows().values;
        assert_eq!(past.nights.len(), 63);
        assert_eq!((rows[0].to_bits(), rows[62].to_bits()), (1_017.0_f64.to_bits(), 1_079.0_f64.to_bits()), "the newest 63");
        assert_eq!(past.unreadable, [damaged], "and said which could not be read");
        let judgement = judge(&past, &tonight, slot(80), &Calendar::default());
        assert_eq!(judgement.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [FindingKind::TableEmptied]);
        assert_eq!(judgement.marks.of("public.orders", None, false), [Metric::Rows]);

        let again = write(&bed.store, "app/db", "shop", slot(79), &[table(1_079)], &Marks::default(), Extremes::Values).await;
        again.expect("the same once more is no trouble");
        let other = write(&bed.store, "app/db", "shop", slot(79), &[table(1)], &Marks::default(), Extremes::Values).await;
        assert_eq!(other.expect_err("nothing is overwritten").kind, FailureKind::Conflict);
        let none = read(&bed.store, "app/db", "empty", slot(80), &tonight, BYTES_MAX).await.expect("read");
        assert!(none.nights.is_empty() && judge(&none, &tonight, slot(80), &Calendar::default()).findings.is_empty());
    });
}
