-- Owner, UTF8 database. Types, functions, casts, operators, collations, text search, sequences: what tables rest on.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET client_encoding = 'UTF8';

-- Roles of the application; a second database of the same cluster finds them there.
DO $$ BEGIN CREATE ROLE torture_app NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE torture_reader NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE "torture röle ""q"" 'x' \ ..*%" NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT torture_app TO CURRENT_USER;

CREATE SCHEMA shapes;
COMMENT ON SCHEMA shapes IS 'types and functions';
CREATE SCHEMA app AUTHORIZATION torture_app;
SET search_path = public;

-- Enums: values added later sort between older ones (pg_enum.enumsortorder is fractional).
CREATE TYPE shapes.mood AS ENUM ('sad', 'ok', 'happy', 'it''s "fine"', E'tab\tand\\', 'naïve ☃');
ALTER TYPE shapes.mood ADD VALUE 'meh' BEFORE 'ok';
ALTER TYPE shapes.mood ADD VALUE 'almost ok' BEFORE 'ok';
CREATE TYPE shapes.no_values AS ENUM ();
COMMENT ON TYPE shapes.mood IS 'an enum; '';--';

CREATE FUNCTION shapes.is_even(n int) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN n % 2 = 0;
CREATE DOMAIN shapes.percentage AS numeric(7, 2) DEFAULT 50 CONSTRAINT "from 0 to 100" CHECK (VALUE BETWEEN 0 AND 100);
ALTER DOMAIN shapes.percentage ADD CONSTRAINT "not thirteen" CHECK (VALUE <> 13);
CREATE DOMAIN shapes.even_int AS int NOT NULL CHECK (shapes.is_even(VALUE));
CREATE DOMAIN shapes.half AS shapes.percentage CHECK (VALUE <= 50);
CREATE DOMAIN shapes.code AS varchar(12) COLLATE "C" CHECK (VALUE ~ E'^[A-Z\\\\"'']*$');
CREATE DOMAIN shapes.int_list AS int[] CHECK (cardinality(VALUE) < 100);
CREATE DOMAIN shapes.legacy AS text;
ALTER DOMAIN shapes.legacy ADD CONSTRAINT "short, one day" CHECK (length(VALUE) < 5) NOT VALID;
COMMENT ON CONSTRAINT "short, one day" ON DOMAIN shapes.legacy IS 'old rows break it';

CREATE TYPE shapes.point3 AS (x float8, y float8, z float8);
CREATE TYPE shapes."Odd ""composite""" AS ("first, name" text COLLATE "C", "a ""b""" shapes.mood, deep shapes.point3[], moment timestamptz);
CREATE TYPE shapes.nothing AS ();
CREATE DOMAIN shapes.positive_point AS shapes.point3 CHECK ((VALUE).x > 0);
COMMENT ON COLUMN shapes.point3.x IS 'the first';
ALTER TYPE shapes.point3 DROP ATTRIBUTE z;
ALTER TYPE shapes.point3 ADD ATTRIBUTE z float8;

CREATE TYPE shapes.float_range AS RANGE (subtype = float8, subtype_diff = float8mi, multirange_type_name = shapes.float_multirange);
CREATE TYPE shapes.text_range AS RANGE (subtype = text, collation = "C");

-- Functions: nested dollar quotes, SQL bodies, every kind of argument, settings, defaults that hold quotes.
CREATE FUNCTION shapes."Fünktion ""q"" $"(
    VARIADIC "ärg, one" text[] DEFAULT ARRAY['it''s', E'back\\slash\n']) RETURNS text
    LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER COST 17 SET search_path = pg_catalog, pg_temp SET "work_mem" = '5MB' AS $outer$
BEGIN
    RETURN $inner$it's $$ nested $_$ \ $inner$ || array_to_string("ärg, one", ',');
END
$outer$;
CREATE FUNCTION shapes.split(IN total int, OUT low int, OUT high int) LANGUAGE sql IMMUTABLE AS 'SELECT $1 / 2, $1 - $1 / 2';
CREATE FUNCTION shapes.rows_of(n int) RETURNS TABLE (id int, label text) ROWS 7 LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT g, 'row ' || g FROM generate_series(1, n) AS g WHERE g <> ALL (ARRAY[-1, -2]);
        SELECT g, U&'sn\2603w ' || g FROM generate_series(1, n) AS g;
    END;
