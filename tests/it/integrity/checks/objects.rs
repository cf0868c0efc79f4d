//! Keys in a column and objects in a bucket of the local cloud.

use integrity_check::checks::load::{Place, load};
use integrity_check::checks::{EXAMPLE, State};
use tests::bed::Bed;
use tests::world::run;

use super::{Stage, check, text};

#[test]
fn objects_that_a_column_names_are_there_or_are_missed() {
    run(async {
        let bed = Bed::new().await;
        let mut stage = Stage::new(17).await;
        stage.s3 = aws_sdk_s3::Client::new(&bed.config);
        for key in ["in/a b.pdf", "in/ü.pdf", "in/x%2Fy", "else/c"] {
            bed.store.put(key, b"x".to_vec(), "application/pdf").await.expect("put");
        }
        let bucket = &bed.store.bucket;
        stage
            .sql(&format!(
                "CREATE TABLE plain (key text); INSERT INTO plain VALUES ('a b.pdf'), ('ü.pdf'), ('x%2Fy'), (NULL), ('s3://{bucket}/else/c');
                 CREATE TABLE encoded (key varchar); INSERT INTO encoded VALUES ('a%20b.pdf'), ('%C3%BC.pdf'), ('s3://{bucket}/else/c');
                 CREATE TABLE many (key text, filler text); INSERT INTO many SELECT 'a b.pdf', repeat('x', 500) FROM generate_series(1, 20000); CREATE VIEW shown AS SELECT * FROM plain"
            ))
            .await;
        let of = |name: &str, lines: &str| {
            check(name, "s3-objects", &format!("table = \"public.{name}\"\ncolumn = \"key\"\nbucket = {}\nprefix = \"in/\"\n{lines}", text(bucket)))
        };
        let file = [
            of("plain", "show-values = true"),
            of("encoded", "percent-encoded = true"),
            of("many", "sample = 7\nwhere = \"key IS NOT NULL\""),
            of("shown", ""),
        ]
        .concat();
        let clean = stage.night(&file).await;
        assert_eq!(clean.in_state(State::Ok).len(), 4, "{clean:#?}");
        assert_eq!((clean.of("plain").value, clean.of("many").value), (Some(4.0), Some(7.0)));

        stage.sql("INSERT INTO plain VALUES ('gone.pdf'), (''), ('s3://another/x'); UPDATE encoded SET key = 'a b.pdf' WHERE key = 'a%20b.pdf'; UPDATE many SET key = '/a b.pdf'").await;
        let broken = stage.night(&file).await;
        assert_eq!(broken.in_state(State::Failed), ["many", "plain", "shown"], "{broken:#?}");
        assert_eq!((broken.of("plain").violations, broken.of("many").violations), (Some(3), Some(7)));
        assert!(broken.seen("plain").contains("gone.pdf") && broken.seen("plain").contains("1 name another bucket"), "{}", broken.seen("plain"));
        assert!(!broken.seen("shown").contains("gone.pdf"), "a value is shown: {}", broken.seen("shown"));

        // A bucket that is not there, and one of somebody else's.
        let missing = check("bucket", "s3-objects", "table = \"public.encoded\"\ncolumn = \"key\"\nbucket = \"no-such-bucket-at-all\"");
        let night = stage.night(&missing).await;
        assert_ne!(night.of("bucket").state, State::Ok, "{night:#?}");
        stage.end().await;
    });
}

#[test]
fn a_large_table_is_sampled_by_its_pages() {
    run(async {
        let bed = Bed::new().await;
        let mut stage = Stage::new(18).await;
        stage.s3 = aws_sdk_s3::Client::new(&bed.config);
        bed.store.put("k", b"x".to_vec(), "text/plain").await.expect("put");
        stage.sql("CREATE TABLE many (key text, filler text) WITH (autovacuum_enabled = off); INSERT INTO many SELECT 'k', repeat('x', 500) FROM generate_series(1, 30000)").await;
        let pages = stage.tables().await[0].pages;
        let file =
            check("many", "s3-objects", &format!("table = \"public.many\"\ncolumn = \"key\"\nbucket = {}\nsample = 50", text(&bed.store.bucket)));
        let before = stage.blocks_fetched("many").await;
        let night = stage.night_at(&file, 100).await;
        assert_eq!((night.of("many").state, night.of("many").value), (State::Ok, Some(50.0)), "{night:#?}");
        let read = stage.blocks_fetched("many").await - before;
        assert!(pages > 1500 && (20..400).contains(&read), "{read} of {pages} pages were read");
        stage.end().await;
    });
}

#[test]
fn the_file_is_read_from_a_bucket_or_a_parameter() {
    run(async {
        let bed = Bed::new().await;
        let (s3, ssm) = (aws_sdk_s3::Client::new(&bed.config), aws_sdk_ssm::Client::new(&bed.config));
        bed.store.put("checks/shop.toml", EXAMPLE.as_bytes().to_vec(), "application/toml").await.expect("put");
        bed.store.put("long", vec![b' '; 1024 * 1024 + 1], "text/plain").await.expect("put");
        bed.store.put("bytes", vec![0xff, 0xfe], "text/plain").await.expect("put");
        ssm.put_parameter().name("/shop/checks").value("[[check]]").r#type(aws_sdk_ssm::types::ParameterType::String).send().await.expect("put");
        let read = async |place: String| load(&Place::parse(&place).expect("a place"), &s3, &ssm).await;
        assert_eq!(read(bed.store.address("checks/shop.toml")).await.as_deref(), Ok(EXAMPLE));
        assert_eq!(read("/shop/checks".to_owned()).await.as_deref(), Ok("[[check]]"));
        for (place, says) in [
            (bed.store.address("gone"), "there is no such object"),
            (bed.store.address("long"), "longer than"),
            (bed.store.address("bytes"), "not UTF-8"),
            ("/shop/gone".to_owned(), "ParameterNotFound"),
        ] {
            let failure = read(place.clone()).await.expect_err(&place).to_string();
            assert!(failure.contains(says), "{failure}");
        }
    });
}
