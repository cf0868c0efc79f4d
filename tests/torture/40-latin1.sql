-- Owner, LATIN1 database. The server stores LATIN1; we send it UTF8, and a dump in UTF8 must come back the same.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE SCHEMA "schéma ""q"" ..*";
SET search_path = "schéma ""q"" ..*";
CREATE TABLE "tåble 'x'" (id int PRIMARY KEY, "cölumn
two" text, b bytea, c "char");
INSERT INTO "tåble 'x'" SELECT g, chr(g) || ' é ÿ', decode(lpad(to_hex(g), 2, '0'), 'hex'), CASE WHEN g < 128 THEN 'x'::"char" END FROM generate_series(1, 255) AS g;
-- C1 controls, the no-break space, and what looks like UTF8 but is LATIN1.
INSERT INTO "tåble 'x'" VALUES (1000, U&'\0080\0085\009f\00a0', '\xc3a9', NULL), (1001, U&'\00c3\00a9\00ef\00bb\00bf', NULL, NULL);
CREATE TYPE "énum" AS ENUM ('où', 'naïve', 'ÿ');
CREATE TABLE by_enum (e "énum", n int) PARTITION BY HASH (e);
CREATE TABLE by_enum_0 PARTITION OF by_enum FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE by_enum_1 PARTITION OF by_enum FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO by_enum SELECT e, g FROM unnest(enum_range(NULL::"énum")) AS e, generate_series(1, 100) AS g;
CREATE TABLE "new
line" (v text DEFAULT 'dé''faut'); INSERT INTO "new
line" VALUES (DEFAULT), (E'\\.'), ('');
CREATE TABLE ".." (v text); INSERT INTO ".." VALUES ('à');
CREATE TABLE "*" (v text); INSERT INTO "*" VALUES ('ß');
CREATE TABLE "..*/é" (v text COLLATE "C"); INSERT INTO "..*/é" VALUES ('þ');
-- 63 bytes here are 126 in UTF8: longer than a name may be there.
DO $$ BEGIN EXECUTE format('CREATE TABLE %I (v text)', repeat('é', 63)); EXECUTE format('INSERT INTO %I VALUES (%L)', repeat('é', 63), repeat('ü', 5000)); END $$;
CREATE TABLE big (id int PRIMARY KEY, body text); INSERT INTO big SELECT g, repeat(chr(192 + g % 60), g % 80) FROM generate_series(1, 4000) AS g;
CREATE FUNCTION "fönction"(text) RETURNS text LANGUAGE sql IMMUTABLE AS $é$ SELECT 'é' || $1 $é$;
CREATE VIEW "vué" AS SELECT "fönction"(v) AS "é" FROM "..";
CREATE DOMAIN "dömain" AS text CHECK (VALUE <> 'é');
COMMENT ON TABLE ".." IS 'commentaire: é';
SELECT lo_from_bytea(800001, '\xe9c3a9');
COMMENT ON LARGE OBJECT 800001 IS 'é';