CREATE FUNCTION shapes.same(anyelement) RETURNS anyelement LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION shapes.overloaded(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION shapes.overloaded(text) RETURNS int LANGUAGE sql AS 'SELECT 2';
CREATE FUNCTION shapes.empty_body() RETURNS void LANGUAGE sql AS '';
CREATE PROCEDURE shapes.tidy_up(INOUT counter int DEFAULT 0) LANGUAGE plpgsql AS $$ BEGIN counter := counter + 1; COMMIT; END $$;
CREATE PROCEDURE shapes.atomic_procedure(a int) BEGIN ATOMIC SELECT a; END;
COMMENT ON FUNCTION shapes.overloaded(text) IS 'the second';
COMMENT ON PROCEDURE shapes.tidy_up(int) IS 'commits';
-- A body that would not parse today: pg_restore must not check bodies.
SET check_function_bodies = off;
CREATE FUNCTION shapes.broken() RETURNS int LANGUAGE sql AS 'SELECT missing FROM nowhere';
RESET check_function_bodies;

CREATE AGGREGATE shapes.product(float8) (SFUNC = float8mul, STYPE = float8, INITCOND = '1', PARALLEL = SAFE, COMBINEFUNC = float8mul);
CREATE AGGREGATE shapes.moving_sum(int) (SFUNC = int4pl, STYPE = int, INITCOND = 0, MSFUNC = int4pl, MINVFUNC = int4mi, MSTYPE = int, MINITCOND = 0);
CREATE FUNCTION shapes.keep(anyarray, anyelement) RETURNS anyarray LANGUAGE sql IMMUTABLE AS 'SELECT array_append($1, $2)';
CREATE FUNCTION shapes.middle(anyarray) RETURNS anyelement LANGUAGE sql IMMUTABLE AS 'SELECT $1[(1 + cardinality($1)) / 2]';
CREATE AGGREGATE shapes.middle_of(ORDER BY anyelement) (SFUNC = shapes.keep, STYPE = anyarray, FINALFUNC = shapes.middle, INITCOND = '{}');
COMMENT ON AGGREGATE shapes.product(float8) IS 'multiplies';

CREATE FUNCTION shapes.close_to(shapes.point3, shapes.point3) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT abs($1.x - $2.x) < 0.1';
CREATE FUNCTION shapes.far_from(shapes.point3, shapes.point3) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT abs($1.x - $2.x) >= 0.1';
CREATE OPERATOR shapes.=~= (FUNCTION = shapes.close_to, LEFTARG = shapes.point3, RIGHTARG = shapes.point3, COMMUTATOR = OPERATOR(shapes.=~=), NEGATOR = OPERATOR(shapes.<~>), RESTRICT = eqsel);
CREATE OPERATOR shapes.<~> (FUNCTION = shapes.far_from, LEFTARG = shapes.point3, RIGHTARG = shapes.point3, NEGATOR = OPERATOR(shapes.=~=));
CREATE FUNCTION shapes.negate(shapes.point3) RETURNS shapes.point3 LANGUAGE sql IMMUTABLE AS 'SELECT (-$1.x, -$1.y, -$1.z)::shapes.point3';
CREATE OPERATOR shapes.!! (FUNCTION = shapes.negate, RIGHTARG = shapes.point3);
COMMENT ON OPERATOR shapes.=~= (shapes.point3, shapes.point3) IS 'near enough';

CREATE FUNCTION shapes.to_point(float8) RETURNS shapes.point3 LANGUAGE sql IMMUTABLE AS 'SELECT ($1, 0, 0)::shapes.point3';
CREATE CAST (float8 AS shapes.point3) WITH FUNCTION shapes.to_point(float8) AS ASSIGNMENT;
CREATE CAST (shapes.mood AS varchar) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (shapes.mood AS varchar) IS 'by its text';
CREATE CONVERSION shapes.from_latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;

CREATE COLLATION shapes.plain (LOCALE = 'C');
CREATE COLLATION shapes."Kollation ""q""" FROM "POSIX";
-- Only builds with ICU have these.
DO $$ BEGIN
    CREATE COLLATION shapes.phonebook (PROVIDER = icu, LOCALE = 'de-u-co-phonebk');
    CREATE COLLATION shapes.blurred (PROVIDER = icu, LOCALE = 'und-u-ks-level2', DETERMINISTIC = false);
    CREATE TABLE shapes.blurred_words (word text COLLATE shapes.blurred PRIMARY KEY);
    INSERT INTO shapes.blurred_words VALUES ('Straße'), ('ÄPFEL'), ('z');
EXCEPTION WHEN feature_not_supported OR invalid_parameter_value OR undefined_object THEN RAISE NOTICE 'no ICU here';
END $$;

CREATE TEXT SEARCH DICTIONARY shapes.stemmer (TEMPLATE = snowball, LANGUAGE = 'english', STOPWORDS = 'english');
CREATE TEXT SEARCH DICTIONARY shapes."dict ""q""" (TEMPLATE = simple, ACCEPT = false);
CREATE TEXT SEARCH CONFIGURATION shapes.search (COPY = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION shapes.search ALTER MAPPING FOR asciiword, word WITH shapes."dict ""q""", shapes.stemmer;
ALTER TEXT SEARCH CONFIGURATION shapes.search DROP MAPPING FOR url_path;
COMMENT ON TEXT SEARCH CONFIGURATION shapes.search IS 'two dictionaries';

-- Sequences: called, not called, wrapped, exhausted, descending, unlogged, of every type.
CREATE SEQUENCE shapes.never_called START 42;
CREATE SEQUENCE shapes.called; SELECT nextval('shapes.called') FROM generate_series(1, 5);
CREATE SEQUENCE shapes.set_not_called; SELECT setval('shapes.set_not_called', 777, false);
CREATE SEQUENCE shapes.backwards INCREMENT -7 MINVALUE -1000000 MAXVALUE 10 START -3 CACHE 20; SELECT nextval('shapes.backwards');
CREATE SEQUENCE shapes.cycling AS smallint MINVALUE 3 MAXVALUE 5 CYCLE; SELECT nextval('shapes.cycling') FROM generate_series(1, 4);
CREATE SEQUENCE shapes.exhausted MAXVALUE 2; SELECT nextval('shapes.exhausted') FROM generate_series(1, 2);
CREATE SEQUENCE shapes.huge START 9223372036854775807; SELECT nextval('shapes.huge');
CREATE SEQUENCE shapes.lowest INCREMENT -1 MINVALUE -9223372036854775808 START -9223372036854775808; SELECT nextval('shapes.lowest');
CREATE UNLOGGED SEQUENCE shapes.unlogged_sequence; SELECT nextval('shapes.unlogged_sequence');
CREATE SEQUENCE "Sëquence ""q"" 'x'.."; SELECT nextval('"Sëquence ""q"" ''x''.."');
COMMENT ON SEQUENCE shapes.called IS 'five times';
