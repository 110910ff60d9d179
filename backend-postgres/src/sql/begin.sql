SELECT windlass.now()
