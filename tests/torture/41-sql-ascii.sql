-- Owner, SQL_ASCII database. The server takes bytes as they come: values, and one identifier, that are no UTF8.
-- This file is pure ASCII; the odd bytes are written as escapes.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET client_encoding = 'SQL_ASCII';
CREATE SCHEMA "schema ""q"" ..*";
SET search_path = "schema ""q"" ..*";
CREATE TABLE "table 'x'" (id int PRIMARY KEY, v text, b bytea);
INSERT INTO "table 'x'" VALUES (1, E'latin1: \xe9\xff', '\xe9ff'), (2, E'utf8: \xc3\xa9 \xe2\x98\x83', NULL), (3, E'cut utf8: \xe2\x98', NULL), (4, E'lone continuation: \x80\xbf', NULL),
    (5, E'overlong: \xc0\xaf', NULL), (6, E'surrogate: \xed\xa0\x80', NULL), (7, E'beyond unicode: \xf5\x80\x80\x80 \xfe\xff', NULL), (8, E'\xff\n\\.\n\xff\t\\N', NULL), (9, E'\xef\xbb\xbfbom', NULL), (10, '', ''), (11, NULL, NULL);
-- Every byte but zero, one by one and in one value. SJIS and GBK have a backslash as second byte: \x95\x5c.
INSERT INTO "table 'x'" SELECT 100 + g, convert_from(decode(lpad(to_hex(g), 2, '0'), 'hex'), 'SQL_ASCII'), NULL FROM generate_series(1, 255) AS g;
INSERT INTO "table 'x'" SELECT 500, convert_from(decode(string_agg(lpad(to_hex(g), 2, '0'), '' ORDER BY g), 'hex'), 'SQL_ASCII'), NULL FROM generate_series(1, 255) AS g;
INSERT INTO "table 'x'" VALUES (501, E'\x95\x5c \x83\x5cn \x81\x09', NULL);
CREATE TABLE big (id int PRIMARY KEY, body text); INSERT INTO big SELECT g, convert_from(decode(repeat(lpad(to_hex(128 + g % 128), 2, '0'), g % 90), 'hex'), 'SQL_ASCII') FROM generate_series(1, 4000) AS g;
CREATE TABLE "new
line" (v text); INSERT INTO "new
line" VALUES (E'\\.');
CREATE TABLE ".." (v text); INSERT INTO ".." VALUES (E'\xe0');
CREATE TABLE "*" (v text); INSERT INTO "*" VALUES (E'\xdf');
-- Identifiers in bytes that are no UTF8: a table, its column, its index, an enum with such a value, a comment.
DO $$ DECLARE odd text := convert_from('\x6ee9ff', 'SQL_ASCII'); BEGIN
    EXECUTE format('CREATE TABLE %1$I (id int PRIMARY KEY, %1$I text DEFAULT %1$L)', odd);
    EXECUTE format('INSERT INTO %1$I (id) SELECT g FROM generate_series(1, 1500) AS g', odd);
    EXECUTE format('CREATE INDEX %2$I ON %1$I (%1$I)', odd, odd || ' index');
    EXECUTE format('COMMENT ON COLUMN %1$I.%1$I IS %1$L', odd);
    EXECUTE format('CREATE TYPE %2$I AS ENUM (%1$L, ''x'')', odd, odd || ' enum');
    EXECUTE format('CREATE TABLE by_enum (e %I, n int) PARTITION BY HASH (e)', odd || ' enum');
    EXECUTE 'CREATE TABLE by_enum_0 PARTITION OF by_enum FOR VALUES WITH (MODULUS 2, REMAINDER 0)';
    EXECUTE 'CREATE TABLE by_enum_1 PARTITION OF by_enum FOR VALUES WITH (MODULUS 2, REMAINDER 1)';
    EXECUTE format('INSERT INTO by_enum SELECT CASE g %% 2 WHEN 0 THEN ''x''::%2$I ELSE %1$L::%2$I END, g FROM generate_series(1, 100) AS g', odd, odd || ' enum');
END $$;
SELECT lo_from_bytea(800002, '\x00ff');
