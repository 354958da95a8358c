"""Runs Python handlers, one call at a time, in processes forked from a prepared template.

`master` imports the common libraries once and forks the slots. `template` is the process of a slot: it locks itself in
(`confine`, `network`), forks a process for each call ahead of time and kills what a call leaves behind. `child` is the
process of a call: it reads a call frame, loads the source (`loader`), runs it (`invoke`) and answers with frames
(`frames`). Standard library only.
"""
