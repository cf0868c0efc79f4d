DECLARE
    began CONSTANT timestamptz := pg_catalog.clock_timestamp();
    this_database CONSTANT oid := (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database());
    texts CONSTANT text[] := ARRAY(SELECT pg_catalog.jsonb_array_elements_text(job -> 'statements'));
    relations jsonb;
    known text[] := '{}';
    -- An array grows in place; a jsonb would be copied for each statement.
    records jsonb[] := '{}';
    failed jsonb;
    number integer := 0;
    statement text;
    started timestamptz := began;
    row_count bigint;
    locks jsonb;
    locks_before jsonb := '{}';
    seconds numeric;
    error_state text;
    error_message text;
BEGIN
    -- Whoever else was told to do the same waits here, then sees that it is done.
    PERFORM pg_catalog.pg_advisory_xact_lock((job ->> 'key')::bigint);
    IF EXISTS (SELECT FROM lifeboat_drill.done WHERE step = job ->> 'step') THEN
        RETURN;
    END IF;
    relations := (/*RELATIONS*/);
    -- What fails is undone up to here, and the failure can still be written down.
    BEGIN
        IF job ->> 'role' IS NOT NULL THEN
            PERFORM pg_catalog.set_config('role', job ->> 'role', false);
        END IF;
        -- What the file's earlier transactions left in their session.
        FOREACH statement IN ARRAY ARRAY(SELECT pg_catalog.jsonb_array_elements_text(job -> 'settings')) LOOP
            EXECUTE statement;
        END LOOP;
        -- Deferred constraints are checked by the commit: it is measured, and may fail, like a statement.
        FOREACH statement IN ARRAY texts || 'SET CONSTRAINTS ALL IMMEDIATE'::text LOOP
            number := number + 1;
            started := pg_catalog.clock_timestamp();
            EXECUTE statement;
            GET DIAGNOSTICS row_count = ROW_COUNT;
            seconds := extract(epoch FROM pg_catalog.clock_timestamp() - started);
            -- A lock that a statement takes on a relation is held to the end of the transaction, so it is still here.
            SELECT coalesce(pg_catalog.jsonb_object_agg(held.relation::text, pg_catalog.jsonb_build_object(
                       'modes', held.modes, 'filenode', c.relfilenode::bigint, 'scans', pg_catalog.pg_stat_get_xact_numscans(held.relation),
                       'rowsRead', pg_catalog.pg_stat_get_xact_tuples_returned(held.relation))), '{}')
              INTO locks
              FROM (SELECT l.relation, pg_catalog.jsonb_agg(DISTINCT l.mode) AS modes
                      FROM pg_catalog.pg_locks l
                     WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND l.database = this_database
                       AND l.mode <> 'AccessShareLock' AND relations ? l.relation::text
                     GROUP BY l.relation) held
              LEFT JOIN pg_catalog.pg_class c ON c.oid = held.relation;
            -- Only what changed with this statement.
            records[number] := pg_catalog.jsonb_build_object(
                'started', extract(epoch FROM started - began), 'seconds', seconds, 'rows', row_count,
                'timeoutMs', (extract(epoch FROM pg_catalog.current_setting('statement_timeout')::interval) * 1000)::bigint,
                'locks', (SELECT coalesce(pg_catalog.jsonb_object_agg(key, value), '{}') FROM pg_catalog.jsonb_each(locks)
                           WHERE locks_before -> key IS DISTINCT FROM value));
            locks_before := locks;
            known := ARRAY(SELECT pg_catalog.unnest(known) UNION SELECT pg_catalog.jsonb_object_keys(locks));
        END LOOP;
        RESET ROLE;
    EXCEPTION WHEN OTHERS THEN
        -- Not the detail: it shows rows.
        GET STACKED DIAGNOSTICS error_state = RETURNED_SQLSTATE, error_message = MESSAGE_TEXT;
        failed := pg_catalog.jsonb_build_object('statement', number, 'sqlstate', error_state, 'message', error_message,
                                                'seconds', extract(epoch FROM pg_catalog.clock_timestamp() - started));
    END;
    INSERT INTO lifeboat_drill.done (step, detail) VALUES (job ->> 'step', pg_catalog.jsonb_build_object(
        'seconds', extract(epoch FROM pg_catalog.clock_timestamp() - began), 'statements', pg_catalog.to_jsonb(records), 'failed', failed,
        'relations', (SELECT coalesce(pg_catalog.jsonb_object_agg(key, value), '{}') FROM pg_catalog.jsonb_each(relations) WHERE key = ANY (known))));
END
