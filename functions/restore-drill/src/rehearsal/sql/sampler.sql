DECLARE
    this_database CONSTANT oid := (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database());
    began CONSTANT timestamptz := pg_catalog.clock_timestamp();
    seen jsonb := '{}';
    waited double precision := 0;
    pause double precision;
    activity record;
    held record;
    started timestamptz;
    ended timestamptz;
BEGIN
    LOOP
        SELECT a.state, a.query_start, a.wait_event_type INTO activity
          FROM pg_catalog.pg_stat_activity a WHERE a.pid = (job ->> 'pid')::integer AND a.application_name = job ->> 'worker';
        EXIT WHEN NOT FOUND OR pg_catalog.clock_timestamp() - began > interval '2 days';
        pause := CASE WHEN pg_catalog.clock_timestamp() - began < interval '2 s' THEN 0.004 ELSE 0.05 END;
        IF activity.state = 'active' THEN
            started := activity.query_start;
            ended := pg_catalog.clock_timestamp();
            IF activity.wait_event_type = 'Lock' THEN
                waited := waited + pause;
            END IF;
            FOR held IN SELECT l.relation::text || ' ' || l.mode AS key, extract(epoch FROM ended - started) AS since
                          FROM pg_catalog.pg_locks l
                         WHERE l.pid = (job ->> 'pid')::integer AND l.locktype = 'relation' AND l.granted AND l.database = this_database
                           AND l.mode <> 'AccessShareLock' AND l.relation >= 16384 LIMIT 1000 LOOP
                IF NOT seen ? held.key THEN
                    seen := seen || pg_catalog.jsonb_build_object(held.key, held.since);
                END IF;
            END LOOP;
        END IF;
        -- No snapshot is held while it sleeps: CREATE INDEX CONCURRENTLY waits for every snapshot older than its own.
        COMMIT;
        PERFORM pg_catalog.pg_sleep(pause);
        COMMIT;
    END LOOP;
    INSERT INTO lifeboat_drill.done (step, detail) VALUES (job ->> 'step', pg_catalog.jsonb_build_object(
        'locks', seen, 'waitSeconds', waited, 'seconds', extract(epoch FROM ended - started))) ON CONFLICT (step) DO NOTHING;
END
