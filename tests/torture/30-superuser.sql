-- Superuser, UTF8 database, after the owner's files: what a master without superuser cannot create.
\set ON_ERROR_STOP on
SET client_min_messages = error;
SET client_encoding = 'UTF8';
\if :{?owner} \else \set owner torture_owner \endif
CREATE SCHEMA super;

-- Extensions, where the build has them. Their members are not in a dump; what was added to them or granted on them is.
CREATE FUNCTION pg_temp.extend(wanted text, placed text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = wanted) THEN EXECUTE format('CREATE EXTENSION %I SCHEMA %I', wanted, placed); END IF;
END $$;
SELECT pg_temp.extend(e, 'super') FROM unnest('{hstore,citext,pg_trgm,btree_gist,ltree,intarray,isn,cube,lo,vector,postgres_fdw,file_fdw,bloom,unaccent}'::text[]) AS e;
SELECT count(*) FILTER (WHERE extname = 'hstore') AS has_contrib, count(*) FILTER (WHERE extname = 'vector') AS has_vector FROM pg_extension \gset
\if :has_contrib
CREATE TABLE super.contrib (id int PRIMARY KEY, pairs super.hstore, word super.citext UNIQUE, tree super.ltree, isbn super.isbn, box super.cube, picture super.lo, EXCLUDE USING gist (id WITH OPERATOR(pg_catalog.=), box WITH OPERATOR(super.&&)));
INSERT INTO super.contrib VALUES (1, E'"a b"=>NULL, "q\\""=>"\\\\"', 'CamelCase', 'a.b.c', '978-0-393-04002-9', '(1,2),(3,4)', 900002), (2, '', '', '', NULL, NULL, NULL);
CREATE INDEX ON super.contrib USING gin (word super.gin_trgm_ops);
CREATE INDEX ON vals.strings USING bloom (id super.int4_ops, value super.text_ops) WITH (length = 80);
CREATE TRIGGER manage BEFORE UPDATE OR DELETE ON super.contrib FOR EACH ROW EXECUTE FUNCTION super.lo_manage(picture);
GRANT EXECUTE ON FUNCTION super.hstore(text, text) TO torture_reader; REVOKE EXECUTE ON FUNCTION super.hstore(text, text) FROM PUBLIC;
CREATE PUBLICATION trigram FOR TABLE super.contrib;
COMMENT ON EXTENSION hstore IS 'a comment of our own';
\endif
\if :has_vector
CREATE TABLE super.vectors (id int PRIMARY KEY, v super.vector(3));
INSERT INTO super.vectors SELECT g, ('[' || g || ',0.1,-1e-3]')::super.vector FROM generate_series(1, 500) AS g;
CREATE INDEX ON super.vectors USING hnsw (v super.vector_l2_ops);
\endif
-- The extension with config tables that 00-cluster.sql may have installed.
SELECT count(*) = 1 AS has_config FROM pg_available_extensions WHERE name = 'torture_extension' \gset
\if :has_config
CREATE SCHEMA torture_extension;
CREATE EXTENSION torture_extension SCHEMA torture_extension;
INSERT INTO torture_extension.settings VALUES ('mine', E'tab\there', false), ('empty', '', false), ('null', NULL, false);
INSERT INTO torture_extension."Odd ""config"" table" (payload) SELECT decode(md5(g::text), 'hex') FROM generate_series(1, 1000) AS g;
INSERT INTO torture_extension.not_config VALUES (3);
CREATE TABLE super.refers_to_config (name text REFERENCES torture_extension.settings, n int DEFAULT torture_extension.twice(3));
INSERT INTO super.refers_to_config VALUES ('shipped', 1), ('mine', 2);
GRANT SELECT ON torture_extension.settings TO torture_reader;
\endif

-- Foreign data without a handler: it can be created everywhere and read nowhere. pg_dump writes no data for it.
CREATE FOREIGN DATA WRAPPER "torture ""fdw""" OPTIONS (debug 'it''s', "Odd option" E'a\\b');
CREATE SERVER torture_server TYPE 'odd' VERSION '1.0' FOREIGN DATA WRAPPER "torture ""fdw""" OPTIONS (host '127.0.0.1', dbname 'x y');
CREATE USER MAPPING FOR torture_app SERVER torture_server OPTIONS (password 'user-mapping-secret');
CREATE USER MAPPING FOR PUBLIC SERVER torture_server;
GRANT USAGE ON FOREIGN SERVER torture_server TO torture_reader; GRANT USAGE ON FOREIGN DATA WRAPPER "torture ""fdw""" TO torture_app;
CREATE FOREIGN TABLE super."föreign ""t""" (id int OPTIONS (column_name 'ID') NOT NULL, body text COLLATE "C", CHECK (id > 0)) SERVER torture_server OPTIONS (table_name 'x');
COMMENT ON FOREIGN TABLE super."föreign ""t""" IS 'no data here';
-- A root with one local and one foreign partition: reading the root fails, reading the leaf works.
CREATE TABLE super.half_foreign (id int, body text) PARTITION BY RANGE (id);
CREATE TABLE super.half_foreign_local PARTITION OF super.half_foreign FOR VALUES FROM (0) TO (1000);
CREATE FOREIGN TABLE super.half_foreign_remote PARTITION OF super.half_foreign FOR VALUES FROM (1000) TO (2000) SERVER torture_server;
INSERT INTO super.half_foreign_local SELECT g, 'local' FROM generate_series(0, 999) AS g;
CREATE TABLE super.foreign_parent (id int); INSERT INTO super.foreign_parent VALUES (1);
CREATE FOREIGN TABLE super.foreign_child (own text) INHERITS (super.foreign_parent) SERVER torture_server;

