-- Owner, UTF8 database; does nothing below PostgreSQL 17.
\set ON_ERROR_STOP on
SELECT current_setting('server_version_num')::int >= 170000 AS here \gset
\if :here
SET client_min_messages = warning;
CREATE SCHEMA since17;
-- An identity column on a partitioned table. No exclusion constraint on one: PostgreSQL 17 and 18 create it, but cannot
-- attach the partition's index again when they restore their own dump ("index definitions do not match").
CREATE TABLE since17.identity_root (id int GENERATED ALWAYS AS IDENTITY (START 100), k int, r int4range) PARTITION BY RANGE (r);
CREATE TABLE since17.identity_leaf PARTITION OF since17.identity_root FOR VALUES FROM ('[0,1)') TO ('[100000,100001)');
INSERT INTO since17.identity_root (k, r) SELECT g, int4range(g * 10, g * 10 + 5) FROM generate_series(1, 900) AS g;
CREATE COLLATION since17.builtin_c (PROVIDER = builtin, LOCALE = 'C.UTF-8');
CREATE TABLE since17.words (w text COLLATE since17.builtin_c PRIMARY KEY, b text COLLATE pg_catalog.pg_c_utf8);
INSERT INTO since17.words VALUES ('Ä', 'é'), ('z', 'Z');
CREATE TABLE since17.spans (i interval);
INSERT INTO since17.spans VALUES ('infinity'), ('-infinity'), (NULL);
CREATE VIEW since17.json_table AS SELECT j.* FROM (VALUES ('[{"a": 1, "b": "x"}]'::jsonb)) AS v (doc), JSON_TABLE(v.doc, '$[*]' COLUMNS (n FOR ORDINALITY, a int PATH '$.a' DEFAULT 0 ON EMPTY, b text PATH '$.b')) AS j;
CREATE VIEW since17.merged AS SELECT JSON_VALUE('{"a": 1}', '$.a' RETURNING int) AS v, JSON_QUERY('{"a": [1]}', '$.a' WITH WRAPPER) AS q;
GRANT MAINTAIN ON since17.words TO torture_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA since17 GRANT MAINTAIN ON TABLES TO torture_reader;
\endif
