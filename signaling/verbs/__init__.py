"""The verbs of the contract: one file for each of its parts, one method for each verb (`service.py` has the table)."""
