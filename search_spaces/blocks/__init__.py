"""What networks are built of: recipes, stretches of layers that recipes share, and the layers behind them."""
