"""Jobs an encoder is judged by; each file is a task of the catalog, imported by its name.

A file has `Config`, `PRESETS`, `METRIC`, `Task`, `open_splits`, `collect`, `join`, `score`,
`bounds` and `samples`, as `trainers.finetune` calls them, and `open_folder`, by which
`trainers.evaluate` tests on any folder: its data set has `missing`, the images that were not there.
One whose data decide a setting has `settle` too, which puts it in, so that the recipe says so.
Some have more: `rate_of(config, name)`, the share of the learning rate of a parameter;
`complete(config, arrays, device)`, what is read off a test's predictions before they are scored;
`validation_score`, a quicker `score`; and a `Task.prepare(splits)` whose network follows from the
training set.
"""
