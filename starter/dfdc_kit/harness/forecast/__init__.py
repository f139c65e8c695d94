"""Will it finish in time? From the reads of one run to the hidden test, here and on the hosted machine."""
