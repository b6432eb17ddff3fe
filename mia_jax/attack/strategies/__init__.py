"""How an attack looks for better points where it may only ask: one file each.

A strategy is a value; `black_box.search` asks it for points and tells it what the model says.
"""
