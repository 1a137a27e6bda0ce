"""Burgers' equation learnt by three worker processes through a Concord server.

Run it with ./deploy/demo.sh, or `python -m burgers --help` with client/examples
on PYTHONPATH. Where to look:

    worker.py     one rank's training loop: all that a job needs to use Concord
    join.py       the same as a program of its own, for a server that runs already
    memory.py     what a worker keeps on the disk to go on after its own death
    baselines.py  the same network with Adam, and with Concord in the process
    problem.py    the equation, the points, the exact solution
    network.py    the network and the three losses
    contest.py    starts server and processes, keeps CPU time equal
    display.py, report.py, __main__.py
"""
