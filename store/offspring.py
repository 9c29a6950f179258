"""Which downstream numbers come from which pre-training, and how far had its loss fallen?"""

from __future__ import annotations

from typing import NamedTuple

from store.db import Database


class Offspring(NamedTuple):
    """One number of a finished run that started from a pre-training's encoder."""

    run_id: str
    method: str
    task: str
    ratio: int | None
    seed: int
    preset: str
    recipe: str
    metric: str
    """Without `test/`."""
    value: float
    origin: str
    """The pre-training's id."""
    origin_recipe: str
    step: int | None
    """At which of its updates the encoder was kept, where that was on the way."""
    loss: float | None
    """Its held-out loss at the end, or at that update (nats)."""
    kept: str | None
    """SHA-256 of the encoder that it left, or kept then."""
    loaded: str | None
    """SHA-256 of what the run started from, if it said so."""


def of_task(db: Database, task: str) -> list[Offspring]:
    """Return the numbers of every finished run of `task` whose encoder a run here has made.

    Newest run first.
    """
    # two statements, so that each result document is parsed once and not for each number
    families = db.conn.execute(
        """
        select r.seq, r.id, r.method, r.task, r.ratio, r.seed, r.preset, r.recipe, p.id, p.recipe,
          e.step,
          case when e.step is null then l.value else (
            select v.value from points v join metrics m on m.id = v.metric
            where v.run = p.seq and m.name = 'val/loss' and v.step <= e.step
            order by v.step desc limit 1
          ) end,
          coalesce(e.sha256, (select sha256 from artifacts where run = p.seq and kind = 'encoder'
           order by saved desc limit 1)),
          json_extract(r.result, '$.encoder.sha256')
        from runs r
        join runs p on p.id = coalesce(
          r.parent,
          substr(
            json_extract(r.result, '$.encoder.run'),
            1,
            instr(json_extract(r.result, '$.encoder.run') || '-', '-') - 1
          )
        )
        left join results l on l.run = p.seq and l.metric = 'val/loss'
        left join artifacts e on e.run = p.seq and e.kind = 'epoch'
          and e.sha256 = json_extract(r.result, '$.encoder.sha256')
        where r.task = :task and r.state = 'succeeded' and p.task = 'pretrain'
        order by r.created desc, r.seq desc
        """,
        {"task": task},
    ).fetchall()
    numbers: dict[int, list[tuple[str, float]]] = {}
    for run, metric, value in db.conn.execute(
        """
        select t.run, substr(t.metric, 6), t.value
        from runs r join results t on t.run = r.seq and t.metric >= 'test/' and t.metric < 'test0'
        where r.task = :task and r.state = 'succeeded' and t.value is not null
        order by t.run, t.metric
        """,
        {"task": task},
    ):
        numbers.setdefault(run, []).append((metric, value))
    return [
        Offspring._make((*of_run[1:8], metric, value, *of_run[8:]))
        for of_run in families
        for metric, value in numbers.get(of_run[0], ())
    ]
