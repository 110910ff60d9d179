SELECT count(*), count(error), min(posted_at) FROM windlass_outbox
