-- Owner, UTF8 database. Views, rules, triggers, row level security, materialized views, publications.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE SCHEMA logic;
SET search_path = logic;

CREATE TABLE orders (id int PRIMARY KEY, customer text NOT NULL, total numeric(10, 2), state text DEFAULT 'new');
INSERT INTO orders SELECT g, 'c' || g % 40, g * 1.5, CASE g % 3 WHEN 0 THEN 'new' WHEN 1 THEN 'paid' ELSE 'it''s "odd"' END FROM generate_series(1, 1200) AS g;
CREATE TABLE audit (at timestamptz, what text, who text);
CREATE TABLE order_log (id int, note text);

-- Views: by name order they come before what they need; one groups by a key, so it waits for the constraint; two are
-- updatable with checks; one is recursive; the last two read each other through a function.
CREATE VIEW a_needs_z AS SELECT id FROM orders;
CREATE VIEW z_base AS SELECT o.*, row_number() OVER w AS n FROM orders AS o WINDOW w AS (PARTITION BY customer ORDER BY id DESC NULLS LAST);
CREATE OR REPLACE VIEW a_needs_z AS SELECT z_base.id FROM z_base;
CREATE VIEW grouped_by_key AS SELECT o.id, o.customer, o.total, count(*) AS logs FROM orders AS o LEFT JOIN order_log AS l USING (id) GROUP BY o.id;
CREATE VIEW new_orders WITH (security_barrier) AS SELECT * FROM orders WHERE state = 'new' WITH CASCADED CHECK OPTION;
CREATE VIEW new_cheap_orders WITH (security_invoker) AS SELECT * FROM new_orders WHERE total < 100 WITH LOCAL CHECK OPTION;
CREATE RECURSIVE VIEW counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counting WHERE n < 10;
CREATE VIEW "Vïew ""q""" ("cölumn, 1", "select", "a""b") AS SELECT 1, E'it''s \\ \n', ARRAY['x', NULL];
CREATE VIEW no_columns AS SELECT FROM orders;
CREATE FUNCTION peek() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT 1::bigint';
CREATE VIEW round_about AS SELECT logic.peek() AS n;
CREATE OR REPLACE FUNCTION peek() RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT count(*) FROM logic.z_base; END;
CREATE FUNCTION pick(v round_about) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT v.n';
ALTER VIEW new_orders ALTER COLUMN state SET DEFAULT 'new';
COMMENT ON VIEW new_orders IS 'a view';
COMMENT ON COLUMN new_orders.total IS 'a column of a view';

CREATE RULE "log it, ""quoted""" AS ON UPDATE TO orders WHERE old.state IS DISTINCT FROM new.state DO ALSO INSERT INTO logic.order_log VALUES (old.id, 'was ' || old.state);
CREATE RULE no_delete AS ON DELETE TO audit DO INSTEAD NOTHING;
CREATE RULE swallow AS ON INSERT TO order_log WHERE new.note = 'swallow' DO INSTEAD (INSERT INTO logic.audit VALUES (now(), 'swallowed', 'x'); DELETE FROM logic.audit WHERE what = 'never');
CREATE RULE heard AS ON DELETE TO order_log DO ALSO NOTIFY "heard ""it""", 'pay''load';
CREATE RULE disabled AS ON UPDATE TO audit DO INSTEAD NOTHING;
ALTER TABLE audit DISABLE RULE disabled;
INSERT INTO audit VALUES ('epoch', 'kept', NULL);

