//! The databases that are measured: made by SQL inside the server, from a seed, with the entropy of real ones (text of a skewed vocabulary, numbers,
//! timestamps, jsonb, uuid; zstd:1 makes a third of the COPY text). Never from random bytes, which no compressor shrinks, nor from one repeated row.

use local::process::Job;
use shared::failure::{Context, Failure};

use crate::server::Server;

/// Bytes of a row of the usual shape, on disk; measured.
const ROW_BYTES: u64 = 500;
/// A document's text has 1 MB.
const DOCUMENT_BYTES: u64 = 1_000_000;
/// How many tables the second shape has.
const TABLES: u64 = 200;
/// Sessions that load at the same time.
const LOADERS: u64 = 2;

/// How the data is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One giant table.
    Giant,
    /// 200 tables whose sizes fall as 1/n: the largest has a sixth of all.
    Many,
    /// A giant table of nine tenths, and rows of 1 MB.
    Documents,
}

impl Shape {
    /// Its name, and its database's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Giant => "giant",
            Self::Many => "many",
            Self::Documents => "documents",
        }
    }
}

/// Makes the database, unless it is there.
///
/// # Errors
/// With the server's message.
pub async fn make(server: &Server, database: &str, shape: Shape, size_bytes: u64, seed: u64) -> Result<(), Failure> {
    let found = server.ask("postgres", &format!("SELECT count(*) FROM pg_database WHERE datname = '{database}'")).await?;
    if found == "1" {
        return Ok(());
    }
    server.run("postgres", &format!("CREATE DATABASE {database} TEMPLATE template0")).await?;
    let rows = size_bytes / ROW_BYTES;
    let tables: Vec<(String, u64)> = match shape {
        Shape::Giant => vec![("events".to_owned(), rows)],
        Shape::Many => (1..=TABLES).map(|number| (format!("events_{number:03}"), share(rows, number))).collect(),
        Shape::Documents => vec![("events".to_owned(), rows * 9 / 10)],
    };
    server.run(database, &tables.iter().map(|(name, _)| table_sql(name)).collect::<String>()).await?;
    let loaders: Vec<Job> = (0..LOADERS).map(|loader| server.psql(database, &load_sql(&tables, loader, seed))).collect();
    futures_util::future::try_join_all(loaders.iter().map(Job::run_well)).await.context(format!("fill the database {database}"))?;
    if shape == Shape::Documents {
        server.run(database, &documents_sql(size_bytes / 10 / DOCUMENT_BYTES, seed)).await?;
    }
    let indexes: String = tables.iter().map(|(name, _)| index_sql(name)).collect();
    // Otherwise whoever reads first would set the hint bits for all who come later.
    server.run(database, &format!("{indexes} VACUUM (FREEZE, ANALYZE)")).await
}

/// Size of a table: 1/number of the largest, all together `rows`.
fn share(rows: u64, number: u64) -> u64 {
    const SCALE: u64 = 1_000_000;
    let all: u64 = (1..=TABLES).map(|number| SCALE / number).sum();
    rows * (SCALE / number) / all
}

fn table_sql(name: &str) -> String {
    format!(
        "CREATE TABLE {name} (id bigint NOT NULL, account uuid NOT NULL, created_at timestamptz NOT NULL, updated_at timestamp, amount numeric(12,2),
            quantity integer, score double precision, active boolean, status text, email text, note text, attributes jsonb);"
    )
}

fn index_sql(name: &str) -> String {
    format!("ALTER TABLE {name} ADD PRIMARY KEY (id); CREATE INDEX ON {name} (created_at);\n")
}

/// Sentences of a vocabulary in which, as in a language, few words are most of the text.
fn sentences_sql(seed: u64) -> String {
    format!(
        "SET synchronous_commit = off; SET client_min_messages = warning;
         CREATE TEMP TABLE words AS
           SELECT n, left(translate(md5(n::text || 'w{seed}'), '0123456789', 'eaoinrtslh'), 2 + (hashint8extended(n, {seed}) & 7)::int) AS word
             FROM generate_series(0, 4999) n;
         CREATE TEMP TABLE sentences AS
           SELECT s AS n, string_agg(word, ' ' ORDER BY p) AS sentence
             FROM (SELECT s, p, floor(5000 * power((hashint8extended(s * 64 + p, {seed}) & 1048575) / 1048576.0::float8, 4))::int AS n
                     FROM generate_series(0, 19999) s, generate_series(0, 13) p) chosen JOIN words USING (n)
            GROUP BY s;
         ANALYZE words; ANALYZE sentences;\n"
    )
}

fn load_sql(tables: &[(String, u64)], loader: u64, seed: u64) -> String {
    let mut sql = sentences_sql(seed);
    for (number, (name, rows)) in tables.iter().enumerate() {
        let (from, to) = (rows * loader / LOADERS + 1, rows * (loader + 1) / LOADERS);
        sql += &format!(
            "INSERT INTO {name}
             SELECT i, md5('{seed}-{number}-' || i)::uuid, timestamptz '2024-01-01 UTC' + i * interval '7.3 s' + (h & 4095) * interval '1 ms',
                    CASE WHEN h & 7 = 0 THEN NULL ELSE timestamp '2025-01-01' + (h >> 9 & 16777215) * interval '1 s' END,
                    ((h >> 5 & 8388607) / 100.0)::numeric(12,2), (g & 255)::int, (g >> 8 & 1073741823) / 1e6::float8, h & 3 <> 0,
                    (ARRAY['new', 'paid', 'packed', 'shipped', 'delivered', 'returned', 'cancelled', 'lost'])[1 + (h >> 20 & 7)],
                    left(a.sentence, 9) || (h >> 12 & 65535) || '@' || 'example-' || (g & 127) || '.com',
                    a.sentence || '. ' || b.sentence,
                    jsonb_build_object('plan', (h >> 30 & 3), 'visits', (g >> 20 & 4095), 'ratio', (g >> 3 & 65535) / 1000.0, 'source', left(b.sentence, 12),
                                       'flags', jsonb_build_array(h & 1 = 0, g & 1 = 0), 'session', left(md5('s' || i), 12))
               FROM (SELECT i, hashint8extended(i, {seed} + {number}) AS h, hashint8extended(i, {seed} + {number} + 77777) AS g
                       FROM generate_series({from}::bigint, {to}) i OFFSET 0) rows
               JOIN sentences a ON a.n = (h >> 17 & 1048575) % 20000
               JOIN sentences b ON b.n = (g >> 23 & 1048575) % 20000;\n"
        );
    }
    sql
}

fn documents_sql(count: u64, seed: u64) -> String {
    let sentences = sentences_sql(seed);
    format!(
        "{sentences}
         CREATE TABLE documents (id bigint PRIMARY KEY, title text, body text);
         INSERT INTO documents
         SELECT i, 'document ' || i, left(body, {DOCUMENT_BYTES})
           FROM generate_series(1::bigint, {count}) i,
                LATERAL (SELECT string_agg(sentence, '. ' ORDER BY hashint8extended(n, i)) || '. ' AS body FROM sentences) text;"
    )
}
