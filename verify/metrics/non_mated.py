"""Non-mated scores with the subjects behind them, in memory or streamed."""