-- Triggers would fire on every row if they were created before the data; one raises.
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO logic.audit VALUES (now(), TG_NAME || ' ' || TG_ARGV[0], current_user); RETURN coalesce(NEW, OLD); END $$;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused %', TG_TABLE_NAME; END $$;
CREATE TRIGGER "trïgger ""q""" AFTER UPDATE OF total, state OR DELETE ON orders FOR EACH ROW WHEN (old.total > 5) EXECUTE FUNCTION tell(E'arg''s \\ "q"\n%s', '');
CREATE TRIGGER by_statement AFTER INSERT ON orders REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION tell('x');
CREATE TRIGGER no_insert BEFORE INSERT OR TRUNCATE ON order_log FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER off BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TRIGGER always_ BEFORE UPDATE ON order_log FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TRIGGER replica_ BEFORE UPDATE ON order_log FOR EACH ROW EXECUTE FUNCTION refuse();
ALTER TABLE orders DISABLE TRIGGER off; ALTER TABLE order_log ENABLE ALWAYS TRIGGER always_; ALTER TABLE order_log ENABLE REPLICA TRIGGER replica_;
CREATE CONSTRAINT TRIGGER checked AFTER INSERT ON audit DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (new.what IS NULL) EXECUTE FUNCTION refuse();
CREATE TRIGGER instead INSTEAD OF INSERT ON a_needs_z FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TRIGGER on_parts AFTER INSERT ON parts.by_range FOR EACH ROW EXECUTE FUNCTION tell('p');
ALTER TABLE parts.by_range_old DISABLE TRIGGER on_parts;
COMMENT ON TRIGGER off ON orders IS 'disabled';

-- Row level security: owner exempt, owner forced, enabled without a policy (nobody sees a row), policies while disabled.
CREATE TABLE guarded (id int PRIMARY KEY, owner_name text DEFAULT current_user, body text);
INSERT INTO guarded SELECT g, 'o' || g % 3, repeat('g', g % 100) FROM generate_series(1, 2000) AS g;
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY "pölicy ""q""" ON guarded AS PERMISSIVE FOR SELECT TO torture_reader, torture_app USING (owner_name = current_user OR body LIKE E'%\\%''%');
CREATE POLICY narrow ON guarded AS RESTRICTIVE FOR ALL USING (id > 0) WITH CHECK (id < 5000);
COMMENT ON POLICY narrow ON guarded IS 'restrictive';
CREATE TABLE forced (id int, body text);
INSERT INTO forced SELECT g, 'hidden' FROM generate_series(1, 500) AS g;
ALTER TABLE forced ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY none ON forced USING (false);
CREATE TABLE locked (id int); INSERT INTO locked VALUES (1), (2); ALTER TABLE locked ENABLE ROW LEVEL SECURITY;
CREATE TABLE sleeping (id int); INSERT INTO sleeping VALUES (1); CREATE POLICY asleep ON sleeping FOR UPDATE USING (id = 2); ALTER TABLE sleeping FORCE ROW LEVEL SECURITY;

-- Materialized views: on each other against the order of names, unpopulated, indexed, empty, waiting for a key.
CREATE MATERIALIZED VIEW m_z AS SELECT customer, sum(total) AS total FROM orders GROUP BY customer;
CREATE MATERIALIZED VIEW m_a AS SELECT count(*) AS n FROM m_z;
CREATE MATERIALIZED VIEW m_unpopulated AS SELECT * FROM m_a WITH NO DATA;
CREATE MATERIALIZED VIEW m_empty WITH (fillfactor = 50) AS SELECT * FROM orders WHERE false;
CREATE MATERIALIZED VIEW m_key AS SELECT o.id, o.customer, count(l.note) AS notes FROM orders AS o LEFT JOIN order_log AS l USING (id) GROUP BY o.id;
CREATE MATERIALIZED VIEW "M ""q"" vïew" AS SELECT * FROM m_key WHERE id % 2 = 0;
CREATE UNIQUE INDEX ON m_z (customer);
CREATE MATERIALIZED VIEW m_stale AS SELECT max(id) AS newest FROM orders;
INSERT INTO orders VALUES (5000, 'late', 1, 'paid');
COMMENT ON MATERIALIZED VIEW m_stale IS 'older than its table: a restore refreshes it';
CREATE VIEW on_matview AS SELECT * FROM m_z;

-- Publications: what the owner of the tables may create.
CREATE PUBLICATION narrow FOR TABLE orders (id, total) WHERE (total > 10), TABLE ONLY logic.audit WITH (publish = 'insert, truncate');
CREATE PUBLICATION "pub ""q"" ..*" FOR TABLE parts.by_range, parts.by_hash WITH (publish_via_partition_root = true);
CREATE PUBLICATION nothing_published;
COMMENT ON PUBLICATION narrow IS 'columns and rows';
