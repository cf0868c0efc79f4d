-- Owner, UTF8 database. How rows lie on pages: wide, long, dead, missing, none. A slice is a range of pages.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE SCHEMA store;
SET search_path = store;

-- About 1.9 MB, several hundred pages: three slices and more for any SLICE_BYTES below 600 kB.
CREATE TABLE big (id bigint PRIMARY KEY, bucket int NOT NULL, label text, amount numeric(12, 2), at timestamptz DEFAULT now());
INSERT INTO big SELECT g, g % 97, CASE WHEN g % 11 = 0 THEN NULL WHEN g % 13 = 0 THEN '' ELSE repeat(chr(97 + (g % 26)::int), (g % 60)::int) END, (g * 7919 % 100003) / 100.0, '2024-01-01 00:00+00'::timestamptz + g * interval '61 seconds' FROM generate_series(1, 20000) AS g;
CREATE INDEX big_bucket ON big (bucket) INCLUDE (label) WITH (fillfactor = 70);
CREATE UNIQUE INDEX "big, partial ""index""" ON big (lower(label), id) WHERE label <> '' AND bucket > 3;
CLUSTER big USING big_pkey;

-- Pages nearly empty, and pages that hold exactly one row.
CREATE TABLE roomy (id int PRIMARY KEY, body text) WITH (fillfactor = 10);
INSERT INTO roomy SELECT g, repeat('r', 100) FROM generate_series(1, 800) AS g;
CREATE TABLE full_pages (id int, body text) WITH (fillfactor = 100);
ALTER TABLE full_pages ALTER body SET STORAGE PLAIN;
INSERT INTO full_pages SELECT g, repeat(chr(64 + g), 8000) FROM generate_series(1, 12) AS g;

-- Dead rows: updated in place and moved, deleted, rolled back.
CREATE TABLE dead (id int PRIMARY KEY, version int, body text);
INSERT INTO dead SELECT g, 1, repeat('d', 200) FROM generate_series(1, 3000) AS g;
UPDATE dead SET version = 2 WHERE id % 3 = 0;
DELETE FROM dead WHERE id % 5 = 0;
BEGIN; INSERT INTO dead SELECT g, 9, 'never' FROM generate_series(10001, 10500) AS g; ROLLBACK;
BEGIN; UPDATE dead SET version = 99; ROLLBACK;

-- Slices without rows: at the beginning, in the middle, everywhere but the end; a cut tail; all rows gone.
CREATE TABLE empty_front (id int, body text); INSERT INTO empty_front SELECT g, repeat('f', 300) FROM generate_series(1, 4000) AS g;
DELETE FROM empty_front WHERE id <= 3900;
CREATE TABLE empty_middle (id int, body text); INSERT INTO empty_middle SELECT g, repeat('m', 300) FROM generate_series(1, 4000) AS g;
DELETE FROM empty_middle WHERE id BETWEEN 200 AND 3800;
CREATE TABLE cut_tail (id int, body text); INSERT INTO cut_tail SELECT g, repeat('t', 300) FROM generate_series(1, 4000) AS g;
DELETE FROM cut_tail WHERE id > 50;
CREATE TABLE all_gone (id int, body text); INSERT INTO all_gone SELECT g, repeat('g', 300) FROM generate_series(1, 1000) AS g;
DELETE FROM all_gone;
CREATE TABLE all_dead (id int, body text); INSERT INTO all_dead SELECT g, repeat('g', 300) FROM generate_series(1, 1000) AS g;
VACUUM empty_front; VACUUM empty_middle; VACUUM cut_tail; VACUUM all_gone;
-- Deleted, not vacuumed: the pages are still there, full of rows that nobody sees.
DELETE FROM all_dead;

-- Long values: outside the row, compressed, not compressed, inside the row, 1 MB and more in one row.
CREATE TABLE toasted (id int PRIMARY KEY, main_ text, external_ text, extended text, plain text, doc jsonb);
ALTER TABLE toasted ALTER main_ SET STORAGE MAIN, ALTER external_ SET STORAGE EXTERNAL, ALTER plain SET STORAGE PLAIN, ALTER extended SET COMPRESSION pglz;
ALTER TABLE toasted SET (toast_tuple_target = 256, toast.autovacuum_enabled = false);
INSERT INTO toasted SELECT g, repeat('m', 4000), repeat(E'e\t\\\n', 10000 + g), repeat(md5(g::text), 3000), 'p', jsonb_build_object('a', repeat(md5(g::text) || '"', 500)) FROM generate_series(1, 20) AS g;
CREATE TABLE megabyte (id int PRIMARY KEY, random_ text, zeros bytea, escapes text);
INSERT INTO megabyte SELECT n, (SELECT string_agg(md5(g::text || n), '') FROM generate_series(1, 32768) AS g), decode(repeat('00', 1048576), 'hex'), repeat(E'\\\n\t', 350000) FROM generate_series(1, 2) AS n;
INSERT INTO megabyte VALUES (3, 'short', '', '');

