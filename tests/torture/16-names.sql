-- Owner, UTF8 database. Names that break quoting, patterns, paths and line-based formats. Each table has rows.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
-- As data first: the same list names schemas, tables, columns, constraints and indexes below.
CREATE TEMP TABLE odd_names (n serial, name text);
INSERT INTO odd_names (name) VALUES
    ('select'), ('table'), ('user'), ('null'), ('public'), ('pg_catalog_'), ('default'), ('column'), ('from stdin;'), ('ONLY'),
    ('UPPER'), ('CamelCase'), ('with space'), (' leading'), ('trailing '), (' '), ('tab' || E'\t' || 'bed'), ('new' || E'\n' || 'line'), (E'cr\rlf\r\n'),
    (E'\\.'), (E'\n\\.\n'), (E'back\\slash'), (E'\\'), ('single''quote'), ('''''),--'), ('double"quote'), ('""'), ('".".".'), ('semi;colon'), ('-- comment'), ('/* c'), ('*/'),
    ('dot.ted'), ('..'), ('.'), ('../../etc/passwd'), ('/absolute'), ('a/b'), ('*'), ('a*'), ('?'), ('[abc]'), ('a|b'), ('(paren)'), ('{brace,d}'), ('$dollar'), ('$$'), ('$1'), ('%s%n'), ('%41'), ('100%'), ('a_b'), ('a%b'), ('^start$'), ('+'), ('~'), ('#'), ('@at'), ('&amp;'), ('=a'), (':colon'), (':''psql'''), (':"psql"'), ('!'), (','),
    ('1digit'), ('0'), ('naïve'), ('Ünïcödé'), ('ÀÉÎ'), ('漢字テーブル'), ('עברית'), ('☃'), ('👩‍👩‍👧‍👦'), (U&'e\0301'), (U&'\FEFFbom'), (U&'zero\200Bwidth'), (U&'rtl\202Eabc'), (E'control\001\x7f'),
    (repeat('x', 63)), (repeat('é', 31)), (repeat('"', 63)), (repeat('é', 31) || '!'), ('t16384'), ('toc.dat'), ('manifest.json'), ('blobs.toc'), ('template0'), ('pg_temp'), ('xmin_'), ('true'), ('on'), ('off');
CREATE TABLE public.all_names AS SELECT n, name FROM odd_names;

DO $$
DECLARE odd record; next_name text;
BEGIN
    -- In one schema: tables whose columns, keys and indexes have the same odd names.
    CREATE SCHEMA "nämes ""q"" ..*";
    FOR odd IN SELECT n, name, coalesce(lead(name) OVER (ORDER BY n), 'last') AS other FROM odd_names ORDER BY n LOOP
        EXECUTE format('CREATE TABLE "nämes ""q"" ..*".%1$I (%1$I text CONSTRAINT %2$I CHECK (%1$I <> %3$L), plain int DEFAULT %4$s, %2$I text DEFAULT %3$L)', odd.name, odd.other, odd.name || ' ''default''', odd.n);
        EXECUTE format('INSERT INTO "nämes ""q"" ..*".%I SELECT %L, g, %L FROM generate_series(1, 3) AS g', odd.name, odd.name, odd.other);
        EXECUTE format('COMMENT ON TABLE "nämes ""q"" ..*".%I IS %L', odd.name, 'table ' || odd.name);
        EXECUTE format('COMMENT ON COLUMN "nämes ""q"" ..*".%1$I.%1$I IS %2$L', odd.name, 'column ' || odd.name);
    END LOOP;
    -- As schemas, each with a sequence, a type, a function, an index and a foreign key of odd names.
    FOR odd IN SELECT n, name FROM odd_names WHERE name <> 'public' AND name !~ '^pg_' AND n % 3 = 0 ORDER BY n LOOP
        EXECUTE format('CREATE SCHEMA %I', odd.name);
        EXECUTE format('CREATE TYPE %1$I.%1$I AS ENUM (%1$L, ''x'')', odd.name);
        EXECUTE format('CREATE TABLE %1$I.t (%1$I int PRIMARY KEY, kind %1$I.%1$I DEFAULT %1$L, parent int REFERENCES %1$I.t)', odd.name);
        EXECUTE format('INSERT INTO %1$I.t (%1$I) VALUES (1), (2)', odd.name);
        EXECUTE format('CREATE SEQUENCE %1$I.s OWNED BY %1$I.t.%1$I', odd.name);
        EXECUTE format('SELECT setval(%L, 9)', format('%I.s', odd.name));
        EXECUTE format('CREATE FUNCTION %1$I.%1$I(%1$I int) RETURNS int LANGUAGE sql IMMUTABLE AS %2$L', odd.name, 'SELECT $1');
        EXECUTE format('CREATE VIEW %1$I.v AS SELECT %1$I.%1$I(%1$I) AS %1$I FROM %1$I.t', odd.name);
    END LOOP;
END $$;

-- The same table name in several schemas, and names that differ only in case or in their composition.
CREATE SCHEMA same_a; CREATE SCHEMA same_b; CREATE SCHEMA "SAME_A";
CREATE TABLE same_a.orders (id int); INSERT INTO same_a.orders VALUES (1);
CREATE TABLE same_b.orders (id int); INSERT INTO same_b.orders VALUES (2);
CREATE TABLE "SAME_A".orders (id int); INSERT INTO "SAME_A".orders VALUES (3);
CREATE TABLE same_a."Orders" (id int); INSERT INTO same_a."Orders" VALUES (4);
CREATE TABLE same_a."same_b.orders" (id int); INSERT INTO same_a."same_b.orders" VALUES (5);
CREATE TABLE same_a."or*" (id int); INSERT INTO same_a."or*" VALUES (6);
CREATE TABLE same_a."é" (id int); INSERT INTO same_a."é" VALUES (7);
