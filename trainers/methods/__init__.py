"""One file per way to come by an encoder, named as in `trainers.catalog.METHODS`."""
