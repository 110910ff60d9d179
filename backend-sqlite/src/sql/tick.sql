SELECT now, seq, turn, config FROM windlass_tick