-- Base type, shell type, operator class and family, cast without function, procedural language, text search parser.
CREATE TYPE super.shell;
CREATE TYPE super.blurb;
CREATE FUNCTION super.blurb_in(cstring) RETURNS super.blurb LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION super.blurb_out(super.blurb) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE super.blurb (INPUT = super.blurb_in, OUTPUT = super.blurb_out, LIKE = text, DEFAULT = 'a ''default''', DELIMITER = ';', CATEGORY = 'S', STORAGE = extended, COLLATABLE = true);
CREATE CAST (super.blurb AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (text AS super.blurb) WITHOUT FUNCTION;
CREATE TABLE super.blurbs (id int, b super.blurb, many super.blurb[]);
INSERT INTO super.blurbs VALUES (1, E'tab\t', ARRAY['a;b', 'c']::text[]::super.blurb[]), (2, '', '{}'), (3, NULL, NULL);
CREATE FUNCTION super.backwards(int, int) RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT btint4cmp($2, $1)';
CREATE OPERATOR FAMILY super."family ""q""" USING btree;
CREATE OPERATOR CLASS super.int_backwards FOR TYPE int USING btree FAMILY super."family ""q""" AS OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 super.backwards(int, int);
CREATE TABLE super.by_class (n int, gone int) PARTITION BY RANGE (n super.int_backwards);
CREATE TABLE super.by_class_1 PARTITION OF super.by_class FOR VALUES FROM (100) TO (0); INSERT INTO super.by_class VALUES (50, 1);
CREATE INDEX ON super.blurbs (id super.int_backwards);
-- With handlers of our own: pg_dump writes a language with pg_catalog's handlers as if it were an extension.
CREATE FUNCTION super.call_handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION super.inline_handler(internal) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION super.validator(oid) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE TRUSTED LANGUAGE "plpgsql ""two""" HANDLER super.call_handler INLINE super.inline_handler VALIDATOR super.validator;
CREATE FUNCTION super.in_language_two() RETURNS int LANGUAGE "plpgsql ""two""" LEAKPROOF SUPPORT pg_catalog.generate_series_int4_support AS $$ BEGIN RETURN 2; END $$;
CREATE TEXT SEARCH PARSER super.parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);
CREATE TEXT SEARCH TEMPLATE super.template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH CONFIGURATION super.parsed (PARSER = super.parser);
CREATE ACCESS METHOD second_heap TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE super.other_method (id int, body text) USING second_heap; INSERT INTO super.other_method SELECT g, repeat('o', 100) FROM generate_series(1, 1500) AS g;
GRANT SET ON PARAMETER log_min_duration_statement TO torture_app;

-- Publications and a subscription that a superuser owns. The subscription never connects: no slot, disabled.
CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'insert');
CREATE PUBLICATION by_schema FOR TABLES IN SCHEMA vals, TABLE logic.orders;
CREATE SUBSCRIPTION "sub ""q""" CONNECTION 'host=127.0.0.1 port=1 dbname=nowhere user=nobody password=subscription-secret' PUBLICATION "p ""q""", q WITH (connect = false, slot_name = NONE, binary = true, streaming = on);
COMMENT ON SUBSCRIPTION "sub ""q""" IS 'never connects';

GRANT USAGE ON SCHEMA super TO torture_reader; GRANT SELECT ON ALL TABLES IN SCHEMA super TO torture_reader;
-- Event triggers last: they would see the statements above. A restore creates them last, too.
CREATE TABLE super.ddl_log (at timestamptz DEFAULT clock_timestamp(), tag text);
CREATE FUNCTION super.log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO super.ddl_log (tag) VALUES (tg_tag); END $$;
CREATE FUNCTION super.refuse_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no DDL: %', tg_tag; END $$;
CREATE EVENT TRIGGER "evënt ""q""" ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE FUNCTION') EXECUTE FUNCTION super.log_ddl();
CREATE EVENT TRIGGER refuse_rewrites ON table_rewrite EXECUTE FUNCTION super.refuse_ddl();
CREATE EVENT TRIGGER off ON ddl_command_start EXECUTE FUNCTION super.refuse_ddl();
ALTER EVENT TRIGGER off DISABLE;
COMMENT ON EVENT TRIGGER off IS 'disabled';
