"""A server that follows another: a hot standby by streaming, which tests can make lag.

It never takes part in what RDS says about replicas: that is rds_replicas.py.
"""

import time

_WAIT_SECONDS = 5


class Following:
    """The part of a server that makes it a standby of another."""

    def follow(self, source, slot):
        """A new server from a base backup of `source`, which it follows from then on."""
        self._source, self._slot = source, slot
        source.followers.append(self)
        self.place.run(source.major, "pg_basebackup", "-D", self.folder, "-X", "stream", "-c", "fast", "--no-sync",
                       "--no-manifest", "-C", "-S", slot, **source._environment())
        self.write("standby.signal", "")
        self.start()

    def standby_settings(self):
        """What its settings say of whom it follows; nothing if it follows nobody."""
        if self._source is None:
            return ""
        where = {"host": self._source.address, "port": str(self._source.port), "user": "rdsadmin",
                 "password": self.place.admin_password, "sslmode": "prefer", "application_name": self._slot}
        connection = " ".join(f"{name}={value}" for name, value in where.items())
        return (f"primary_conninfo = '{connection}'\nprimary_slot_name = '{self._slot}'\nhot_standby = on\n"
                f"wal_retrieve_retry_interval = '200ms'\nrecovery_min_apply_delay = {self._apply_delay}\n")

    def set_replay(self, mode):
        """`paused`, or `on` again."""
        if self._source is None or mode not in ("paused", "on"):
            raise ValueError("replay of a replica can be paused, or on")
        self.sql(f"select pg_wal_replay_{'pause' if mode == 'paused' else 'resume'}()")
        deadline = time.monotonic() + _WAIT_SECONDS
        while mode == "paused" and self.sql("select pg_get_wal_replay_pause_state()").strip() != "paused":
            if time.monotonic() > deadline:
                raise ValueError("replay does not pause")
            time.sleep(0.01)

    def set_apply_delay(self, milliseconds):
        """Apply each commit this much later than it was made."""
        if self._source is None:
            raise ValueError("the instance is no replica")
        self._apply_delay = int(milliseconds)
        self.reload()

    def lag(self):
        """How far a replica is behind: bytes of log not replayed, seconds since the last replayed commit if any; else None."""
        if self._source is None or not self.running() or not self._source.running():
            return None
        sent = self._source.sql("select pg_current_wal_lsn()").strip()
        shown = self.sql(f"select greatest(0, '{sent}'::pg_lsn - coalesce(pg_last_wal_replay_lsn(), '0/0')), "
                         "coalesce(extract(epoch from now() - pg_last_xact_replay_timestamp()), 0), pg_is_wal_replay_paused()")
        size, seconds, paused = shown.strip().split("|")
        return {"bytes": int(size), "seconds": float(seconds) if int(size) else 0.0, "paused": paused == "t"}

    def promote(self):
        """Follow nobody any more."""
        if self.running():
            self.sql("select pg_wal_replay_resume(); select pg_promote()", split=True)
        if self in self._source.followers:
            self._source.followers.remove(self)
        self._source = None
        self.reload()

    def drop_slot(self, name, seconds):
        """Drop the slot of a standby that is gone."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.sql("select pg_terminate_backend(active_pid) from pg_replication_slots "
                     f"where slot_name = '{name}' and active")
            if not self.sql("select pg_drop_replication_slot(slot_name) is null from pg_replication_slots "
                            f"where slot_name = '{name}' and not active").strip() and not self.sql(
                                f"select 1 from pg_replication_slots where slot_name = '{name}'").strip():
                return
            time.sleep(0.02)
