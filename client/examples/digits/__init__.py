"""Two handwritten digits in one picture, one small network that reads both: two losses
that want the same few hidden units. The summed loss, ConFIG, M-ConFIG and the field's
other methods with the same number of backward passes, Concord in the process.

Run it with `python -m digits --help`, client/examples on PYTHONPATH. Where to look:

    training.py   one training run: all that a job needs to use any of the methods
    methods.py    what is compared
    data.py       the pictures (scikit-learn's digits), split once
    network.py    the network and the two losses
    contest.py    all methods and seeds; the search for each method's rate
    rates.json    what that search found (`python -m digits --tune`)
    report.py, __main__.py
"""
