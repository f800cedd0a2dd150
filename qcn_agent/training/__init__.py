"""How qcn-mini, the embedded default model, is made. Not in the wheel; needs the `train` extra."""