-- 1600 columns, as many as there can be; some were dropped, so the last attribute number is 1600 too.
DO $$ BEGIN
    EXECUTE 'CREATE TABLE wide (' || (SELECT string_agg(format('c%s smallint', lpad(g::text, 4, '0')), ', ' ORDER BY g) FROM generate_series(1, 1600) AS g) || ')';
    EXECUTE 'INSERT INTO wide SELECT ' || (SELECT string_agg(CASE g % 3 WHEN 0 THEN 'NULL' ELSE (g % 100)::text END, ', ' ORDER BY g) FROM generate_series(1, 1600) AS g) || ' FROM generate_series(1, 5)';
    EXECUTE 'CREATE TABLE wide_dropped (' || (SELECT string_agg(format('%I text', CASE WHEN g % 2 = 0 THEN 'ç ' || g ELSE 'c' || g END), ', ' ORDER BY g) FROM generate_series(1, 1600) AS g) || ')';
    EXECUTE 'ALTER TABLE wide_dropped ' || (SELECT string_agg(format('DROP COLUMN %I', CASE WHEN g % 2 = 0 THEN 'ç ' || g ELSE 'c' || g END), ', ' ORDER BY g) FROM generate_series(1, 1550) AS g);
    INSERT INTO wide_dropped DEFAULT VALUES;
END $$;

-- No columns: rows are empty lines. The second had columns once; the third has only a generated one.
CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE nothing_left (a int, b text); INSERT INTO nothing_left SELECT g, repeat('x', 500) FROM generate_series(1, 200) AS g; ALTER TABLE nothing_left DROP a, DROP b;
CREATE TABLE nothing_empty ();
CREATE TABLE only_generated (g int GENERATED ALWAYS AS (1 + 1) STORED); INSERT INTO only_generated DEFAULT VALUES; INSERT INTO only_generated DEFAULT VALUES;
CREATE TABLE no_rows (id int PRIMARY KEY, body text);
CREATE TABLE one_null (value text); INSERT INTO one_null VALUES (NULL);
CREATE TABLE one_empty (value text); INSERT INTO one_empty VALUES ('');
CREATE TABLE duplicates (value text); INSERT INTO duplicates SELECT 'same' FROM generate_series(1, 1000);

-- Columns added to existing rows have no bytes on the page (attmissingval); dropped ones have bytes and no name.
CREATE TABLE altered (id int PRIMARY KEY, gone1 text, kept text, gone2 int);
INSERT INTO altered SELECT g, 'gone', 'kept ' || g, g FROM generate_series(1, 500) AS g;
ALTER TABLE altered DROP gone1, DROP gone2;
ALTER TABLE altered ADD added_default text DEFAULT E'filled\tin' NOT NULL, ADD added_null int, ADD "added ""volatile""" double precision DEFAULT random(), ADD added_array int[] DEFAULT '{1,NULL}';
INSERT INTO altered (id, kept) VALUES (1001, 'after');
ALTER TABLE altered ALTER kept TYPE varchar(100), ALTER added_default DROP DEFAULT;

CREATE UNLOGGED TABLE unlogged (id serial PRIMARY KEY, body text); INSERT INTO unlogged (body) SELECT 'unlogged ' || g FROM generate_series(1, 100) AS g;
-- Names that only look temporary.
CREATE TABLE pg_temp_1 (id int); INSERT INTO pg_temp_1 VALUES (1);
CREATE TABLE "pg_toast_16384" (id int); INSERT INTO "pg_toast_16384" VALUES (1);

ALTER TABLE big ALTER bucket SET STATISTICS 500, ALTER label SET (n_distinct = -0.5), SET (autovacuum_enabled = false, parallel_workers = 2);
CREATE STATISTICS "big stats ""q""" (ndistinct, dependencies, mcv) ON bucket, label FROM big;
CREATE STATISTICS big_expression ON (bucket % 7), lower(label) FROM big;
ALTER STATISTICS big_expression SET STATISTICS 50;
COMMENT ON STATISTICS big_expression IS 'of expressions';
-- Tablespaces exist only where a superuser made one (00-cluster.sql).
SELECT count(*) = 1 AS has_space FROM pg_tablespace WHERE spcname = 'torture_space' \gset
\if :has_space
CREATE TABLE elsewhere (id int PRIMARY KEY USING INDEX TABLESPACE torture_space, body text) TABLESPACE torture_space;
INSERT INTO elsewhere SELECT g, 'elsewhere' FROM generate_series(1, 1000) AS g;
\endif
ANALYZE big;
