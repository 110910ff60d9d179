SELECT horizon FROM windlass_tick
