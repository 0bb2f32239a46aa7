"""What operators watch: metrics, traces and one line of log for each exchange, all made when a call is over.

Nothing here is on the way of a call, and nothing here knows what was said: names, counts and times only.
"""
