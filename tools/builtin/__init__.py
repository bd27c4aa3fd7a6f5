"""How the built-in pack is drawn, trained and measured; `tools/train_builtin.py` is the entry."""
