-- Owner, UTF8 database; does nothing below PostgreSQL 16.
\set ON_ERROR_STOP on
SELECT current_setting('server_version_num')::int >= 160000 AS here \gset
\if :here
SET client_min_messages = warning;
CREATE SCHEMA since16;
CREATE TABLE since16.stored (id int PRIMARY KEY, body text STORAGE EXTERNAL COMPRESSION pglz, plain text STORAGE PLAIN);
INSERT INTO since16.stored SELECT g, repeat('s', 3000), 'p' FROM generate_series(1, 200) AS g;
CREATE VIEW since16.json_view AS SELECT JSON_OBJECT('id' VALUE id, 'b' VALUE plain ABSENT ON NULL) AS o, JSON_ARRAYAGG(id) OVER () AS a, '{}' IS JSON OBJECT AS is_json FROM since16.stored;
CREATE VIEW since16.literals AS SELECT 0x1F AS hex, 1_000 AS grouped, any_value(id) AS any_one FROM since16.stored;
CREATE TABLE since16.options (a int, b int);
INSERT INTO since16.options VALUES (1, 2);
CREATE STATISTICS ON a, b FROM since16.options;
CREATE DOMAIN since16.never AS text COLLATE "unicode" CHECK (VALUE IS NULL OR VALUE <> '');
-- Above 127 PostgreSQL 15 prints the bare byte, which no UTF8 database takes back; since 16 it is an octal escape.
CREATE TABLE since16.high_chars (c "char"); INSERT INTO since16.high_chars SELECT g::"char" FROM generate_series(-128, 127) AS g;
-- Membership with its own options: part of the globals.
DO $$ BEGIN CREATE ROLE torture_member NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT torture_reader TO torture_member WITH INHERIT FALSE, SET TRUE, ADMIN TRUE;
\endif
