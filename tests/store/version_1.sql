-- A registry as version 1 of the schema left it. Never edited.
pragma journal_mode = wal;
BEGIN TRANSACTION;
CREATE TABLE artifacts (
          id integer primary key,
          run integer not null references runs (seq) on delete cascade,
          kind text not null,
          path text not null,
          step integer,
          saved real,
          sha256 text,
          caption text not null default '',
          unique (run, kind, path)
        );
INSERT INTO "artifacts" VALUES(1,1,'encoder','checkpoints/encoder.pt',2,4.0,'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee','');
CREATE TABLE attempts (
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
        ;
INSERT INTO "attempts" VALUES(1,1,102.0,8.0,7,'h',0,2,'succeeded','');
CREATE TABLE claims (
          device text primary key,
          run integer not null references runs (seq) on delete cascade,
          since real not null
        ) without rowid
        ;
INSERT INTO "claims" VALUES('cpu:0',2,109.0);
CREATE TABLE events (
          id integer primary key,
          run integer not null references runs (seq) on delete cascade,
          kind text not null,
          line text not null
        );
INSERT INTO "events" VALUES(1,1,'stranger','{"t": 6.0, "kind": "stranger", "x": 1}');
CREATE TABLE metrics (id integer primary key, name text not null unique);
INSERT INTO "metrics" VALUES(1,'train/loss');
CREATE TABLE needs (
          run integer not null references runs (seq) on delete cascade,
          need integer not null references runs (seq),
          primary key (run, need)
        ) without rowid
        ;
INSERT INTO "needs" VALUES(2,1);
CREATE TABLE points (
          run integer not null references runs (seq) on delete cascade,
          metric integer not null references metrics (id),
          step integer not null,
          value real,
          primary key (run, metric, step)
        ) without rowid
        ;
INSERT INTO "points" VALUES(1,1,1,2.5);
INSERT INTO "points" VALUES(1,1,2,1.25);
CREATE TABLE results (
          run integer not null references runs (seq) on delete cascade,
          metric text not null,
          value real,
          low real,
          high real,
          primary key (run, metric)
        ) without rowid
        ;
INSERT INTO "results" VALUES(1,'test/loss',0.5,0.25,0.75);
INSERT INTO "results" VALUES(1,'val/loss',0.75,NULL,NULL);
CREATE TABLE runs (
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
        );
INSERT INTO "runs" VALUES(1,'aaaaaa','mrm','pretrain',NULL,0,'quick','recipe-aaaaaa','succeeded','','runs/aaaaaa-mrm-pretrain-s0',NULL,'["python", "-P"]',0,0,100.0,100.0,102.0,108.0,NULL,1,2,1.0,0,2,NULL,8.0,1,'succeeded','','val/loss','{"values": {"test/loss": 0.5, "val/loss": 0.75}, "bounds": {"test/loss": [0.25, 0.75]}, "selected_by": "val/loss"}',1,0,1,762);
INSERT INTO "runs" VALUES(2,'bbbbbb','mrm','siim',10,0,'quick','recipe-bbbbbb','running','','runs/bbbbbb-mrm-siim-10-s0','aaaaaa','["python", "-P"]',0,0,101.0,108.5,109.0,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'',NULL,NULL,0,0,0,0);
CREATE TABLE warnings (
          run integer not null references runs (seq) on delete cascade,
          message text not null,
          path text not null,
          times integer not null,
          last real,
          primary key (run, message, path)
        ) without rowid
        ;
INSERT INTO "warnings" VALUES(1,'odd image','a.png',1,5.0);
CREATE INDEX runs_created on runs (created);
CREATE INDEX runs_state on runs (state, created);
CREATE INDEX runs_method on runs (method, created);
CREATE INDEX runs_task on runs (task, created);
CREATE INDEX runs_cell on runs (method, task, created);
CREATE INDEX runs_cell_state on runs (method, task, state, created);
CREATE INDEX runs_queue on runs (state, priority desc, created);
CREATE INDEX runs_recipe on runs (recipe, seed);
CREATE INDEX runs_parent on runs (parent);
CREATE INDEX needs_need on needs (need);
CREATE INDEX events_run on events (run, id);
CREATE INDEX claims_run on claims (run);
COMMIT;
pragma user_version = 1;
