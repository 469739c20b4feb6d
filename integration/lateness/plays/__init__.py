"""Every source of wakes, by topic. A play is a function that is given a stage; it makes accounts and fires row by row.

* ``messages``: what happens in a room's timeline and state;
* ``membership``: who comes and goes;
* ``own_data``: what an account keeps for itself;
* ``ephemeral``: typing, receipts, presence;
* ``keys``: messages to devices, devices, and their keys;
* ``rooms``: what happens to whole rooms;
* ``sessions``: what ends a session;
* ``federation``: what a user of another homeserver does in rooms of this one;
* ``elsewhere``: rooms of another homeserver.
"""
