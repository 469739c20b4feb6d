"""Real stacks for dendron: PostgreSQL, Redis and Synapse, in one folder, beside whatever else the machine runs.

Read in this order:

* ``shapes``: which Synapse processes a stack has, and what each of them serves;
* ``layout``: where everything lies below the stack's folder, its ports, and ``stack.json``;
* ``secret``: keys and passwords, each in a file of its own;
* ``synapse`` and ``edge``: the configuration files of Synapse and of dendron;
* ``prepare``: writes all of that;
* ``process`` and ``databases``: starting, watching and stopping;
* ``call`` and ``run``: the running demonstration behind ``./dev run``.
"""
