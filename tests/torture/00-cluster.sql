-- Run once per cluster, as a superuser, in the maintenance database.
-- Creates the master (as RDS makes one: no superuser, may create roles and databases), the two backup roles and the
-- databases. Names can be changed with psql -v; the defaults are in README.md.
\set ON_ERROR_STOP on
\if :{?owner} \else \set owner torture_owner \endif
\if :{?backup} \else \set backup torture_backup \endif
\if :{?bare} \else \set bare torture_bare \endif
\if :{?utf8} \else \set utf8 torture \endif
\if :{?latin1} \else \set latin1 'torture "latin1" ''é'' ../*' \endif
-- psql turns \n inside a \set into a newline: this name has one, and a percent sign.
\if :{?ascii} \else \set ascii 'torture\n..*ascii% "x"' \endif
\if :{?password} \else \set password 'torture ''%'' pass:word/@?#' \endif

CREATE ROLE :"owner" LOGIN NOSUPERUSER CREATEROLE CREATEDB PASSWORD :'password';
-- Everything that a faithful dump needs: all rows of all tables, also below row level security.
CREATE ROLE :"backup" LOGIN NOSUPERUSER NOINHERIT BYPASSRLS PASSWORD :'password';
ALTER ROLE :"backup" INHERIT;
GRANT pg_read_all_data TO :"backup";
-- What people grant first, and what is not enough: row level security and foreign large objects stop it.
CREATE ROLE :"bare" LOGIN NOSUPERUSER PASSWORD :'password';
GRANT pg_read_all_data TO :"bare";

CREATE DATABASE :"utf8" OWNER :"owner" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8';
CREATE DATABASE :"latin1" OWNER :"owner" TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C';
CREATE DATABASE :"ascii" OWNER :"owner" TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C';
COMMENT ON DATABASE :"utf8" IS E'It''s a "comment"\nof two lines, with \\ and $$ and ☃';

-- An extension with config tables, which no contrib module has: its files are written by the server into its own
-- installation where it may (a copy of the binaries belongs to the server's user; a distribution's folder does not).
-- 30-superuser.sql creates the extension only where this worked.
DO $install$
DECLARE
    folder text := (SELECT setting FROM pg_config WHERE name = 'SHAREDIR') || '/extension/';
BEGIN
    EXECUTE format($$COPY (VALUES ('comment = ''config tables for Lifeboat''''s torture database'''),
        ('default_version = ''1.0'''), ('relocatable = false'), ('schema = torture_extension')) TO %L$$,
        folder || 'torture_extension.control');
    EXECUTE format($$COPY (VALUES
        ('CREATE TABLE settings (name text PRIMARY KEY, value text, builtin boolean NOT NULL DEFAULT false);'),
        ('INSERT INTO settings VALUES (''shipped'', ''with the extension'', true);'),
        ('CREATE TABLE "Odd ""config"" table" (id serial PRIMARY KEY, payload bytea);'),
        ('CREATE TABLE not_config (n int);'),
        ('INSERT INTO not_config VALUES (1), (2);'),
        ('CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS ''SELECT 2 * n'';'),
        ('SELECT pg_catalog.pg_extension_config_dump(''settings'', ''WHERE NOT builtin'');'),
        ('SELECT pg_catalog.pg_extension_config_dump(''"Odd ""config"" table"'', '''');'),
        ('SELECT pg_catalog.pg_extension_config_dump(''"Odd ""config"" table_id_seq"'', '''');'))
        TO %L$$, folder || 'torture_extension--1.0.sql');
EXCEPTION WHEN OTHERS THEN
    RAISE NOTICE 'no extension with config tables here: %', SQLERRM;
END
$install$;

-- A tablespace inside the data folder: no path outside it, so it also works where the folder is temporary. Restoring
-- needs it to exist in the target cluster, which is where it already is.
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE torture_space LOCATION '';
GRANT CREATE ON TABLESPACE torture_space TO :"owner";
COMMENT ON TABLESPACE torture_space IS 'in place';
