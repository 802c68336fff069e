"""How long tests wait for a process, which says nothing of how long it should take.

On a machine that does other work as well, any start takes many times as long. Only what hangs
should end a wait.
"""

PATIENCE_S = 900
