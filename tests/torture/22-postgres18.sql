-- Owner, UTF8 database; does nothing below PostgreSQL 18.
\set ON_ERROR_STOP on
SELECT current_setting('server_version_num')::int >= 180000 AS here \gset
\if :here
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE SCHEMA since18;
-- Virtual generated columns hold nothing and are in no COPY list, but SELECT shows them; also on partitions.
CREATE TABLE since18.virtual (v_first int GENERATED ALWAYS AS (a * 2) VIRTUAL, a int, gone text, v_mid text GENERATED ALWAYS AS ('n' || b) , b text, s int GENERATED ALWAYS AS (a + 1) STORED, CONSTRAINT v_positive CHECK (v_first > 0));
ALTER TABLE since18.virtual DROP gone;
INSERT INTO since18.virtual (a, b) SELECT g, 'b' || g FROM generate_series(1, 1200) AS g;
CREATE TABLE since18.virtual_parts (id int, v int GENERATED ALWAYS AS (-id) VIRTUAL, body text) PARTITION BY RANGE (id);
CREATE TABLE since18.virtual_leaf (body text, v int GENERATED ALWAYS AS (id * 10) VIRTUAL, id int);
ALTER TABLE since18.virtual_parts ATTACH PARTITION since18.virtual_leaf FOR VALUES FROM (0) TO (1000);
INSERT INTO since18.virtual_parts (id, body) SELECT g, 'x' FROM generate_series(0, 999) AS g;
CREATE TABLE since18.only_virtual (v int GENERATED ALWAYS AS (1)); INSERT INTO since18.only_virtual DEFAULT VALUES; INSERT INTO since18.only_virtual DEFAULT VALUES;
-- Keys over time, and the foreign keys that go with them.
CREATE TABLE since18.rooms (room int4range, valid daterange, name text, PRIMARY KEY (room, valid WITHOUT OVERLAPS));
CREATE TABLE since18.stays (id int, room int4range, during daterange, FOREIGN KEY (room, PERIOD during) REFERENCES since18.rooms (room, PERIOD valid));
INSERT INTO since18.rooms SELECT int4range(g, g + 1), daterange('2024-01-01', '2025-01-01'), 'r' || g FROM generate_series(1, 300) AS g;
INSERT INTO since18.stays SELECT g, int4range(g, g + 1), daterange('2024-02-01', '2024-02-03') FROM generate_series(1, 300) AS g;
-- Constraints with names, not valid, not enforced: the rows break them.
CREATE TABLE since18.constraints (id int CONSTRAINT "näme ""q"" not null" NOT NULL, maybe text, n int, CONSTRAINT never_asked CHECK (n > 0) NOT ENFORCED);
INSERT INTO since18.constraints VALUES (1, NULL, -1), (2, 'x', 1);
ALTER TABLE since18.constraints ADD CONSTRAINT maybe_later NOT NULL maybe NOT VALID;
ALTER TABLE since18.constraints ADD CONSTRAINT fk_not_enforced FOREIGN KEY (n) REFERENCES keys.tree NOT ENFORCED;
COMMENT ON CONSTRAINT maybe_later ON since18.constraints IS 'a NOT NULL with rows that are null';
CREATE TABLE since18.no_inherit_parent (a int CONSTRAINT here_only NOT NULL NO INHERIT);
CREATE TABLE since18.no_inherit_child () INHERITS (since18.no_inherit_parent);
INSERT INTO since18.no_inherit_child VALUES (NULL);
CREATE COLLATION since18.full_case (PROVIDER = builtin, LOCALE = 'PG_UNICODE_FAST');
CREATE TABLE since18.uuids (id uuid DEFAULT uuidv7() PRIMARY KEY, fold text COLLATE since18.full_case);
INSERT INTO since18.uuids (fold) VALUES ('ß'), ('ẞ');
CREATE FUNCTION since18.arrow(a int, b int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT a + b; END;
CREATE VIEW since18.named AS SELECT since18.arrow(a => 1, b => 2) AS three;
GRANT SELECT ON LARGE OBJECT 900001 TO torture_app;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON LARGE OBJECTS TO torture_reader;
\endif
