"""What does the registry hold? Every change of its schema, oldest first; appended to, never edited.

The number of functions that a file has been through is its `user_version`. Other tables name a
run by `seq`, its row number; people and programs name it by `id`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from store.db import Database


def version(db: Database) -> int:
    """Return how many migrations the file has been through."""
    (number,) = db.conn.execute("pragma user_version").fetchone()
    return int(number)


def _first(db: Database) -> None:
    """Runs, what they wait for, and all that is taken in from their folders."""
    for statement in (
        """
        create table runs (
          seq integer primary key,
          id text not null unique,
          method text not null,
          task text not null,
          ratio integer,
          seed integer not null,
          preset text not null,
          recipe text not null,
          state text not null check (state in
            ('queued', 'blocked', 'running', 'succeeded', 'failed', 'stopped', 'lost')),
          reason text not null default '',
          folder text not null,
          parent text references runs (id) deferrable initially deferred,
          command text not null,
          gpus integer not null,
          priority integer not null default 0,
          created real not null,
          queued real,
          started real,
          ended real,
          stop_requested real,
          attempt integer not null default 0,
          -- from here on: what events.jsonl says
          step integer,
          epoch real,
          done integer,
          total integer,
          eta_s real,
          last_event real,
          end_attempt integer,
          end_outcome text,
          end_reason text not null default '',
          selected_by text,
          result text,
          warnings integer not null default 0,
          bad_lines integer not null default 0,
          events_attempt integer not null default 0,
          events_offset integer not null default 0
        )
        """,
        "create index runs_created on runs (created)",
        "create index runs_state on runs (state, created)",
        "create index runs_method on runs (method, created)",
        "create index runs_task on runs (task, created)",
        "create index runs_cell on runs (method, task, created)",
        "create index runs_cell_state on runs (method, task, state, created)",
        "create index runs_queue on runs (state, priority desc, created)",
        "create index runs_recipe on runs (recipe, seed)",
        "create index runs_parent on runs (parent)",
        """
        create table needs (
          run integer not null references runs (seq) on delete cascade,
          need integer not null references runs (seq),
          primary key (run, need)
        ) without rowid
        """,
        "create index needs_need on needs (need)",
        """
        create table attempts (
          run integer not null references runs (seq) on delete cascade,
          attempt integer not null,
          started real,
          ended real,
          pid integer,
          host text,
          first_step integer,
          total_steps integer,
          outcome text,
          reason text not null default '',
          primary key (run, attempt)
        ) without rowid
        """,
        "create table metrics (id integer primary key, name text not null unique)",
        """
        create table points (
          run integer not null references runs (seq) on delete cascade,
          metric integer not null references metrics (id),
          step integer not null,
          value real,
          primary key (run, metric, step)
        ) without rowid
        """,
        """
        create table results (
          run integer not null references runs (seq) on delete cascade,
          metric text not null,
          value real,
          low real,
          high real,
          primary key (run, metric)
        ) without rowid
        """,
        """
        create table artifacts (
          id integer primary key,
          run integer not null references runs (seq) on delete cascade,
          kind text not null,
          path text not null,
          step integer,
          saved real,
          sha256 text,
          caption text not null default '',
          unique (run, kind, path)
        )
        """,
        """
        create table warnings (
          run integer not null references runs (seq) on delete cascade,
          message text not null,
          path text not null,
          times integer not null,
          last real,
          primary key (run, message, path)
        ) without rowid
        """,
        """
        create table events (
          id integer primary key,
          run integer not null references runs (seq) on delete cascade,
          kind text not null,
          line text not null
        )
        """,
        "create index events_run on events (run, id)",
        """
        create table claims (
          device text primary key,
          run integer not null references runs (seq) on delete cascade,
          since real not null
        ) without rowid
        """,
        "create index claims_run on claims (run)",
    ):
        db.conn.execute(statement)


def _data_versions(db: Database) -> None:
    """Find finished runs by the version of their data."""
    db.conn.execute(
        """
        create index runs_data_version on runs (task, json_extract(result, '$.data.version'))
        where json_extract(result, '$.data.version') is not null
        """
    )


def _splits(db: Database) -> None:
    """Read what finished runs were trained and tested on without reading their whole results."""
    db.conn.execute(
        """
        create index runs_splits on runs (state, json_extract(result, '$.data.split_sha256.train'),
          json_extract(result, '$.data.split_sha256.test'), id)
        where json_extract(result, '$.data.split_sha256.test') is not null
        """
    )


def _notebook(db: Database) -> None:
    """Keep what notebooks say: numbers without a run behind them, table rows, and prose."""
    for statement in (
        """
        create table notebook_rows (
          id integer primary key,
          source text not null,
          method text not null,
          number text not null,
          name text not null,
          description text not null,
          time_s real,
          time_said text not null,
          log text not null,
          status text not null,
          line integer not null,
          flaws text not null
        )
        """,
        "create index notebook_rows_source on notebook_rows (source, id)",
        """
        create table notebook_numbers (
          id integer primary key,
          source text not null,
          method text not null,
          task text not null,
          ratio integer,
          metric text not null,
          origin text not null check (origin in ('paper', 'own')),
          value real not null,
          said text not null,
          line integer not null,
          flaws text not null
        )
        """,
        "create index notebook_numbers_source on notebook_numbers (source, id)",
        """
        create table entries (
          -- numbers that a person has typed are never given to another entry
          id integer primary key autoincrement,
          kind text not null,
          state text not null,
          text text not null,
          written text not null,
          section text not null,
          source text not null,
          line integer,
          -- a run's id or a cell; no reference, so that it outlives the run
          about text not null,
          -- what its source last said the state is; null for what was typed here
          source_state text,
          -- digest of what makes it the same entry at the next import; null likewise
          source_key text
        )
        """,
        "create unique index entries_source on entries (source, source_key)",
        "create index entries_kind on entries (kind, state)",
        "create index entries_about on entries (about)",
    ):
        db.conn.execute(statement)


def _held(db: Database) -> None:
    """Hold runs in the queue, and find what ended last in a cell."""
    db.conn.execute("alter table runs add column held real")
    db.conn.execute("create index runs_cell_ended on runs (method, task, ended)")


def _notices(db: Database) -> None:
    """Remember of which ends people have been told."""
    for statement in (
        """
        create table notices (
          run integer not null references runs (seq) on delete cascade,
          attempt integer not null,
          at real not null,
          primary key (run, attempt)
        ) without rowid
        """,
        "create index runs_state_ended on runs (state, ended)",
    ):
        db.conn.execute(statement)


def _cell_groups(db: Database) -> None:
    """Keep the means that a grid shows, and mark the places whose finished runs have changed."""
    for statement in (
        """
        create table cell_groups (
          id integer primary key,
          method text not null,
          task text not null,
          ratio integer not null, -- 0 for none
          metric text not null,
          recipe text not null,
          preset text not null,
          mean real not null,
          sd real,
          n integer not null,
          low real,
          high real,
          run_ids text not null,
          selected_value real,
          train_split text not null,
          test_split text not null,
          version text not null,
          fingerprint text not null,
          encoder text not null,
          starts text not null
        )
        """,
        "create index cell_groups_place on cell_groups (method, task, ratio)",
        "create index cell_groups_metric on cell_groups (task, metric)",
        """
        create table cells_changed (
          method text not null,
          task text not null,
          ratio integer not null,
          primary key (method, task, ratio)
        ) without rowid
        """,
        """
        create trigger runs_finished after update of
          state, result, recipe, preset, seed, selected_by, parent on runs
        when old.state = 'succeeded' or new.state = 'succeeded'
        begin
          insert or ignore into cells_changed values (new.method, new.task, coalesce(new.ratio, 0));
        end
        """,
        """
        create trigger runs_finished_gone after delete on runs when old.state = 'succeeded'
        begin
          insert or ignore into cells_changed values (old.method, old.task, coalesce(old.ratio, 0));
        end
        """,
        """
        insert into cells_changed
        select distinct method, task, coalesce(ratio, 0) from runs where state = 'succeeded'
        """,
        "create index runs_places on runs (state, method, task, ratio, id)",
        # its only reader now reads what is kept
        "drop index runs_splits",
    ):
        db.conn.execute(statement)


def _spreads(db: Database) -> None:
    """Let numbers without a run tell their spread, since tables of other labs do."""
    for column in (
        "sd real",
        "n integer",
        "low real",
        "high real",
        "cited text not null default ''",
    ):
        db.conn.execute(f"alter table notebook_numbers add column {column}")


def _shared_devices(db: Database) -> None:
    """Let runs share a device by the memory they need, and none join one that is held alone."""
    for statement in (
        "alter table runs add column gpu_mib integer",  # what a person said; null: as learnt
        "alter table runs add column share integer",  # null: as the lab says
        "alter table claims rename to old_claims",
        """
        create table claims (
          device text not null,
          run integer not null references runs (seq) on delete cascade,
          mib integer, -- null: the whole device
          exclusive integer not null default 1,
          since real not null,
          primary key (device, run)
        ) without rowid
        """,
        "insert into claims (device, run, since) select device, run, since from old_claims",
        "drop table old_claims",
        "create index claims_run on claims (run)",
        """
        create trigger claims_alone before insert on claims
        when exists (
          select 1 from claims
          where device = new.device and run <> new.run and (exclusive or new.exclusive)
        )
        begin
          select raise(abort, 'the device is held');
        end
        """,
    ):
        db.conn.execute(statement)


def _removed(db: Database) -> None:
    """Say of a checkpoint that it was removed to keep within a budget."""
    db.conn.execute("alter table artifacts add column removed real")


def _jobs(db: Database) -> None:
    """Know which runs a cluster starts, and by which of its jobs."""
    for statement in (
        "alter table runs add column backend text not null default 'local'",
        "alter table runs add column nodes integer not null default 1",
        """
        create table jobs (
          run integer not null references runs (seq) on delete cascade,
          -- the first attempt that it makes; where it is started again, more follow
          attempt integer not null,
          token text not null, -- tells this handing-in from every other
          job text not null default '', -- Slurm's number of it; empty while it is handed in
          submitted real not null,
          ended real,
          primary key (run, token)
        ) without rowid
        """,
        "create unique index jobs_open on jobs (run) where ended is null",
    ):
        db.conn.execute(statement)


def _settings_and_tags(db: Database) -> None:
    """Find runs by what they were set to, once a recipe and not once a run, and by their tags."""
    for statement in (
        """
        create table recipes (
          id integer primary key,
          recipe text not null unique
        )
        """,
        """
        create table settings (
          id integer primary key,
          name text not null,
          value text not null,
          number real,
          unique (name, value)
        )
        """,
        """
        create table recipe_settings (
          setting integer not null references settings (id),
          recipe integer not null references recipes (id) on delete cascade,
          primary key (setting, recipe)
        ) without rowid
        """,
        "create index recipe_settings_recipe on recipe_settings (recipe)",
        """
        create table tags (
          tag text not null,
          run integer not null references runs (seq) on delete cascade,
          primary key (tag, run)
        ) without rowid
        """,
        "create index tags_run on tags (run)",
    ):
        db.conn.execute(statement)


def _mending(db: Database) -> None:
    """Remember how often a run was put back by itself, and when it may start again."""
    db.conn.execute(
        """
        create table mending (
          run integer primary key references runs (seq) on delete cascade,
          on_oom text not null,
          losses integer not null,
          stalls integer not null,
          not_before real,
          ending integer
        )
        """
    )


def _home(db: Database) -> None:
    """Remember where the lab lies, so that one that was moved or copied is known as such."""
    db.conn.execute("create table home (root text not null)")


def _use(db: Database) -> None:
    """Sum up what runs used of their machine, and know how much of `use.jsonl` was taken in."""
    db.conn.execute(
        """
        create table use (
          run integer primary key references runs (seq) on delete cascade,
          offset integer not null,
          attempt integer not null, -- the newest that was seen
          base integer not null, -- the second of the run at which that began
          last integer not null, -- the last second that was seen
          watched_s real not null,
          gpus integer not null,
          gpu_s real not null, -- seconds times GPUs whose use was told
          busy_s real not null,
          gpu_gib real not null,
          power_s real not null, -- likewise, whose power was told
          energy_j real not null,
          host_s real not null,
          cpu_s real not null,
          host_gib real not null
        )
        """
    )


def _processes(db: Database) -> None:
    """Tell groups of runs apart by how many processes trained together; work those out anew."""
    for statement in (
        "alter table cell_groups add column processes integer not null default 1",
        """
        insert or ignore into cells_changed
        select distinct method, task, coalesce(ratio, 0) from runs
        where state = 'succeeded' and max(gpus, 1) * nodes > 1
        """,
    ):
        db.conn.execute(statement)


MIGRATIONS: list[Callable[[Database], None]] = [
    _first,
    _data_versions,
    _splits,
    _notebook,
    _held,
    _notices,
    _cell_groups,
    _spreads,
    _shared_devices,
    _removed,
    _jobs,
    _settings_and_tags,
    _mending,
    _home,
    _use,
    _processes,
]
