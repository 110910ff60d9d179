SELECT max(seq) FROM windlass_events
