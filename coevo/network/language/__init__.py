"""A network of language models that read and write one pool of posts (Wang et al. 2025, Algorithm 1).

`endpoints` asks a model for answers over HTTP and counts what goes wrong, `server` starts the small local models,
`embedding` turns sentences into vectors, `recorder` runs Algorithm 1 into an append-only log, `recording` reads a log
back as arrays, `study` names the runs that the book replays. Reading a log needs numpy only; recording one needs the
packages of requirements-network.txt.
"""
