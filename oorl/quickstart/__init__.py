"""The quickstart: from random weights to a model that OORL has visibly improved, on one machine, in one command."""
