UPDATE windlass_tick SET now = now RETURNING now, seq, turn, config
