-- Owner, UTF8 database. Owners, grants, default privileges and comments; last of the owner's files.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
GRANT USAGE ON SCHEMA shapes, vals, store, parts, keys, logic TO torture_reader;
GRANT USAGE, CREATE ON SCHEMA logic TO torture_app WITH GRANT OPTION;
GRANT SELECT ON ALL TABLES IN SCHEMA vals TO torture_reader;
GRANT SELECT (id, customer), UPDATE (state), REFERENCES (id) ON logic.orders TO torture_reader, "torture röle ""q"" 'x' \ ..*%";
GRANT INSERT, TRIGGER, TRUNCATE ON logic.orders TO torture_app WITH GRANT OPTION;
GRANT SELECT ON logic.orders TO PUBLIC;
GRANT SELECT ("naïve") ON "nämes ""q"" ..*"."naïve" TO torture_reader;
-- Granted on by a role that holds the grant option, so the grantor is not the owner.
SET ROLE torture_app;
GRANT INSERT ON logic.orders TO torture_reader;
RESET ROLE;
-- The owner may not read his own table; nobody may; execution and usage taken from everybody.
CREATE TABLE app.unreadable (id int); INSERT INTO app.unreadable VALUES (1); REVOKE ALL ON app.unreadable FROM CURRENT_USER;
REVOKE ALL ON vals.bytes FROM PUBLIC, CURRENT_USER;
REVOKE EXECUTE ON FUNCTION shapes.overloaded(int), shapes."Fünktion ""q"" $"(text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION shapes.overloaded(int) TO torture_app WITH GRANT OPTION;
GRANT EXECUTE ON ALL PROCEDURES IN SCHEMA shapes TO torture_reader;
REVOKE USAGE ON TYPE shapes.mood FROM PUBLIC; GRANT USAGE ON TYPE shapes.mood TO torture_reader;
GRANT USAGE, UPDATE ON SEQUENCE shapes.called TO torture_reader; GRANT USAGE ON DOMAIN shapes.percentage TO torture_app;
REVOKE CREATE, TEMPORARY ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO torture_reader;
REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO torture_app;

ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO torture_reader;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA logic GRANT ALL ON TABLES TO torture_app WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES IN SCHEMA "nämes ""q"" ..*" GRANT USAGE ON SEQUENCES TO "torture röle ""q"" 'x' \ ..*%";
ALTER DEFAULT PRIVILEGES FOR ROLE torture_app REVOKE USAGE ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT CREATE ON SCHEMAS TO torture_app;

-- Objects of another owner, also one whose owner owns nothing around it.
GRANT CREATE ON SCHEMA vals, shapes, logic, parts TO torture_app;
CREATE TABLE logic.others (id serial PRIMARY KEY, body text); INSERT INTO logic.others (body) SELECT 'o' FROM generate_series(1, 700);
ALTER TABLE logic.others OWNER TO torture_app;
CREATE VIEW logic.others_view AS SELECT * FROM logic.others; ALTER VIEW logic.others_view OWNER TO torture_app;
ALTER TYPE shapes.no_values OWNER TO torture_app;
ALTER FUNCTION shapes.empty_body() OWNER TO torture_app;
CREATE MATERIALIZED VIEW logic.others_matview AS SELECT count(*) AS n FROM logic.others;
ALTER MATERIALIZED VIEW logic.others_matview OWNER TO torture_app;
ALTER TABLE parts.by_bool_true OWNER TO torture_app;
CREATE TABLE app.theirs (id int, secret text); INSERT INTO app.theirs SELECT g, 's' || g FROM generate_series(1, 100) AS g; ALTER TABLE app.theirs OWNER TO torture_app;

COMMENT ON TABLE logic.orders IS E'multi\nline; -- not a comment\n\\connect evil\n$$ '' "';
COMMENT ON COLUMN logic.orders.total IS '';
COMMENT ON COLUMN logic.orders.state IS '☃';
COMMENT ON ROLE torture_app IS 'comments on roles are global';
