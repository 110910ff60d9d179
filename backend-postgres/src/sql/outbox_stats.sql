SELECT count(*), count(error), windlass.now() - min(posted_at) FROM windlass.outbox
